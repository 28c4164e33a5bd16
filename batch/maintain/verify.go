package maintain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/storage"
)

// maxBackupAge bounds the age of the newest backup. The timer makes one a day.
const maxBackupAge = 48 * time.Hour

// verification is the Details of a verified backup.
type verification struct {
	Path     string    `json:"path"`
	TakenAt  time.Time `json:"taken_at"`
	Bytes    int64     `json:"bytes"`
	Restored bool      `json:"restored"`
	// Rows are the numbers of rows in the restored tables.
	Rows     map[string]int64 `json:"rows,omitempty"`
	Problems []string         `json:"problems"`
	Warnings []string         `json:"warnings,omitempty"` // about the data, not the backup
	Seconds  float64          `json:"seconds"`
}

// VerifyBackup compares a backup with its manifest and restores it on trial into a
// database that it then drops. An empty path means the newest backup, which must not
// be older than maxBackupAge. A dump can hold any SQL, so only one is restored whose
// SHA-256 the database recorded, or that sum names. When the backup cannot be used, the
// error wraps [ErrIncomplete].
func (m *Maintenance) VerifyBackup(ctx context.Context, path, sum string) (Effect, error) {
	started := time.Now()
	b, others, err := m.chooseBackup(ctx, path, sum)
	if err != nil {
		return Effect{}, err
	}
	dump, err := b.open()
	if err != nil {
		return Effect{}, err
	}
	defer files.Release(dump)
	v := verification{Path: b.Path(), TakenAt: b.TakenAt, Bytes: b.Bytes, Problems: []string{}}
	if age := time.Since(b.TakenAt); path == "" && age > maxBackupAge {
		v.Problems = append(v.Problems, fmt.Sprintf("the newest backup is %.0f days old", age.Hours()/24))
	}
	if others > 0 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("%s in %s not by this database: noggin does not restore them on trial, and rotation leaves them",
			health.Plural(int64(others), "backup"), filepath.Dir(b.Path())))
	}
	broken, err := b.compare(ctx, dump)
	if err != nil {
		return Effect{}, err
	}
	if broken == "" {
		if err := m.restoreOnTrial(ctx, b, dump, &v); err != nil {
			return Effect{}, err
		}
	} else {
		v.Problems = append(v.Problems, broken)
	}
	b.note(m, broken, len(v.Problems) == 0)
	v.Seconds = time.Since(started).Seconds()
	if len(v.Problems) > 0 {
		return Effect{Text: "check failed: " + b.Path(), Details: v, Lines: v.Problems},
			fmt.Errorf("%w: %s: %s", ErrIncomplete, b.Path(), strings.Join(v.Problems, "; "))
	}
	text := fmt.Sprintf("%s is good: restored, %s, %s, %s compared in %.1f s", b.Path(), health.Plural(v.Rows["noggin_data"], "record"),
		health.Plural(v.Rows["attachments"], "attachment"), health.Plural(int64(len(v.Rows)), "table"), v.Seconds)
	return Effect{Text: text, Details: v, Lines: v.Warnings}, nil
}

// findBackup finds a backup by path, or by name in [paths] backups. An empty path
// means the newest backup there.
func (m *Maintenance) findBackup(path string) (Backup, error) {
	dir := m.Paths.Backups
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

// chooseBackup finds the backup to verify, and the number of backups that are left out
// since the database did not record them.
func (m *Maintenance) chooseBackup(ctx context.Context, path, sum string) (b Backup, others int, err error) {
	if path == "" {
		backups, others, err := m.recorded(ctx)
		switch {
		case err != nil:
			return Backup{}, 0, err
		case len(backups) == 0 && others > 0:
			return Backup{}, 0, fmt.Errorf("this database recorded none of the %s in %s: `noggin maintain backup` makes one; `noggin maintain verify-backup FILE --sha256 HASH` restores another",
				health.Plural(int64(others), "backup"), m.Paths.Backups)
		case len(backups) > 0:
			return backups[0], others, nil
		}
	}
	if b, err = m.findBackup(path); err != nil || path == "" {
		return b, 0, err
	}
	if sum != "" {
		b.SHA256 = sum
		return b, 0, nil
	}
	recorded, err := m.DB.RecordedBackups(ctx)
	if err == nil && !recorded[b.SHA256] {
		err = fmt.Errorf("%s is not restored: this database did not record it, and a dump can hold any SQL: if you know its SHA-256 from elsewhere, add --sha256", b.Path())
	}
	return b, 0, err
}

// open opens the dump. Nobody else may be able to change what was read once.
func (b Backup) open() (*os.File, error) {
	f, info, err := files.OpenRegular(b.Path(), unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	const forOthersToWrite = 0o022
	if owner := files.OwnerOf(info); owner != 0 && int(owner) != os.Geteuid() || info.Mode()&forOthersToWrite != 0 {
		files.Release(f)
		return nil, fmt.Errorf("%s may be changed by others while it is restored: copy it, and its manifest, into a folder where it belongs to noggin's user, with mode 0640", b.Path())
	}
	return f, nil
}

// compare reads the whole dump and returns how it differs from its manifest.
func (b Backup) compare(ctx context.Context, dump *os.File) (broken string, err error) {
	size, sum, err := files.HashOpen(ctx, dump)
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

// note stores the outcome in the manifest, where rotation reads it.
func (b Backup) note(m *Maintenance, broken string, good bool) {
	switch {
	case broken == "" && !good:
		return // the server may be the cause
	case broken != "":
		b.Broken, b.VerifiedAt = broken, nil
	default:
		now := time.Now().UTC().Truncate(time.Second)
		b.Broken, b.VerifiedAt = "", &now
	}
	if err := b.writeManifest(); err != nil {
		m.Log.Warn("the result could not be stored in the manifest of the backup", "backup", b.Path(), "error", err)
	}
}

// restoreOnTrial restores the dump into a database of its own and inspects it. With
// [maintain] verify_url it does so as another role, which can reach nothing of noggin's.
func (m *Maintenance) restoreOnTrial(ctx context.Context, b Backup, dump *os.File, v *verification) (err error) {
	db, database := m.DB, m.Database
	if m.Config.VerifyURL != "" {
		database.URL = m.Config.VerifyURL
		if db, err = storage.Open(database, "maintain verify-backup"); err != nil {
			return err
		}
		defer func() { _ = db.Close() }() // the scratch database is dropped already
	}
	major, err := db.ServerMajor(ctx)
	if err != nil {
		return err
	}
	program, err := findProgram(ctx, "pg_restore", major)
	if err != nil {
		return err
	}
	failed, err := m.restoreInto(ctx, db, database, program, b, dump, v)
	if err == nil && failed != nil {
		// Its session may have broken off, even at the COMMIT, while the server is well.
		m.Log.Warn("the backup could not be restored; it is tried once more", "backup", b.Path(), "error", failed)
		failed, err = m.restoreInto(ctx, db, database, program, b, dump, v)
	}
	if err == nil && failed != nil {
		v.Problems = append(v.Problems, "it cannot be restored: "+failed.Error())
	}
	return err
}

// restoreInto restores the dump into a scratch database of its own and inspects it. failed
// is why pg_restore failed.
func (m *Maintenance) restoreInto(ctx context.Context, db *storage.DB, database storage.Config, program string, b Backup, dump *os.File, v *verification) (failed, err error) {
	scratch, err := db.NewScratch(ctx, b.Schema)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scratch.Drop(ctx)) }()
	environ, err := database.Environment(files.Environment(), scratch.Name)
	if err != nil {
		return nil, err
	}
	if _, err := dump.Seek(0, io.SeekStart); err != nil {
		return nil, files.WrapDisk("read", b.Path(), err)
	}
	snapshot, err := scratch.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	err = snapshot.While(ctx, func(ctx context.Context) error {
		return runProgram(ctx, environ, dump, program, append(restoreOptions(), "--single-transaction", "--dbname="+scratch.Name)...)
	})
	snapshot.Close()
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, storage.ErrUnavailable) {
			return nil, err // the server went away, which says nothing about the backup
		}
		return err, nil
	}
	v.Restored = true
	return nil, m.inspect(ctx, scratch, b, v)
}

// restoreOptions returns the options of pg_restore: the restoring role owns
// everything, and the first error ends the restore.
func restoreOptions() []string {
	return []string{"--exit-on-error", "--no-owner", "--no-privileges", "--no-password"}
}

// inspect compares the restored tables with the manifest.
func (m *Maintenance) inspect(ctx context.Context, scratch *storage.Scratch, b Backup, v *verification) error {
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
			v.Problems = append(v.Problems, fmt.Sprintf("%s has %s instead of %d", table, health.Plural(rows, "row"), b.Rows[table]))
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

// checkData checks the restored data as `noggin validate data` does. It finds faults
// that the data had when the backup was taken.
func (m *Maintenance) checkData(ctx context.Context, scratch *storage.Scratch, v *verification) error {
	for _, check := range storage.Checks(m.Types.Codes(), m.Types.DocumentFields()) {
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
