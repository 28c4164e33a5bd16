package commands

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/batch/files"
)

// killed runs noggin over and over and kills it, at most so many times, until a run ends
// by itself.
func (d *drill) killed(times int, longest time.Duration, args ...string) {
	d.t.Helper()
	for range times {
		cmd, done := d.start(args...)
		select {
		case <-done:
			return
		case <-time.After(time.Duration(rand.Int64N(int64(longest)))):
			_ = cmd.Process.Kill() // it may just have ended
			<-done
		}
		// The leases of the killed run end.
		if _, err := d.sql.ExecContext(context.Background(), `UPDATE noggin_schema.copies_due SET due_at = now()`); err != nil {
			d.t.Fatal(err)
		}
	}
}

func TestKilledCopiesAndRestoresLoseNothing(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(20, 300), "concurrency = 4")
	d.finishOff()
	target := filepath.Join(d.folder, "second")
	config := filepath.Join(d.folder, "noggin.toml")
	text, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, append(text, "[copy]\nto = \""+target+"\"\n"...), 0o600)
	}
	if err == nil {
		err = os.Mkdir(target, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.killed(sized(5, 100), 400*time.Millisecond, "copy", "run", "--quiet")
	d.mustRun("copy", "run", "--quiet")
	d.mustRun("copy", "verify", "--deep", "--quiet")
	if due, copies := d.count(`SELECT count(*) FROM noggin_schema.copies_due`), d.count(`SELECT count(*) FROM noggin_schema.copies`); due != 0 ||
		copies != d.count(`SELECT sum(files) FROM noggin_schema.file_counts`) || copies != d.count(`SELECT copied_files FROM noggin_schema.copy_targets`) {
		t.Errorf("%d files are due and %d copies are recorded", due, copies)
	}
	output := filepath.Join(d.folder, "output")
	entries, err := os.ReadDir(output)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() == files.MarkerName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(output, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	d.killed(sized(5, 100), 400*time.Millisecond, "copy", "restore", "--wait", "30s", "--quiet")
	d.mustRun("copy", "restore", "--wait", "30s", "--quiet")
	d.verify()
	d.mustRun("validate", "files", "--deep", "--quiet")
	if strings.Contains(d.logs.String(), "panic") {
		t.Error("a process panicked")
	}
}
