package media

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// wideAtom is atom with a size of 64 bits.
func wideAtom(kind string, size uint64, content string) string {
	return "\x00\x00\x00\x01" + kind + string(binary.BigEndian.AppendUint64(nil, size)) + content
}

// told is a verdict as a row of the tests below has it.
func told(data string) string {
	v := check([]byte(data), "")
	what := strings.TrimPrefix(string(v.Status), "validation_")
	if v.Proved {
		what = "whole"
	}
	return strings.TrimSpace(what + ": " + v.Reason)
}

func TestTheBoxesOfAFile(t *testing.T) {
	const (
		whole   = "whole:"
		more    = "valid:"
		open    = "not_validated:"
		header  = "failed: MP4 ends within the header of a part"
		length  = "failed: MP4 has a part of impossible length"
		lacks   = "failed: MP4 lacks the part with its description or content"
		inMdat  = `failed: MP4 ends within its part "mdat"`
		openTop = "\x00\x00\x00\x00"
	)
	ftyp, moov, mdat := atom("ftyp", "isom\x00\x00\x02\x00"), atom("moov", "mm"), atom("mdat", "dd")
	for name, test := range map[string]struct{ data, want string }{
		"description and content":                {ftyp + moov + mdat, whole},
		"empty boxes":                            {ftyp + atom("moov", "") + atom("mdat", ""), whole},
		"no content":                             {ftyp + moov, lacks},
		"no description":                         {ftyp + mdat, lacks},
		"neither":                                {ftyp, lacks},
		"a description of pictures":              {ftyp + atom("meta", "m") + mdat, lacks},
		"a size of 7":                            {ftyp + "\x00\x00\x00\x07moov" + mdat, length},
		"a size of 2":                            {ftyp + "\x00\x00\x00\x02moov" + mdat, length},
		"a size that ends behind the file":       {ftyp + moov + "\x00\x00\x00\x0bmdatdd", inMdat},
		"a wide size":                            {ftyp + moov + wideAtom("mdat", 18, "dd"), whole},
		"a wide size that ends behind the file":  {ftyp + moov + wideAtom("mdat", 19, "dd"), inMdat},
		"the largest wide size":                  {ftyp + moov + wideAtom("mdat", math.MaxUint64, "dd"), inMdat},
		"a wide size that leads back":            {ftyp + moov + wideAtom("mdat", math.MaxUint64-8, "dd"), inMdat},
		"a wide and empty box":                   {ftyp + moov + wideAtom("mdat", 16, ""), whole},
		"a wide size of 15":                      {ftyp + wideAtom("moov", 15, "") + mdat, length},
		"a wide size of 0":                       {ftyp + wideAtom("moov", 0, "") + mdat, length},
		"content up to the end":                  {ftyp + moov + openTop + "mdatdd", open},
		"content up to the end, no description":  {ftyp + openTop + "mdatdd", lacks},
		"description up to the end":              {ftyp + mdat + openTop + "moovmm", open},
		"zeros instead of content":               {ftyp + moov + strings.Repeat("\x00", 64), length},
		"zeros behind the end":                   {ftyp + moov + mdat + strings.Repeat("\x00", 64), more},
		"a strange box behind the end":           {ftyp + moov + mdat + atom("sefd", "s"), more},
		"a cut strange box behind the end":       {ftyp + moov + mdat + atom("sefd", "s")[:8], more},
		"a few bytes behind the end":             {ftyp + moov + mdat + "\x00\x00\x00", more},
		"a strange box before the content":       {ftyp + moov + atom("sefd", "s") + mdat, whole},
		"a cut box behind the end":               {ftyp + moov + mdat + atom("mdat", "dd")[:9], inMdat},
		"fragments without end":                  {ftyp + moov + atom("moof", "f") + mdat, more},
		"fragments up to their index":            {ftyp + moov + atom("moof", "f") + mdat + atom("mfra", "i"), whole},
		"a fragment behind the index":            {ftyp + moov + atom("mfra", "i") + atom("moof", "f") + mdat, more},
		"a picture in one box":                   {atom("ftyp", "mif3avif") + atom("mini", "m"), whole},
		"a picture in one box, cut":              {atom("ftyp", "mif3avif") + atom("mini", "m")[:8], `failed: AVIF ends within its part "mini"`},
		"a picture with a description of videos": {atom("ftyp", "heic\x00\x00\x00\x00") + moov + mdat, whole},
	} {
		if got := told(test.data); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	for n := 1; n < 8; n++ {
		if got := told(ftyp + moov + mdat[:n]); got != header {
			t.Errorf("%d bytes of a header: %s, want %s", n, got, header)
		}
	}
	for n := 8; n < 16; n++ {
		if got := told(ftyp + moov + wideAtom("mdat", 18, "")[:n]); got != header {
			t.Errorf("%d bytes of a wide header: %s, want %s", n, got, header)
		}
	}
}

// numbers is a list of numbers of some sizes: a size and a number in turn.
func numbers(pairs ...uint64) string {
	var b []byte
	for pair := range slices.Chunk(pairs, 2) {
		b = append(b, binary.BigEndian.AppendUint64(nil, pair[1])[8-pair[0]:]...)
	}
	return string(b)
}

// picture has its content in two boxes with a strange one between them. meta is handed
// where the content ends, and extra is added to that.
func picture(meta func(end uint64) string, extra uint64) string {
	file := func(end uint64) string {
		return atom("ftyp", "heic\x00\x00\x00\x00") + atom("meta", "\x00\x00\x00\x00"+meta(end)) + atom("mdat", strings.Repeat("d", 400)) + atom("sefd", "s") + atom("mdat", strings.Repeat("d", 400))
	}
	return file(uint64(len(file(0))) + extra)
}

// placesOf are ways in which the box iloc says that the content of a picture ends at a
// place.
var placesOf = map[string]func(end uint64) string{
	"offset and length": func(end uint64) string {
		return "\x00\x00\x00\x00\x44\x00" + numbers(2, 1, 2, 7, 2, 0, 2, 1, 4, end-100, 4, 100)
	},
	"of 8 bytes": func(end uint64) string {
		return "\x00\x00\x00\x00\x88\x00" + numbers(2, 1, 2, 7, 2, 0, 2, 1, 8, end-100, 8, 100)
	},
	"base, offset, length": func(end uint64) string {
		return "\x00\x00\x00\x00\x44\x80" + numbers(2, 1, 2, 7, 2, 0, 8, end-300, 2, 1, 4, 200, 4, 100)
	},
	"base and length": func(end uint64) string {
		return "\x00\x00\x00\x00\x04\x40" + numbers(2, 1, 2, 7, 2, 0, 4, end-100, 2, 1, 4, 100)
	},
	"base and offset": func(end uint64) string {
		return "\x00\x00\x00\x00\x40\x40" + numbers(2, 1, 2, 7, 2, 0, 4, end-100, 2, 1, 4, 100)
	},
	"base only": func(end uint64) string {
		return "\x00\x00\x00\x00\x00\x40" + numbers(2, 2, 2, 7, 2, 0, 4, 1, 2, 3, 2, 8, 2, 0, 4, end, 2, 3)
	},
	"two extents, the last behind": func(end uint64) string {
		return "\x00\x00\x00\x00\x44\x00" + numbers(2, 1, 2, 7, 2, 0, 2, 2, 4, 50, 4, 100, 4, end-100, 4, 100)
	},
	"two extents, the first behind": func(end uint64) string {
		return "\x00\x00\x00\x00\x44\x00" + numbers(2, 1, 2, 7, 2, 0, 2, 2, 4, end-100, 4, 100, 4, 50, 4, 100)
	},
	"two items, the last behind": func(end uint64) string {
		return "\x00\x00\x00\x00\x44\x00" + numbers(2, 2, 2, 7, 2, 0, 2, 1, 4, 50, 4, 100, 2, 8, 2, 0, 2, 1, 4, end-100, 4, 100)
	},
	"two items, the first behind": func(end uint64) string {
		return "\x00\x00\x00\x00\x44\x00" + numbers(2, 2, 2, 7, 2, 0, 2, 1, 4, end-100, 4, 100, 2, 8, 2, 0, 2, 1, 4, 50, 4, 100)
	},
	"an item elsewhere": func(end uint64) string {
		return "\x00\x00\x00\x00\x44\x00" + numbers(2, 2, 2, 7, 2, 1, 2, 1, 4, 1<<30, 4, 100, 2, 8, 2, 0, 2, 1, 4, end-100, 4, 100)
	},
	"version 1": func(end uint64) string {
		return "\x01\x00\x00\x00\x44\x00" + numbers(2, 1, 2, 7, 2, 0, 2, 0, 2, 1, 4, end-100, 4, 100)
	},
	"reserved bits of version 0": func(end uint64) string {
		return "\x00\x00\x00\x00\x44\x04" + numbers(2, 1, 2, 7, 2, 0, 2, 1, 4, end-100, 4, 100)
	},
	"reserved bits": func(end uint64) string {
		return "\x01\x00\x00\x00\x44\x00" + numbers(2, 1, 2, 7, 2, 0xfff0, 2, 0, 2, 1, 4, end-100, 4, 100)
	},
	"an item in the description": func(end uint64) string {
		return "\x01\x00\x00\x00\x44\x00" + numbers(2, 2, 2, 7, 2, 1, 2, 0, 2, 1, 4, 1<<30, 4, 100, 2, 8, 2, 0, 2, 0, 2, 1, 4, end-100, 4, 100)
	},
	"indexes of extents": func(end uint64) string {
		return "\x01\x00\x00\x00\x44\x04" + numbers(2, 1, 2, 7, 2, 0, 2, 0, 2, 2, 4, 1, 4, 50, 4, 100, 4, 2, 4, end-100, 4, 100)
	},
	"indexes only": func(end uint64) string {
		return "\x01\x00\x00\x00\x00\x44" + numbers(2, 2, 2, 7, 2, 2, 2, 0, 4, 0, 2, 2, 4, 1, 4, 2, 2, 8, 2, 0, 2, 0, 4, end, 2, 1, 4, 1)
	},
	"version 2": func(end uint64) string {
		return "\x02\x00\x00\x00\x44\x00" + numbers(4, 1, 4, 7, 2, 0, 2, 0, 2, 1, 4, end-100, 4, 100)
	},
}

func TestAPictureReachesAsFarAsItsItems(t *testing.T) {
	const lacks = "failed: HEIC lacks the part with its description or content"
	for name, places := range placesOf {
		iloc := func(end uint64) string { return atom("iloc", places(end)) }
		if got := told(picture(iloc, 0)); got != "whole:" {
			t.Errorf("%s: %s", name, got)
		}
		if got := told(picture(iloc, 1)); got != lacks {
			t.Errorf("%s, a byte further than the file: %s", name, got)
		}
		data := picture(iloc, 0)
		if got := told(data[:len(data)-408]); got != lacks {
			t.Errorf("%s, cut between the boxes: %s", name, got)
		}
		last := strings.LastIndex(data, "mdat") - 4
		upToTheEnd := data[:last] + "\x00\x00\x00\x00" + data[last+4:]
		if got := told(upToTheEnd); got != "not_validated:" {
			t.Errorf("%s, the last box open: %s", name, got)
		}
		if got := told(upToTheEnd[:len(data)-1]); got != lacks {
			t.Errorf("%s, the last box open and cut: %s", name, got)
		}
		if got := told(data[:last] + strings.Repeat("\x00", 408)); got != "failed: HEIC has a part of impossible length" {
			t.Errorf("%s, zeros in the place of the last box: %s", name, got)
		}
		behind := data + atom("sefd", "s")
		if got := told(behind); got != "valid:" {
			t.Errorf("%s, with a trailer: %s", name, got)
		}
		if got := told(behind[:len(behind)-1]); got != "valid:" {
			t.Errorf("%s, with a cut trailer: %s", name, got)
		}
	}
}

// Where the description does not say it in a way that is understood, the content is there
// when a box with content is.
func TestAPictureThatDoesNotSayWhereItsContentIs(t *testing.T) {
	far := "\x00\x00\x00\x00\x44\x00" + numbers(2, 1, 2, 7, 2, 0, 2, 1, 4, 1<<30, 4, 100)
	const lacks = "failed: HEIC lacks the part with its description or content"
	for name, test := range map[string]struct {
		meta string
		want string
	}{
		"a place far behind":               {atom("iloc", far), lacks},
		"a place far behind, in two lists": {atom("iloc", far) + atom("iloc", "\x00\x00\x00\x00\x44\x00\x00\x00"), lacks},
		"behind another box":               {atom("hdlr", "h") + atom("iloc", far), lacks},
		"before another box":               {atom("iloc", far) + atom("hdlr", "h"), lacks},
		"in a wide box":                    {wideAtom("iloc", uint64(16+len(far)), far), lacks},
		"a place that overflows":           {atom("iloc", "\x00\x00\x00\x00\x88\x80"+numbers(2, 1, 2, 7, 2, 0, 8, math.MaxUint64, 2, 1, 8, 1, 8, 0)), lacks},
		"a length that overflows":          {atom("iloc", "\x00\x00\x00\x00\x88\x80"+numbers(2, 1, 2, 7, 2, 0, 8, 0, 2, 1, 8, 100, 8, math.MaxUint64)), lacks},
		"no list":                          {atom("hdlr", "h"), "whole:"},
		"an empty list":                    {atom("iloc", ""), "whole:"},
		"a list of a later version":        {atom("iloc", "\x03\x00\x00\x00\x44\x00"+numbers(2, 1, 2, 7, 2, 0, 2, 0, 2, 1, 4, 1<<30, 4, 100)), "whole:"},
		"another box of the same content":  {atom("idat", far), "whole:"},
		"a list that ends too early":       {atom("iloc", far[:len(far)-1]), "whole:"},
		"a list with more items than said": {atom("iloc", far+"\x00"), lacks},
		"numbers of 9 bytes":               {atom("iloc", "\x00\x00\x00\x00\x94\x00"+numbers(2, 1, 2, 7, 2, 0, 2, 1, 1, 0)+far), "whole:"},
		"a list behind an impossible box":  {"\x00\x00\x00\x07hdlr" + atom("iloc", far), "whole:"},
		"a list in an open box":            {"\x00\x00\x00\x00hdlr" + atom("iloc", far), "whole:"},
		"a list that ends behind it":       {fmt.Sprintf("\x00\x00\x00%c", 8+len(far)+1) + "iloc" + far, "whole:"},
		"too short for a box":              {"\x00\x00\x00", "whole:"},
	} {
		data := picture(func(uint64) string { return test.meta }, 0)
		want := strings.Replace(test.want, "whole:", "valid:", 1) // a strange box follows the first content
		if got := told(data); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	far = atom("iloc", far)
	content := atom("mdat", "dd")
	for name, test := range map[string]struct{ data, want string }{
		"a list behind the description":        {atom("meta", "\x00\x00\x00\x00") + far + content, "whole:"},
		"a list behind a very short one":       {atom("meta", "\x00") + far + content, "whole:"},
		"a cut description":                    {atom("meta", "\x00\x00\x00\x00"+atom("hdlr", "h"))[:20], `failed: HEIC ends within its part "meta"`},
		"a description of a byte, cut":         {atom("meta", "m")[:8], `failed: HEIC ends within its part "meta"`},
		"a description up to the end":          {content + "\x00\x00\x00\x00meta\x00\x00\x00\x00" + far, "not_validated:"},
		"content only":                         {content, lacks},
		"a description only":                   {atom("meta", "\x00\x00\x00\x00"), lacks},
		"all of it in the description":         {atom("meta", "\x00\x00\x00\x00"+atom("iloc", ilocInside)+atom("idat", strings.Repeat("i", 100))), "whole:"},
		"content up to the end, no list":       {atom("meta", "m") + "\x00\x00\x00\x00mdatdd", "not_validated:"},
		"zeros instead of content, no list":    {atom("meta", "m") + strings.Repeat("\x00", 64), "failed: HEIC has a part of impossible length"},
		"zeros behind all of it":               {atom("meta", "m") + content + strings.Repeat("\x00", 64), "valid:"},
		"content up to the end, nothing known": {"\x00\x00\x00\x00mdatdd", lacks},
	} {
		if got := told(atom("ftyp", "heic\x00\x00\x00\x00") + test.data); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
