package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"noggin/batch/archive/format"
	"noggin/batch/archive/watch"
	"noggin/batch/files"
	"noggin/storage"
)

// Verified is the result of `archive verify` for one archive.
type Verified struct {
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
	// Part of Parts: each archive always belongs to the same part. 0: all.
	Part, Parts int
	// Due takes this week's share, that whose verification is the longest ago first, so that
	// each archive is verified once a quarter.
	Due bool
	// Deep reads every file also where the archive's hash is the recorded one: whoever may
	// write to both the disk and the database can change the two together.
	Deep bool
}

// Verification is what `archive verify` found.
type Verification struct {
	Archives []Verified
	// Unmounted has an archive of each folder that is not mounted. None of its archives was
	// verified, and nothing is said against them.
	Unmounted []watch.Archive
}

// verifyWorkers is the number of archives that are read at the same time.
const verifyWorkers = 4

// Verify reads archives whole and compares them with the hash that was recorded when each
// was read back, and their manifests with the database. Where the hash differs it reads
// every file, to say what is damaged. An error means that Verify could not look.
func (a *Archiver) Verify(ctx context.Context, opts VerifyOptions) (Verification, error) {
	v := Verification{Archives: []Verified{}}
	if opts.Due {
		release, err := a.DB.VerifyTurn(ctx)
		if err != nil {
			return v, err
		}
		defer release()
	}
	chosen, err := a.toVerify(ctx, opts, &v)
	if err != nil {
		return v, err
	}
	seen := a.verifyProgress(chosen)
	results := make([]*Verified, len(chosen))
	workers, working := errgroup.WithContext(ctx)
	workers.SetLimit(verifyWorkers)
	for i, archive := range chosen {
		workers.Go(func() error {
			if working.Err() != nil {
				return context.Cause(working)
			}
			one, err := a.verifyOne(working, archive, opts.Deep, seen)
			if err == nil {
				results[i] = &one
			}
			return err
		})
	}
	err = workers.Wait()
	for _, one := range results {
		if one != nil {
			v.Archives = append(v.Archives, *one)
		}
	}
	return v, err
}

// toVerify chooses the archives. It notes the folders that are not mounted in v, and leaves
// out what only another host sees.
func (a *Archiver) toVerify(ctx context.Context, opts VerifyOptions, v *Verification) ([]storage.Archive, error) {
	if opts.Name != "" {
		one, err := a.archiveNamed(ctx, opts.Name)
		return []storage.Archive{one}, err
	}
	archives, err := a.DB.Archives(ctx)
	if err != nil {
		return nil, err
	}
	var here []storage.Archive
	now := time.Now()
	for _, archive := range watch.Look(ctx, archives, a.Paths.Archive, a.DB.Host(), now) {
		ours := opts.Parts == 0 || int(archive.ID%int64(opts.Parts)) == opts.Part%opts.Parts
		switch {
		case !ours, archive.Sight == watch.Unwritten, archive.Sight == watch.Elsewhere, archive.Sight == watch.Lost:
		case archive.Sight != watch.Unmounted:
			here = append(here, archive.Archive)
		case !slices.ContainsFunc(v.Unmounted, func(u watch.Archive) bool { return u.Folder() == archive.Folder() }):
			v.Unmounted = append(v.Unmounted, archive)
		}
	}
	if opts.Due {
		here = watch.Due(here, now)
	}
	return here, nil
}

// verifyProgress returns what workers tell how many files and bytes they have compared.
func (a *Archiver) verifyProgress(archives []storage.Archive) func(files int, bytes int64) {
	var mu sync.Mutex
	p := Progress{Phase: "verifying archives"}
	for _, archive := range archives {
		p.Total += archive.Files
	}
	return func(files int, bytes int64) {
		mu.Lock()
		defer mu.Unlock()
		p.Done, p.Bytes = p.Done+files, p.Bytes+bytes
		a.report(p)
	}
}

func (a *Archiver) verifyOne(ctx context.Context, archive storage.Archive, deep bool, seen func(files int, bytes int64)) (Verified, error) {
	started := time.Now()
	at, err := a.findFile(archive)
	if err == nil {
		err = a.compareWhole(ctx, archive, at, deep, seen)
	}
	if err == nil {
		err = a.compareWithDatabase(ctx, archive, at)
	}
	seen(archive.Files, 0)
	v := Verified{
		Name: archive.Name, Path: cmp.Or(at, archive.Path), OK: err == nil, Records: archive.Records, Files: archive.Files,
		Bytes: archive.SourceBytes, SizeBytes: archive.SizeBytes, Seconds: time.Since(started).Seconds(),
	}
	switch {
	case err == nil:
		return v, a.DB.SaveVerified(ctx, archive)
	case ctx.Err() != nil, errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrSchema):
		return v, err
	}
	v.Problem = err.Error()
	return v, a.saveProblem(ctx, archive, err)
}

// compareWhole compares the archive's bytes with the recorded hash. They are those of which
// every file was compared when the archive was read back. With deep it compares every file.
func (a *Archiver) compareWhole(ctx context.Context, archive storage.Archive, at string, deep bool, seen func(files int, bytes int64)) error {
	file, info, err := files.OpenRegular(at, 0)
	if err != nil {
		return err
	}
	defer files.Release(file)
	if info.Size() != archive.SizeBytes { // a file that was cut, or is as large as can be
		return fmt.Errorf("%w: it has %d bytes instead of %d", format.ErrDamaged, info.Size(), archive.SizeBytes)
	}
	_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_SEQUENTIAL) // the kernel reads further ahead
	if !deep {
		_, sum, err := files.HashOpen(ctx, file, counter(func(n int) { seen(0, int64(n)) }))
		if err != nil || sum == archive.SHA256 {
			return err
		}
	}
	var before int64
	found, err := format.Verify(ctx, at, func(read format.Contents) {
		seen(0, read.SourceBytes-before)
		before = read.SourceBytes
	})
	if err == nil && found.SHA256 != archive.SHA256 {
		err = fmt.Errorf("%w: SHA-256 %s instead of %s, although all its files are right", format.ErrDamaged, found.SHA256, archive.SHA256)
	}
	return err
}

// counter is told how many bytes are written.
type counter func(n int)

func (c counter) Write(p []byte) (int, error) {
	c(len(p))
	return len(p), nil
}

// saveProblem records what is wrong with an archive. One that is not there is no problem of
// its content: every look at its file tells of it, and no longer once it is there again.
func (a *Archiver) saveProblem(ctx context.Context, archive storage.Archive, problem error) error {
	if errors.Is(problem, files.ErrMissing) {
		return nil
	}
	return a.DB.SaveProblem(ctx, archive.ID, problem.Error())
}

// errDisagrees says that a whole archive differs from what the database says about
// it.
var errDisagrees = errors.New("archive and database disagree")

// compareWithDatabase makes sure that the archive at the path holds every file that
// the database has in it. Other runs may archive or restore files of it meanwhile: it then
// compares again.
func (a *Archiver) compareWithDatabase(ctx context.Context, archive storage.Archive, at string) error {
	const tries = 3
	before, err := a.DB.CountFilesIn(ctx, archive.ID)
	if err != nil {
		return err
	}
	for range tries {
		matched, err := a.matchDatabase(ctx, archive, at)
		if err != nil {
			return err
		}
		after, err := a.DB.CountFilesIn(ctx, archive.ID)
		switch {
		case err != nil || after == matched:
			return err
		case after == before:
			return fmt.Errorf("%w: the database has %d files in it, of which it holds %d", errDisagrees, after, matched)
		}
		before = after
	}
	return nil // every listed file was right; the next verification counts again
}

// matchDatabase counts the files of the archive that the database has in it. A file that the
// database has in it and that it does not hold is an error.
func (a *Archiver) matchDatabase(ctx context.Context, archive storage.Archive, at string) (matched int, err error) {
	err = format.EachGroup(ctx, at, func(_ *format.Reader, records [][]format.File) error {
		filed, err := a.filed(ctx, format.Tips(records))
		if err != nil {
			return err
		}
		for _, listed := range records {
			for _, f := range filed[listed[0].Tip].Files {
				if !isIn(f, archive.ID) {
					continue
				}
				if !has(listed, f) {
					return fmt.Errorf("%w: %s with SHA-256 %s is not in it", errDisagrees, f.Path, f.SHA256)
				}
				matched++
			}
		}
		return nil
	})
	return matched, err
}
