package batch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

const (
	// ArchiveExt is what the name of every archive ends in.
	ArchiveExt   = ".tar.zst"
	partialExt   = ".partial"
	manifestExt  = ".manifest.jsonl"
	checksumsExt = ".sha256"
	// maxManifestLine bounds the memory for a line of somebody else's manifest.
	maxManifestLine = 1 << 20
)

// ManifestFile is a line of an archive's manifest: one file, and whose it is.
type ManifestFile struct {
	Path           string `json:"path"` // relative to the output folder
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	Tip            string `json:"tip"`
	InspectionID   string `json:"inspection_id"`
	InspectionDate string `json:"inspection_date"`
	ObjectType     string `json:"object_type"`
	AttachmentTip  string `json:"attachment_tip,omitempty"` // none: the text report
	Sequence       int    `json:"sequence,omitempty"`
	Field          string `json:"field,omitempty"`
	ContentType    string `json:"content_type,omitempty"`
	Validation     string `json:"validation,omitempty"`
	// Frame is where in the archive, in bytes, the zstd frame begins that holds
	// the record's files: one record is restored without reading the others.
	Frame int64 `json:"frame"`
}

var archiveNameForm = regexp.MustCompile(`^noggin-(\d{4}-\d{2})(-\d+)?\.tar\.zst$`)

// archiveName is the nth name of a month's archive, from 1.
func archiveName(month string, n int) string {
	if n > 1 {
		month += "-" + strconv.Itoa(n)
	}
	return "noggin-" + month + ArchiveExt
}

// monthOfArchive is the month in an archive's name; ok is false for other names.
func monthOfArchive(name string) (month string, ok bool) {
	match := archiveNameForm.FindStringSubmatch(name)
	if match == nil {
		return "", false
	}
	return match[1], true
}

// checksumLine is the file's line as sha256sum writes and checks it: a name with a
// line end or a backslash is escaped, which a backslash before the line says.
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
	next  *ManifestFile // read ahead, of the next record
	files int
}

func newManifestReader(r io.Reader) *manifestReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxManifestLine)
	return &manifestReader{lines: lines}
}

// file returns the next line, or io.EOF.
func (m *manifestReader) file() (ManifestFile, error) {
	if m.next != nil {
		f := *m.next
		m.next = nil
		return f, nil
	}
	if !m.lines.Scan() {
		if err := m.lines.Err(); err != nil {
			return ManifestFile{}, fmt.Errorf("%w: its manifest: %w", ErrDamaged, err)
		}
		return ManifestFile{}, io.EOF
	}
	m.files++
	var f ManifestFile
	if err := json.Unmarshal(m.lines.Bytes(), &f); err != nil {
		return f, fmt.Errorf("%w: line %d of its manifest: %w", ErrDamaged, m.files, err)
	}
	if _, isTip := ParseTip(f.Tip); !isTip || f.Size < 0 || len(f.SHA256) != 64 || !fs.ValidPath(f.Path) || validPath(f.Path) != nil {
		return f, fmt.Errorf("%w: line %d of its manifest makes no sense", ErrDamaged, m.files)
	}
	return f, nil
}

// record returns all files of the next record, or io.EOF.
func (m *manifestReader) record() ([]ManifestFile, error) {
	first, err := m.file()
	if err != nil {
		return nil, err
	}
	files := []ManifestFile{first}
	for {
		f, err := m.file()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if f.Tip != first.Tip {
			m.next = &f
			return files, nil
		}
		files = append(files, f)
	}
}

// records returns the files of up to n records; none at the end.
func (m *manifestReader) records(n int) ([][]ManifestFile, error) {
	var records [][]ManifestFile
	for len(records) < n {
		files, err := m.record()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		records = append(records, files)
	}
	return records, nil
}
