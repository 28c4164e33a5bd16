package media

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/gabriel-vasile/mimetype"
)

// fileKind is the kind of a row of formats, kindEmpty or kindUnknown.
type fileKind string

const (
	kindEmpty   fileKind = "empty"
	kindUnknown fileKind = "unknown"
	kindText    fileKind = "text"
	kindHTML    fileKind = "html"
	kindJSON    fileKind = "json"
	kindXML     fileKind = "xml"
	kindSVG     fileKind = "svg"
	kindGzip    fileKind = "gz"
)

// format describes one kind of file.
type format struct {
	kind fileKind
	name string // for people
	ext  string // file extension without a dot
	mime string
	// begins recognises the kind. Where it is nil, only the content type names the kind.
	begins func(*head) bool
	// prove looks for the end of the file. Where it is nil, files of the kind are not
	// validated.
	prove func(*reader) ending
	text  bool // a file that the page of a server may be
}

// ending is what the proof of a file's end found.
type ending struct {
	fault string // why the file is not whole: a phrase that goes after the format's name
	open  bool   // the file does not say where its end is
	more  bool   // behind the proved end something follows, or is said to
}

// formats holds every kind. The first row whose begins is true of a file is its kind.
var formats = []format{
	{"jpeg", "JPEG", "jpg", "image/jpeg", prefix("\xff\xd8\xff"), proveJPEG, false},
	{"png", "PNG", "png", "image/png", prefix("\x89PNG\r\n\x1a\n"), provePNG, false},
	{"gif", "GIF", "gif", "image/gif", prefix("GIF87a", "GIF89a"), proveGIF, false},
	{"webp", "WebP", "webp", "image/webp", isRIFF("WEBP"), proveRIFF, false},
	{"tiff", "TIFF", "tif", "image/tiff", prefix("II*\x00", "MM\x00*"), proveTIFF, false},
	{"tiff", "TIFF", "tif", "image/tiff", prefix("II+\x00\x08", "MM\x00+\x00\x08"), nil, false},
	{"bmp", "BMP", "bmp", "image/bmp", isBMP, proveBMP, false},
	{"avif", "AVIF", "avif", "image/avif", isAVIF, provePicture, false},
	{"heic", "HEIC", "heic", "image/heic", isHEIC, provePicture, false},
	{"heic", "HEIC", "heic", "image/heif", nil, provePicture, false},
	{"cr3", "Canon raw", "cr3", "image/x-canon-cr3", brand("crx "), proveVideo, false},
	{"mov", "QuickTime", "mov", "video/quicktime", isQuickTime, proveVideo, false},
	{"m4a", "MP4 audio", "m4a", "audio/mp4", brand("M4A ", "M4B ", "M4P "), proveVideo, false},
	{"3gp", "3GP", "3gp", "video/3gpp", brand("3gp", "3g2", "3ge", "3gg", "3gs"), proveVideo, false},
	{"mp4", "MP4", "mp4", "video/mp4", brand(""), proveVideo, false},
	{"wav", "WAV", "wav", "audio/wav", isRIFF("WAVE"), proveRIFF, false},
	{"avi", "AVI", "avi", "video/x-msvideo", isRIFF("AVI "), proveRIFF, false},
	{"webm", "WebM", "webm", "video/webm", detected("video/webm"), proveMatroska, false},
	{"mkv", "Matroska", "mkv", "video/x-matroska", detected("video/matroska"), proveMatroska, false},
	{"pdf", "PDF", "pdf", "application/pdf", isPDF, provePDF, false},
	{"docx", "Word", "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", office("word/"), proveZIP, false},
	{"xlsx", "Excel", "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", office("xl/"), proveZIP, false},
	{"pptx", "PowerPoint", "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", office("ppt/"), proveZIP, false},
	{"odt", "OpenDocument text", "odt", "application/vnd.oasis.opendocument.text", detected("application/vnd.oasis.opendocument.text"), proveZIP, false},
	{"ods", "OpenDocument table", "ods", "application/vnd.oasis.opendocument.spreadsheet", detected("application/vnd.oasis.opendocument.spreadsheet"), proveZIP, false},
	{kindGzip, "gzip", "gz", "application/gzip", prefix("\x1f\x8b\x08"), nil, false},
	{"zip", "ZIP", "zip", "application/zip", detected("application/zip"), proveZIP, false},
	{"doc", "Word", "doc", "application/msword", stream("WordDocument"), nil, false},
	{"xls", "Excel", "xls", "application/vnd.ms-excel", stream("Workbook", "Book"), nil, false},
	{"ppt", "PowerPoint", "ppt", "application/vnd.ms-powerpoint", stream("PowerPoint Document"), nil, false},
	{"msg", "Outlook message", "msg", "application/vnd.ms-outlook", stream("__properties_version1.0"), nil, false},
	{"mp3", "MP3", "mp3", "audio/mpeg", detected("audio/mpeg"), nil, false},
	{"rtf", "RTF", "rtf", "application/rtf", prefix(`{\rtf`), nil, false},
	{"eml", "e-mail", "eml", "message/rfc822", isMail, nil, false},
	{kindHTML, "HTML", "html", "text/html", isHTML, nil, true},
	{kindSVG, "SVG", "svg", "image/svg+xml", detected("image/svg+xml"), nil, true},
	{kindXML, "XML", "xml", "text/xml", isXML, nil, true},
	{kindJSON, "JSON", "json", "application/json", isJSON, nil, true},
	{"vcf", "vCard", "vcf", "text/vcard", detected("text/vcard"), nil, true},
	{"ics", "calendar", "ics", "text/calendar", detected("text/calendar"), nil, true},
	{kindText, "text", "txt", "text/plain", isText, nil, true},
	{"csv", "CSV", "csv", "text/csv", nil, nil, true},
}

// formatOf is the row of a kind. For an empty or unknown file it is empty.
func formatOf(kind fileKind) format {
	return findFormat(func(f format) bool { return f.kind == kind })
}

// formatOfType is the row that a content type names, or an empty one. It is never HTML,
// XML or JSON, which only the content can show.
func formatOfType(contentType string) format {
	return findFormat(func(f format) bool {
		return f.mime == contentType && (!f.text || f.begins == nil || f.kind == kindText)
	})
}

func findFormat(is func(format) bool) format {
	if i := slices.IndexFunc(formats, is); i >= 0 {
		return formats[i]
	}
	return format{}
}

// detect returns the row of a file, or one made of what the library says.
func detect(h *head) format {
	if f := findFormat(func(f format) bool { return f.begins != nil && f.begins(h) }); f.kind != "" {
		return f
	}
	ext := strings.TrimPrefix(h.library().Extension(), ".")
	if ext == "" || h.library().Is("application/octet-stream") {
		return format{kind: kindUnknown}
	}
	f := format{kind: fileKind(ext), name: strings.ToUpper(ext), ext: ext, mime: h.library().String()}
	for parent := h.library().Parent(); parent != nil; parent = parent.Parent() {
		if parent.Is("application/zip") {
			f.prove = proveZIP
		}
	}
	return f
}

// headSize is how many bytes at the beginning of a file decide its kind.
const headSize = 3072

// head is the beginning of a file. What takes longer than the rows of pictures is found
// when the first row asks for it.
type head struct {
	bytes   []byte                // the first headSize bytes, or all of a shorter file
	text    func() ([]byte, bool) // see textOf
	library func() *mimetype.MIME
	file    *reader // for kinds that are told deeper in the file
}

func newHead(r *reader) *head {
	h := &head{bytes: bytes.Clone(r.peek(int(min(headSize, r.left())))), file: r}
	h.text = sync.OnceValues(func() ([]byte, bool) { return textOf(r, h.bytes) })
	h.library = sync.OnceValue(func() *mimetype.MIME { return mimetype.Detect(h.bytes) })
	return h
}

func isText(h *head) bool {
	_, ok := h.text()
	return ok
}

// lowerText is the text, or what a file without text begins with.
func (h *head) lowerText() []byte {
	text, _ := h.text()
	return text
}

// prefix recognises kinds that begin with one of the magics.
func prefix(magics ...string) func(*head) bool {
	return func(h *head) bool {
		return slices.ContainsFunc(magics, func(magic string) bool { return bytes.HasPrefix(h.bytes, []byte(magic)) })
	}
}

// detected recognises kinds by what the library says.
func detected(mime string) func(*head) bool {
	return func(h *head) bool { return h.library().Is(mime) }
}

func isRIFF(kind string) func(*head) bool {
	return func(h *head) bool {
		return bytes.HasPrefix(h.bytes, []byte("RIFF")) && len(h.bytes) >= 12 && string(h.bytes[8:12]) == kind
	}
}

func isBMP(h *head) bool {
	return bytes.HasPrefix(h.bytes, []byte("BM")) && len(h.bytes) >= 14 && string(h.bytes[6:10]) == "\x00\x00\x00\x00"
}

// isPDF allows for a preamble, as readers do.
func isPDF(h *head) bool { return bytes.Contains(h.bytes[:min(len(h.bytes), 1024)], []byte("%PDF-")) }

func isMail(h *head) bool {
	return h.library().Is("message/rfc822") && (bytes.HasPrefix(h.lowerText(), []byte("from: ")) || bytes.Contains(h.lowerText(), []byte("\nfrom: ")))
}

// brand recognises ISO base media files by the beginning of their first brand.
func brand(brands ...string) func(*head) bool {
	return func(h *head) bool {
		return len(h.bytes) >= 12 && string(h.bytes[4:8]) == "ftyp" &&
			slices.ContainsFunc(brands, func(b string) bool { return strings.HasPrefix(string(h.bytes[8:12]), b) })
	}
}

// isOfEitherCoding is true for pictures that are HEIC unless a further brand says AVIF.
func isOfEitherCoding(h *head) bool { return brand("mif1", "mif2", "mif3", "msf1", "miaf")(h) }

func isAVIF(h *head) bool {
	if isOfEitherCoding(h) {
		end := min(uint32(len(h.bytes)), max(binary.BigEndian.Uint32(h.bytes), 12))
		return bytes.Contains(h.bytes[12:end], []byte("avif"))
	}
	return brand("avif", "avis")(h)
}

// isHEIC relies on the row of AVIF, which comes first.
func isHEIC(h *head) bool {
	return isOfEitherCoding(h) || brand("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs")(h)
}

// isQuickTime also recognises files without brands, which begin with any of their parts.
func isQuickTime(h *head) bool {
	if len(h.bytes) < 12 || isText(h) {
		return brand("qt  ")(h)
	}
	size := binary.BigEndian.Uint32(h.bytes)
	plausible := size == 1 || size >= 8
	return brand("qt  ")(h) || plausible && slices.Contains([]string{"moov", "mdat", "free", "skip", "wide", "pnot"}, string(h.bytes[4:8]))
}
