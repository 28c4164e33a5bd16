package maintain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/batch/batchtest"
)

// A backup whose manifest is gone could not be checked any more.
func TestARotatedBackupGoesBeforeItsManifest(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 0)
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, m.Location)
	newer := Backup{File: "noggin_db_20260101_120000.dump", TakenAt: now, dir: m.Paths.Backups}
	older := Backup{File: "noggin_db_20260101_000000.dump", TakenAt: now.Add(-12 * time.Hour), dir: m.Paths.Backups}
	if err := os.MkdirAll(filepath.Join(older.Path(), "x"), 0o700); err != nil { // it cannot be removed
		t.Fatal(err)
	}
	if err := os.WriteFile(older.Path()+manifestSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if removed, err := m.rotateBackups(t.Context(), []Backup{newer, older}, now); err == nil || len(removed) > 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	if _, err := os.Stat(older.Path() + manifestSuffix); err != nil {
		t.Error(err)
	}
}

// Rotation keeps whole backups for the sake of none that was cut.
func TestABackupThatWasCutIsBroken(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 0)
	b := mustBackup(t, m)
	if err := os.Truncate(b.Path(), b.Bytes-1); err != nil {
		t.Fatal(err)
	}
	backups, err := m.Backups()
	if err != nil || len(backups) != 1 || backups[0].Broken == "" {
		t.Errorf("%+v, %v", backups, err)
	}
}

// Nobody waits for it, looks for it or copies it.
func TestADumpThatGotNoNameIsNotedAsRemoved(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 0)
	at := mustBackup(t, m).TakenAt.In(m.Location)
	for second := range 30 { // longer than the next backup takes to begin; its manifest cannot be written
		name := "noggin_" + m.Database.URL[strings.LastIndex(m.Database.URL, "/")+1:]
		name, _, _ = strings.Cut(name, "?")
		batchtest.Must(t, os.MkdirAll(filepath.Join(m.Paths.Backups, name+at.Add(time.Duration(second+1)*time.Second).Format("_20060102_150405")+".dump"+manifestSuffix, "x"), 0o700))
	}
	if _, err := m.Backup(t.Context(), ""); err == nil {
		t.Error("it ended well")
	}
	if n, err := m.DB.BackupsIn(t.Context(), m.Paths.Backups); err != nil || n != 1 {
		t.Errorf("%d backups are recorded, %v; want the first", n, err)
	}
}
