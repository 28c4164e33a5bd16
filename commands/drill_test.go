package commands

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// fullFaults is set by `make test-faults`: the whole suite instead of the short
// form that every test run has.
var fullFaults = os.Getenv("NOGGIN_FAULTS") == "full"

// sized picks the number for the short or the whole suite.
func sized(short, full int) int {
	if fullFaults {
		return full
	}
	return short
}

// drill is a queue that is drained by real processes while things go wrong.
type drill struct {
	t        *testing.T
	api      *apitest.Server
	postgres *storagetest.Server
	sql      *sql.DB // an operator's view
	folder   string
	env      []string

	mu   sync.Mutex
	logs bytes.Buffer // stderr of all processes
}

func newDrill(t *testing.T, records int, config string) *drill {
	t.Helper()
	d := newEmptyDrill(t, apitest.Options{Records: records}, config)
	d.enqueue(d.postgres.URL("noggin_db"))
	return d
}

// newEmptyDrill leaves the queue empty.
func newEmptyDrill(t *testing.T, world apitest.Options, config string) *drill {
	t.Helper()
	world.Photos, world.MediaBytes = apitest.Range{Min: 0, Max: 4}, apitest.Range{Min: 2_000, Max: 40_000}
	world.Latency, world.Log = 5*time.Millisecond, true
	simulated := apitest.Start(t, world)
	postgres := storagetest.Private(t, storagetest.Options{Fsync: true})
	if err := postgres.CreateDatabase("noggin_db"); err != nil {
		t.Fatal(err)
	}
	d := &drill{t: t, api: simulated, postgres: postgres, folder: t.TempDir()}
	d.configure(postgres.URL("noggin_db"), config)
	d.mustRun("init-db")
	d.sql = d.open("noggin_db")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stderr of the processes:\n%s", tail(d.logs.String(), 6000))
		}
	})
	return d
}

func (d *drill) open(database string) *sql.DB {
	d.t.Helper()
	db, err := sql.Open("postgres", d.postgres.URL(database))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = db.Close() })
	return db
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// configure writes a configuration with everything patient made quick; config adds
// to [processing].
func (d *drill) configure(database, config string) {
	d.t.Helper()
	path := filepath.Join(d.folder, "noggin.toml")
	text := fmt.Sprintf(`
[api]
base_url = "%[1]s"
media_service_url = "%[1]s/media"
namespace = "%[2]s"
timeout = 2
[processing]
claim_lease = 2
max_api_retries = 2
api_max_backoff = 1
%[3]s
[circuit_breaker]
sample_size = 1000
[paths]
input = "%[4]s/input"
output = "%[4]s/output"
archive = "%[4]s/archive"
backups = "%[4]s/backups"
reports = "%[4]s/reports"
`, d.api.URL(), d.api.Namespace(), config, d.folder)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	source, err := filepath.Abs("..")
	if err != nil {
		d.t.Fatal(err)
	}
	d.env = append(os.Environ(), sourceVariable+"="+source, "NOGGIN_CONFIG="+path, "NOGGIN_DATABASE_URL="+database, "NOGGIN_BEARER_TOKEN="+d.api.Token())
}

func (d *drill) enqueue(database string) {
	d.t.Helper()
	cfg := storage.DefaultConfig()
	cfg.URL = database
	db, err := storage.Open(cfg, "test")
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for record := range d.api.Records() {
		if _, err := db.EnsureRecords(d.t.Context(), []string{record.Tip}, record.Code, false); err != nil {
			d.t.Fatal(err)
		}
	}
}

// start starts a real noggin process; done closes when it has ended.
func (d *drill) start(args ...string) (cmd *exec.Cmd, done chan struct{}) {
	d.t.Helper()
	return d.startIn(d.env, args...)
}

// startIn is start in an environment of its own.
func (d *drill) startIn(env []string, args ...string) (cmd *exec.Cmd, done chan struct{}) {
	d.t.Helper()
	cmd = exec.Command("noggin", args...)
	cmd.Env = env
	cmd.Stderr = &lockedWriter{&d.mu, &d.logs}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	done = make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	return cmd, done
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// run runs noggin to its end and returns the exit code.
func (d *drill) run(args ...string) int {
	d.t.Helper()
	cmd, done := d.start(args...)
	<-done
	return cmd.ProcessState.ExitCode()
}

// saying runs noggin to its end and returns what it printed.
func (d *drill) saying(args ...string) (said string, code int) {
	d.t.Helper()
	cmd := exec.Command("noggin", args...)
	cmd.Env = d.env
	printed, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	return string(printed), cmd.ProcessState.ExitCode()
}

func (d *drill) mustRun(args ...string) {
	d.t.Helper()
	if code := d.run(args...); code != 0 {
		d.t.Fatalf("noggin %s: exit code %d\n%s", strings.Join(args, " "), code, d.logs.String())
	}
}

func (d *drill) count(query string) (n int) {
	d.t.Helper()
	// A server that is just coming back is asked again.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := d.sql.QueryRowContext(context.Background(), query).Scan(&n)
		if err == nil {
			return n
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s: %v", query, err)
		}
	}
}

func (d *drill) incomplete() int {
	return d.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status <> 'complete'`)
}

// finishOff runs noggin until everything is complete, with retries made due at once
// instead of an hour later.
func (d *drill) finishOff() {
	d.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); d.incomplete() > 0; {
		if time.Now().After(deadline) {
			d.t.Fatalf("%d records are still not complete", d.incomplete())
		}
		d.makeDue()
		d.run("process", "--until-empty", "--quiet")
	}
}

// makeDue lets time pass for records that wait for their retry; not for those that a
// run may have in hand.
func (d *drill) makeDue() {
	d.t.Helper()
	if _, err := d.sql.ExecContext(context.Background(), `UPDATE noggin_schema.noggin_data SET next_retry_at = now()
		WHERE next_retry_at > now() AND claimed_by IS NULL`); err != nil {
		d.t.Fatal(err)
	}
}

// verify holds everything against the truth: the simulated API's world and log.
func (d *drill) verify() {
	d.t.Helper()
	records, attachments := 0, map[string]int{}
	for record := range d.api.Records() {
		records++
		for _, a := range record.Attachments {
			attachments[d.api.MediaSHA256(a.Tip)]++
		}
	}
	for query, want := range map[string]int{
		`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`:                                                records,
		`SELECT count(*) FROM noggin_schema.noggin_data WHERE claimed_by IS NOT NULL OR permanently_failed`:                                  0,
		`SELECT count(*) FROM noggin_schema.noggin_data WHERE total_attachments <> completed_attachment_count OR report_path IS NULL`:        0,
		`SELECT count(*) FROM noggin_schema.attachments WHERE attachment_status <> 'complete' OR attachment_validation_status <> 'valid'`:    0,
		`SELECT coalesce(sum(records), 0) FROM noggin_schema.record_counts WHERE processing_status = 'complete'`:                             records,
		`SELECT coalesce(sum(records), 0) FROM noggin_schema.record_counts WHERE processing_status <> 'complete'`:                            0,
		`SELECT count(*) FROM (SELECT file_path FROM noggin_schema.attachments GROUP BY file_path HAVING count(*) > 1) AS shared_by_several`: 0,
	} {
		if got := d.count(query); got != want {
			d.t.Errorf("%s\n is %d, want %d", query, got, want)
		}
	}
	d.verifyFiles(attachments, records)
	d.notTwice(d.api.Log())
}

// notTwice looks whether two live runs were at work on one record. A witness asks for
// records whoever works on them.
func (d *drill) notTwice(log []apitest.Entry) {
	d.t.Helper()
	work := slices.DeleteFunc(log, func(e apitest.Entry) bool { return strings.HasSuffix(e.Client, " witness") })
	for _, o := range apitest.Overlaps(work, func(e apitest.Entry) string { return e.Client }) {
		d.t.Errorf("two live runs were at work on one record: %+v and %+v", o.First, o.Second)
	}
}

func (d *drill) verifyFiles(attachments map[string]int, records int) {
	d.t.Helper()
	output, reports := filepath.Join(d.folder, "output"), 0
	err := filepath.WalkDir(output, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir():
			return err
		case strings.HasPrefix(path, filepath.Join(output, ".noggin-tmp")):
			return nil // swept by age
		case strings.HasPrefix(entry.Name(), "."):
			return nil
		case strings.HasSuffix(path, "_inspection_data.txt"):
			reports++
			return nil
		}
		content, err := os.ReadFile(path)
		sum := sha256.Sum256(content)
		if attachments[hex.EncodeToString(sum[:])]--; attachments[hex.EncodeToString(sum[:])] < 0 {
			d.t.Errorf("%s is not what was served, or is there twice", path)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, missing := range attachments {
		if missing > 0 {
			d.t.Error("an attachment is missing")
		}
	}
	if reports != records {
		d.t.Errorf("%d text reports, want %d", reports, records)
	}
}
