package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noggin/storage"
)

// Backup is a backup of the database as its manifest, a JSON file beside it,
// describes it.
type Backup struct {
	File    string    `json:"file"` // its name in the folder
	TakenAt time.Time `json:"taken_at"`
	storage.Contents
	Bytes      int64      `json:"bytes"`
	SHA256     string     `json:"sha256"`
	Host       string     `json:"host"`
	VerifiedAt *time.Time `json:"verified_at,omitempty"` // when it was last restored on trial
	Broken     string     `json:"broken,omitempty"`      // why it is no good

	dir string
}

// Path is where the backup lies.
func (b Backup) Path() string { return filepath.Join(b.dir, b.File) }

const (
	partialSuffix  = ".partial"
	manifestSuffix = ".json"
	// backupMode keeps inspections from other users of the host.
	backupMode = 0o640
)

var backupName = regexp.MustCompile(`^noggin_.+_[0-9]{8}_[0-9]{6}\.dump$`)

// backupResult is the effect of a backup.
type backupResult struct {
	Path string `json:"path"`
	Backup
	Seconds float64  `json:"seconds"`
	Removed []string `json:"removed"` // rotated out
}

// Backup dumps the database into dir, whole or not at all, with a manifest. In the
// configured folder, which "" means, older backups are then rotated; in another
// nothing is.
func (m *Maintenance) Backup(ctx context.Context, dir string) (Effect, error) {
	started := time.Now()
	rotated := dir == ""
	if rotated {
		dir = m.Config.Paths.Backups
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return Effect{}, fmt.Errorf("make the folder for backups: %w", err)
	}
	earlier, err := m.backups(dir)
	if err != nil {
		return Effect{}, err
	}
	if err := checkRoom(dir, earlier); err != nil {
		return Effect{}, err
	}
	b, err := m.dump(ctx, dir)
	if err != nil {
		return Effect{}, err
	}
	result := backupResult{Path: b.Path(), Backup: b, Removed: []string{}}
	if rotated {
		result.Removed, err = m.rotateBackups(dir)
	}
	result.Seconds = time.Since(started).Seconds()
	text := fmt.Sprintf("%s, %s, %s in %.1f s", b.Path(), bytesText(b.Bytes), plural(b.Rows["noggin_data"], "record"), result.Seconds)
	if len(result.Removed) > 0 {
		text += "; rotated out " + plural(int64(len(result.Removed)), "older one")
	}
	return Effect{Text: text, Details: result}, err
}

// BackedUpToday tells of today's backup where a run on any host has made one in
// the configured folder; else it returns nil.
func (m *Maintenance) BackedUpToday(ctx context.Context) (*Effect, error) {
	runs, err := m.DB.RunsThis(ctx, "day", "maintain backup")
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		var made struct {
			Path string `json:"path"`
		}
		if run.ExitCode != 0 || json.Unmarshal(run.Summary, &made) != nil || filepath.Dir(made.Path) != m.Config.Paths.Backups {
			continue
		}
		return &Effect{
			Text:    fmt.Sprintf("%s made today's backup at %s: %s", run.Host, run.Finished.Format("15:04"), made.Path),
			Details: map[string]any{"made_already": true, "host": run.Host, "path": made.Path, "finished_at": run.Finished},
		}, nil
	}
	return nil, nil
}

// checkRoom refuses a backup that would fill the volume: nothing else could be
// written there either.
func checkRoom(dir string, earlier []Backup) error {
	if len(earlier) == 0 {
		return nil
	}
	free, _, err := VolumeSpace(dir)
	if err != nil {
		return err
	}
	if last := earlier[0].Bytes; int64(free) < last+last/5 {
		return diskError("write a backup in", dir, fmt.Errorf("%s are free, the last one took %s: %w", bytesText(int64(free)), bytesText(last), unix.ENOSPC))
	}
	return nil
}

// dump writes one backup: first under another name, then its manifest, then it gets
// its own, so that what has the name of a backup is whole and has a manifest.
func (m *Maintenance) dump(ctx context.Context, dir string) (Backup, error) {
	major, err := m.DB.ServerMajor(ctx)
	if err != nil {
		return Backup{}, err
	}
	program, err := findProgram(ctx, "pg_dump", major)
	if err != nil {
		return Backup{}, err
	}
	environ, err := m.Database.Environment(os.Environ(), "")
	if err != nil {
		return Backup{}, err
	}
	loc, err := m.Config.Location()
	if err != nil {
		return Backup{}, err
	}
	snapshot, err := m.DB.Snapshot(ctx)
	if err != nil {
		return Backup{}, err
	}
	defer snapshot.Close()
	b := Backup{TakenAt: snapshot.At, Host: m.DB.Host(), dir: dir}
	if b.Contents, err = m.DB.Contents(ctx, snapshot); err != nil {
		return b, err
	}
	// Where a backup of the same second has the name, the next second is free.
	err = fs.ErrExist
	for at := b.TakenAt.In(loc); errors.Is(err, fs.ErrExist); at = at.Add(time.Second) {
		b.File = fmt.Sprintf("noggin_%s_%s.dump", Component(b.Database, "database"), at.Format("20060102_150405"))
		err = createNew(b.Path(), b.Path()+partialSuffix)
	}
	if err != nil {
		return b, err
	}
	partial := b.Path() + partialSuffix
	defer func() { _ = os.Remove(partial) }() // gone once it has its name
	lockWait := fmt.Sprintf("--lock-wait-timeout=%d", m.Config.Maintain.LockTimeout.Milliseconds())
	if err := runProgram(ctx, environ, program, "--format=custom", "--schema="+b.Schema, "--no-password", lockWait,
		"--snapshot="+snapshot.ID, "--file="+partial); err != nil {
		return b, fmt.Errorf("write backup %s: %w", b.Path(), err)
	}
	if b.Bytes, b.SHA256, err = settleFile(partial); err != nil {
		return b, err
	}
	if err := b.writeManifest(); err != nil {
		return b, err
	}
	if err := errors.Join(os.Rename(partial, b.Path()), syncFolder(dir)); err != nil {
		return b, diskError("name a backup in", dir, err)
	}
	return b, nil
}

// createNew makes an empty file for pg_dump to fill, so that it has our mode;
// fs.ErrExist where either name is taken.
func createNew(final, partial string) error {
	if _, err := os.Lstat(final); err == nil {
		return fmt.Errorf("make backup %s: %w", final, fs.ErrExist)
	}
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, backupMode)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return diskError("create", partial, err)
	}
	return nil
}

// settleFile puts a file on disk and reads it back: its size and SHA-256.
func settleFile(name string) (size int64, sum string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, "", diskError("read", name, err)
	}
	defer release(f)
	if err := f.Sync(); err != nil {
		return 0, "", diskError("flush", name, err)
	}
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return 0, "", diskError("read", name, err)
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}

// writeManifest writes, or replaces, the manifest in one step.
func (b Backup) writeManifest() error {
	doc, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	name := b.Path() + manifestSuffix
	f, err := os.OpenFile(name+partialSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, backupMode)
	if err != nil {
		return diskError("create", name+partialSuffix, err)
	}
	_, err = f.Write(append(doc, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return diskError("write", name+partialSuffix, err)
	}
	if err := errors.Join(os.Rename(name+partialSuffix, name), syncFolder(b.dir)); err != nil {
		return diskError("name", name, err)
	}
	return nil
}

// readBackup reads the manifest of the backup at path.
func readBackup(path string) (Backup, error) {
	doc, err := os.ReadFile(path + manifestSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return Backup{}, fmt.Errorf("%s has no manifest %s beside it: it cannot be checked", path, filepath.Base(path)+manifestSuffix)
	}
	if err != nil {
		return Backup{}, err
	}
	var b Backup
	if err := json.Unmarshal(doc, &b); err != nil {
		return Backup{}, fmt.Errorf("read the manifest of %s: %w", path, err)
	}
	b.File, b.dir = filepath.Base(path), filepath.Dir(path)
	return b, nil
}

// Backups returns the backups of our database in [paths] backups, the newest first.
func (m *Maintenance) Backups() ([]Backup, error) { return m.backups(m.Config.Paths.Backups) }

// backups returns the backups in dir of our database, the newest first; one of
// another size than its manifest says is broken. Other files are nobody's business.
func (m *Maintenance) backups(dir string) ([]Backup, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the backups: %w", err)
	}
	database, err := m.Database.DatabaseName()
	if err != nil {
		return nil, err
	}
	var backups []Backup
	for _, entry := range entries {
		if !backupName.MatchString(entry.Name()) || !entry.Type().IsRegular() {
			continue
		}
		b, err := readBackup(filepath.Join(dir, entry.Name()))
		if err != nil || b.Database != database || b.Schema != m.Database.Schema {
			continue
		}
		if info, err := entry.Info(); err == nil && info.Size() != b.Bytes && b.Broken == "" {
			b.Broken = fmt.Sprintf("it has %d bytes instead of %d", info.Size(), b.Bytes)
		}
		backups = append(backups, b)
	}
	slices.SortStableFunc(backups, func(a, b Backup) int { return b.TakenAt.Compare(a.TakenAt) })
	return backups, nil
}

// rotateBackups removes the backups that [rotate] lets go, and manifests whose
// backup is gone.
func (m *Maintenance) rotateBackups(dir string) (removed []string, err error) {
	backups, err := m.backups(dir)
	if err != nil {
		return nil, err
	}
	loc, err := m.Config.Location()
	if err != nil {
		return nil, err
	}
	removed = []string{}
	for _, b := range rotate(backups, m.Config.Maintain, loc) {
		// The manifest last: without its backup it tells what happened.
		if err := errors.Join(os.Remove(b.Path()), os.Remove(b.Path()+manifestSuffix)); err != nil {
			return removed, fmt.Errorf("remove an old backup: %w", err)
		}
		removed = append(removed, b.File)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "noggin_*.dump"+manifestSuffix))
	if err != nil {
		return removed, err
	}
	for _, name := range manifests {
		_, err := os.Lstat(strings.TrimSuffix(name, manifestSuffix))
		info, statErr := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) && statErr == nil && time.Since(info.ModTime()) > tempAge {
			_ = os.Remove(name) // it is in nobody's way
		}
	}
	return removed, nil
}

// rotate returns those of the backups that keep lets go: the last good one of each
// of so many days, weeks and months stays, and whatever keep says the newest good
// one and the newest that was restored on trial. Broken ones are for people to
// look at. Days begin in loc.
func rotate(backups []Backup, keep Maintain, loc *time.Location) []Backup {
	good := slices.DeleteFunc(slices.Clone(backups), func(b Backup) bool { return b.Broken != "" })
	slices.SortStableFunc(good, func(a, b Backup) int { return b.TakenAt.Compare(a.TakenAt) })
	kept := map[string]bool{}
	for i, b := range good {
		if i == 0 {
			kept[b.File] = true
		}
		if b.VerifiedAt != nil {
			kept[b.File] = true
			break
		}
	}
	for _, rule := range []struct {
		most   int
		period func(t time.Time) string
	}{
		{keep.KeepDaily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{keep.KeepWeekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprint(year, week)
		}},
		{keep.KeepMonthly, func(t time.Time) string { return t.Format("2006-01") }},
	} {
		seen := map[string]bool{}
		for _, b := range good {
			period := rule.period(b.TakenAt.In(loc))
			if len(seen) < rule.most && !seen[period] {
				seen[period], kept[b.File] = true, true
			}
		}
	}
	return slices.DeleteFunc(good, func(b Backup) bool { return kept[b.File] })
}
