package powercut

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"noggin/batch/batchtest"
)

// full is set by `make test-power`.
var full = os.Getenv("NOGGIN_POWER") == "full"

// buildNoggin builds the program as it is installed; tags may be added.
func buildNoggin(t *testing.T, tags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "noggin")
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs,"+tags, "-trimpath", "-o", path, "noggin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build noggin: %v\n%s", err, out)
	}
	return path
}

// seedOf is that of $NOGGIN_POWER_SEED, or one of the clock.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("NOGGIN_POWER_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("$NOGGIN_POWER_SEED: %v", err)
		}
	}
	t.Logf("NOGGIN_POWER_SEED=%d repeats the plan of this trial", seed)
	return seed
}

func TestPowerCutsLoseNothing(t *testing.T) {
	if why := whyNot(); why != "" {
		t.Skip(why)
	}
	t.Parallel()
	noggin := buildNoggin(t, "")
	cuts := 6
	if full {
		cuts = 100
	}
	for _, system := range fileSystems {
		t.Run(system.name, func(t *testing.T) {
			t.Parallel()
			r := newTrial(t, system, noggin, seedOf(t))
			for r.steps < cuts {
				damage := steps[stepNames[r.random.IntN(len(stepNames))]](r)
				if damage = append(damage, r.check()...); len(damage) > 0 {
					t.Fatalf("after step %d:\n%s\n%s", r.steps, strings.Join(damage, "\n"), r.said())
				}
			}
			r.finish()
		})
	}
}

// finishRecords runs noggin until every record is complete.
func (r *trial) finishRecords() {
	r.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; {
		r.run("import-csv")
		r.passTime()
		r.run("process", "--until-empty")
		if r.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status <> 'complete' OR names_stale`) == 0 {
			break
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("records are not complete\n%s", r.said())
		}
	}
}

// removeUnknown removes the attachments that no row knows: a refresh that was cut left them,
// and they have changed or gone since. Each must have bytes that were served.
func (r *trial) removeUnknown() {
	r.t.Helper()
	served, known := map[string]bool{}, map[string]bool{}
	for _, sums := range r.served {
		for _, sum := range sums {
			served[sum] = true
		}
	}
	for i := range r.next {
		for _, a := range r.api.Record(i).Attachments {
			served[r.api.MediaSHA256(a.Tip)] = true
		}
	}
	for _, path := range r.texts(`SELECT file_path FROM noggin_schema.attachments WHERE file_path IS NOT NULL UNION ALL SELECT path FROM noggin_schema.former_files`) {
		known[r.output(path)] = true
	}
	err := filepath.WalkDir(r.output("."), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir(), known[path], filepath.Ext(path) == ".txt", strings.HasPrefix(entry.Name(), "."):
			return nil
		}
		sum, err := batchtest.HashFile(path)
		if err == nil && !served[sum] {
			r.t.Errorf("no row knows %s, and its bytes were never served", path)
		}
		return errors.Join(err, os.Remove(path))
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.sync()
}

// finish lets everything run to its end and looks whether nothing is missing.
func (r *trial) finish() {
	r.t.Helper()
	r.finishRecords()
	for _, target := range r.unrestored {
		if r.count(`SELECT count(*) FROM noggin_schema.archive_records JOIN noggin_schema.archives ON id = archive_id WHERE record_tip = $1 OR name = $1`, target) == 0 {
			continue // the database forgot it
		}
		if o := r.run("archive", "restore", "--in-place", target); !o.well() {
			r.t.Errorf("restore %s: exit code %d\n%s", target, o.code, r.said())
		}
	}
	r.mustRun("process", "--refresh", "--media", "--adopt", "--until-empty")
	r.finishRecords()
	r.removeUnknown()
	r.run("archive", "create", "--before", "2026-01-01") // leaves out what changed after an earlier run wrote it
	r.mustRun("archive", "create", "--before", "2026-01-01")
	r.mustRun("maintain", "backup")
	r.mustRun("seal", "init", "--name", "example.com/power")
	r.mustRun("seal")
	r.mustRun("copy", "run")
	r.mustRun("copy", "verify", "--deep")
	r.mustRun("validate", "evidence")
	if damage := r.check(); len(damage) > 0 {
		r.t.Errorf("at the end:\n%s", strings.Join(damage, "\n"))
	}
	attachments := 0
	for i := range r.next {
		attachments += len(r.api.Record(i).Attachments)
	}
	if n := r.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete' AND report_path IS NOT NULL`); n != r.next {
		r.t.Errorf("%d complete records with a report, want %d", n, r.next)
	}
	if n := r.count(`SELECT count(*) FROM noggin_schema.attachments WHERE attachment_status = 'complete' AND attachment_validation_status = 'valid'`); n != attachments {
		r.t.Errorf("%d complete attachments, want %d", n, attachments)
	}
	if o := r.run("validate", "files", "--deep", "--strict"); o.code != 0 {
		r.t.Errorf("noggin validate files --deep: exit code %d\n%s", o.code, o.stdout)
	}
}
