package batch

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func check(data []byte, contentType string) mediaVerdict {
	var m mediaCheck
	_, _ = m.Write(data)
	return m.Verdict(contentType)
}

// photo has noise in it, so that its entropy coded data has every byte.
func photo(side int) *image.Paletted {
	r := rand.New(rand.NewPCG(1, 2))
	palette := make(color.Palette, 256)
	for i := range palette {
		palette[i] = color.RGBA{uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32()), 255}
	}
	img := image.NewPaletted(image.Rect(0, 0, side, side), palette)
	for i := range img.Pix {
		img.Pix[i] = uint8(r.Uint32())
	}
	return img
}

func encoded(encode func(io.Writer) error) []byte {
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func jpegFile(side int) []byte {
	return encoded(func(w io.Writer) error { return jpeg.Encode(w, photo(side), &jpeg.Options{Quality: 90}) })
}

func segment(marker byte, data string) string {
	return string([]byte{0xff, marker}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(data)+2))) + data
}

// withExif puts a thumbnail, a whole JPEG of its own, in front of a picture.
func withExif(picture []byte) []byte {
	exif := segment(0xe1, "Exif\x00\x00"+string(jpegFile(16)))
	return slices.Concat(picture[:2], []byte(exif), picture[2:])
}

// progressive has several scans, restart markers, stuffed and fill bytes.
func progressive() []byte {
	scan := "\x01\xff\x00\x02\xff\xd0\x03\xff\xd7" + strings.Repeat("\x11\xff\x00", 500)
	return []byte("\xff\xd8" + segment(0xc2, "\x08\x00\x10\x00\x10\x01\x01\x11\x00") +
		segment(0xc4, strings.Repeat("h", 30)) + segment(0xda, "\x01\x01\x00\x00\x00\x00") + scan +
		segment(0xc4, "more") + "\xff\xff\xff" + segment(0xda, "\x01\x01\x00\x01\x3f\x00")[1:] + scan + "\xff\xff\xd9")
}

func box(kind, content string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(content)+8))) + kind + content
}

func heicFile() []byte {
	return []byte(box("ftyp", "heic\x00\x00\x00\x00mif1heic") + box("meta", strings.Repeat("m", 300)) +
		box("mdat", strings.Repeat("d", 3000)))
}

func pdfFile() []byte {
	return []byte("%PDF-1.7\n" + strings.Repeat("1 0 obj << /Length 3 >> endobj\n", 200) + "trailer\nstartxref\n9\n%%EOF\n")
}

func webpFile() []byte {
	body := "WEBPVP8 " + strings.Repeat("w", 2000)
	return []byte("RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body)
}

func samples() map[string][]byte {
	img := photo(120)
	return map[string][]byte{
		"jpeg":             jpegFile(120),
		"jpeg thumbnail":   withExif(jpegFile(120)),
		"jpeg progressive": progressive(),
		"png":              encoded(func(w io.Writer) error { return png.Encode(w, img) }),
		"gif":              encoded(func(w io.Writer) error { return gif.Encode(w, img, nil) }),
		"pdf":              pdfFile(),
		"heic":             heicFile(),
		"mp4":              []byte(box("ftyp", "isom\x00\x00\x02\x00") + box("moov", "mm") + "\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x10\x10" + strings.Repeat("x", 4096)),
		"webp":             webpFile(),
		"bmp":              []byte("BM\x00\x10\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00" + strings.Repeat("b", 4096-14)),
	}
}

func TestWholeMediaAreValidAndCutOnesBroken(t *testing.T) {
	for name, data := range samples() {
		t.Run(name, func(t *testing.T) {
			whole := check(data, "")
			if want, _, _ := strings.Cut(name, " "); whole.Kind != mediaKind(want) || whole.Status != validationValid || whole.Reason != "" {
				t.Fatalf("whole: %+v", whole)
			}
			for i := 1; i < 10; i++ {
				cut := check(data[:len(data)*i/10], whole.MIME)
				if cut.Kind != whole.Kind || cut.Ext != whole.Ext || cut.Status != validationFailed || cut.Reason == "" {
					t.Errorf("cut at %d/10: %+v", i, cut)
				}
			}
			if name != "webp" && name != "bmp" && name != "pdf" {
				if got := check(data[:len(data)-1], ""); got.Status != validationFailed {
					t.Errorf("without its last byte: %+v", got)
				}
			}
		})
	}
}

func TestTrailersBehindTheEndMarkerAreAllowed(t *testing.T) {
	for _, name := range []string{"jpeg", "jpeg thumbnail", "jpeg progressive", "png", "gif", "webp"} {
		data := slices.Concat(samples()[name], []byte("SEFT trailer \xff\xd8 of a phone"))
		if got := check(data, ""); got.Status != validationValid {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestVerdictByContent(t *testing.T) {
	heic := string(heicFile())
	pngData := string(samples()["png"])
	tests := []struct {
		name, data, contentType string
		want                    mediaVerdict
	}{
		{"empty", "", "image/jpeg", mediaVerdict{kindEmpty, "jpg", "image/jpeg", validationFailed, "the file is empty"}},
		{"empty of no type", "", "", mediaVerdict{kindEmpty, "bin", "application/octet-stream", validationFailed, "the file is empty"}},
		{"a jpeg named pdf", string(jpegFile(8)), "application/pdf", mediaVerdict{kindJPEG, "jpg", "image/jpeg", validationValid, ""}},
		{"jpeg cut", string(jpegFile(8)[:300]), "", mediaVerdict{kindJPEG, "jpg", "image/jpeg", validationFailed, "JPEG ends without its end marker"}},
		{"jpeg without picture", "\xff\xd8\xff\xd9", "", mediaVerdict{kindJPEG, "jpg", "image/jpeg", validationFailed, "JPEG has an end marker but no picture"}},
		{"jpeg with bad segment", "\xff\xd8\xff\xe0\x00\x01zz\xff\xd9", "", mediaVerdict{kindJPEG, "jpg", "image/jpeg", validationFailed, "JPEG has a segment (marker FFE0) of impossible length"}},
		{"only the thumbnail is whole", string(withExif(jpegFile(64))[:len(jpegFile(16))+100]), "", mediaVerdict{kindJPEG, "jpg", "image/jpeg", validationFailed, "JPEG ends without its end marker"}},
		{"png with flipped bit", strings.Replace(pngData, "IDAT", "IDAU", 1), "", mediaVerdict{kindPNG, "png", "image/png", validationFailed, "PNG has a damaged chunk IDAU"}},
		{"png of signature only", pngData[:8], "", mediaVerdict{kindPNG, "png", "image/png", validationFailed, "PNG ends without its end marker"}},
		{"pdf behind a preamble", "\r\n%junk\n" + string(pdfFile()) + strings.Repeat("\n", 2000), "", mediaVerdict{kindPDF, "pdf", "application/pdf", validationValid, ""}},
		{"pdf with end too early", string(pdfFile()) + strings.Repeat("x", 2100), "", mediaVerdict{kindPDF, "pdf", "application/pdf", validationFailed, "PDF ends without its end marker"}},
		{"heic cut between boxes", heic[:24+308], "", mediaVerdict{kindHEIC, "heic", "image/heic", validationFailed, "HEIC lacks the part with its description or content"}},
		{"heic cut", heic[:1000], "", mediaVerdict{kindHEIC, "heic", "image/heic", validationFailed, `HEIC ends within its part "mdat"`}},
		{"heic open end", strings.Replace(heic, "\x00\x00\x0b\xc0mdat", "\x00\x00\x00\x00mdat", 1), "", mediaVerdict{kindHEIC, "heic", "image/heic", validationValid, ""}},
		{"avif as mif1", box("ftyp", "mif1\x00\x00\x00\x00avif") + box("meta", "m") + box("mdat", "d"), "", mediaVerdict{kindAVIF, "avif", "image/avif", validationValid, ""}},
		{"quicktime", box("ftyp", "qt  \x00\x00\x00\x00") + box("moov", "m") + box("mdat", "d"), "", mediaVerdict{kindMOV, "mov", "video/quicktime", validationValid, ""}},
		{"tiff", "II*\x00\x08\x00\x00\x00", "", mediaVerdict{kindTIFF, "tif", "image/tiff", validationNone, ""}},
		{"html as jpeg", " \n<!DOCTYPE HTML><html>sorry", "image/jpeg", mediaVerdict{kindHTML, "html", "text/html", validationFailed, "HTML where a picture or document should be"}},
		{"html with bom", "\xef\xbb\xbf<html><body>", "text/html", mediaVerdict{kindHTML, "html", "text/html", validationFailed, "HTML where a picture or document should be"}},
		{"xhtml", `<?xml version="1.0"?><html xmlns="x">`, "", mediaVerdict{kindHTML, "html", "text/html", validationFailed, "HTML where a picture or document should be"}},
		{"json", `{ "message": "no" }`, "image/png", mediaVerdict{kindJSON, "json", "application/json", validationFailed, "JSON where a picture or document should be"}},
		{"rtf", `{\rtf1 hello}`, "application/rtf", mediaVerdict{kindText, "txt", "text/plain", validationNone, ""}},
		{"text", "upstream error", "text/plain; charset=utf-8", mediaVerdict{kindText, "txt", "text/plain", validationNone, ""}},
		{"text as jpeg", "upstream error", "image/jpeg", mediaVerdict{kindText, "jpg", "image/jpeg", validationFailed, "the content is not the JPEG that its type image/jpeg promises"}},
		{"zeros as heif", "\x00\x00\x00\x00\x00", "image/heif", mediaVerdict{kindUnknown, "heic", "image/heif", validationFailed, "the content is not the HEIC that its type image/heif promises"}},
		{"unknown", "PK\x03\x04", "application/zip", mediaVerdict{kindUnknown, "zip", "application/zip", validationNone, ""}},
		{"unknown and hostile type", "\x00\x01", "image/../../etc", mediaVerdict{kindUnknown, "bin", "application/octet-stream", validationNone, ""}},
		{"letter cut by the head", strings.Repeat("é", 511) + "a" + strings.Repeat("é", 9), "text/csv", mediaVerdict{kindText, "csv", "text/csv", validationNone, ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := check([]byte(tt.data), tt.contentType); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// inPieces feeds data cut by the sizes, again and again.
func inPieces(data []byte, sizes ...int) mediaVerdict {
	var m mediaCheck
	for i := 0; len(data) > 0; i++ {
		n := min(max(sizes[i%len(sizes)], 1), len(data))
		_, _ = m.Write(data[:n])
		data = data[n:]
	}
	return m.Verdict("image/jpeg")
}

func TestVerdictDoesNotDependOnHowTheStreamIsCut(t *testing.T) {
	for name, data := range samples() {
		for _, data := range [][]byte{data, data[:len(data)/2], data[:len(data)-1]} {
			want := check(data, "image/jpeg")
			for _, sizes := range [][]int{{1}, {2}, {3, 1}, {7}, {13, 1, 1000}, {1023}, {1024}, {1025}, {2047, 2}} {
				if got := inPieces(data, sizes...); got != want {
					t.Errorf("%s of %d bytes in pieces of %v: %+v, at once %+v", name, len(data), sizes, got, want)
				}
			}
		}
	}
}

func TestMediaCheckStartsAfreshAfterReset(t *testing.T) {
	var m mediaCheck
	_, _ = m.Write(jpegFile(64)[:2000])
	m.Reset()
	_, _ = m.Write(pdfFile())
	if got, want := m.Verdict(""), check(pdfFile(), ""); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzMediaCheck(f *testing.F) {
	for _, data := range samples() {
		if len(data) > 4096 {
			data = data[:4096]
		}
		f.Add(data, uint16(3), uint16(1000))
	}
	f.Add(append(jpegFile(8), "trailer"...), uint16(1), uint16(2))
	f.Add([]byte("<html>"), uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, a, b uint16) {
		want := check(data, "image/jpeg")
		if want.Ext == "" || want.MIME == "" || want.Status == "" || (want.Reason == "") != (want.Status != validationFailed) {
			t.Errorf("incomplete verdict %+v", want)
		}
		if got := inPieces(data, int(a), int(b)); got != want {
			t.Errorf("in pieces of %d and %d: %+v, at once %+v", a, b, got, want)
		}
	})
}

func BenchmarkMediaCheck(b *testing.B) {
	large := samples()
	img := photo(1200)
	large["jpeg"] = jpegFile(1200)
	large["png"] = encoded(func(w io.Writer) error { return png.Encode(w, img) })
	large["gif"] = encoded(func(w io.Writer) error { return gif.Encode(w, img, nil) })
	for _, name := range []string{"jpeg", "png", "gif"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(large[name])))
			for b.Loop() {
				if v := inPieces(large[name], 32*1024); v.Status != validationValid {
					b.Fatal(v)
				}
			}
		})
	}
}
