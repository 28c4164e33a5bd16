package maintain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/storage"
)

// Backup is a backup of the database as its manifest describes it. The manifest is a
// JSON file beside the backup.
type Backup struct {
	File    string    `json:"file"` // name in the folder
	TakenAt time.Time `json:"taken_at"`
	storage.Contents
	Bytes      int64      `json:"bytes"`
	SHA256     string     `json:"sha256"`
	Host       string     `json:"host"`
	VerifiedAt *time.Time `json:"verified_at,omitempty"` // when a trial restore last succeeded
	Broken     string     `json:"broken,omitempty"`      // why it cannot be used

	dir string
}

// Path returns the path of the backup.
func (b Backup) Path() string { return filepath.Join(b.dir, b.File) }

const (
	manifestSuffix = ".json"
	// backupMode hides the inspections from other users of the host.
	backupMode = 0o640
)

var backupName = regexp.MustCompile(`^noggin_.+_[0-9]{8}_[0-9]{6}\.dump$`)

// backupResult is the Details of a backup's effect.
type backupResult struct {
	Path string `json:"path"`
	Backup
	Seconds float64  `json:"seconds"`
	Removed []string `json:"removed"` // by the rotation
}

// Backup dumps the database into dir, whole or not at all, with a manifest. An empty
// dir means [paths] backups, where it then also removes the backups that rotation no
// longer keeps.
func (m *Maintenance) Backup(ctx context.Context, dir string) (Effect, error) {
	started := time.Now()
	rotated := dir == ""
	if rotated {
		dir = m.Paths.Backups
	}
	if err := m.checkMounted(ctx, dir); err != nil {
		return Effect{}, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return Effect{}, fmt.Errorf("create the folder for backups: %w", err)
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
		if earlier, _, err = m.recorded(ctx); err == nil {
			result.Removed, err = m.rotateBackups(ctx, earlier, b.TakenAt)
		}
	}
	result.Seconds = time.Since(started).Seconds()
	text := fmt.Sprintf("%s, %s, %s in %.1f s", b.Path(), health.BytesText(b.Bytes), health.Plural(b.Rows["noggin_data"], "record"), result.Seconds)
	if len(result.Removed) > 0 {
		text += "; removed " + health.Plural(int64(len(result.Removed)), "old backup")
	}
	return Effect{Text: text, Details: result}, err
}

// BackedUpToday describes the backup that a run on any host made today in [paths]
// backups. It returns nil when there is none.
func (m *Maintenance) BackedUpToday(ctx context.Context) (*Effect, error) {
	runs, err := m.DB.RunsThis(ctx, "day", "maintain backup")
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		var made struct {
			Path string `json:"path"`
		}
		if run.ExitCode != 0 || json.Unmarshal(run.Summary, &made) != nil || filepath.Dir(made.Path) != m.Paths.Backups {
			continue
		}
		return &Effect{
			Text:    fmt.Sprintf("%s made today's backup at %s: %s", run.Host, run.Finished.Format("15:04"), made.Path),
			Details: map[string]any{"made_already": true, "host": run.Host, "path": made.Path, "finished_at": run.Finished},
		}, nil
	}
	return nil, nil
}

// emptiedName is the file by which an operator says that the backups of a folder were
// removed on purpose.
const emptiedName = ".noggin-backups"

// checkMounted refuses a folder that has nothing of backups although this host made some
// there: a new one would go to the volume below, and hide that this one is not mounted.
func (m *Maintenance) checkMounted(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into the folder for backups: %w", err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), "noggin_") || e.Name() == emptiedName }) {
		return nil
	}
	made, err := m.DB.BackupsIn(ctx, dir)
	if err != nil || made == 0 {
		return err
	}
	return fmt.Errorf("%s has no backup, and this host made %s there: mount its volume; if they were removed on purpose, `mkdir -p %s && touch %s`",
		dir, health.Plural(made, "backup"), files.ShellQuoted(dir), files.ShellQuoted(filepath.Join(dir, emptiedName)))
}

// checkRoom returns an error when a backup like the last one would fill the volume.
func checkRoom(dir string, earlier []Backup) error {
	if len(earlier) == 0 {
		return nil
	}
	free, _, err := files.VolumeSpace(dir)
	if err != nil {
		return err
	}
	if last := earlier[0].Bytes; int64(free) < last+last/5 {
		return files.WrapDisk("write a backup in", dir, fmt.Errorf("%s are free, the last one took %s: %w", health.BytesText(int64(free)), health.BytesText(last), unix.ENOSPC))
	}
	return nil
}

// dump writes a partial file and its manifest, and then gives the file its name. So a
// file with the name of a backup is whole and has a manifest.
func (m *Maintenance) dump(ctx context.Context, dir string) (Backup, error) {
	major, err := m.DB.ServerMajor(ctx)
	if err != nil {
		return Backup{}, err
	}
	program, err := findProgram(ctx, "pg_dump", major)
	if err != nil {
		return Backup{}, err
	}
	environ, err := m.Database.Environment(files.Environment(), "")
	if err != nil {
		return Backup{}, err
	}
	missing, err := m.DB.Unreadable(ctx)
	if err != nil {
		return Backup{}, err
	}
	if len(missing) > 0 {
		return Backup{}, fmt.Errorf("SELECT is missing, so a backup would not be whole: as the owner, %s", strings.Join(missing, "; "))
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
	// When a backup of the same second has the name, the next second is tried.
	err = fs.ErrExist
	for at := b.TakenAt.In(m.Location); errors.Is(err, fs.ErrExist); at = at.Add(time.Second) {
		b.File = fmt.Sprintf("noggin_%s_%s.dump", forms.Component(b.Database, "database"), at.Format("20060102_150405"))
		err = createEmpty(b.Path())
	}
	if err != nil {
		return b, err
	}
	partial := b.Path() + files.PartialExt
	defer func() { _ = os.Remove(partial) }() // fails when the backup already has its name
	lockWait := fmt.Sprintf("--lock-wait-timeout=%d", m.Config.LockTimeout.Milliseconds())
	// Flushed below, once: the trial with power cuts shows that it is.
	if err := snapshot.While(ctx, func(ctx context.Context) error {
		return runProgram(ctx, environ, nil, program, "--format=custom", "--no-sync", "--schema="+b.Schema, "--no-password", lockWait,
			"--snapshot="+snapshot.ID, "--file="+partial)
	}); err != nil {
		return b, fmt.Errorf("write backup %s: %w", b.Path(), err)
	}
	if b.Bytes, b.SHA256, err = files.HashFile(ctx, partial); err != nil {
		return b, err
	}
	if err := m.DB.RecordBackup(ctx, b.SHA256, b.Path(), b.Bytes, b.TakenAt); err != nil {
		return b, err
	}
	if err = b.writeManifest(); err == nil {
		err = files.NamePartial(b.Path())
	}
	if err != nil { // nobody may look for it
		return b, errors.Join(err, m.DB.NoteBackupsRemoved(context.WithoutCancel(ctx), []string{b.SHA256}))
	}
	m.Log.Info("a backup was written", "path", b.Path(), "sha256", b.SHA256)
	return b, nil
}

// createEmpty creates the file that pg_dump fills, so that it has backupMode.
func createEmpty(final string) error {
	f, err := files.CreatePartial(final, backupMode)
	if err == nil {
		err = f.Close()
	}
	return err
}

// Backups returns the backups of this database in [paths] backups, the newest first.
func (m *Maintenance) Backups() ([]Backup, error) { return m.backups(m.Paths.Backups) }

// backups returns the backups of this database in dir, the newest first. A backup
// whose size differs from its manifest is broken. Other files are ignored.
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
	sortNewestFirst(backups, time.Now())
	return backups, nil
}

// sortNewestFirst puts backups last whose time is more than a day ahead of now: the
// server's clock was ahead when they were made, so all others that were made since are
// newer.
func sortNewestFirst(backups []Backup, now time.Time) {
	isAhead := func(b Backup) bool { return b.TakenAt.After(now.AddDate(0, 0, 1)) }
	slices.SortStableFunc(backups, func(a, b Backup) int {
		switch {
		case isAhead(a) == isAhead(b):
			return b.TakenAt.Compare(a.TakenAt)
		case isAhead(a):
			return 1
		}
		return -1
	})
}

// recorded returns the backups in [paths] backups that the database recorded, the newest
// first, and the number of others. Whoever can write into the folder can put others there.
func (m *Maintenance) recorded(ctx context.Context) (backups []Backup, others int, err error) {
	all, err := m.Backups()
	if err != nil {
		return nil, 0, err
	}
	sums, err := m.DB.RecordedBackups(ctx)
	if err != nil {
		return nil, 0, err
	}
	backups = slices.DeleteFunc(slices.Clone(all), func(b Backup) bool { return !sums[b.SHA256] })
	return backups, len(all) - len(backups), nil
}

// rotateBackups removes those of the backups in [paths] backups that rotate returns, and
// old manifests without a backup. The copies of the removed backups are removed later.
func (m *Maintenance) rotateBackups(ctx context.Context, backups []Backup, now time.Time) (removed []string, err error) {
	removed = []string{}
	var sums []string
	old := rotate(backups, m.Config, m.Location, now)
	for _, b := range old {
		sums = append(sums, b.SHA256)
	}
	if len(sums) > 0 { // first: of a backup that is gone nobody would know
		if err := m.DB.NoteBackupsRemoved(ctx, sums); err != nil { // without the database in an emergency
			m.Log.Warn("that old backups are removed could not be recorded: their copies stay", "error", err)
		}
	}
	for _, b := range old {
		// The manifest goes last: a kill leaves no backup without a manifest.
		for _, name := range []string{b.Path(), b.Path() + manifestSuffix} {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return removed, fmt.Errorf("remove an old backup: %w", err)
			}
		}
		removed = append(removed, b.File)
	}
	manifests, err := filepath.Glob(filepath.Join(m.Paths.Backups, "noggin_*.dump"+manifestSuffix))
	if err != nil {
		return removed, err
	}
	for _, name := range manifests {
		_, err := os.Lstat(strings.TrimSuffix(name, manifestSuffix))
		info, statErr := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) && statErr == nil && time.Since(info.ModTime()) > files.TempAge {
			_ = os.Remove(name) // the next rotation tries again
		}
	}
	return removed, nil
}

// rotate returns the backups to remove. It keeps the last good backup of each of as
// many days, weeks and months as keep says. It always keeps the newest good backup
// and the newest one that a trial restore has verified. Broken backups stay for
// people to look at. Backups that are later than now stay until their time has come: they
// are from a clock that was ahead, and take no other backup's place. Days begin in loc.
func rotate(backups []Backup, keep Config, loc *time.Location, now time.Time) []Backup {
	good := slices.DeleteFunc(slices.Clone(backups), func(b Backup) bool { return b.Broken != "" || b.TakenAt.After(now) })
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
