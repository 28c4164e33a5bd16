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

	"noggin/batch/seal/canonical"
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

// history is what the logs say of a record, in a form that many versions do not make slow.
type history struct {
	leaves   []leaf             // the oldest first
	last     map[string]int     // the index of the last leaf of a body: an earlier one names bytes that were replaced
	received map[string]string  // when a body was first received
	files    map[[2]string]bool // the tips of attachments, each with a SHA-256 that it had
	newest   *leaf              // the last one of a current version
}

func newHistory(leaves []leaf) *history {
	h := &history{leaves, map[string]int{}, map[string]string{}, map[[2]string]bool{}, nil}
	for i := range leaves {
		l := &leaves[i]
		if first := h.received[l.BodySHA256]; first == "" || l.FetchedAt < first {
			h.received[l.BodySHA256] = l.FetchedAt
		}
		h.last[l.BodySHA256] = i
		for _, a := range l.Attachments {
			h.files[[2]string{a.Tip, a.SHA256}] = true
		}
		if l.Complete {
			h.newest = l
		}
	}
	return h
}

// has tells whether a leaf has the body.
func (h *history) has(body string) bool {
	_, ok := h.last[body]
	return ok
}

// proves tells whether a leaf names the SHA-256 as that of the attachment, or, without one,
// of the body.
func (h *history) proves(attachment, sum string) bool {
	return attachment == "" && h.has(sum) || attachment != "" && h.files[[2]string{attachment, sum}]
}

// replacedBy returns the last leaf of a current version, if it has another body. surely: body
// is sealed, and cannot be current again, as it was modified before the other (storage.Store).
func (h *history) replacedBy(body string) (newer *leaf, surely bool) {
	newer = h.newest
	switch {
	case newer == nil || newer.BodySHA256 == body:
		return nil, false
	case !h.has(body):
		return newer, false
	}
	fetched, err := time.Parse(time.RFC3339, newer.FetchedAt)
	ahead := fetched.Add(24 * time.Hour) // a time behind it decides nothing
	modified := h.leaves[h.last[body]].ModifiedAt
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
	var w canonical.Line
	w.Open("attachments", '[')
	for i, a := range l.Attachments {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteByte('{')
		w.Text("downloaded_at", a.DownloadedAt)
		w.Text("sha256", a.SHA256)
		w.Number("size", a.Size)
		w.Text("tip", a.Tip)
		w.WriteByte('}')
	}
	w.WriteByte(']')
	w.Text("body_sha256", l.BodySHA256)
	w.Number("body_size", l.BodySize)
	w.Text("body_source", l.BodySource)
	w.Key("complete")
	w.WriteString(strconv.FormatBool(l.Complete))
	w.Text("fetched_at", l.FetchedAt)
	w.Text("format", l.Format)
	w.Text("kind", l.Kind)
	w.Text("modified_at", l.ModifiedAt)
	w.Text("sealed_at", l.SealedAt)
	w.Text("sid", l.SID)
	w.Text("tip", l.Tip)
	return "{" + w.String() + "}"
}

func (l logLeaf) text() string {
	var w canonical.Line
	w.Text("format", l.Format)
	w.Text("kind", l.Kind)
	w.Text("origin", l.Origin)
	w.Text("previous", l.Previous)
	w.Text("reason", l.Reason)
	w.Text("sealed_at", l.SealedAt)
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

// isLeafText reports whether a text can be a line of a file of leaves.
func isLeafText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsAny(text, "\r\n")
}
