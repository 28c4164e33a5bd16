package batch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"noggin/storage"
)

// maxBackupAge is how old the newest backup may be: there is one a day.
const maxBackupAge = 48 * time.Hour

// Verification is what verifying a backup found.
type Verification struct {
	Path     string    `json:"path"`
	TakenAt  time.Time `json:"taken_at"`
	Bytes    int64     `json:"bytes"`
	Restored bool      `json:"restored"`
	// Rows are those of the restored tables.
	Rows     map[string]int64 `json:"rows,omitempty"`
	Problems []string         `json:"problems"`
	Warnings []string         `json:"warnings,omitempty"` // about the data, not the backup
	Seconds  float64          `json:"seconds"`
}

// VerifyBackup compares a backup with its manifest and restores it on trial, into
// a database that it drops again. path "" is the newest one, which then must not be
// old either. A backup that is no good is an error that wraps [ErrIncomplete].
func (m *Maintenance) VerifyBackup(ctx context.Context, path string) (Effect, error) {
	started := time.Now()
	b, err := m.findBackup(path)
	if err != nil {
		return Effect{}, err
	}
	v := Verification{Path: b.Path(), TakenAt: b.TakenAt, Bytes: b.Bytes, Problems: []string{}}
	if age := time.Since(b.TakenAt); path == "" && age > maxBackupAge {
		v.Problems = append(v.Problems, fmt.Sprintf("the newest backup is %.0f days old", age.Hours()/24))
	}
	broken, err := b.compare()
	if err != nil {
		return Effect{}, err
	}
	if broken == "" {
		if err := m.restoreOnTrial(ctx, b, &v); err != nil {
			return Effect{}, err
		}
	} else {
		v.Problems = append(v.Problems, broken)
	}
	b.note(m, broken, len(v.Problems) == 0)
	v.Seconds = time.Since(started).Seconds()
	if len(v.Problems) > 0 {
		return Effect{Text: "no good: " + b.Path(), Details: v, Lines: v.Problems},
			fmt.Errorf("%w: %s: %s", ErrIncomplete, b.Path(), strings.Join(v.Problems, "; "))
	}
	text := fmt.Sprintf("%s is good: restored, %s, %s, %s compared in %.1f s", b.Path(), plural(v.Rows["noggin_data"], "record"),
		plural(v.Rows["attachments"], "attachment"), plural(int64(len(v.Rows)), "table"), v.Seconds)
	return Effect{Text: text, Details: v, Lines: v.Warnings}, nil
}

// findBackup finds a backup by path or, in the configured folder, by name; "" is
// the newest there.
func (m *Maintenance) findBackup(path string) (Backup, error) {
	dir := m.Config.Paths.Backups
	if path != "" {
		if _, err := os.Lstat(path); err != nil && filepath.Base(path) == path {
			path = filepath.Join(dir, path)
		}
		if _, err := os.Stat(path); err != nil {
			return Backup{}, fmt.Errorf("look for the backup: %w", err)
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			return Backup{}, err
		}
		return readBackup(absolute)
	}
	backups, err := m.backups(dir)
	if err != nil {
		return Backup{}, err
	}
	if len(backups) == 0 {
		return Backup{}, fmt.Errorf("there is no backup of this database in %s: `noggin maintain backup` makes one", dir)
	}
	return backups[0], nil
}

// compare reads the whole backup and says how it differs from its manifest.
func (b Backup) compare() (broken string, err error) {
	size, sum, err := settleFile(b.Path())
	switch {
	case err != nil:
		return "", err
	case size != b.Bytes:
		return fmt.Sprintf("it has %d bytes instead of %d", size, b.Bytes), nil
	case sum != b.SHA256:
		return fmt.Sprintf("its content has changed: SHA-256 %s instead of %s", sum, b.SHA256), nil
	}
	return "", nil
}

// note puts the outcome into the manifest, for rotation to know what is good.
func (b Backup) note(m *Maintenance, broken string, good bool) {
	switch {
	case broken == "" && !good:
		return // it may have been the server's fault
	case broken != "":
		b.Broken, b.VerifiedAt = broken, nil
	default:
		now := time.Now().UTC().Truncate(time.Second)
		b.Broken, b.VerifiedAt = "", &now
	}
	if err := b.writeManifest(); err != nil {
		m.Log.Warn("the manifest could not be renewed", "backup", b.Path(), "error", err)
	}
}

// restoreOnTrial restores the backup beside our database and looks at the result.
func (m *Maintenance) restoreOnTrial(ctx context.Context, b Backup, v *Verification) (err error) {
	major, err := m.DB.ServerMajor(ctx)
	if err != nil {
		return err
	}
	program, err := findProgram(ctx, "pg_restore", major)
	if err != nil {
		return err
	}
	scratch, err := m.DB.NewScratch(ctx, b.Schema)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Drop(ctx)) }()
	environ, err := m.Database.Environment(os.Environ(), scratch.Name)
	if err != nil {
		return err
	}
	if err := runProgram(ctx, environ, program, append(restoreOptions(), "--single-transaction", "--dbname="+scratch.Name, b.Path())...); err != nil {
		if ctx.Err() != nil {
			return err
		}
		if err := m.DB.Ping(ctx); err != nil {
			return err // the server went away: nothing is said about the backup
		}
		v.Problems = append(v.Problems, "it cannot be restored: "+err.Error())
		return nil
	}
	v.Restored = true
	return m.inspect(ctx, scratch, b, v)
}

// restoreOptions are pg_restore's: the role that restores owns all, and the first
// error ends it.
func restoreOptions() []string {
	return []string{"--exit-on-error", "--no-owner", "--no-privileges", "--no-password"}
}

// inspect compares what was restored with the manifest.
func (m *Maintenance) inspect(ctx context.Context, scratch *storage.Scratch, b Backup, v *Verification) error {
	c, err := scratch.Contents(ctx)
	if err != nil {
		return err
	}
	v.Rows = c.Rows
	if c.SchemaVersion != b.SchemaVersion {
		v.Problems = append(v.Problems, fmt.Sprintf("its schema has version %d instead of %d", c.SchemaVersion, b.SchemaVersion))
	}
	for _, table := range slices.Sorted(maps.Keys(b.Rows)) {
		if rows, ok := c.Rows[table]; !ok {
			v.Problems = append(v.Problems, "table "+table+" is missing")
		} else if rows != b.Rows[table] {
			v.Problems = append(v.Problems, fmt.Sprintf("%s has %s instead of %d", table, plural(rows, "row"), b.Rows[table]))
		}
	}
	invalid, err := scratch.InvalidIndexes(ctx)
	if err != nil {
		return err
	}
	for _, index := range invalid {
		v.Problems = append(v.Problems, "index "+index+" is invalid")
	}
	return m.checkData(ctx, scratch, v)
}

// checkData holds the restored data to the rules of `noggin validate data`. What
// breaks them was so when the backup was taken.
func (m *Maintenance) checkData(ctx context.Context, scratch *storage.Scratch, v *Verification) error {
	forms, err := m.Config.Forms()
	if err != nil {
		return err
	}
	for _, check := range storage.Checks(forms.Codes()) {
		found, err := scratch.Violations(ctx, check)
		if err != nil {
			return err
		}
		if found.Count == 0 {
			continue
		}
		finding := fmt.Sprintf("%d %s (%s)", found.Count, check.Message, check.Name)
		if check.Warning {
			v.Warnings = append(v.Warnings, finding)
		} else {
			v.Problems = append(v.Problems, finding)
		}
	}
	return nil
}
