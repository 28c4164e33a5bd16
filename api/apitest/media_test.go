package apitest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"image/jpeg"
	"image/png"
	"testing"
)

var mediaSizes = []int{2000, 20_000, 65_535, 66_210, 131_999, 300_000, 300_001, 300_002, 300_003, 5_000_000}

func TestJPEGIsWholeAndOfItsSize(t *testing.T) {
	w := newWorld(Options{})
	for _, size := range mediaSizes {
		body := joined(w.media.jpegOf(w.Record(0).Tip, size, 99))
		if len(body) != size {
			t.Errorf("%d bytes, want %d", len(body), size)
		}
		if _, err := jpeg.Decode(bytes.NewReader(body)); err != nil {
			t.Errorf("decode %d bytes: %v", size, err)
		}
		walkMarkers(t, body)
	}
}

func TestJPEGHitsEverySizeAroundASegment(t *testing.T) {
	w := newWorld(Options{})
	for size := 66_000; size < 67_500; size++ {
		if got := sizeOf(w.media.jpegOf(w.Record(0).Tip, size, 0).parts); got != size {
			t.Fatalf("%d bytes, want %d", got, size)
		}
	}
}

// walkMarkers goes from segment to segment up to the scan, and expects the end
// marker to be the last thing in the file.
func walkMarkers(t *testing.T, b []byte) {
	t.Helper()
	at := 2
	for b[at+1] != 0xDA {
		if b[at] != 0xFF {
			t.Fatalf("no marker at %d", at)
		}
		at += 2 + int(binary.BigEndian.Uint16(b[at+2:]))
	}
	if !bytes.HasPrefix(b, []byte{0xFF, 0xD8}) || !bytes.HasSuffix(b, []byte{0xFF, 0xD9}) {
		t.Error("no start or no end of image")
	}
}

func TestPNGIsWholeAndOfItsSize(t *testing.T) {
	w := newWorld(Options{})
	for _, size := range mediaSizes {
		body := joined(w.media.pngOf(w.Record(0).Tip, size, 99))
		if len(body) != size {
			t.Errorf("%d bytes, want %d", len(body), size)
		}
		if _, err := png.Decode(bytes.NewReader(body)); err != nil {
			t.Errorf("decode %d bytes: %v", size, err)
		}
	}
}

func TestPDFIsWholeAndOfItsSize(t *testing.T) {
	w := newWorld(Options{})
	for _, size := range mediaSizes {
		body := joined(w.media.pdfOf(w.Record(0).Tip, size, 99))
		if len(body) != size {
			t.Errorf("%d bytes, want %d", len(body), size)
		}
		if !bytes.HasPrefix(body, []byte("%PDF-")) || !bytes.HasSuffix(body, []byte("%%EOF\n")) {
			t.Error("no start or no end of a PDF")
		}
		at := bytes.LastIndex(body, []byte("startxref\n"))
		var offset int
		for _, c := range body[at+10 : at+20] {
			offset = offset*10 + int(c-'0')
		}
		if !bytes.HasPrefix(body[offset:], []byte("xref")) {
			t.Errorf("startxref of %d bytes points at %q", size, body[offset:offset+4])
		}
	}
}

func TestMediaDifferAndHash(t *testing.T) {
	w := newWorld(Options{Records: 40, MediaBytes: Range{3000, 9000}, PDFShare: 0.2})
	seen, types := map[string]bool{}, map[string]int{}
	for r := range w.Records() {
		for _, a := range r.Attachments {
			body := w.Media(a.Tip)
			sum := sha256.Sum256(body)
			if hash := hex.EncodeToString(sum[:]); hash != w.MediaSHA256(a.Tip) || seen[hash] {
				t.Errorf("media %s: hash wrong or seen before", a.Tip)
			} else {
				seen[hash] = true
			}
			if len(body) != a.Bytes || a.Bytes < 3000 || a.Bytes > 9000 {
				t.Errorf("media %s has %d bytes, announced %d", a.Tip, len(body), a.Bytes)
			}
			if (a.Field == "signature") != (a.Type == typePNG) {
				t.Errorf("%s holds %s", a.Field, a.Type)
			}
			types[a.Type]++
		}
	}
	if len(types) != 3 {
		t.Errorf("only %v", types)
	}
}

func joined(a artefact) []byte { return bytes.Join(a.parts, nil) }
