package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"noggin/storage"
)

// leafFormat names the format of a leaf. Another format gets another number, and the
// leaves of this one stay as they are.
const leafFormat = "noggin-leaf/1"

// The kinds of a leaf. The first three are those of a version.
const (
	kindVersion = "version"
	kindOlder   = "older"   // an answer from before the current version
	kindReduced = "reduced" // an answer with nothing but $meta
	kindLog     = "log"     // the first leaf of a log that begins after another one
)

// Where the bytes come from that body_sha256 is the hash of.
const (
	fromAPI      = "api"      // as they were received
	fromDatabase = "database" // from the row of a record that an older noggin stored
)

// leaf is what the log keeps of a version of a record. Its text is the canonical JSON of
// RFC 8785: one line, the keys in alphabetical order, no space, no needless escape.
type leaf struct {
	Attachments []leafFile `json:"attachments"`
	BodySHA256  string     `json:"body_sha256"`
	BodySize    int64      `json:"body_size"`
	BodySource  string     `json:"body_source"`
	Complete    bool       `json:"complete"` // every attachment of the version was mirrored
	FetchedAt   string     `json:"fetched_at"`
	Format      string     `json:"format"`
	Kind        string     `json:"kind"`
	ModifiedAt  string     `json:"modified_at"` // at the platform; "": the answer did not say
	SealedAt    string     `json:"sealed_at"`
	SID         string     `json:"sid"` // the platform's key of the version
	Tip         string     `json:"tip"`
}

// leafFile is an attachment in a leaf. Attachments are in the order of their tips, then
// of their hashes.
type leafFile struct {
	DownloadedAt string `json:"downloaded_at"`
	SHA256       string `json:"sha256"`
	Size         int64  `json:"size"`
	Tip          string `json:"tip"`
}

// logLeaf is the first leaf of a log that begins after another one.
type logLeaf struct {
	Format   string `json:"format"`
	Kind     string `json:"kind"`
	Origin   string `json:"origin"`
	Previous string `json:"previous"` // the last checkpoint of the log before, "" if none is left
	Reason   string `json:"reason"`
	SealedAt string `json:"sealed_at"`
}

// timeText is a time in a leaf: UTC, always with microseconds, as the database keeps them.
func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// firstReceived is when a body was first received, as leaves say; "": none has it.
func firstReceived(leaves []leaf, body string) (first string) {
	for _, l := range leaves {
		if l.BodySHA256 == body && (first == "" || l.FetchedAt < first) {
			first = l.FetchedAt
		}
	}
	return first
}

// replacedBy returns the last leaf of a current version, if it has another body. surely: body
// is sealed, and cannot be current again, as it was modified before the other (storage.Store).
func replacedBy(leaves []leaf, body string) (newer *leaf, surely bool) {
	for i, l := range leaves {
		if l.Complete {
			newer = &leaves[i]
		}
	}
	own := lastOf(leaves, body)
	switch {
	case newer == nil || newer.BodySHA256 == body:
		return nil, false
	case own < 0:
		return newer, false
	}
	fetched, err := time.Parse(time.RFC3339, newer.FetchedAt)
	ahead := fetched.Add(24 * time.Hour) // a time behind it decides nothing
	modified := leaves[own].ModifiedAt
	return newer, err == nil && modified != "" && modified < newer.ModifiedAt && newer.ModifiedAt < timeText(&ahead)
}

// newLeaf makes the leaf of a version. files are those of the record.
func newLeaf(v storage.SealVersion, files []storage.SealFile, now time.Time) leaf {
	sum := sha256.Sum256(v.Body)
	l := leaf{
		Attachments: []leafFile{}, BodySHA256: hex.EncodeToString(sum[:]), BodySize: int64(len(v.Body)), BodySource: fromAPI,
		Complete: v.Current && v.Complete && v.Kind == kindVersion, FetchedAt: timeText(&v.FetchedAt), Format: leafFormat, Kind: v.Kind,
		ModifiedAt: timeText(v.ModifiedAt), SealedAt: timeText(&now), SID: v.SID, Tip: v.Tip,
	}
	if v.FromRow {
		l.BodySource = fromDatabase
	}
	for _, f := range files {
		current := f.Last == nil && f.Complete && (v.Current || f.First <= v.Version)
		// Also of the current version, whose attachment may have got other bytes.
		former := f.Last != nil && f.First <= v.Version && v.Version <= *f.Last
		// An answer that never was current has those that nothing before it names.
		if v.Kind == kindVersion && (current || former) || former && f.First == v.Version {
			l.Attachments = append(l.Attachments, leafFile{timeText(f.DownloadedAt), f.SHA256, f.Size, f.Tip})
		}
	}
	slices.SortFunc(l.Attachments, func(a, b leafFile) int { return strings.Compare(a.Tip+" "+a.SHA256, b.Tip+" "+b.SHA256) })
	return l
}

// text is the canonical JSON of the leaf.
func (l leaf) text() string {
	var w jsonLine
	w.open("attachments", '[')
	for i, a := range l.Attachments {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte('{')
		w.text("downloaded_at", a.DownloadedAt)
		w.text("sha256", a.SHA256)
		w.number("size", a.Size)
		w.text("tip", a.Tip)
		w.WriteByte('}')
	}
	w.WriteByte(']')
	w.text("body_sha256", l.BodySHA256)
	w.number("body_size", l.BodySize)
	w.text("body_source", l.BodySource)
	w.key("complete")
	w.WriteString(strconv.FormatBool(l.Complete))
	w.text("fetched_at", l.FetchedAt)
	w.text("format", l.Format)
	w.text("kind", l.Kind)
	w.text("modified_at", l.ModifiedAt)
	w.text("sealed_at", l.SealedAt)
	w.text("sid", l.SID)
	w.text("tip", l.Tip)
	return "{" + w.String() + "}"
}

func (l logLeaf) text() string {
	var w jsonLine
	w.text("format", l.Format)
	w.text("kind", l.Kind)
	w.text("origin", l.Origin)
	w.text("previous", l.Previous)
	w.text("reason", l.Reason)
	w.text("sealed_at", l.SealedAt)
	return "{" + w.String() + "}"
}

// claim is the SHA-256 of what the leaf claims, without the times. What was claimed once
// is not sealed again.
func (l leaf) claim() []byte {
	l.FetchedAt, l.ModifiedAt, l.SealedAt = "", "", ""
	l.Attachments = slices.Clone(l.Attachments)
	for i := range l.Attachments {
		l.Attachments[i].DownloadedAt = ""
	}
	sum := sha256.Sum256([]byte(l.text()))
	return sum[:]
}

// parseLeaf reads the text of a leaf. It refuses a text that is not exactly how noggin
// writes it, so that a text says one thing only.
func parseLeaf(text string) (leaf, error) {
	var l leaf
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return l, fmt.Errorf("read a leaf: %w", err)
	}
	switch {
	case l.Format != leafFormat:
		return l, fmt.Errorf("the leaf has the format %.40q; this program knows %s", l.Format, leafFormat)
	case l.Kind == kindLog:
		var begin logLeaf
		if err := json.Unmarshal([]byte(text), &begin); err != nil || begin.text() != text {
			return l, fmt.Errorf("the leaf is not in its canonical form: %.60s…", text)
		}
	case l.text() != text:
		return l, fmt.Errorf("the leaf is not in its canonical form: %.60s…", text)
	}
	return l, nil
}

// jsonLine writes the members of a JSON object.
type jsonLine struct{ strings.Builder }

func (w *jsonLine) key(name string) {
	if s := w.String(); s != "" && s[len(s)-1] != '{' {
		w.WriteByte(',')
	}
	w.quote(name)
	w.WriteByte(':')
}

func (w *jsonLine) open(name string, bracket byte) {
	w.key(name)
	w.WriteByte(bracket)
}

func (w *jsonLine) text(name, value string) {
	w.key(name)
	w.quote(value)
}

func (w *jsonLine) number(name string, value int64) {
	w.key(name)
	w.WriteString(strconv.FormatInt(value, 10))
}

// quote writes a string as RFC 8785 does: only what JSON demands is escaped, in the short
// form where there is one.
func (w *jsonLine) quote(s string) {
	w.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.WriteByte('\\')
			w.WriteRune(r)
		case r < ' ':
			if at := strings.IndexRune("\b\t\n\f\r", r); at >= 0 {
				w.WriteByte('\\')
				w.WriteByte("btnfr"[at])
			} else {
				_, _ = fmt.Fprintf(w, `\u%04x`, r) // to a Builder, which cannot fail
			}
		default:
			w.WriteRune(r) // U+FFFD for what is not UTF-8
		}
	}
	w.WriteByte('"')
}

// isLeafText reports whether a text can be a line of a file of leaves.
func isLeafText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsAny(text, "\r\n")
}
