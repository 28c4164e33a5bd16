package seal

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"noggin/storage"
)

// The text of a leaf never changes: published trees are made of it.
func TestTheTextOfALeafStaysAsItIs(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_000, time.FixedZone("AWST", 8*3600))
	last, later := 1, 4
	body := []byte(`{"$meta":{"tip":"t"}}`)
	v := storage.SealVersion{
		Tip: "aa", Version: 2, Kind: "version", SID: "s\"\\\u2028\x01\n<é>", ModifiedAt: &at, FetchedAt: at, Current: true, Complete: true, Body: body,
	}
	files := []storage.SealFile{
		{Tip: "p2", SHA256: strings.Repeat("2", 64), Size: 20, First: 2, Complete: true},
		{Tip: "p1", SHA256: strings.Repeat("1", 64), Size: 10, DownloadedAt: &at, First: 1, Complete: true},
		{Tip: "p3", SHA256: strings.Repeat("3", 64), Size: 30, First: 2},               // is fetched again
		{Tip: "p0", SHA256: strings.Repeat("0", 64), Size: 5, First: 1, Last: &last},   // of version 1
		{Tip: "p4", SHA256: strings.Repeat("4", 64), Size: 40, First: 3, Last: &later}, // of versions 3 and 4
	}
	l := newLeaf(v, files, at)
	want := `{"attachments":[{"downloaded_at":"2026-03-03T21:06:07.000089Z","sha256":"` + strings.Repeat("1", 64) + `","size":10,"tip":"p1"},` +
		`{"downloaded_at":"","sha256":"` + strings.Repeat("2", 64) + `","size":20,"tip":"p2"}],` +
		`"body_sha256":"` + fmt.Sprintf("%x", sha256.Sum256(body)) + `","body_size":21,"body_source":"api","complete":true,` +
		`"fetched_at":"2026-03-03T21:06:07.000089Z","format":"noggin-leaf/1","kind":"version","modified_at":"2026-03-03T21:06:07.000089Z",` +
		`"sealed_at":"2026-03-03T21:06:07.000089Z","sid":"s\"\\` + "\u2028" + `\u0001\n<é>","tip":"aa"}`
	if l.text() != want {
		t.Errorf("the leaf is\n%s\nwant\n%s", l.text(), want)
	}
	read, err := parseLeaf(want)
	if err != nil || read.text() != want {
		t.Errorf("read back: %v, %s", err, read.text())
	}
	for _, other := range []string{
		strings.Replace(want, ":", ": ", 1), strings.Replace(want, `"tip":"aa"`, `"tip":"aa","tip":"bb"`, 1),
		strings.Replace(want, "é", `\u00e9`, 1), strings.Replace(want, "leaf/1", "leaf/2", 1), want + " ", strings.Replace(want, "20,", "2e1,", 1),
	} {
		if _, err := parseLeaf(other); err == nil {
			t.Errorf("%s is taken for a leaf", other)
		}
	}
}

func TestAClaimIsTheSameAtEveryTime(t *testing.T) {
	at := time.Unix(1, 0)
	later := at.Add(time.Hour)
	v := storage.SealVersion{Tip: "aa", Version: 1, Kind: "version", FetchedAt: at, Current: true, Complete: true, Body: []byte("{}")}
	file := storage.SealFile{Tip: "p", SHA256: "1", First: 1, Complete: true, DownloadedAt: &at}
	first := newLeaf(v, []storage.SealFile{file}, at)
	v.FetchedAt, file.DownloadedAt = later, &later
	if again := newLeaf(v, []storage.SealFile{file}, later); string(again.claim()) != string(first.claim()) || again.text() == first.text() {
		t.Error("other times make another claim, or the leaf does not show them")
	}
	file.SHA256 = "2"
	if other := newLeaf(v, []storage.SealFile{file}, later); string(other.claim()) == string(first.claim()) {
		t.Error("other bytes make the same claim")
	}
}

func TestWhichAnswerWasSurelyReplaced(t *testing.T) {
	at := func(body, modified string, current bool) leaf {
		return leaf{BodySHA256: body, ModifiedAt: modified, FetchedAt: "2026-03-04T00:00:00.000000Z", Complete: current}
	}
	early, late, ahead := "2026-03-01T00:00:00.000000Z", "2026-03-02T00:00:00.000000Z", "2026-03-05T12:00:00.000000Z"
	for name, test := range map[string]struct {
		leaves        []leaf
		newer, surely bool
	}{
		"the last one":                       {[]leaf{at("b", early, true), at("a", late, true)}, false, false},
		"one before the last":                {[]leaf{at("a", early, true), at("b", late, true)}, true, true},
		"one that never was current":         {[]leaf{at("a", early, false), at("b", late, true)}, true, true},
		"before an answer that was older":    {[]leaf{at("a", late, true), at("b", early, false)}, false, false},
		"of the same time":                   {[]leaf{at("a", late, true), at("b", late, true)}, true, false},
		"without a time":                     {[]leaf{at("a", "", true), at("b", late, true)}, true, false},
		"before one without a time":          {[]leaf{at("a", early, true), at("b", "", true)}, true, false},
		"before one whose time is far ahead": {[]leaf{at("a", early, true), at("b", ahead, true)}, true, false},
		"one that is not sealed":             {[]leaf{at("b", late, true)}, true, false},
		"a record that never was complete":   {[]leaf{at("b", late, false)}, false, false},
	} {
		if newer, surely := newHistory(test.leaves).replacedBy("a"); (newer != nil) != test.newer || surely != test.surely {
			t.Errorf("%s: %+v, %v", name, newer, surely)
		}
	}
}

// Before noggin sealed them, `archive register --add-unknown` brought former files.
func TestAFormerFileThatAnArchiveBroughtAccusesNobody(t *testing.T) {
	body, archive, last := "ab", int64(1), 1
	for want, at := range map[string]*int64{"unproved": nil, "unsealed_former": &archive} {
		found := unproved(newRecord(&storage.SealRecord{
			Versions: []storage.SealVersion{{Version: 1, Kind: kindVersion, Whole: true, BodySHA256: body, Current: true, Complete: true}},
			Files:    []storage.SealFile{{Tip: "a", Path: "a.jpg", First: 1, Last: &last, ArchiveID: at, Complete: true}},
		}, []leaf{{BodySHA256: body, Complete: true}}))
		if len(found) != 1 || found[0].check != want {
			t.Errorf("found %+v, want %s", found, want)
		}
	}
}
