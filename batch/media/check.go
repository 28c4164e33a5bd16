package media

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"io"
	"mime"
	"strings"

	"noggin/storage"
)

// Verdict is what [Judge] found.
type Verdict struct {
	kind   fileKind
	Ext    string // file extension without a dot
	MIME   string
	Status storage.Validation // never suspect: the caller decides that
	Reason string             // why the file is not whole, for people
	// Proved says that the file ends where its content says. Otherwise it may lack
	// bytes at its end, unless the answer told its length.
	Proved bool

	page bool // a page of a server, whatever was asked for
	text bool // a text, XML or JSON file: a page, unless a document was asked for
}

// Page tells whether the content is the page of a server, and not a file: HTML, or text
// that is an error. Where a picture is expected any text, XML or JSON is one. A page is
// never kept, not even as suspect.
func (v Verdict) Page(document bool) bool { return v.page || v.text && !document }

// PageReason says what a page is, for people.
func (v Verdict) PageReason() string {
	if v.kind == kindGzip {
		return "a page or text in gzip where a picture or document should be"
	}
	return cmp.Or(formatOf(v.kind).name, "a page") + " where a picture or document should be"
}

// Unknown tells that nothing in the content says what it is.
func (v Verdict) Unknown() bool { return v.kind == kindUnknown }

// Judge finds out what kind of file it is, and whether its end is there. contentType is
// the header of the answer. It counts only where the content does not tell the kind. The
// error is one of reading the file.
func Judge(file io.ReaderAt, size int64, contentType string) (Verdict, error) {
	r := &reader{file: file, size: size}
	defer r.close()
	declared, _, _ := mime.ParseMediaType(contentType)
	if size == 0 {
		v := ofType(kindEmpty, declared)
		v.Status, v.Reason = storage.ValidationFailed, "the file is empty"
		return v, nil
	}
	return judgeContent(r, declared, gzipLayers)
}

// gzipLayers is how often what gzip holds is looked into.
const gzipLayers = 3

func judgeContent(r *reader, declared string, layers int) (Verdict, error) {
	h := newHead(r)
	f := detect(h)
	v := Verdict{kind: f.kind, Ext: f.ext, MIME: f.mime, Status: storage.ValidationNone}
	switch f.kind {
	case kindUnknown, kindText:
		v = ofType(f.kind, declared)
		v.page = isPageType(declared) || f.kind == kindText && isError(h.lowerText())
	case kindHTML:
		v.page = true
	case kindJSON, kindXML, kindSVG:
		v.page = isError(h.lowerText()) || isPageType(declared)
	}
	v.text = f.text || f.kind == kindUnknown && isTextType(declared)
	if f.kind == kindGzip && layers > 0 {
		v.page, v.text = pageInGzip(r, layers)
	}
	if f.prove != nil {
		r.seek(0)
		end := f.prove(r)
		switch {
		case end.fault != "":
			v.Status, v.Reason = storage.ValidationFailed, f.name+" "+end.fault
		case !end.open:
			v.Status, v.Proved = storage.ValidationValid, !end.more
		}
	}
	return v, r.err
}

// pageInGzip tells whether the beginning of what gzip holds is that of a page or a text. A
// server may compress a page and not say so.
func pageInGzip(r *reader, layers int) (page, text bool) {
	z, err := gzip.NewReader(io.NewSectionReader(r.file, 0, r.size))
	if err != nil {
		return false, false // whether it is whole is not for here
	}
	beginning := make([]byte, windowSize)
	n, _ := io.ReadFull(z, beginning) // what a cut file holds counts as well
	if n == 0 {
		return false, false
	}
	v, _ := judgeContent(&reader{file: bytes.NewReader(beginning[:n]), size: int64(n)}, "", layers-1)
	return v.page, v.text
}

// ofType takes the kind from the content type. The check fails if that names a format
// which the content would show.
func ofType(kind fileKind, declared string) Verdict {
	v := Verdict{kind: kind, Ext: "bin", MIME: "application/octet-stream", Status: storage.ValidationNone}
	promised := formatOfType(declared)
	if promised.ext != "" {
		v.Ext, v.MIME = promised.ext, declared
	} else if kind == kindText {
		f := formatOf(kindText)
		v.Ext, v.MIME = f.ext, f.mime
	}
	if promised.prove != nil {
		v.Status, v.Reason = storage.ValidationFailed, "the content is not the "+promised.name+" that its type "+declared+" promises"
	}
	return v
}

func isPageType(declared string) bool {
	return declared == "text/html" || declared == "application/xhtml+xml"
}

func isTextType(declared string) bool {
	return strings.HasPrefix(declared, "text/") || strings.HasSuffix(declared, "/json") || strings.HasSuffix(declared, "/xml") ||
		strings.HasSuffix(declared, "+json") || strings.HasSuffix(declared, "+xml")
}
