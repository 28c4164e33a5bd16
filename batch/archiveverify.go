package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"noggin/storage"
)

// VerifiedArchive is what `archive verify` found out about one archive.
type VerifiedArchive struct {
	Name      string  `json:"name"`
	Path      string  `json:"path"`
	OK        bool    `json:"ok"`
	Problem   string  `json:"problem"`
	Records   int     `json:"records"`
	Files     int     `json:"files"`
	Bytes     int64   `json:"bytes"` // of the files
	SizeBytes int64   `json:"size_bytes"`
	Seconds   float64 `json:"seconds"`
}

// VerifyOptions say which archives are verified.
type VerifyOptions struct {
	Name string // "": all that were read back once
	// Part of Parts: each archive belongs to one of them for good. 0: all.
	Part, Parts int
}

// Verify decompresses archives and compares every file with the manifest and the
// database. What is wrong is in the result; an error is what kept it from looking.
func (a *Archiver) Verify(ctx context.Context, opts VerifyOptions) ([]VerifiedArchive, error) {
	archives, err := a.DB.Archives(ctx)
	if err != nil {
		return nil, err
	}
	if opts.Name != "" {
		one, err := a.archiveNamed(ctx, opts.Name)
		if err != nil {
			return nil, err
		}
		archives = []storage.Archive{one}
	}
	verified := []VerifiedArchive{}
	for _, archive := range archives {
		if archive.State == storage.ArchiveWriting || opts.Parts > 0 && int(archive.ID%int64(opts.Parts)) != opts.Part%opts.Parts {
			continue
		}
		v, err := a.verifyOne(ctx, archive)
		if err != nil {
			return verified, err
		}
		verified = append(verified, v)
	}
	return verified, nil
}

func (a *Archiver) verifyOne(ctx context.Context, archive storage.Archive) (VerifiedArchive, error) {
	started := time.Now()
	v := VerifiedArchive{Name: archive.Name, Path: archive.Path}
	problem := func() error {
		at, err := a.findFile(archive)
		if err != nil {
			return err
		}
		v.Path = at
		check := &databaseCheck{db: a.DB, ctx: ctx, archive: archive.ID}
		content, err := verifyArchive(ctx, at, func(f ManifestFile) error {
			if v.Files%100 == 0 {
				a.report(ArchiveProgress{Phase: "verifying " + archive.Name, Done: v.Files, Total: archive.Files, Bytes: v.Bytes})
			}
			v.Files++
			v.Bytes += f.Size
			return check.add(f)
		})
		v.Records, v.Files, v.Bytes, v.SizeBytes = content.Records, content.Files, content.SourceBytes, content.SizeBytes
		if err != nil {
			return err
		}
		if content.SHA256 != archive.SHA256 {
			return fmt.Errorf("%w: SHA-256 %s instead of %s, although all its files are right", ErrDamaged, content.SHA256, archive.SHA256)
		}
		return check.end()
	}()
	v.Seconds = time.Since(started).Seconds()
	switch {
	case problem == nil:
		v.OK = true
		archive.Records, archive.Files, archive.SourceBytes, archive.SizeBytes = v.Records, v.Files, v.Bytes, v.SizeBytes
		return v, a.DB.SaveVerified(ctx, archive)
	case ctx.Err() != nil, errors.Is(problem, storage.ErrUnavailable), errors.Is(problem, storage.ErrSchema):
		return v, problem
	}
	v.Problem = problem.Error()
	return v, a.DB.SaveProblem(ctx, archive.ID, v.Problem)
}

// databaseCheck compares the files of an archive with what the database says is in
// it, a group of records at a time.
type databaseCheck struct {
	db      *storage.DB
	ctx     context.Context
	archive int64
	group   []ManifestFile
	tips    []string
	matched int
}

// errDisagrees says that archive and database differ although the archive is whole.
var errDisagrees = errors.New("archive and database disagree")

func (d *databaseCheck) add(f ManifestFile) error {
	if len(d.tips) == 0 || d.tips[len(d.tips)-1] != f.Tip {
		if len(d.tips) >= archiveGroup {
			if err := d.compare(); err != nil {
				return err
			}
		}
		d.tips = append(d.tips, f.Tip)
	}
	d.group = append(d.group, f)
	return nil
}

// compare asks the database about the group.
func (d *databaseCheck) compare() error {
	records, err := d.db.FiledRecords(d.ctx, d.tips)
	if err != nil {
		return err
	}
	for _, r := range records {
		for _, f := range r.Files {
			if f.ArchiveID == nil || *f.ArchiveID != d.archive {
				continue
			}
			if !slices.ContainsFunc(d.group, func(m ManifestFile) bool { return m.Tip == r.Tip && isSame(m, f) }) {
				return fmt.Errorf("%w: %s with SHA-256 %s is not in it", errDisagrees, f.Path, f.SHA256)
			}
			d.matched++
		}
	}
	d.group, d.tips = d.group[:0], d.tips[:0]
	return nil
}

// end compares the last group, and whether the database knows of more.
func (d *databaseCheck) end() error {
	if err := d.compare(); err != nil {
		return err
	}
	known, err := d.db.CountFilesIn(d.ctx, d.archive)
	if err != nil {
		return err
	}
	if known != d.matched {
		return fmt.Errorf("%w: the database knows %d files to be in it, of which %d are", errDisagrees, known, d.matched)
	}
	return nil
}
