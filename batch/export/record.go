package export

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"noggin/batch/archive"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/textreport"
	"noggin/storage"
)

// making is the making of one record's folder, in a work folder of its own.
type making struct {
	*run
	record storage.ExportRecord
	form   forms.ObjectType
	dir    *os.Root // the work folder
	entry  Entry
	number int
	names  fileNames
	name   map[string]string // of the files that are in it, by their path in the mirror
	lost   map[string]bool   // the files that are not in it and should be
	moved  bool              // a file may be in an archive by now, or was written anew, so the record must be read again
}

const (
	mostTries  = 3           // of a record whose files move
	mostClaims = 30          // looks at a claimed record whose files move
	claimPause = time.Second // between two looks
)

// makeRecord fills the work folder of a record. The error is one of the run; what is wrong
// with the record is in the entry. A file that is not on disk may be in an archive by now,
// and another text report may be one with new names: then the record is read anew. Whoever
// claims it writes files first and their hashes last, so it waits for the end of a claim.
func (r *run) makeRecord(ctx context.Context, record storage.ExportRecord, n int, work string) (Entry, error) {
	for try := 1; ; try++ {
		m, err := r.tryRecord(ctx, record, n, work)
		if err != nil {
			return Entry{}, err
		}
		if !m.moved || try == mostTries {
			return m.entry, nil
		}
		fresh, err := r.unclaimed(ctx, record.Tip)
		if err != nil {
			return Entry{}, err
		}
		if fresh == nil {
			return m.entry, nil
		}
		record = *fresh
	}
}

// unclaimed reads a record again, if it can after the end of a claim. It returns nil for one
// that is gone.
func (r *run) unclaimed(ctx context.Context, tip string) (*storage.ExportRecord, error) {
	for look := 1; ; look++ {
		fresh, err := r.DB.ExportRecords(ctx, []string{tip})
		if err != nil || len(fresh) == 0 {
			return nil, err
		}
		if !fresh[0].Claimed || look == mostClaims {
			return &fresh[0], nil
		}
		if err := r.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// pause waits between two looks at a claimed record.
func (r *run) pause(ctx context.Context) error {
	if r.atPause != nil {
		r.atPause()
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(claimPause):
		return nil
	}
}

func (r *run) tryRecord(ctx context.Context, record storage.ExportRecord, n int, work string) (*making, error) {
	m, err := r.begin(record, n, work)
	if err != nil {
		return nil, files.WrapDisk("make a folder in", r.scratchDir, err)
	}
	err = m.fill(ctx)
	return m, errors.Join(err, m.dir.Close())
}

// begin makes the work folder of a record anew, and its entry.
func (r *run) begin(record storage.ExportRecord, n int, work string) (*making, error) {
	if err := errors.Join(r.scratch.RemoveAll(work), r.scratch.MkdirAll(work, 0o755)); err != nil {
		return nil, err
	}
	dir, err := r.scratch.OpenRoot(work)
	if err != nil {
		return nil, err
	}
	form, ok := r.Types.ByCode(record.ObjectType)
	if !ok { // it was taken out of the configuration: its fields are shown under their own names
		form = forms.ObjectType{Code: record.ObjectType, Name: record.ObjectType}
	}
	text := func(s *string) string { return oneLine(storage.ValueOf(s)) }
	e := Entry{
		Tip: record.Tip, ObjectType: record.ObjectType, InspectionID: text(record.InspectionID), Day: text(record.InspectionDate), Status: string(record.Status),
		Vehicle: text(record.Vehicle), Team: text(record.Team), Department: text(record.Department), Compliance: text(record.Compliance),
		Version: record.Stored.Version, Trailers: []string{}, Files: []EntryFile{}, Problems: []string{}, Versions: []EntryVersion{},
		Photos: len(record.Stored.Attachments), Leaves: &record.Leaves, ExportedAt: time.Now().In(r.Location).Truncate(time.Second),
		Folder: folderName(n, storage.ValueOf(record.InspectionDate), storage.ValueOf(record.InspectionID), record.Tip),
	}
	for _, trailer := range []*string{record.Trailer, record.Trailer2, record.Trailer3} {
		if name := text(trailer); name != "" && !slices.Contains(e.Trailers, name) {
			e.Trailers = append(e.Trailers, name)
		}
	}
	return &making{
		run: r, record: record, form: form, number: n, dir: dir, entry: e, names: fileNames{"index.html": true, "thumbs": true, "former": true},
		name: map[string]string{}, lost: map[string]bool{},
	}, nil
}

func oneLine(s string) string { return strings.ReplaceAll(textreport.Clean(s), "\n", " ") }

// fill copies the files of the record and writes its page.
func (m *making) fill(ctx context.Context) error {
	parsed, err := forms.ParseRecord(m.form, m.record.Stored.Payload)
	if err != nil {
		m.problem("its answer cannot be read: %v", err)
	}
	if err := m.copyFiles(ctx); err != nil {
		return err
	}
	view := &recordView{Up: "../../../", Print: m.printed()}
	if view.Versions, err = m.versions(ctx); err != nil {
		return err
	}
	if err := m.photos(ctx, view); err != nil {
		return err
	}
	content := textreport.Read(m.form, parsed, m.record.Stored)
	content.ID, content.Day = cmp.Or(content.ID, m.entry.InspectionID), cmp.Or(content.Day, m.entry.Day)
	content.Compliance = cmp.Or(content.Compliance, m.entry.Compliance)
	view.lay(content)
	for _, q := range view.Questions {
		if q.Tone == "bad" {
			m.entry.Defects++
		}
	}
	view.Result, view.Tone = resultOf(view.Result, m.entry.Defects)
	m.listFiles(view)
	view.Problems = m.entry.Problems
	view.Footer = fmt.Sprintf("Exported by noggin %s on %s. The lists with the SHA-256 of every file are at the top of the bag.", m.Version, m.entry.ExportedAt.Format("2 January 2006 at 15:04 MST"))
	if err := m.keepForPrint(view); err != nil {
		return err
	}
	return m.write("index.html", kindPage, func(w io.Writer) error { return pages().ExecuteTemplate(w, "record", view) })
}

func (m *making) problem(format string, args ...any) {
	m.entry.Problems = append(m.entry.Problems, textreport.Clean(fmt.Sprintf(format, args...)))
}

// sink writes a file of the work folder and hashes it.
type sink struct {
	file *os.File
	hash hash.Hash
	size int64
	err  error // of the writing, not of the source
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	s.hash.Write(p[:n])
	s.size += int64(n)
	if err != nil {
		s.err = err
	}
	return n, err
}

func (s *sink) sum() string { return hex.EncodeToString(s.hash.Sum(nil)) }

// create makes a file of the work folder, filled by fill, and returns what was written.
// fill's error leaves no file.
func (m *making) create(name string, fill func(s *sink) error) (*sink, error) {
	target := func(err error) error { return fmt.Errorf("%w: %w", errTarget, files.WrapDisk("write", name, err)) }
	if dir := path.Dir(name); dir != "." {
		if err := m.dir.MkdirAll(dir, 0o755); err != nil {
			return nil, target(err)
		}
	}
	file, err := m.dir.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, target(err)
	}
	s := &sink{file: file, hash: sha256.New()}
	err = fill(s)
	if closeErr := file.Close(); s.err == nil {
		s.err = closeErr
	}
	switch {
	case s.err != nil:
		return nil, target(s.err)
	case err != nil:
		return nil, errors.Join(err, m.dir.Remove(name))
	}
	return s, nil
}

// write makes a file of the export's own.
func (m *making) write(name, kind string, fill func(io.Writer) error) error {
	s, err := m.create(name, func(s *sink) error { return fill(s) })
	if err != nil {
		return err
	}
	m.entry.Files = append(m.entry.Files, EntryFile{Path: name, Kind: kind, Size: s.size, SHA256: s.sum()})
	return nil
}

// copyFiles copies the original files of the record: those on disk, then those of each
// archive.
func (m *making) copyFiles(ctx context.Context) error {
	inArchive := map[string][]storage.File{}
	for _, f := range m.record.Files {
		if !m.wanted(f) {
			continue
		}
		if f.ArchiveName != nil {
			inArchive[*f.ArchiveName] = append(inArchive[*f.ArchiveName], f)
			continue
		}
		if err := m.copyFromDisk(ctx, f); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(inArchive)) {
		wanted := inArchive[name]
		err := m.shelf.Read(ctx, name, m.record.Tip, wanted, func(f storage.File, content io.Reader) error { return m.copy(ctx, f, content) })
		if err != nil && !archive.IsUnreadable(err) {
			return err
		}
		reason := "the archive " + name + " does not hold it"
		if err != nil {
			reason = err.Error()
		}
		for _, f := range wanted {
			if m.name[f.Path] == "" && !m.lost[f.Path] {
				m.lose(f, reason)
			}
		}
	}
	return nil
}

// wanted tells whether the export takes a file.
func (m *making) wanted(f storage.File) bool {
	return !m.NoPhotos || f.AttachmentTip == "" // a text report
}

// lose notes that a file is not in the export.
func (m *making) lose(f storage.File, reason string) {
	m.lost[f.Path] = true
	m.problem("%s is not in this export: %s", path.Base(f.Path), reason)
}

func (m *making) copyFromDisk(ctx context.Context, f storage.File) error {
	file, _, err := m.output.Open(f.Path)
	if errors.Is(err, files.ErrMissing) {
		m.moved = true
	}
	switch {
	case err == nil:
		defer files.Release(file)
		return m.copy(ctx, f, file)
	case errors.Is(err, files.ErrNotMounted), ctx.Err() != nil:
		return err
	}
	m.lose(f, files.Cause(err).Error())
	return nil
}

// errTarget says that the export itself cannot be written.
var errTarget = errors.New("the export cannot be written")

// errDiffers says that a file is not the one that was mirrored.
var errDiffers = errors.New("it is not the file that was mirrored")

// errClaimed says that a text report is not the one in the database, and need not be.
var errClaimed = errors.New("another command was writing it anew")

// copy copies a file and compares it with what the database knows.
func (m *making) copy(ctx context.Context, f storage.File, content io.Reader) error {
	name := m.names.of(f.Path)
	if f.Former != "" {
		name = "former/" + name
	}
	s, err := m.create(name, func(s *sink) error {
		if _, err := io.Copy(s, files.ContextReader{Context: ctx, Source: content}); err != nil {
			return err
		}
		if f.SHA256 != "" && !strings.EqualFold(s.sum(), f.SHA256) {
			return fmt.Errorf("%w: its SHA-256 is %s instead of %s", errDiffers, s.sum(), f.SHA256)
		}
		return nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		if errors.Is(err, errTarget) {
			return err
		}
		if errors.Is(err, errDiffers) && f.Path == storage.ValueOf(m.record.Stored.ReportPath) { // the text report, which is written anew at times
			m.moved = true
			if m.record.Claimed {
				err = errClaimed
			}
		}
		m.lose(f, err.Error())
		return nil
	}
	kind := kindAttachment
	switch {
	case f.Former == "report":
		kind = kindFormerReport
	case f.Former == "suspect":
		kind = kindSuspect
	case f.Former != "":
		kind = kindFormer
	case f.AttachmentTip == "":
		kind = kindReport
	}
	m.name[f.Path] = name
	m.entry.Files = append(m.entry.Files, EntryFile{Path: name, Kind: kind, Size: s.size, SHA256: s.sum(), AttachmentTip: f.AttachmentTip, Mirrored: f.Path})
	return nil
}
