package media

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
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
	"time"
	"unicode/utf16"

	"noggin/storage"
)

func check(data []byte, contentType string) Verdict {
	v, err := Judge(bytes.NewReader(data), int64(len(data)), contentType)
	if err != nil {
		panic(err)
	}
	return v
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

func atom(kind, content string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(content)+8))) + kind + content
}

// iloc says that the picture is the last length bytes before end, or in idat.
func iloc(offset, length uint32) string {
	b := []byte("\x00\x00\x00\x00\x44\x00\x00\x01\x00\x01\x00\x00\x00\x01")
	return atom("iloc", string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, offset), length)))
}

const ilocInside = "\x01\x00\x00\x00\x44\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x64"

func heicFile() []byte {
	ftyp := atom("ftyp", "heic\x00\x00\x00\x00mif1heic")
	meta := func(at uint32) string {
		return atom("meta", "\x00\x00\x00\x00"+atom("hdlr", strings.Repeat("h", 40))+iloc(at, 3000)+atom("idat", "12345678"))
	}
	at := uint32(len(ftyp) + len(meta(0)) + 8)
	return []byte(ftyp + meta(at) + atom("mdat", strings.Repeat("d", 3000)))
}

func avifInIdat() []byte {
	return []byte(atom("ftyp", "avif\x00\x00\x00\x00mif1avif") +
		atom("meta", "\x00\x00\x00\x00"+atom("iloc", ilocInside)+atom("idat", strings.Repeat("i", 100))))
}

func mp4File() []byte {
	return []byte(atom("ftyp", "isom\x00\x00\x02\x00") + atom("moov", "mm") + "\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x10\x10" + strings.Repeat("x\x01", 2048))
}

// zipFile holds the entries, stored and without sizes before them, as writers to a pipe do.
func zipFile(names ...string) []byte {
	return encoded(func(w io.Writer) error {
		z := zip.NewWriter(w)
		for i, name := range names {
			method := zip.Deflate
			if i == 0 || strings.HasSuffix(name, ".xlsx") {
				method = zip.Store
			}
			f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
			if err != nil {
				return err
			}
			switch {
			case strings.HasSuffix(name, ".xlsx"):
				_, err = f.Write(zipFile("[Content_Types].xml", "xl/workbook.xml"))
			default:
				_, err = f.Write(photo(64).Pix)
			}
			if err != nil {
				return err
			}
		}
		return z.Close()
	})
}

// storedODT begins with its type uncompressed and without a data descriptor, as the
// format asks.
func storedODT() []byte {
	return encoded(func(w io.Writer) error {
		const kind = "application/vnd.oasis.opendocument.text"
		z := zip.NewWriter(w)
		f, err := z.CreateRaw(&zip.FileHeader{Name: "mimetype", CRC32: crc32.ChecksumIEEE([]byte(kind)), CompressedSize64: uint64(len(kind)), UncompressedSize64: uint64(len(kind))})
		if err != nil {
			return err
		}
		if _, err := io.WriteString(f, kind); err != nil {
			return err
		}
		if f, err = z.Create("content.xml"); err != nil {
			return err
		}
		if _, err := f.Write(photo(64).Pix); err != nil {
			return err
		}
		return z.Close()
	})
}

// tiffFile has its directory before or behind its strips, and another directory before both
// if first is given.
func tiffFile(order binary.AppendByteOrder, behind bool, first ...byte) []byte {
	const strips, each = 4, 500
	magic := "II*\x00"
	if order.String() == "BigEndian" {
		magic = "MM\x00*"
	}
	size := 2 + 3*12 + 4
	directory, pixels := 8, 8+size+strips*8
	if behind {
		directory, pixels = 8+strips*each, 8
	}
	directory, pixels = directory+len(first), pixels+len(first)
	lists, begin := directory+size, directory
	if len(first) > 0 {
		begin = 8
	}
	file := append(order.AppendUint32([]byte(magic), uint32(begin)), first...)
	d := order.AppendUint16(nil, 3)
	for _, e := range [][3]int{{256, 1, 64}, {273, strips, lists}, {279, strips, lists + strips*4}} {
		d = order.AppendUint32(order.AppendUint32(order.AppendUint16(order.AppendUint16(d, uint16(e[0])), 4), uint32(e[1])), uint32(e[2]))
	}
	d = order.AppendUint32(d, 0)
	for i := range strips {
		d = order.AppendUint32(d, uint32(pixels+i*each))
	}
	for range strips {
		d = order.AppendUint32(d, each)
	}
	content := bytes.Repeat([]byte{7}, strips*each)
	if behind {
		return slices.Concat(file, content, d)
	}
	return slices.Concat(file, d, content)
}

// tiffOfTiles has tiles in the place of strips.
func tiffOfTiles() []byte {
	file := tiffFile(binary.LittleEndian, false)
	for strips, tiles := range map[string]string{"\x11\x01\x04\x00": "\x44\x01\x04\x00", "\x17\x01\x04\x00": "\x45\x01\x04\x00"} {
		file = bytes.Replace(file, []byte(strips), []byte(tiles), 1)
	}
	return file
}

// rawFile has its picture in a directory below the first one, as the raw files of cameras have.
func rawFile() []byte {
	const below = "\x01\x00" + "\x4a\x01\x04\x00\x01\x00\x00\x00\x1a\x00\x00\x00" + "\x00\x00\x00\x00"
	return tiffFile(binary.LittleEndian, false, []byte(below)...)
}

func gifFile() []byte {
	return encoded(func(w io.Writer) error { return gif.Encode(w, photo(64), nil) })
}

func bmpFile() []byte {
	return append(binary.LittleEndian.AppendUint32([]byte("BM"), 2014), "\x00\x00\x00\x00\x36\x00\x00\x00"+strings.Repeat("\x01", 2000)...)
}

func riffFile(kind string) []byte {
	body := kind + "VP8 " + strings.Repeat("w\x01", 1000)
	return []byte("RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body)
}

func webmFile() []byte {
	return []byte("\x1a\x45\xdf\xa3\x87\x42\x82\x84webm\x18\x53\x80\x67\x47\xd0" + strings.Repeat("\xaa", 2000))
}

// compoundFile has its directory behind the head of the file.
func compoundFile(stream string) []byte {
	file := make([]byte, 9000)
	copy(file, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	file[24], file[26], file[28], file[29] = 0x3e, 3, 0xfe, 0xff
	file[30] = 9
	binary.LittleEndian.PutUint32(file[48:], 9)
	for i, unit := range utf16.Encode([]rune("Root Entry")) {
		binary.LittleEndian.PutUint16(file[5120+2*i:], unit)
	}
	for i, unit := range utf16.Encode([]rune(stream)) {
		binary.LittleEndian.PutUint16(file[5248+2*i:], unit)
	}
	return file
}

func utf16File(text string, order binary.AppendByteOrder, mark bool) []byte {
	if mark {
		text = "\ufeff" + text
	}
	var file []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		file = order.AppendUint16(file, unit)
	}
	return file
}

func utf32File(text string, order binary.AppendByteOrder) []byte {
	var file []byte
	for _, letter := range "\ufeff" + text {
		file = order.AppendUint32(file, uint32(letter))
	}
	return file
}

func gzipFile(data []byte) []byte {
	var file bytes.Buffer
	z := gzip.NewWriter(&file)
	_, _ = z.Write(data)
	_ = z.Close()
	return file.Bytes()
}

// motionPhoto is a photograph with a video behind it.
func motionPhoto() []byte { return slices.Concat(jpegFile(120), mp4File()) }

func pdfFile() []byte {
	return []byte("%PDF-1.7\n" + strings.Repeat("1 0 obj << /Length 3 >> endobj\n", 200) + "trailer\nstartxref\n9\n%%EOF\n")
}

func samples() map[string][]byte {
	img := photo(120)
	return map[string][]byte{
		"jpeg":             jpegFile(120),
		"jpeg thumbnail":   withExif(jpegFile(120)),
		"jpeg progressive": progressive(),
		"png":              encoded(func(w io.Writer) error { return png.Encode(w, img) }),
		"gif":              gifFile(),
		"bmp":              bmpFile(),
		"tiff":             tiffFile(binary.LittleEndian, false),
		"tiff behind":      tiffFile(binary.BigEndian, true),
		"tiff tiles":       tiffOfTiles(),
		"tiff raw":         rawFile(),
		"pdf":              pdfFile(),
		"heic":             heicFile(),
		"avif idat":        avifInIdat(),
		"mp4":              mp4File(),
		"webp":             riffFile("WEBP"),
		"wav":              riffFile("WAVE"),
		"avi":              riffFile("AVI "),
		"webm":             webmFile(),
		"docx":             zipFile("[Content_Types].xml", "_rels/.rels", "word/document.xml", "word/embeddings/table.xlsx", "docProps/app.xml"),
		"xlsx":             zipFile("[Content_Types].xml", "xl/workbook.xml"),
		"pptx":             zipFile("[Content_Types].xml", "ppt/presentation.xml"),
		"odt":              storedODT(),
		"zip":              zipFile("a.txt", "b.txt"),
	}
}

func TestWholeFilesAreValidAndCutOnesBroken(t *testing.T) {
	for name, data := range samples() {
		t.Run(name, func(t *testing.T) {
			whole := check(data, "")
			if want, _, _ := strings.Cut(name, " "); whole.kind != fileKind(want) || whole.Status != storage.ValidationValid || whole.Reason != "" || !whole.Proved {
				t.Fatalf("whole: %+v", whole)
			}
			step := max(1, len(data)/97)
			for n := step; n < len(data); n += step {
				cut := check(data[:n], whole.MIME)
				if cut.Status != storage.ValidationFailed || cut.Reason == "" || cut.Proved {
					t.Errorf("cut at %d of %d: %+v", n, len(data), cut)
				}
			}
			if name != "pdf" && name != "gif" {
				if got := check(data[:len(data)-1], ""); got.Status != storage.ValidationFailed {
					t.Errorf("without its last byte: %+v", got)
				}
			}
		})
	}
}

func TestBytesBehindTheEndAreAllowedButNotProved(t *testing.T) {
	for name, data := range samples() {
		for _, trailer := range []string{"SEFT trailer \xff\xd8 of a phone", atom("sefd", "xx"), "\x00\x00\x00\x00", strings.Repeat("\x00", 64)} {
			if name == "pdf" && strings.Trim(trailer, "\x00") == "" {
				continue // blank
			}
			if got := check(append(slices.Clone(data), trailer...), ""); got.Status != storage.ValidationValid || got.Proved {
				t.Errorf("%s with %q: %+v", name, trailer, got)
			}
		}
	}
	announcing := func(marker byte, what string) []byte {
		return slices.Concat(jpegFile(64)[:2], []byte(segment(marker, what)), jpegFile(64)[2:])
	}
	for name, data := range map[string][]byte{
		"motion photograph": motionPhoto(), "cut motion photograph": motionPhoto()[:len(motionPhoto())-9],
		"its picture only": announcing(0xe1, "http://ns.adobe.com/xap/1.0/\x00 Camera:MotionPhoto=\"1\""), "the first picture of two only": announcing(0xe2, "MPF\x00II*\x00"),
	} {
		if got := check(data, ""); got.Status != storage.ValidationValid || got.Proved {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestVerdictByContent(t *testing.T) {
	heic := string(heicFile())
	pngData := string(samples()["png"])
	pdf := string(pdfFile())
	tests := []struct {
		name, data, contentType string
		want                    string // kind, extension, type, status
		reason                  string
	}{
		{"empty", "", "image/jpeg", "empty jpg image/jpeg validation_failed", "the file is empty"},
		{"empty of no type", "", "", "empty bin application/octet-stream validation_failed", "the file is empty"},
		{"a jpeg named pdf", string(jpegFile(8)), "application/pdf", "jpeg jpg image/jpeg valid", ""},
		{"a jpeg named html", string(jpegFile(8)), "text/html", "jpeg jpg image/jpeg valid", ""},
		{"jpeg cut", string(jpegFile(8)[:300]), "", "jpeg jpg image/jpeg validation_failed", "JPEG ends without its end marker"},
		{"jpeg without picture", "\xff\xd8\xff\xd9", "", "jpeg jpg image/jpeg validation_failed", "JPEG has an end marker but no picture"},
		{"jpeg with bad segment", "\xff\xd8\xff\xe0\x00\x01zz\xff\xd9", "", "jpeg jpg image/jpeg validation_failed", "JPEG has a segment (marker FFE0) of impossible length"},
		{"jpeg with a frame and no scan", "\xff\xd8" + segment(0xc0, "f") + "\xff\xd9", "", "jpeg jpg image/jpeg validation_failed", "JPEG has an end marker but no picture"},
		{"jpeg with tables and no frame", "\xff\xd8" + segment(0xc4, "t") + segment(0xda, "s") + "\xff\xd9", "", "jpeg jpg image/jpeg validation_failed", "JPEG has an end marker but no picture"},
		{"jpeg with zeros for its scan", "\xff\xd8" + segment(0xc0, "f") + segment(0xda, "s") + strings.Repeat("\x00", 99) + "\xff\x42", "", "jpeg jpg image/jpeg validation_failed", "JPEG is damaged: it has a marker FF42"},
		{"only the thumbnail is whole", string(withExif(jpegFile(64))[:len(jpegFile(16))+100]), "", "jpeg jpg image/jpeg validation_failed", "JPEG ends without its end marker"},
		{"png with flipped bit", strings.Replace(pngData, "IDAT", "IDAU", 1), "", "png png image/png validation_failed", "PNG has a damaged chunk IDAU"},
		{"png without a picture", pngData[:33] + pngData[len(pngData)-12:], "", "png png image/png validation_failed", "PNG has an end marker but no picture"},
		{"png with a damaged length", pngData[:33] + "\x80\x00\x00\x00" + pngData[37:], "", "png png image/png validation_failed", "PNG has a chunk of impossible length"},
		{"png with a damaged kind", strings.Replace(pngData, "IDAT", "ID\x00T", 1), "", "png png image/png validation_failed", "PNG has a damaged chunk header"},
		{"png with a damaged note", pngData[:33] + "\x00\x00\x00\x01tEXtnSUM?" + pngData[33:], "", "png png image/png valid", ""},
		{"png of signature only", pngData[:8], "", "png png image/png validation_failed", "PNG ends without its end marker"},
		{"gif without trailer", string(gifFile()[:len(gifFile())-1]) + "", "", "gif gif image/gif not_validated", ""},
		{"gif without a picture", "GIF89a" + strings.Repeat("\x00", 7) + ";", "", "gif gif image/gif validation_failed", "GIF has an end marker but no picture"},
		{"gif with a damaged block", "GIF89a" + strings.Repeat("\x00", 7) + "\x2d", "", "gif gif image/gif validation_failed", "GIF has a damaged block"},
		{"gif with a damaged block behind its picture", string(gifFile()[:len(gifFile())-1]) + "\x2d", "", "gif gif image/gif not_validated", ""},
		{"bmp without size", "BM\x00\x00\x00\x00" + string(bmpFile()[6:]), "", "bmp bmp image/bmp not_validated", ""},
		{"pdf behind a preamble", "\r\n%junk\n" + pdf + strings.Repeat("\n", 2000), "", "pdf pdf application/pdf valid", ""},
		{"pdf with end too early", pdf + strings.Repeat("x", 2100), "", "pdf pdf application/pdf validation_failed", "PDF ends without its end marker"},
		{"pdf cut in a later version", pdf + "7 0 obj <</Type /Page", "", "pdf pdf application/pdf validation_failed", "PDF ends within what follows its end marker"},
		{"pdf cut in a later table", pdf + "xref\n0 1\n0000", "", "pdf pdf application/pdf validation_failed", "PDF ends within what follows its end marker"},
		{"pdf with a later version", pdf + "7 0 obj <</Type /Page>> endobj\nstartxref\n9\n%%EOF\r\n\x00", "", "pdf pdf application/pdf valid", ""},
		{"heic cut between boxes", heic[:strings.Index(heic, "mdat")-4], "", "heic heic image/heic validation_failed", "HEIC lacks the part with its description or content"},
		{"heic cut", heic[:1000], "", "heic heic image/heic validation_failed", `HEIC ends within its part "mdat"`},
		{"heic open end", strings.Replace(heic, "\x00\x00\x0b\xc0mdat", "\x00\x00\x00\x00mdat", 1), "", "heic heic image/heic not_validated", ""},
		{"heic open end cut", strings.Replace(heic, "\x00\x00\x0b\xc0mdat", "\x00\x00\x00\x00mdat", 1)[:1000], "", "heic heic image/heic validation_failed", "HEIC lacks the part with its description or content"},
		{"avif as mif1", atom("ftyp", "mif1\x00\x00\x00\x00avif") + atom("meta", "m") + atom("mdat", "d"), "", "avif avif image/avif valid", ""},
		{"mif2", atom("ftyp", "mif2\x00\x00\x00\x00heic") + atom("meta", "m") + atom("mdat", "d"), "", "heic heic image/heic valid", ""},
		{"mif3 in one box", atom("ftyp", "mif3avif") + atom("mini", "m"), "", "avif avif image/avif valid", ""},
		{"quicktime", atom("ftyp", "qt  \x00\x00\x00\x00") + atom("moov", "m") + atom("mdat", "d"), "", "mov mov video/quicktime valid", ""},
		{"quicktime from mdat", atom("mdat", "data") + atom("moov", "m"), "", "mov mov video/quicktime valid", ""},
		{"quicktime from mdat cut", atom("mdat", "data") + atom("moov", "m")[:8], "", "mov mov video/quicktime validation_failed", `QuickTime ends within its part "moov"`},
		{"quicktime from free", atom("free", "    ") + atom("mdat", "data") + atom("moov", "m"), "", "mov mov video/quicktime valid", ""},
		{"video with unknown box in it", atom("ftyp", "isom\x00\x00\x00\x00") + atom("xxxx", "m") + atom("moov", "m") + atom("mdat", "d"), "", "mp4 mp4 video/mp4 valid", ""},
		{"m4a", atom("ftyp", "M4A \x00\x00\x00\x00") + atom("moov", "m") + atom("mdat", "d"), "", "m4a m4a audio/mp4 valid", ""},
		{"tiff of header only", "II*\x00\x08\x00\x00\x00", "", "tiff tif image/tiff validation_failed", "TIFF ends before its directory"},
		{"avi with a second part", string(riffFile("AVI ")) + string(riffFile("AVIX")), "", "avi avi video/x-msvideo valid", ""},
		{"avi with a second part cut", string(riffFile("AVI ")) + string(riffFile("AVIX")[:900]), "", "avi avi video/x-msvideo validation_failed", "AVI ends after 2916 of its 4032 bytes"},
		{"wav of a pipe", "RIFF\xff\xff\xff\xffWAVEfmt \x01", "", "wav wav audio/wav not_validated", ""},
		{"webm of a live recording", strings.Replace(string(webmFile()), "\x47\xd0", "\xff", 1), "", "webm webm video/webm not_validated", ""},
		{"mp3", "ID3\x04\x00\x00\x00\x00\x02\x00TIT2\x00\x00\x00\x05\x00\x00\x00Song" + strings.Repeat("\x00", 300), "", "mp3 mp3 audio/mpeg not_validated", ""},
		{"doc", string(compoundFile("WordDocument")), "", "doc doc application/msword not_validated", ""},
		{"xls", string(compoundFile("Workbook")), "application/octet-stream", "xls xls application/vnd.ms-excel not_validated", ""},
		{"msg", string(compoundFile("__properties_version1.0")), "", "msg msg application/vnd.ms-outlook not_validated", ""},
		{"docx with its parts late", string(zipFile("customXml/item1.xml", "customXml/item2.xml", "[Content_Types].xml", "word/document.xml")), "", "docx docx application/vnd.openxmlformats-officedocument.wordprocessingml.document valid", ""},
		{"zip with a word folder", string(zipFile("a.txt", "word/b.txt")), "", "zip zip application/zip valid", ""},
		{"empty zip", "PK\x05\x06" + strings.Repeat("\x00", 18), "", "zip zip application/zip valid", ""},
		{"starts as JSON", "{\"\x00\x01", "", "unknown bin application/octet-stream not_validated", ""},
		{"starts as XML", "<order>\x00\x01", "", "unknown bin application/octet-stream not_validated", ""},
		{"rtf", `{\rtf1 hello}`, "application/rtf", "rtf rtf application/rtf not_validated", ""},
		{"eml", "Return-Path: <a@example.com>\r\nDate: Mon, 1 Sep 2025\r\nFrom: a@example.com\r\nSubject: x\r\n\r\nhello", "", "eml eml message/rfc822 not_validated", ""},
		{"header of an answer", "Date: Mon, 1 Sep 2025\r\nContent-Type: text/html\r\n\r\n<html>", "", "text txt text/plain not_validated", ""},
		{"text that starts as bmp", "BMW of the depot", "", "text txt text/plain not_validated", ""},
		{"text that starts as mov", "    free of charge", "", "text txt text/plain not_validated", ""},
		{"zeros as gif", "\x00\x00\x00", "image/gif", "unknown gif image/gif validation_failed", "the content is not the GIF that its type image/gif promises"},
		{"text as jpeg", "upstream error", "image/jpeg", "text jpg image/jpeg validation_failed", "the content is not the JPEG that its type image/jpeg promises"},
		{"zeros as heif", "\x00\x00\x00\x00\x00", "image/heif", "unknown heic image/heif validation_failed", "the content is not the HEIC that its type image/heif promises"},
		{"unknown and hostile type", "\x00\x01", "image/../../etc", "unknown bin application/octet-stream not_validated", ""},
		{"letter cut by the head", strings.Repeat("é", 1535) + "a" + strings.Repeat("é", 9), "text/csv", "text csv text/csv not_validated", ""},
		{"flac by the library", "fLaC\x00\x00\x00\x22", "", "flac flac audio/flac not_validated", ""},
		{"epub by the library", string(bytes.Replace(storedODT(), []byte("vnd.oasis.opendocument.text"), []byte("epub+zip\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 1)), "", "epub epub application/epub+zip valid", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := check([]byte(tt.data), tt.contentType)
			if got := strings.Join([]string{string(v.kind), v.Ext, v.MIME, string(v.Status)}, " "); got != tt.want || v.Reason != tt.reason {
				t.Errorf("got  %s %s\nwant %s %s", got, v.Reason, tt.want, tt.reason)
			}
		})
	}
}

func TestPagesAreNoFiles(t *testing.T) {
	const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	page := "<!DOCTYPE HTML><html><body>sorry</body></html>"
	for name, tt := range map[string]struct {
		data        []byte
		contentType string
	}{
		"html":                  {[]byte(" \n" + page), "image/jpeg"},
		"xhtml":                 {[]byte(xmlHead + `<!-- x --><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"><html xmlns="x">`), ""},
		"html of UTF-8 mark":    {[]byte("\xef\xbb\xbf\r\n<html><body>"), "text/html"},
		"html of two marks":     {[]byte("\xef\xbb\xbf\xef\xbb\xbf<html><body>"), ""},
		"html of UTF-16":        {utf16File("\r\n \r\n"+page, binary.LittleEndian, true), "image/png"},
		"html of big UTF-16":    {utf16File("\n"+page, binary.BigEndian, true), ""},
		"html of UTF-16 unsaid": {utf16File(page, binary.LittleEndian, false), ""},
		"short UTF-16 unsaid":   {utf16File("<br>", binary.LittleEndian, false), ""},
		"the same, big":         {utf16File("<br>", binary.BigEndian, false), ""},
		"some other letters":    {utf16File("<html><title>ЖЖЖЖ</title></html>", binary.LittleEndian, false), ""},
		"some of them, big":     {utf16File("<html><title>ЖЖЖЖ</title></html>", binary.BigEndian, false), ""},
		"html of UTF-32":        {utf32File("\r\n"+page, binary.LittleEndian), "image/png"},
		"html of big UTF-32":    {utf32File(page, binary.BigEndian), ""},
		"error of UTF-32":       {utf32File(`{"error":1}`, binary.LittleEndian), ""},
		"html in gzip":          {gzipFile([]byte(page)), "image/jpeg"},
		"html in gzip, twice":   {gzipFile(gzipFile([]byte(page))), ""},
		"error in gzip":         {gzipFile([]byte("Service unavailable")), "application/gzip"},
		"html in gzip, cut":     {gzipFile([]byte(page))[:45], ""},
		"html in Latin-1":       {[]byte("<html><title>caf\xe9</title>"), ""},
		"blank lines":           {[]byte(strings.Repeat("\r\n", 140_000) + page), "image/jpeg"},
		"center":                {[]byte("<center>nginx</center>"), ""},
		"meta":                  {[]byte("<meta charset=utf-8>"), ""},
		"b":                     {[]byte("<b>Fatal</b>"), ""},
		"br":                    {[]byte("<br />\n<b>Warning</b>"), ""},
		"h2":                    {[]byte("<h2>no</h2>"), ""},
		"div":                   {[]byte("<div id=x>"), ""},
		"style":                 {[]byte("<style>p{}</style>"), ""},
		"comment":               {[]byte("<!-- maintenance -->"), ""},
		"html with NUL":         {[]byte("<html>\x00\x01"), ""},
		"closing tag":           {[]byte("</body></html>"), ""},
		"plain":                 {[]byte("The service is unavailable."), "image/jpeg"},
		"gateway":               {[]byte("upstream connect error or disconnect/reset before headers"), "text/plain"},
		"status line":           {[]byte("503 Service Temporarily Unavailable"), ""},
		"AccessDenied":          {[]byte(xmlHead + "<Error><Code>AccessDenied</Code></Error>"), "application/xml"},
		"SOAP fault":            {[]byte(xmlHead + "<s:Fault>x</s:Fault>"), ""},
		"JSON error":            {[]byte(`{"error":{"code":1}}`), "image/jpeg"},
		"JSON 503":              {[]byte(`{"timestamp":"x","status":503,"path":"/"}`), ""},
		"JSON message":          {[]byte("\n" + `{ "message": "Forbidden" }`), "application/json"},
		"named as a page":       {[]byte("\x01\x02\x03"), "text/html; charset=x"},
		"text named as a page":  {[]byte("hello"), "application/xhtml+xml"},
	} {
		if v := check(tt.data, tt.contentType); !v.Page(true) || !v.Page(false) || v.PageReason() == "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	for name, tt := range map[string]struct {
		data              []byte
		contentType, want string
	}{
		"text":                 {[]byte("Delivered at nine, no damage."), "text/plain", "txt"},
		"csv":                  {[]byte("a,b\n1,2\n"), "text/csv", "csv"},
		"xml":                  {[]byte(xmlHead + "<order><line/></order>"), "application/xml", "xml"},
		"xml behind a comment": {[]byte("<!-- made by hand -->\n<stops><stop/></stops>"), "", "xml"},
		"svg":                  {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), "image/svg+xml", "svg"},
		"json":                 {[]byte(`{"stops":[1,2],"note":"x"}`), "application/json", "json"},
		"unicode":              {utf16File("Delivered at nine", binary.LittleEndian, true), "", "txt"},
		"text in gzip":         {gzipFile([]byte("Delivered at nine")), "application/gzip", "gz"},
		"odd code":             {[]byte("\x01\x02"), "text/plain", "txt"},
	} {
		if v := check(tt.data, tt.contentType); v.Page(true) || !v.Page(false) || v.Ext != tt.want {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if v := check(gzipFile(jpegFile(16)), "image/jpeg"); v.Page(false) || v.Ext != "gz" {
		t.Errorf("a picture in gzip is a page: %+v", v)
	}
	for name, data := range samples() {
		if v := check(data, "text/html"); v.Page(false) || v.Page(true) {
			t.Errorf("%s is a page", name)
		}
	}
}

// failingFile cannot be read behind its beginning.
type failingFile struct{ data []byte }

func (f failingFile) ReadAt(p []byte, at int64) (int, error) {
	if at > 0 {
		return 0, io.ErrClosedPipe
	}
	return copy(p, f.data), nil
}

func TestAnErrorOfReadingIsNoVerdict(t *testing.T) {
	data := slices.Concat(jpegFile(16)[:600], bytes.Repeat([]byte("\x11"), 2*windowSize))
	if v, err := Judge(failingFile{data}, int64(len(data)), ""); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%+v, %v", v, err)
	}
	// A list of 4,294,967,295 places that cannot be read behind its beginning.
	places := "\x02\x00\x00\x00\x44\x00\xff\xff\xff\xff" + strings.Repeat("\x00", windowSize)
	list := []byte(atom("ftyp", "heic\x00\x00\x00\x00") + atom("meta", "\x00\x00\x00\x00"+atom("iloc", places)))
	if v, err := Judge(failingFile{list}, int64(len(list)), ""); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%+v, %v", v, err)
	}
}

// A judgement reads each part of a file a few times at most, whatever the file says.
func TestAHostileFileTakesLittleTime(t *testing.T) {
	item := "\x00\x01\x00\x00\xff\xff" // 65,535 extents without a place
	manyExtents := atom("ftyp", "heic\x00\x00\x00\x00") + atom("meta", "\x00\x00\x00\x00"+
		atom("iloc", "\x00\x00\x00\x00\x00\x00\xff\xff"+strings.Repeat(item, 65_535)))
	manyOfVersion1 := atom("ftyp", "heic\x00\x00\x00\x00") + atom("meta", "\x00\x00\x00\x00"+
		atom("iloc", "\x01\x00\x00\x00\x00\x00\xff\xff"+strings.Repeat("\x00\x01\x00\x00\x00\x00\xff\xff", 65_535)))
	small := atom("iloc", "\x00\x00\x00\x00\x44\x00\xff\xff")
	manyLists := atom("ftyp", "heic\x00\x00\x00\x00") + atom("meta", "\x00\x00\x00\x00"+strings.Repeat(small, 100_000))
	directory := string(tiffFile(binary.LittleEndian, false)[8:46])
	manyDirectories := "II*\x00\x08\x00\x00\x00" + strings.Repeat(directory, 50_000)
	// The header of the second box reaches over the end of its list, and its size leads back
	// to the first box.
	back := "\x00\x00\x00\x01skip" + "\xff\xff\xff\xff\xff\xff\xff\xf8"
	circle := atom("ftyp", "heic\x00\x00\x00\x00") + atom("meta", "\x00\x00\x00\x00"+atom("free", "")+back[:8]) + back[8:]
	for name, data := range map[string]string{"extents": manyExtents, "extents of version 1": manyOfVersion1, "lists": manyLists, "directories": manyDirectories, "circle": circle, "frames": "GIF89a" + strings.Repeat("\x21\x00\x00", 500_000)} {
		started := time.Now()
		check([]byte(data), "")
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("%s: %s", name, took)
		}
	}
}

func FuzzJudge(f *testing.F) {
	for _, data := range samples() {
		f.Add(data[:min(len(data), 4096)], uint16(0))
		f.Add(data[:min(len(data), 4096)], uint16(40))
	}
	f.Add(compoundFile("WordDocument"), uint16(1))
	f.Add([]byte("<html>"), uint16(1))
	f.Add(utf16File("<html>", binary.LittleEndian, true), uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		v := check(data, "image/jpeg")
		if v.Ext == "" || v.MIME == "" || v.Status == "" || (v.Reason == "") != (v.Status != storage.ValidationFailed) || v.Proved && v.Status != storage.ValidationValid {
			t.Errorf("incomplete verdict %+v", v)
		}
		_ = check(data[:len(data)-min(int(cut), len(data))], "")
	})
}

func BenchmarkJudge(b *testing.B) {
	img := photo(1200)
	for name, data := range map[string][]byte{"jpeg": jpegFile(1200), "png": encoded(func(w io.Writer) error { return png.Encode(w, img) })} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if v := check(data, ""); v.Status != storage.ValidationValid {
					b.Fatal(v)
				}
			}
		})
	}
}
