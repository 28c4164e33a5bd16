package copies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

var (
	// ErrNoTarget says that [copy] to is not set.
	ErrNoTarget = errors.New("[copy] to is not set")
	// ErrNotRegistered says that nothing was copied to the target yet.
	ErrNotRegistered = errors.New("nothing was copied to the target yet")
)

// Copier copies files to the target, and back.
type Copier struct {
	DB         *storage.DB
	Config     Config
	Keys       place.Keys // of S3
	Paths      files.Paths
	ClaimLease time.Duration // of a record that Restore changes
	Log        *slog.Logger
	Version    string
	Progress   func(Progress) // may be nil
}

// Progress is how far a run is.
type Progress struct {
	Phase string
	Done  int64
	Total int64 // 0: not known
	Bytes int64
}

// Target is the configured target, as summaries name it.
func (c *Copier) Target() string { return c.Config.url() }

func (c *Copier) report(p Progress) {
	if c.Progress != nil {
		c.Progress(p)
	}
}

// target is a place for copies.
type target interface {
	Check(ctx context.Context) error
	Put(ctx context.Context, o place.Object, opts place.PutOptions, content io.Reader) (place.Stored, error)
	Flush() error
	Look(ctx context.Context, o place.Object) error
	Read(ctx context.Context, o place.Object) (io.ReadCloser, error)
	Remove(ctx context.Context, o place.Object, version string) error
	List(ctx context.Context, folder string, each func(place.Found) error) error
	Sweep(now time.Time) error
	Close() error
}

// Problem is a file with which something is wrong.
type Problem struct {
	Path string `json:"path"`
	What string `json:"what"`
}

// mostProblems bounds the list of a summary.
const mostProblems = 20

// Problems are the first problems, and the number of all.
type Problems struct {
	Count int       `json:"problems"`
	First []Problem `json:"first_problems"`
}

func (p *Problems) add(log *slog.Logger, path, what string) {
	log.Warn(what, "path", path)
	p.Count++
	if len(p.First) < mostProblems {
		p.First = append(p.First, Problem{path, what})
	}
}

// The folders of a target.
const (
	filesFolder   = "files"
	backupsFolder = "backups"
	logFolder     = "checkpoints"
)

// object returns what a file is in the target. The name before the SHA-256 is cut where
// it would be too long for a folder.
func object(kind string, key storage.CopyKey, size int64) place.Object {
	dir, name := path.Join(filesFolder, path.Dir(key.Path)), path.Base(key.Path)
	if kind == storage.CopyBackup || kind == storage.CopyManifest {
		dir, name = backupsFolder, filepath.Base(key.Path)
	}
	const longest = 255
	return place.Object{
		Key: path.Join(dir, forms.FirstOf(name, longest-1-len(key.SHA256))+"."+key.SHA256), Size: size, SHA256: key.SHA256,
	}
}

// openTarget opens the target that [Copier.Run] registered and looks whether it is there.
func (c *Copier) openTarget(ctx context.Context) (id int64, to target, err error) {
	if c.Config.To == "" {
		return 0, nil, ErrNoTarget
	}
	id, known, err := c.DB.CopyTargetID(ctx, c.Config.url(), c.Config.endpoint())
	if err != nil {
		return 0, nil, err
	}
	if !known {
		return 0, nil, fmt.Errorf("%w: %s: run `noggin copy run`", ErrNotRegistered, c.Config.url())
	}
	if to, err = c.openThere(ctx); err != nil {
		return id, nil, err
	}
	if err := c.distrustNew(ctx, id, to); err != nil {
		files.Release(to)
		return id, nil, err
	}
	return id, to, nil
}

// distrustNew makes the earlier verifications of copies count for nothing where a person
// made the marker of the folder: its volume may be another one.
func (c *Copier) distrustNew(ctx context.Context, id int64, to target) error {
	folder, ok := to.(*place.Folder)
	if !ok {
		return nil
	}
	bare, err := folder.IsBare()
	if err != nil || !bare {
		return err
	}
	if err := c.DB.DistrustCopies(ctx, id); err != nil {
		return err
	}
	c.Log.Warn("the marker of the target is new: its copies count as verified once `noggin copy verify` has found them", "target", c.Config.url())
	return folder.Mark()
}

// openThere opens the target and looks whether it is there.
func (c *Copier) openThere(ctx context.Context) (target, error) {
	if c.Config.To == "" {
		return nil, ErrNoTarget
	}
	to, err := c.Config.open(c.Keys)
	if err != nil {
		return nil, err
	}
	if err := to.Check(ctx); err != nil {
		files.Release(to)
		return nil, err
	}
	return to, nil
}

// isAway tells whether an error means that the target is away, or full. A single object may
// be at fault, so the target is asked.
func isAway(ctx context.Context, to target, err error) bool {
	if err == nil || !errors.Is(err, place.ErrAway) {
		return false
	}
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || to.Check(ctx) != nil
}

// each calls do for every index below count, n at a time, and waits for all.
func each(n, count int, do func(i int)) {
	var workers errgroup.Group
	workers.SetLimit(n)
	for i := range count {
		workers.Go(func() error { do(i); return nil })
	}
	_ = workers.Wait() // do returns no error
}
