package commands

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/gate"
	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/storage"
)

// installation is a mirror as an administrator has set it up: a database with the
// schema, and a configuration whose folders are below one of the test's own.
type installation struct {
	t      *testing.T
	dir    string
	config string
	url    string
	db     *storage.DB
}

func newInstallation(t *testing.T, more string) *installation {
	t.Helper()
	i := &installation{t: t, dir: t.TempDir(), url: batchtest.Database(t)}
	i.config = filepath.Join(i.dir, "noggin.toml")
	text := "[database]\nurl = \"" + i.url + "\"\n" + scriptConfig(i.dir) + more
	if err := os.WriteFile(i.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := storage.DefaultConfig()
	cfg.URL = i.url
	db, err := storage.Open(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	i.db = db
	i.run(0, "init-db")
	return i
}

// run runs a command, which has to end with the exit code, and returns what it
// printed.
func (i *installation) run(code int, args ...string) (stdout, stderr string) {
	i.t.Helper()
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		i.t.Fatal(err)
	}
	var out, errs bytes.Buffer
	got := Run(context.WithoutCancel(i.t.Context()), append([]string{"noggin", "--config", i.config}, args...),
		Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Assets{Schema: string(schema)})
	if got != code {
		i.t.Fatalf("noggin %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// document runs a command with --format json and decodes what it printed.
func document[T any](i *installation, code int, args ...string) T {
	i.t.Helper()
	stdout, _ := i.run(code, append(args, "--format", "json")...)
	var doc T
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
		i.t.Fatalf("noggin %s: %v\n%s", strings.Join(args, " "), err, stdout)
	}
	return doc
}

func TestEachMaintenanceTellsItsEffectAndIsRecorded(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	for command, want := range map[string]string{
		"analyze": "analysed ", "vacuum": "vacuumed ", "reindex": "rebuilt ", "prune": "deleted 0 errors older than 6 months",
		"temp": "removed 0 temporary files", "backup": ".dump, ",
	} {
		if stdout, _ := i.run(0, "maintain", command); !strings.Contains(stdout, want) {
			t.Errorf("maintain %s: %s", command, stdout)
		}
		runs, err := i.db.RunsThis(t.Context(), "day", "maintain "+command)
		if err != nil || len(runs) != 1 || runs[0].ExitCode != 0 {
			t.Errorf("maintain %s: runs %+v, %v", command, runs, err)
		}
	}
}

func TestOneMaintenanceAtATimeNamesTheHolder(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	release, err := i.db.Lock(t.Context(), "archive create")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"analyze", "vacuum", "reindex", "prune", "temp", "backup", "verify-backup", "weekly", "monthly"} {
		if _, stderr := i.run(cmdline.ExitLocked, "maintain", command); !strings.Contains(stderr, "noggin archive create on "+i.db.Host()) {
			t.Errorf("maintain %s: %s", command, stderr)
		}
	}
	i.run(0, "maintain", "pause", "--reason", "an incident must not wait")
	i.run(0, "maintain", "resume")
	i.run(0, "maintain", "reset-circuit")
	time.AfterFunc(100*time.Millisecond, release)
	i.run(0, "maintain", "temp", "--wait", "1m")
}

func TestAPauseStopsProcessAndSaysWhy(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "[api]\nbase_url = \"http://127.0.0.1:1\"\nnamespace = \"x\"\nbearer_token = \"abcdefghijklmnop\"\n")
	if _, stderr := i.run(cmdline.ExitUsage, "maintain", "pause"); !strings.Contains(stderr, "flag --reason is missing") {
		t.Error(stderr)
	}
	p := document[storage.Pause](i, 0, "maintain", "pause", "--for", "2h", "--reason", "replacing the disk")
	if p.Until == nil || p.Until.Sub(p.At) != 2*time.Hour || p.Reason != "replacing the disk" {
		t.Errorf("%+v", p)
	}
	if stdout, _ := i.run(0, "process"); !strings.Contains(stdout, "replacing the disk; nothing was done") {
		t.Error(stdout)
	}
	if stdout, _ := i.run(0, "maintain", "resume"); !strings.Contains(stdout, "resumed; paused since") {
		t.Error(stdout)
	}
	if stdout, _ := i.run(0, "maintain", "resume"); stdout != "it was not paused\n" {
		t.Error(stdout)
	}
	if stdout, _ := i.run(0, "process"); stdout != "nothing is due\n" {
		t.Error(stdout)
	}
}

func TestResettingTheCircuitClosesItAndForgets(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	until := time.Now().Add(time.Hour)
	open := func(s storage.Circuit, _ time.Time) (storage.Circuit, []storage.Transition) {
		s.State, s.OpenUntil, s.Recent = "open", &until, "0111"
		return s, nil
	}
	if _, _, err := i.db.StepCircuit(t.Context(), 0, open); err != nil {
		t.Fatal(err)
	}
	if r := document[gate.CircuitReset](i, 0, "maintain", "reset-circuit"); r.Before != "open" || r.FailureRate != 75 {
		t.Errorf("%+v", r)
	}
	standing, err := i.db.Standing(t.Context())
	if err != nil || standing.State != "closed" || standing.Recent != "" || standing.Generation != 2 {
		t.Errorf("%+v, %v", standing.Circuit, err)
	}
}

func TestTodaysBackupIsMadeOnceAndVerified(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	if _, stderr := i.run(cmdline.ExitFailed, "maintain", "verify-backup"); !strings.Contains(stderr, "`noggin maintain backup` makes one") {
		t.Error(stderr)
	}
	i.run(cmdline.ExitUsage, "maintain", "backup", "--to", "relative")
	elsewhere := t.TempDir()
	i.run(0, "maintain", "backup", "--to", elsewhere)
	if stdout, _ := i.run(0, "maintain", "backup", "--once"); !strings.HasPrefix(stdout, i.dir+"/backups/noggin_") {
		t.Error(stdout)
	}
	if stdout, _ := i.run(0, "maintain", "backup", "--once"); !strings.Contains(stdout, "made today's backup at") {
		t.Error(stdout)
	}
	v := document[struct {
		Path     string
		Bytes    int64
		Restored bool
	}](i, 0, "maintain", "verify-backup")
	if !v.Restored || !strings.HasPrefix(v.Path, i.dir) {
		t.Errorf("%+v", v)
	}
	if err := os.Truncate(v.Path, v.Bytes-1); err != nil {
		t.Fatal(err)
	}
	stdout, stderr := i.run(cmdline.ExitPartial, "maintain", "verify-backup", filepath.Base(v.Path))
	if !strings.Contains(stdout, "check failed: "+v.Path) || !strings.Contains(stderr, "bytes instead of") {
		t.Error(stdout, stderr)
	}
}

func TestAListGoesOnAfterAStepThatFails(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	if err := os.Remove(filepath.Join(i.dir, "output", files.MarkerName)); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, step := range (&maintain.Maintenance{}).Monthly() {
		want = append(want, step.Name)
	}
	s := document[maintain.Summary](i, cmdline.ExitPartial, "maintain", "monthly")
	var names []string
	for _, step := range s.Steps {
		names = append(names, step.Step)
		failed := step.Step == "storage"
		if step.OK == failed || failed != strings.Contains(step.Error, "marker") || !failed && step.Effect == "" {
			t.Errorf("%+v", step)
		}
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("did %v, want %v", names, want)
	}
	if err := files.CreateMarker(filepath.Join(i.dir, "output")); err != nil {
		t.Fatal(err)
	}
	// Another host's timer does what is left of this month's work.
	for _, step := range document[maintain.Summary](i, 0, "maintain", "monthly", "--once").Steps {
		if !step.OK || step.Earlier == (step.Step == "storage") {
			t.Errorf("%+v", step)
		}
	}
	for _, step := range document[maintain.Summary](i, 0, "maintain", "monthly").Steps {
		if !step.OK || step.Earlier {
			t.Errorf("%+v", step)
		}
	}
}

func TestATableInUseHoldsUpNoMaintenance(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "[maintain]\nlock_timeout = 1\n")
	db, err := sql.Open("postgres", i.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), `LOCK TABLE noggin_schema.processing_errors IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"analyze", "vacuum", "prune"} {
		stdout, stderr := i.run(cmdline.ExitPartial, "maintain", step)
		if !strings.Contains(stderr, "it is in use by another session for longer than lock_timeout") {
			t.Errorf("%s: %s%s", step, stdout, stderr)
		}
	}
	for _, step := range document[maintain.Summary](i, cmdline.ExitPartial, "maintain", "weekly").Steps {
		if busy := strings.Contains(step.Error, "it is in use"); busy != slices.Contains([]string{"analyze", "vacuum", "errors"}, step.Step) {
			t.Errorf("%+v", step)
		}
	}
}

// Of a large table one statement takes hours.
func TestMaintenanceHasNoTimeLimit(t *testing.T) {
	t.Parallel()
	i := newInstallation(t, "")
	text, err := os.ReadFile(i.config)
	batchtest.Must(t, err, os.WriteFile(i.config, []byte(strings.Replace(string(text), "[database]\n", "[database]\nstatement_timeout = 1\n", 1)), 0o600))
	db, err := sql.Open("postgres", i.url)
	batchtest.Must(t, err)
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
	batchtest.Must(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), `LOCK TABLE noggin_schema.processing_errors IN ACCESS EXCLUSIVE MODE`)
	batchtest.Must(t, err)
	time.AfterFunc(2*time.Second, func() { _ = tx.Rollback() })
	i.run(0, "maintain", "analyze")
}
