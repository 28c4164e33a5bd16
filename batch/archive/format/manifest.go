package format

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

const (
	// Ext ends the name of every archive.
	Ext = ".tar.zst"
	// ManifestExt ends the name of the member that is the manifest.
	ManifestExt  = ".manifest.jsonl"
	checksumsExt = ".sha256"
	// These bound the memory that a foreign manifest takes: in a line, in the lines of
	// a group of records, after which the group ends, and in those of one record.
	maxManifestLine   = 128 << 10
	maxManifestGroup  = 1 << 20
	maxManifestRecord = 8 << 20
)

// File is a line of an archive's manifest: one file and its record.
type File struct {
	Path           string             `json:"path"` // relative to the output folder
	Size           int64              `json:"size"`
	SHA256         string             `json:"sha256"`
	Tip            string             `json:"tip"`
	InspectionID   string             `json:"inspection_id"`
	InspectionDate string             `json:"inspection_date"`
	ObjectType     string             `json:"object_type"`
	AttachmentTip  string             `json:"attachment_tip,omitempty"` // empty for the text report
	Sequence       int                `json:"sequence,omitempty"`
	Field          string             `json:"field,omitempty"`
	ContentType    string             `json:"content_type,omitempty"`
	Validation     storage.Validation `json:"validation,omitempty"`
	// Former and the versions are those of a former file.
	Former       string `json:"former,omitempty"`
	FirstVersion int    `json:"first_version,omitempty"`
	LastVersion  int    `json:"last_version,omitempty"`
	// Frame is the byte in the archive at which the record's zstd frame begins. It
	// lets one record be restored without reading the others.
	Frame int64 `json:"frame"`

	// Target is where the file is restored, if its name is another one since: that of a
	// text report whose record has a newer version.
	Target string
}

// Place returns the path at which the file is restored.
func (m File) Place() string { return cmp.Or(m.Target, m.Path) }

// FileOf returns the manifest's line for a record's file, without its frame.
func FileOf(r storage.FiledRecord, f storage.File) File {
	m := File{
		Path: f.Path, Size: f.Size, SHA256: strings.ToLower(f.SHA256), Tip: r.Tip, InspectionID: r.InspectionID,
		InspectionDate: r.InspectionDate, ObjectType: r.ObjectType, ContentType: f.ContentType, Validation: f.Validation,
		Former: f.Former, FirstVersion: f.FirstVersion, LastVersion: f.LastVersion,
	}
	if f.AttachmentTip != "" {
		m.AttachmentTip, m.Sequence, m.Field = f.AttachmentTip, f.Sequence, f.Field
	}
	return m
}

// Stored returns what the database stores about the file.
func (m File) Stored() storage.File {
	return storage.File{
		RecordTip: m.Tip, AttachmentTip: m.AttachmentTip, Sequence: m.Sequence, Field: m.Field, Path: m.Path, Size: m.Size,
		SHA256: m.SHA256, ContentType: m.ContentType, Validation: m.Validation,
		Former: m.Former, FirstVersion: m.FirstVersion, LastVersion: m.LastVersion,
	}
}

// Is reports whether the database describes the same file with the same content.
func (m File) Is(f storage.File) bool {
	return m.AttachmentTip == f.AttachmentTip && m.Size == f.Size && m.SHA256 == f.SHA256 &&
		(m.Path == f.Path || f.Former == "report" && path.Dir(m.Path) == path.Dir(f.Path))
}

// NameForm matches the name of an archive. Its first group is the month.
var NameForm = regexp.MustCompile(`^noggin-(\d{4}-\d{2})(-\d+)?\.tar\.zst$`)

// Name returns the nth name of a month's archive, counted from 1.
func Name(month string, n int) string {
	if n > 1 {
		month += "-" + strconv.Itoa(n)
	}
	return "noggin-" + month + Ext
}

// checksumLine returns the file's line as sha256sum writes it. In a name with a
// line end or a backslash these are escaped, and the line begins with a backslash.
func checksumLine(sum, name string) string {
	escaped := checksumEscapes.Replace(name)
	if escaped != name {
		return `\` + sum + "  " + escaped + "\n"
	}
	return sum + "  " + name + "\n"
}

var checksumEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)

// manifestReader reads a manifest line by line.
type manifestReader struct {
	lines *bufio.Scanner
	next  *File // the first file of the next group, read ahead
	read  int   // lines
	size  int   // of the last line
}

func newManifestReader(r io.Reader) *manifestReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxManifestLine)
	return &manifestReader{lines: lines}
}

// file returns the next line, or io.EOF.
func (m *manifestReader) file() (File, error) {
	if m.next != nil {
		f := *m.next
		m.next = nil
		return f, nil
	}
	if !m.lines.Scan() {
		if err := m.lines.Err(); err != nil {
			return File{}, Damaged("its manifest", err)
		}
		return File{}, io.EOF
	}
	m.read++
	m.size = len(m.lines.Bytes())
	var f File
	if err := json.Unmarshal(m.lines.Bytes(), &f); err != nil {
		return f, Damaged(fmt.Sprintf("line %d of its manifest", m.read), err)
	}
	if _, isTip := forms.ParseTip(f.Tip); !isTip || f.Size < 0 || len(f.SHA256) != 64 || !fs.ValidPath(f.Path) || files.ValidPath(f.Path) != nil {
		return f, fmt.Errorf("%w: line %d of its manifest has a wrong tip, size, SHA-256 or path", ErrDamaged, m.read)
	}
	return f, nil
}

// records returns the files of the next n records, or fewer at the end and where their
// lines are long. A record's files follow one another.
func (m *manifestReader) records(n int) ([][]File, error) {
	var records [][]File
	group, record := 0, 0 // bytes
	for {
		f, err := m.file()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		last := len(records) - 1
		switch {
		case last >= 0 && records[last][0].Tip == f.Tip:
			if record += m.size; record > maxManifestRecord {
				return nil, fmt.Errorf("%w: its manifest has more than %d bytes about one record", ErrDamaged, maxManifestRecord)
			}
			records[last] = append(records[last], f)
		case len(records) == n, group+record > maxManifestGroup:
			m.next = &f
			return records, nil
		default:
			group, record = group+record, m.size
			records = append(records, []File{f})
		}
	}
}

// Tips returns the tip of each record.
func Tips(records [][]File) []string {
	tips := make([]string, len(records))
	for i, found := range records {
		tips[i] = found[0].Tip
	}
	return tips
}
