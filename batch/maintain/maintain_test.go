package maintain

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/archive"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// newMaintenance has a database of its own, with n records in it, and folders.
func newMaintenance(t testing.TB, n int) *Maintenance {
	t.Helper()
	cfg := storage.DefaultConfig()
	cfg.URL, cfg.StatementTimeout = batchtest.Database(t), 0
	db := batchtest.InitDatabase(t, cfg, "maintain")
	tips := make([]string, n)
	for i := range tips {
		tips[i] = strings.Repeat("0", 10) + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
	}
	if _, err := db.EnsureRecords(t.Context(), tips, "LCD", false); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	paths := files.Paths{Output: dir + "/output", Archive: dir + "/archive", Backups: dir + "/backups", Reports: dir + "/reports", Input: dir + "/input"}.Resolved()
	if err := files.CreateMarker(paths.Output); err != nil {
		t.Fatal(err)
	}
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Maintenance{DB: db, Database: cfg, Config: DefaultConfig(), Paths: paths, Location: time.Local, Types: types, Log: slog.New(slog.DiscardHandler), ExitCode: func(err error) int {
		if err != nil {
			return 1
		}
		return 0
	}}
}

func mustBackup(t testing.TB, m *Maintenance) Backup {
	t.Helper()
	effect, err := m.Backup(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	result, ok := effect.Details.(backupResult)
	if !ok {
		t.Fatalf("%+v", effect)
	}
	return result.Backup
}

func TestABackupIsRestoredAndEveryRowCounted(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 30)
	b := mustBackup(t, m)
	if b.Rows["noggin_data"] != 30 || b.SchemaVersion != storage.SchemaVersion || b.Bytes == 0 || len(b.SHA256) != 64 {
		t.Errorf("%+v", b)
	}
	if info, err := os.Stat(b.Path()); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("%v, %v: others can read it", info.Mode(), err)
	}
	effect, err := m.VerifyBackup(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	v, ok := effect.Details.(verification)
	if !ok || !v.Restored || v.Rows["noggin_data"] != 30 || len(v.Problems) != 0 {
		t.Errorf("%+v", v)
	}
	if b, err = readBackup(b.Path()); err != nil || b.VerifiedAt == nil {
		t.Errorf("%+v, %v", b, err)
	}
	if left := psql(t, m, "SELECT datname FROM pg_database WHERE datname LIKE 'noggin\\_verify\\_' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '\\_%'"); strings.Contains(left, "noggin") {
		t.Errorf("a trial leaves the database %s", left)
	}
	if scratch, err := m.DB.NewScratch(t.Context(), "x"); err != nil || scratch.Drop(t.Context()) != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(m.Paths.Backups + "/*" + files.PartialExt); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

// A network can break the session of pg_restore alone, and lose only the reply to its COMMIT.
func TestABackupIsNotCalledBadForOneBrokenSession(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 3)
	b := mustBackup(t, m)
	proxy := storagetest.NewProxy(t, m.Database.URL)
	m.Config.VerifyURL = proxy.URL(m.Database.URL)
	var mu sync.Mutex
	var restoring, lost bool
	proxy.LoseReply(func(statement string) bool {
		mu.Lock()
		defer mu.Unlock()
		restoring = restoring || strings.Contains(statement, "CREATE TABLE")
		if !restoring || lost || !strings.HasPrefix(statement, "COMMIT") {
			return false
		}
		lost = true
		return true
	})
	effect, err := m.VerifyBackup(t.Context(), "", "")
	proxy.LoseReply(nil)
	v, _ := effect.Details.(verification)
	mu.Lock()
	defer mu.Unlock()
	if err != nil || !lost || !v.Restored || v.Rows["noggin_data"] != 3 {
		t.Errorf("lost a reply: %v; %+v, %v", lost, v, err)
	}
	if b, err = readBackup(b.Path()); err != nil || b.VerifiedAt == nil {
		t.Errorf("%+v, %v", b, err)
	}
}

// On the volume below, backups would fill another disk and be hidden by the next mount.
func TestABackupDoesNotGoBelowAVolumeThatIsNotMounted(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 1)
	mustBackup(t, m)
	mounted := m.Paths.Backups + " mounted"
	batchtest.Must(t, os.Rename(m.Paths.Backups, mounted))
	for _, empty := range []bool{false, true} {
		if empty {
			batchtest.Must(t, os.Mkdir(m.Paths.Backups, 0o750))
		}
		if _, err := m.Backup(t.Context(), ""); err == nil || !strings.Contains(err.Error(), " has no backup, and this host made 1 backup there: ") {
			t.Errorf("empty %v: %v", empty, err)
		}
		if left, _ := filepath.Glob(m.Paths.Backups + "/*"); len(left) != 0 {
			t.Errorf("written: %v", left)
		}
	}
	batchtest.Must(t, os.Remove(m.Paths.Backups), os.Rename(mounted, m.Paths.Backups))
	mustBackup(t, m)
	batchtest.Must(t, os.RemoveAll(m.Paths.Backups))
	_, err := m.Backup(t.Context(), "")
	_, remedy, _ := strings.Cut(fmt.Sprint(err), "on purpose, `")
	batchtest.Must(t, exec.CommandContext(t.Context(), "sh", "-c", strings.TrimSuffix(remedy, "`")).Run())
	mustBackup(t, m)
}

func TestABackupOfTheSameSecondIsLeftAlone(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 1)
	const stamp = "20060102_150405"
	first := mustBackup(t, m)
	prefix := strings.TrimSuffix(first.File, ".dump")
	at, err := time.Parse(stamp, prefix[len(prefix)-len(stamp):])
	if err != nil {
		t.Fatal(err)
	}
	taken := []string{first.File}
	for range 20 { // longer than the next backup takes to begin
		at = at.Add(time.Second)
		name := prefix[:len(prefix)-len(stamp)] + at.Format(stamp) + ".dump"
		if err := os.WriteFile(filepath.Join(m.Paths.Backups, name), []byte("another"), 0o600); err != nil {
			t.Fatal(err)
		}
		taken = append(taken, name)
	}
	if second := mustBackup(t, m); slices.Contains(taken, second.File) {
		t.Errorf("both backups are %s", second.File)
	}
	for _, name := range taken[1:] {
		if text, err := os.ReadFile(filepath.Join(m.Paths.Backups, name)); err != nil || string(text) != "another" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func TestABrokenBackupIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 3)
	b := mustBackup(t, m)
	whole, err := os.ReadFile(b.Path())
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(b.Path() + manifestSuffix)
	if err != nil {
		t.Fatal(err)
	}
	const noDump = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" // of "x"
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	lying := func(change func(*Backup)) func() {
		return func() {
			other := b
			change(&other)
			if err := other.writeManifest(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		content  []byte
		manifest func()
		want     string
	}{
		"cut":           {whole[:len(whole)-100], nil, "bytes instead of"},
		"one bit":       {flipped, nil, "its content has changed"},
		"gone":          {nil, nil, "no such file"},
		"a lost table":  {whole, lying(func(b *Backup) { b.Rows = map[string]int64{"noggin_data": 3, "lost": 1} }), "table lost is missing"},
		"other schema":  {whole, lying(func(b *Backup) { b.SchemaVersion++ }), "its schema has version"},
		"fewer records": {whole, lying(func(b *Backup) { b.Rows = map[string]int64{"noggin_data": 4, "lost": 1} }), "noggin_data has 3 rows instead of 4"},
		"no dump": {[]byte("x"), lying(func(b *Backup) {
			b.Bytes, b.SHA256 = 1, noDump
		}), "it cannot be restored"},
	} {
		if err := os.WriteFile(b.Path()+manifestSuffix, manifest, 0o600); err != nil {
			t.Fatal(err)
		}
		if c.manifest != nil {
			c.manifest()
		}
		if c.content == nil {
			err = os.Remove(b.Path())
		} else {
			err = os.WriteFile(b.Path(), c.content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := ""
		if name == "no dump" {
			sum = noDump
		}
		if _, err = m.VerifyBackup(t.Context(), b.File, sum); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), b.File) {
			t.Errorf("%s: %v", name, err)
		}
		if name != "gone" && !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: %v is no finding", name, err)
		}
		if noted, err := readBackup(b.Path()); name == "one bit" && (err != nil || !strings.Contains(noted.Broken, c.want)) {
			t.Errorf("the backup's manifest says %q of that, %v", noted.Broken, err)
		}
	}
	old := b
	old.TakenAt = b.TakenAt.Add(-3 * 24 * time.Hour)
	psql(t, m, "UPDATE noggin_schema.backups SET taken_at = taken_at - interval '3 days'")
	if err := errors.Join(os.WriteFile(b.Path(), whole, 0o600), old.writeManifest()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.VerifyBackup(t.Context(), "", ""); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "3 days old") {
		t.Errorf("the newest backup is of three days ago: %v", err)
	}
	// One that is named may be old. It is good again, whatever was said of it.
	old.Broken = "it was cut"
	batchtest.Must(t, old.writeManifest())
	if _, err := m.VerifyBackup(t.Context(), b.File, ""); err != nil {
		t.Errorf("an old backup that is named: %v", err)
	}
	if noted, err := readBackup(b.Path()); err != nil || noted.Broken != "" || noted.VerifiedAt == nil {
		t.Errorf("its manifest says %+v, %v", noted, err)
	}
}

func TestABackupOfBrokenDataIsNoGood(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 3)
	run, err := m.DB.StartRun(t.Context(), "process", "")
	if err != nil {
		t.Fatal(err)
	}
	claims, err := m.DB.Claim(t.Context(), storage.ClaimRequest{Run: run, Limit: 1, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	// Complete, with neither an answer nor a report.
	if _, err := m.DB.Store(t.Context(), run, []storage.Answer{{
		Tip: claims[0].Tip, Token: claims[0].Token, ObjectType: "LCD", Payload: []byte("{}"), Folders: [3]string{"a", "b", "c"},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.DB.Finish(t.Context(), run, []storage.Result{{Tip: claims[0].Tip, Token: claims[0].Token, Status: "complete"}}, storage.Backoff{}); err != nil {
		t.Fatal(err)
	}
	b := mustBackup(t, m)
	if _, err := m.VerifyBackup(t.Context(), "", ""); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "(complete_without_report)") {
		t.Error(err)
	}
	if b, err = readBackup(b.Path()); err != nil || b.Broken != "" || b.VerifiedAt != nil {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestRotationNeverTouchesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 1)
	m.Config.KeepDaily, m.Config.KeepWeekly, m.Config.KeepMonthly = 0, 0, 0
	dir := m.Paths.Backups
	old := mustBackup(t, m)
	foreign := old
	foreign.Database, foreign.File = "another", "noggin_another_20200101_000000.dump"
	broken := old
	broken.File, broken.Bytes = "noggin_x_20200101_000001.dump", 1 // not its size
	for _, b := range []Backup{foreign, broken} {
		if err := errors.Join(os.WriteFile(b.Path(), make([]byte, old.Bytes), 0o600), b.writeManifest()); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"noggin_x_20200101_000002.dump", "notes.txt", "noggin_db_backup_20250101.sql.gz"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// As if it had been made an hour ago.
	hourAgo := old
	hourAgo.TakenAt, hourAgo.File = old.TakenAt.Add(-time.Hour), "noggin_x_20200101_000003.dump"
	if err := errors.Join(os.Rename(old.Path(), hourAgo.Path()), os.Remove(old.Path()+manifestSuffix), hourAgo.writeManifest()); err != nil {
		t.Fatal(err)
	}
	dayAgo := old
	dayAgo.TakenAt, dayAgo.File = old.TakenAt.AddDate(0, 0, -1), "noggin_x_20200101_000006.dump"
	batchtest.Must(t, os.Link(hourAgo.Path(), dayAgo.Path()), dayAgo.writeManifest())
	// Of two manifests without a backup, one is of a backup that is about to get its name.
	const young, left = "noggin_x_20200101_000004.dump" + manifestSuffix, "noggin_x_20200101_000005.dump" + manifestSuffix
	long := time.Now().Add(-2 * files.TempAge)
	batchtest.Must(t, os.WriteFile(filepath.Join(dir, young), nil, 0o600), os.WriteFile(filepath.Join(dir, left), nil, 0o600), os.Chtimes(filepath.Join(dir, left), long, long),
		os.Chtimes(foreign.Path()+manifestSuffix, long, long))
	if effect, err := m.Backup(t.Context(), t.TempDir()); err != nil || len(effect.Details.(backupResult).Removed) > 0 {
		t.Errorf("a backup into another folder: %+v, %v", effect, err)
	}
	effect, err := m.Backup(t.Context(), "")
	result, ok := effect.Details.(backupResult)
	if err != nil || !ok || !slices.Equal(result.Removed, []string{hourAgo.File, dayAgo.File}) {
		t.Fatalf("%+v, %v", effect, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 10 || !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == young }) {
		t.Errorf("%v, %v", entries, err)
	}
	m.Database.Schema = "another"
	if others, err := m.Backups(); err != nil || len(others) > 0 {
		t.Errorf("for another noggin in the same database: %+v, %v", others, err)
	}
}

// A run that was killed, or somebody else, removed the files and noted nothing.
func TestABackupThatIsGoneAlreadyIsNotedAsRemoved(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 0)
	var gone []Backup
	for _, day := range []string{"01", "02", "03"} {
		at, err := time.Parse("20060102", "202001"+day)
		if err != nil {
			t.Fatal(err)
		}
		b := Backup{File: "noggin_db_202001" + day + "_000000.dump", TakenAt: at, Bytes: 4, SHA256: strings.Repeat(day, 32), dir: m.Paths.Backups}
		if err := m.DB.RecordBackup(t.Context(), b.SHA256, b.Path(), b.Bytes, b.TakenAt); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, b)
	}
	m.Config.KeepDaily, m.Config.KeepWeekly, m.Config.KeepMonthly = 1, 1, 1
	removed, err := m.rotateBackups(t.Context(), gone, time.Now())
	if err != nil || len(removed) != 2 {
		t.Errorf("removed %q, %v", removed, err)
	}
	pool, err := sql.Open("postgres", m.Database.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close() }()
	var noted int
	if err := pool.QueryRow(`SELECT count(*) FROM noggin_schema.backups WHERE removed_at IS NOT NULL `).Scan(&noted); err != nil || noted != 2 {
		t.Errorf("%d are noted as removed, want 2: %v", noted, err)
	}
}

func TestRotationKeepsTheLastOfEachPeriod(t *testing.T) {
	t.Parallel()
	perth, err := time.LoadLocation("Australia/Perth")
	if err != nil {
		t.Fatal(err)
	}
	daily := func(days int) []Backup {
		var all []Backup
		for d := range days {
			at := time.Date(2026, 11, 24, 3, 30, 0, 0, perth).AddDate(0, 0, -d)
			all = append(all, Backup{File: at.Format(time.DateOnly), TakenAt: at.UTC()})
		}
		return all
	}
	remaining := func(all []Backup, keep Config) string {
		gone := rotate(all, keep, perth, time.Date(2026, 11, 24, 4, 0, 0, 0, perth))
		var names []string
		for _, b := range all {
			if !slices.ContainsFunc(gone, func(g Backup) bool { return g.File == b.File }) {
				names = append(names, b.File)
			}
		}
		return strings.Join(names, " ")
	}
	verified := daily(3)
	at := verified[2].TakenAt
	verified[2].VerifiedAt = &at
	broken := daily(3)
	broken[0].Broken = "cut"
	twice := append([]Backup{{File: "evening", TakenAt: time.Date(2026, 11, 23, 23, 0, 0, 0, perth)}}, daily(3)...)
	ahead := append([]Backup{
		{File: "next year", TakenAt: time.Date(2027, 11, 23, 0, 0, 0, 0, perth)}, {File: "in an hour", TakenAt: time.Date(2026, 11, 24, 5, 0, 0, 0, perth)},
	}, daily(3)...)
	for name, c := range map[string]struct {
		all  []Backup
		keep Config
		want string
	}{
		"a clock was ahead":  {ahead, Config{KeepDaily: 1}, "next year in an hour 2026-11-24"},
		"days":               {daily(40), Config{KeepDaily: 3}, "2026-11-24 2026-11-23 2026-11-22"},
		"weeks from Monday":  {daily(40), Config{KeepWeekly: 3}, "2026-11-24 2026-11-22 2026-11-15"},
		"months":             {daily(70), Config{KeepMonthly: 3}, "2026-11-24 2026-10-31 2026-09-30"},
		"all three":          {daily(70), Config{KeepDaily: 2, KeepWeekly: 2, KeepMonthly: 2}, "2026-11-24 2026-11-23 2026-11-22 2026-10-31"},
		"none but the last":  {daily(5), Config{}, "2026-11-24"},
		"the last good one":  {broken, Config{}, "2026-11-24 2026-11-23"},
		"the verified one":   {verified, Config{}, "2026-11-24 2026-11-22"},
		"two of one day":     {twice, Config{KeepDaily: 2}, "evening 2026-11-24"},
		"gaps do not count":  {[]Backup{daily(40)[0], daily(40)[20], daily(40)[30]}, Config{KeepDaily: 2}, "2026-11-24 2026-11-04"},
		"nothing to rotate":  {nil, Config{}, ""},
		"one that is broken": {broken[:1], Config{}, "2026-11-24"},
	} {
		if got := remaining(c.all, c.keep); got != c.want {
			t.Errorf("%s: kept %s, want %s", name, got, c.want)
		}
	}
}

func TestABackupOfAClockThatWasAheadIsNotTheNewest(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)
	var backups []Backup
	for _, hours := range []int{-48, 9000, 1, 8000, -1} {
		backups = append(backups, Backup{TakenAt: now.Add(time.Duration(hours) * time.Hour)})
	}
	sortNewestFirst(backups, now)
	for i, hours := range []float64{1, -1, -48, 9000, 8000} {
		if got := backups[i].TakenAt.Sub(now).Hours(); got != hours {
			t.Errorf("backup %d is of %v h from now, want %v", i, got, hours)
		}
	}
}

func TestABackupNeedsRoom(t *testing.T) {
	t.Parallel()
	if err := checkRoom(t.TempDir(), []Backup{{Bytes: 1 << 60}}); !files.IsDiskError(err) || !strings.Contains(err.Error(), "free space") {
		t.Error(err)
	}
	dir := batchtest.Tmpfs(t, "size=1m")
	free, _, err := files.VolumeSpace(dir)
	batchtest.Must(t, err)
	last := func(percent int64) []Backup { return []Backup{{Bytes: int64(free) / 100 * percent}, {Bytes: 1 << 60}} }
	if err := checkRoom(dir, last(80)); err != nil {
		t.Errorf("with a fifth more than the last one took: %v", err)
	}
	if err := checkRoom(dir, last(90)); !files.IsDiskError(err) {
		t.Errorf("with little more than the last one took: %v", err)
	}
}

func TestOldTemporaryFilesGoYoungOnesStay(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 0)
	long := time.Now().Add(-2 * files.TempAge)
	for name, old := range map[string]bool{
		"output/.noggin-tmp/1-A.part": true, "output/.noggin-tmp/2-B.part": false,
		"backups/noggin_db_20250101_000000.dump.partial": true, "backups/other.partial": true, "archive/noggin-2025-01.tar.zst.partial": false,
		"reports/.noggin-ABC.part": true, "reports/noggin.html": true,
		"checkpoints/example.com_log/.noggin-ABC.part": true, "checkpoints/example.com_log/.noggin-DEF.part": false, "checkpoints/example.com_log/checkpoint": true,
	} {
		path := filepath.Join(filepath.Dir(m.Paths.Output), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("1234"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if old {
			if err := os.Chtimes(path, long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A process writes it, whatever the clock says.
	live, err := files.CreatePartial(filepath.Join(m.Paths.Archive, "noggin-2025-02.tar.zst"), files.FileMode)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Release(live)
	if err := os.Chtimes(live.Name(), long, long); err != nil {
		t.Fatal(err)
	}
	effect, err := m.SweepTemp(t.Context())
	if r, ok := effect.Details.(tempResult); err != nil || !ok || r.Files != 4 || r.Bytes != 16 {
		t.Errorf("%+v, %v", effect, err)
	}
}

func TestAnOlderProgramIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	for version, folder := range map[string]string{"14.2": "a", "99.1": "b", "98beta2": "c"} {
		path := filepath.Join(dir, folder)
		script := "#!/bin/sh\necho 'pg_dump (PostgreSQL) " + version + " (Debian)'\n"
		if err := errors.Join(os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(path, "pg_dump"), []byte(script), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+"/a:"+dir+"/b:"+dir+"/c:/bin")
	if path, err := findProgram(t.Context(), "pg_dump", 97); err != nil || path != dir+"/c/pg_dump" {
		t.Errorf("%s, %v", path, err)
	}
	if _, err := findProgram(t.Context(), "pg_dump", 100); err == nil || !strings.Contains(err.Error(), "postgresql-client-100") {
		t.Error(err)
	}
	if err := runProgram(t.Context(), nil, nil, "/bin/sh", "-c", "echo one >&2; echo two >&2; exit 3"); err == nil || err.Error() != "sh: one\ntwo" {
		t.Error(err)
	}
	if err := runProgram(t.Context(), nil, nil, "/bin/sh", "-c", "echo sh: error: volume is full >&2; exit 1"); err == nil || err.Error() != "sh: volume is full" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("told to stop")
	time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
	if err := runProgram(ctx, nil, nil, "/bin/sleep", "60"); !errors.Is(err, why) {
		t.Error(err)
	}
}

// The manual names the steps, and a list without one would say that all is done.
func TestTheListsHaveTheStepsOfTheManual(t *testing.T) {
	t.Parallel()
	for want, list := range map[string]func(*Maintenance) []Step{
		"unknown-hashes? analyze vacuum sizes? errors? verify-backup archives? performance? temp":   (*Maintenance).Weekly,
		"storage? backup analyze reindex vacuum sizes? prune archives? counts? permanently-failed?": (*Maintenance).Monthly,
	} {
		var got []string
		for _, step := range list(&Maintenance{}) {
			got = append(got, step.Name+map[bool]string{true: "?"}[step.Review])
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s, want %s (a ? is a review)", got, want)
		}
	}
}

func TestTheMonthlyReviewCountsWhatAnArchiveWouldTake(t *testing.T) {
	t.Parallel()
	mirror := batchtest.NewMirror(t, apitest.Options{Records: 2, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, FirstDay: time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC), Days: 1})
	mirror.ImportAll()
	mirror.MustRun(process.Options{UntilEmpty: true})
	paths := files.Paths{Output: mirror.Output, Archive: filepath.Join(t.TempDir(), "archive")}
	archiver := &archive.Archiver{DB: mirror.DB, Paths: paths, ClaimLease: mirror.Processing.ClaimLease, Log: mirror.Log}
	m := &Maintenance{DB: mirror.DB, Config: DefaultConfig(), Paths: paths, Location: time.Local, Types: mirror.Types}
	for _, want := range []string{"; 2 records over 2 years old (the oldest of 2020-01-02): ", ""} {
		effect, err := m.reviewStorage(t.Context())
		if err != nil || strings.Contains(effect.Text, "2 years old") != (want != "") || !strings.Contains(effect.Text, want) {
			t.Errorf("%q, %v: want %q", effect.Text, err, want)
		}
		_, err = archiver.Create(t.Context(), archive.CreateOptions{Before: "2026-01-01", Keep: true})
		batchtest.Must(t, err)
	}
}
