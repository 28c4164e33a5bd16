package powercut

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq" // the operator's view of the database

	"noggin/api/apitest"
	"noggin/storage/storagetest"
)

// trial is an installation of noggin whose power is cut again and again.
type trial struct {
	t      *testing.T
	random *rand.Rand
	noggin string // the program
	env    []string
	folder string // of configuration and CSV files of names, on a volume that is never cut

	// front has the folders input, processed and output, back all others.
	front, back *volume
	api         *apitest.Server
	effects     *effects
	sql         *sql.DB

	aimed      bool           // cut at commits and ends, both volumes: where rows run ahead of files
	typical    map[string]int // how many effects a command has
	exports    []export
	next       int      // record of the world that no export has yet
	unrestored []string // what is to be restored again
	edits      int
	served     map[string][]string // by attachment: the SHA-256 of bytes that were served once
	sealed     map[string]string   // by path: the SHA-256 of key, leaves and checkpoints
	logs       bytes.Buffer        // stderr of the last commands
	steps      int
}

// newTrial sets an installation up. Environment variables may be added.
func newTrial(t *testing.T, system fileSystem, noggin string, seed uint64, environment ...string) *trial {
	t.Helper()
	r := &trial{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), noggin: noggin, folder: t.TempDir(),
		effects: &effects{counts: map[effect]int{}}, typical: map[string]int{}, served: map[string][]string{},
		api: apitest.New(apitest.Options{
			Seed: seed, Records: 4000, Forms: []string{"LCD"}, Photos: apitest.Range{Min: 0, Max: 4}, MediaBytes: apitest.Range{Min: 500, Max: 9_000},
			Latency: 2 * time.Millisecond, Days: 120,
		}),
	}
	r.front, r.back = newVolume(t, system, "front"), newVolume(t, system, "back")
	served := httptest.NewServer(r.effects.serving(r.api))
	t.Cleanup(func() { served.Close(); r.api.Close() })
	database := storagetest.Database(t)
	address, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	if r.sql, err = sql.Open("postgres", database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.sql.Close() })
	address.Host = r.effects.listen(t, address.Host)
	r.configure(served.URL)
	r.env = append(os.Environ(), "NOGGIN_CONFIG="+r.at("noggin.toml"), "NOGGIN_DATABASE_URL="+address.String(), "NOGGIN_BEARER_TOKEN="+r.api.Token())
	r.env = append(append(r.env, environment...), withoutFlushes(t)...)
	r.mustRun("init-db")
	for _, dir := range []string{r.input(), r.back.dir + "/restored", r.second(), filepath.Dir(r.sealKey())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.sync()
	return r
}

func (r *trial) configure(api string) {
	r.t.Helper()
	text := fmt.Sprintf(`
[api]
base_url = "%[1]s"
media_service_url = "%[1]s/media"
namespace = "%[2]s"
[import]
settle = 0
[processing]
concurrency = 3
[circuit_breaker]
sample_size = 1000
[paths]
input = "%[3]s/input"
output = "%[3]s/output"
error = "%[4]s/error"
archive = "%[4]s/archive"
backups = "%[4]s/backups"
reports = "%[4]s/reports"
checkpoints = "%[5]s"
[refresh]
after = []
[copy]
to = "%[6]s"
[seal]
key_file = "%[7]s"
`, api, r.api.Namespace(), r.front.dir, r.back.dir, r.checkpoints(), r.second(), r.sealKey())
	if err := os.WriteFile(r.at("noggin.toml"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// withoutFlushes has pg_dump, a program of others, flush nothing itself, so that
// noggin's own flush is what counts. noggin does not use the C library.
func withoutFlushes(t *testing.T) []string {
	t.Helper()
	library := filepath.Join(t.TempDir(), "nosync.so")
	compiler := exec.Command("gcc", "-shared", "-o", library, "-x", "c", "-")
	compiler.Stdin = strings.NewReader("int fsync(int f) { return 0; }\nint fdatasync(int f) { return 0; }\n")
	if out, err := compiler.CombinedOutput(); err != nil {
		t.Logf("pg_dump's own flushes stay: %v %s", err, out)
		return nil
	}
	return []string{"LD_PRELOAD=" + library}
}

func (r *trial) at(name string) string  { return filepath.Join(r.folder, name) }
func (r *trial) input() string          { return r.front.dir + "/input" }
func (r *trial) output(p string) string { return filepath.Join(r.front.dir, "output", p) }
func (r *trial) volumes() []*volume     { return []*volume{r.front, r.back} }
func (r *trial) chance(p float64) bool  { return r.random.Float64() < p }

// sync is for what the operator, not noggin, has put there.
func (r *trial) sync() {
	r.t.Helper()
	if err := errors.Join(r.front.sync(), r.back.sync()); err != nil {
		r.t.Fatal(err)
	}
}

// outcome is how a command ended.
type outcome struct {
	ended  bool // by itself, before the power was cut
	code   int
	stdout []byte
}

// well tells whether the command ended and did its work; rejected rows are no fault.
func (o outcome) well() bool { return o.ended && (o.code == 0 || o.code == 3) }

// command is noggin with a group of processes of its own.
func (r *trial) command(stdout *bytes.Buffer, args ...string) *exec.Cmd {
	cmd := exec.Command(r.noggin, args...)
	cmd.Env = r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if r.logs.Len() > 1<<20 {
		r.logs.Reset()
	}
	cmd.Stdout, cmd.Stderr = stdout, &r.logs
	return cmd
}

func (r *trial) run(args ...string) outcome {
	r.t.Helper()
	var stdout bytes.Buffer
	cmd := r.command(&stdout, args...)
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return outcome{true, cmd.ProcessState.ExitCode(), stdout.Bytes()}
}

func (r *trial) mustRun(args ...string) {
	r.t.Helper()
	if o := r.run(args...); o.code != 0 {
		r.t.Fatalf("noggin %s: exit code %d\n%s%s", strings.Join(args, " "), o.code, o.stdout, r.said())
	}
}

func (r *trial) said() string { return r.logs.String()[max(0, r.logs.Len()-4000):] }

// never is the number of an effect that no command comes to: it is cut at its end.
const never = 1 << 30

// moment is when the power is cut, and whose.
type moment struct {
	kind effect
	at   int
	cut  []*volume // none: the process is killed, no more
}

func (m moment) String() string {
	what := "killed"
	if len(m.cut) == 2 {
		what = "both volumes cut"
	} else if len(m.cut) == 1 {
		what = m.cut[0].name + " cut"
	}
	return fmt.Sprintf("%s at %s %d", what, m.kind, m.at)
}

func (r *trial) moment(command string) moment {
	kinds := []effect{commit, change}
	if command == "process" {
		kinds = append(kinds, request)
	}
	m := moment{kind: kinds[r.random.IntN(len(kinds))], cut: r.volumes()}
	if r.aimed {
		m.kind = commit
	}
	most := r.typical[command+string(m.kind)]
	m.at = 1 + r.random.IntN(max(12, most+most/2))
	if r.aimed {
		if r.chance(0.3) {
			m.at = never
		}
		return m
	}
	switch n := r.random.IntN(10); {
	case n < 2:
		m.cut = nil
	case n < 4:
		m.cut = []*volume{r.front}
	case n < 6:
		m.cut = []*volume{r.back}
	}
	return m
}

// cutDuring runs noggin until the power is cut, at a random moment or, where it ends
// before, at its end; then everything starts again. A command that was only killed
// is often run again, and cut: it relies on what the killed one did not flush.
func (r *trial) cutDuring(command string, args ...string) outcome {
	r.t.Helper()
	m := r.moment(command)
	o := r.cutAt(m, command, args)
	if len(m.cut) == 0 && !o.ended && r.chance(0.7) {
		again := r.moment(command)
		if again.cut = r.volumes(); r.chance(0.5) {
			again.at = never
		}
		o = r.cutAt(again, command, args)
	}
	return o
}

func (r *trial) cutAt(m moment, command string, args []string) outcome {
	r.t.Helper()
	args = append(strings.Fields(command), args...)
	var stdout bytes.Buffer
	cmd := r.command(&stdout, args...)
	var cutErr error
	started := make(chan struct{})
	act := func() {
		<-started
		for _, v := range m.cut {
			cutErr = errors.Join(cutErr, v.cut())
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may just have ended
	}
	if err := r.effects.arm(m.kind, m.at, act, r.volumes()...); err != nil {
		r.t.Fatal(err)
	}
	err := cmd.Start()
	close(started)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = cmd.Wait() // the state tells
	counts, acted := r.effects.disarm()
	o := outcome{!acted, cmd.ProcessState.ExitCode(), stdout.Bytes()}
	if !acted {
		for _, v := range m.cut {
			cutErr = errors.Join(cutErr, v.cut())
		}
	}
	if cutErr != nil {
		r.t.Fatal(cutErr)
	}
	for kind, n := range counts {
		key := command + string(kind)
		r.typical[key] = max(n, r.typical[key])
	}
	r.steps++
	how := m.String()
	if !acted {
		how = fmt.Sprintf("ended with %d, then %s", o.code, strings.Split(how, " at ")[0])
	}
	r.t.Logf("%3d  noggin %-60s %s", r.steps, strings.Join(args, " "), how)
	r.restart(m.cut)
	return o
}

// restart mounts what was cut, and lets the time pass after which nobody holds
// anything that a dead process held.
func (r *trial) restart(cut []*volume) {
	r.t.Helper()
	for _, v := range cut {
		if err := v.remount(); err != nil {
			r.t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); r.count(`SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> ''`) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("sessions of a killed process stay open")
		}
	}
	r.passTime()
}

// passTime ends leases and makes retries due.
func (r *trial) passTime() {
	r.exec(`UPDATE noggin_schema.noggin_data SET claim_expires_at = now() WHERE claimed_by IS NOT NULL`)
	r.exec(`UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE next_retry_at > now()`)
	r.exec(`UPDATE noggin_schema.copies_due SET due_at = now()`)
}

func (r *trial) exec(query string, args ...any) {
	r.t.Helper()
	if _, err := r.sql.ExecContext(context.Background(), query, args...); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
}

func (r *trial) count(query string, args ...any) (n int) {
	r.t.Helper()
	if err := r.sql.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// texts returns the first column of a query.
func (r *trial) texts(query string, args ...any) (all []string) {
	r.t.Helper()
	for _, row := range r.rows(query, args...) {
		all = append(all, row[0])
	}
	return all
}

// rows returns a query's answer as text; NULL is "".
func (r *trial) rows(query string, args ...any) (all [][]string) {
	r.t.Helper()
	rows, err := r.sql.QueryContext(context.Background(), query, args...)
	if err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	for err == nil && rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		err = rows.Scan(into...)
		row := make([]string, len(columns))
		for i, v := range values {
			row[i] = v.String
		}
		all = append(all, row)
	}
	if err := errors.Join(err, rows.Err()); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	return all
}

// pick returns one of the texts; ok is false where there is none.
func (r *trial) pick(texts []string) (one string, ok bool) {
	if len(texts) == 0 {
		return "", false
	}
	slices.Sort(texts)
	return texts[r.random.IntN(len(texts))], true
}
