package batch

import (
	"bytes"
	"encoding/binary"
	"mime"
	"regexp"
	"strings"
	"unicode/utf8"
)

// mediaKind names what a file is by its content.
type mediaKind string

const (
	kindEmpty   mediaKind = "empty"
	kindUnknown mediaKind = "unknown"
	kindText    mediaKind = "text"
	kindHTML    mediaKind = "html"
	kindJSON    mediaKind = "json"
	kindJPEG    mediaKind = "jpeg"
	kindPNG     mediaKind = "png"
	kindGIF     mediaKind = "gif"
	kindPDF     mediaKind = "pdf"
	kindHEIC    mediaKind = "heic"
	kindAVIF    mediaKind = "avif"
	kindWebP    mediaKind = "webp"
	kindMP4     mediaKind = "mp4"
	kindMOV     mediaKind = "mov"
	kindTIFF    mediaKind = "tiff"
	kindBMP     mediaKind = "bmp"
)

// Values of attachments.attachment_validation_status. That a broken file is
// kept as `suspect` is for the caller to decide.
const (
	validationValid   = "valid"
	validationFailed  = "validation_failed"
	validationSuspect = "suspect"
	validationNone    = "not_validated"
)

// mediaVerdict is what mediaCheck found.
type mediaVerdict struct {
	Kind   mediaKind
	Ext    string // file extension without a dot
	MIME   string
	Status string // validationValid, validationFailed or validationNone
	Reason string // why validation failed, for people
}

// ErrorPage tells whether this is no attachment at all but what a proxy or the
// platform in maintenance answers with status 200. It is a broken answer, never
// kept, not even as suspect.
func (v mediaVerdict) ErrorPage() bool { return v.Kind == kindHTML || v.Kind == kindJSON }

// headSize is how much of a file's beginning decides its kind: a PDF's header
// may stand anywhere in it.
const headSize = 1024

// mediaCheck tells, while a download streams through it, what the content is
// and whether it is whole: the end of a JPEG, PNG or PDF is there. It keeps a
// few kilobytes, whatever the file's size, and costs little beside a SHA-256.
// How the bytes are cut into writes makes no difference.
type mediaCheck struct {
	head []byte
	kind mediaKind // empty until the head is complete
	walk walker
	size int64
}

// Write takes the next bytes; it never fails.
func (m *mediaCheck) Write(p []byte) (int, error) {
	n := len(p)
	m.size += int64(n)
	if m.kind == "" {
		k := min(headSize-len(m.head), len(p))
		m.head = append(m.head, p[:k]...)
		p = p[k:]
		if len(m.head) == headSize {
			m.begin()
		}
	}
	if m.walk != nil && len(p) > 0 {
		m.walk.write(p)
	}
	return n, nil
}

// Reset forgets everything, for another attempt.
func (m *mediaCheck) Reset() { *m = mediaCheck{head: m.head[:0]} }

func (m *mediaCheck) begin() {
	m.kind = detectKind(m.head)
	if m.walk = newWalker(m.kind); m.walk != nil {
		m.walk.write(m.head)
	}
}

// Verdict judges what was written, which has to be everything. contentType is
// the answer's header: it names what the content does not tell.
func (m *mediaCheck) Verdict(contentType string) mediaVerdict {
	if m.kind == "" {
		m.begin()
	}
	if m.kind == kindUnknown || m.kind == kindText || m.kind == kindEmpty {
		return judgeUnknown(m.kind, contentType)
	}
	f := mediaFormats[m.kind]
	v := mediaVerdict{Kind: m.kind, Ext: f.ext, MIME: f.mime, Status: validationNone}
	switch {
	case v.ErrorPage():
		v.Status, v.Reason = validationFailed, strings.ToUpper(f.ext)+" where a picture or document should be"
	case m.walk != nil:
		v.Status = validationValid
		if v.Reason = m.walk.fault(m.size); v.Reason != "" {
			v.Status, v.Reason = validationFailed, f.name+" "+v.Reason
		}
	}
	return v
}

// judgeUnknown goes by the content type, unless that promises something whose
// content would have been recognised.
func judgeUnknown(kind mediaKind, contentType string) mediaVerdict {
	v := mediaVerdict{Kind: kind, Ext: "bin", MIME: "application/octet-stream", Status: validationNone}
	declared, _, _ := mime.ParseMediaType(contentType)
	if ext, ok := plainTypes[declared]; ok {
		v.Ext, v.MIME = ext, declared
	} else if kind == kindText {
		v.Ext, v.MIME = "txt", "text/plain"
	}
	if kind == kindEmpty {
		v.Status, v.Reason = validationFailed, "the file is empty"
		return v
	}
	for known, f := range mediaFormats {
		if f.ext == v.Ext && newWalker(known) != nil {
			v.Status, v.Reason = validationFailed, "the content is not the "+f.name+" that its type "+declared+" promises"
		}
	}
	return v
}

// mediaFormats says how each recognised kind is called, and by whom.
var mediaFormats = map[mediaKind]struct{ name, ext, mime string }{
	kindHTML: {"HTML", "html", "text/html"},
	kindJSON: {"JSON", "json", "application/json"},
	kindJPEG: {"JPEG", "jpg", "image/jpeg"},
	kindPNG:  {"PNG", "png", "image/png"},
	kindGIF:  {"GIF", "gif", "image/gif"},
	kindPDF:  {"PDF", "pdf", "application/pdf"},
	kindHEIC: {"HEIC", "heic", "image/heic"},
	kindAVIF: {"AVIF", "avif", "image/avif"},
	kindWebP: {"WebP", "webp", "image/webp"},
	kindMP4:  {"MP4", "mp4", "video/mp4"},
	kindMOV:  {"QuickTime", "mov", "video/quicktime"},
	kindTIFF: {"TIFF", "tif", "image/tiff"},
	kindBMP:  {"BMP", "bmp", "image/bmp"},
}

// plainTypes are the content types that may name an extension on their own.
var plainTypes = map[string]string{
	"image/jpeg":         "jpg",
	"image/png":          "png",
	"image/gif":          "gif",
	"image/heic":         "heic",
	"image/heif":         "heic",
	"image/avif":         "avif",
	"image/webp":         "webp",
	"image/tiff":         "tif",
	"image/bmp":          "bmp",
	"application/pdf":    "pdf",
	"application/zip":    "zip",
	"application/msword": "doc",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
	"application/vnd.ms-excel": "xls",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
	"text/plain":      "txt",
	"text/csv":        "csv",
	"audio/mpeg":      "mp3",
	"audio/mp4":       "m4a",
	"audio/wav":       "wav",
	"video/mp4":       "mp4",
	"video/quicktime": "mov",
	"video/webm":      "webm",
}

// detectKind looks at the first headSize bytes, or all there are.
func detectKind(head []byte) mediaKind {
	starts := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case len(head) == 0:
		return kindEmpty
	case starts("\xff\xd8\xff"):
		return kindJPEG
	case starts("\x89PNG\r\n\x1a\n"):
		return kindPNG
	case starts("GIF87a"), starts("GIF89a"):
		return kindGIF
	case starts("RIFF") && len(head) >= 12 && string(head[8:12]) == "WEBP":
		return kindWebP
	case starts("II*\x00"), starts("MM\x00*"):
		return kindTIFF
	case starts("BM") && len(head) >= 14 && string(head[6:10]) == "\x00\x00\x00\x00":
		return kindBMP
	case len(head) >= 12 && string(head[4:8]) == "ftyp":
		return brandKind(head)
	case len(head) >= 12 && (string(head[4:8]) == "moov" || string(head[4:8]) == "wide"):
		return kindMOV // from before there were brands
	case bytes.Contains(head, []byte("%PDF-")):
		return kindPDF
	}
	return textKind(head)
}

// brandKind goes by the brands in the first box of an ISO base media file.
func brandKind(head []byte) mediaKind {
	end := min(uint32(len(head)), max(binary.BigEndian.Uint32(head), 12))
	switch string(head[8:12]) {
	case "heic", "heix", "heim", "heis", "hevc", "hevx":
		return kindHEIC
	case "avif", "avis":
		return kindAVIF
	case "mif1", "msf1": // pictures of either coding
		if bytes.Contains(head[12:end], []byte("avif")) {
			return kindAVIF
		}
		return kindHEIC
	case "qt  ":
		return kindMOV
	}
	return kindMP4
}

// jsonStart leaves RTF documents out, which begin with a brace too.
var jsonStart = regexp.MustCompile(`^(\{\s*["}]|\[\s*[\[\]{"0-9])`)

// textKind tells pages and JSON from other text and from what is no text.
func textKind(head []byte) mediaKind {
	text := bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	if len(head) == headSize {
		// The cut may have gone through a letter.
		for i := 0; i < utf8.UTFMax && !utf8.Valid(text); i++ {
			text = text[:len(text)-1]
		}
	}
	if !utf8.Valid(text) {
		return kindUnknown
	}
	for _, c := range text {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' {
			return kindUnknown
		}
	}
	text = bytes.TrimSpace(text)
	lower := bytes.ToLower(text[:min(len(text), 64)])
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<body", "<script", "<title", "<h1", "<p>", "<!--"} {
		if bytes.HasPrefix(lower, []byte(tag)) {
			return kindHTML
		}
	}
	switch {
	case bytes.HasPrefix(lower, []byte("<?xml")) && bytes.Contains(text, []byte("<html")):
		return kindHTML
	case jsonStart.Match(text):
		return kindJSON
	}
	return kindText
}
