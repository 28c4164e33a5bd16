package seal

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"noggin/batch/batchtest"
)

// A restored database that goes on without the folder of checkpoints would sign another log
// of the same name and size than the one that others hold.
func TestALogWhoseCheckpointsAreGoneIsNotAppendedTo(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]string{
		"a run ended":         `INSERT INTO noggin_schema.runs (command, host, pid, version, finished_at, exit_code, summary) VALUES ('seal', 'here', 1, '1', now(), 3, '{"log": "example.com/inspections", "checkpoint": "/there"}')`,
		"publish took one":    `UPDATE noggin_schema.seal_checkpoints SET published_at = now()`,
		"a run was killed":    `INSERT INTO noggin_schema.runs (command, host, pid, version) VALUES ('seal', 'here', 1, '1')`,
		"a run failed":        `INSERT INTO noggin_schema.runs (command, host, pid, version, finished_at, exit_code, summary) VALUES ('seal', 'here', 1, '1', now(), 5, '{"log": "example.com/inspections", "checkpoint": "/there"}')`,
		"one of another log":  `INSERT INTO noggin_schema.runs (command, host, pid, version, finished_at, exit_code, summary) VALUES ('seal', 'here', 1, '1', now(), 0, '{"log": "example.com/other", "checkpoint": "/there"}')`,
		"nothing of it ended": `INSERT INTO noggin_schema.runs (command, host, pid, version, finished_at, exit_code, summary) VALUES ('seal', 'here', 1, '1', now(), 0, '{"log": "example.com/inspections", "checkpoint": ""}')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t, 4)
			s.seal()
			s.Execute(known)
			s.backUp()
			s.edit(2)
			away := t.TempDir() + "/away"
			held := s.hold(s.seal().Checkpoint)
			s.restore()
			s.Execute(`INSERT INTO noggin_schema.seal_due SELECT tip FROM noggin_schema.noggin_data ON CONFLICT DO NOTHING`)
			batchtest.Must(t, os.Rename(s.sealer.Checkpoints, away))
			got, err := s.sealer.Run(t.Context(), 1, "")
			if want := name == "a run ended" || name == "publish took one"; !want {
				if err != nil {
					t.Errorf("a run that nobody knows to have ended is not finished: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "`noggin copy restore --checkpoints`") || got.Leaves != 0 {
				t.Fatalf("%+v, %v", got, err)
			}
			batchtest.Must(t, os.RemoveAll(s.sealer.Checkpoints), os.Rename(away, s.sealer.Checkpoints))
			if got := s.seal(); got.Restored != 2 || got.Size != 6 || !got.Complete() {
				t.Errorf("with the checkpoints: %+v", got)
			}
			if area := s.look(held); len(area.Findings) > 0 {
				t.Errorf("found %+v", area.Findings)
			}
			batchtest.Must(t, os.RemoveAll(s.sealer.Checkpoints))
			if got, err := s.sealer.Run(t.Context(), 1, "the checkpoints are lost"); err != nil || got.Origin != "example.com/inspections/2" {
				t.Errorf("with --new-log: %+v, %v", got, err)
			}
		})
	}
}

// Neither another key of the same name goes on with a log, nor does a log go on with the
// checkpoints of another one, nor with leaves that changed while they were sealed.
func TestALogGoesOnOnlyWithItsKeyItsCheckpointsAndItsLeaves(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 4)
	other := newSealed(t, 4)
	other.sealer.Config = s.sealer.Config
	s.seal()
	other.seal()
	own, key := t.TempDir()+"/checkpoints", read(t, s.sealer.Config.KeyFile)
	batchtest.Must(t, os.CopyFS(own, os.DirFS(s.sealer.Checkpoints)))
	s.edit(1)
	asIs := func() {
		batchtest.Must(t, os.RemoveAll(s.sealer.Checkpoints), os.CopyFS(s.sealer.Checkpoints, os.DirFS(own)), os.WriteFile(s.sealer.Config.KeyFile, []byte(key), 0o600))
		s.sealer.step = nil
	}
	for name, change := range map[string]func(){
		"another key of the same name": func() {
			batchtest.Must(t, os.Remove(s.sealer.Config.KeyFile))
			if _, made, err := Init(s.sealer.Config, t.TempDir(), "example.com/inspections"); err != nil || !made {
				t.Fatal(made, err)
			}
		},
		"checkpoints of another log": func() {
			batchtest.Must(t, os.RemoveAll(s.sealer.Checkpoints), os.CopyFS(s.sealer.Checkpoints, os.DirFS(other.sealer.Checkpoints)))
		},
	} {
		change()
		before := s.published()
		if got, err := s.sealer.Run(t.Context(), 1, ""); !errors.Is(err, errFork) || got.Leaves > 0 || !slices.Equal(s.published(), before) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		asIs()
	}
	s.sealer.step = func(name string) {
		if name == "appended" {
			s.Execute(`UPDATE noggin_schema.seal_leaves SET leaf = replace(leaf, '"complete":true', '"complete":false') WHERE position >= 4`)
		}
	}
	before := s.published()
	if _, err := s.sealer.Run(t.Context(), 1, ""); !errors.Is(err, errFork) || !slices.Equal(s.published(), before) {
		t.Errorf("leaves that changed: %v, published are %q", err, s.published())
	}
}

// A new key and a new database begin no log of the name under which another was published.
func TestALostLogKeepsItsName(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	first := s.seal()
	kept := read(t, first.Checkpoint)
	s.Execute(`TRUNCATE noggin_schema.seal_leaves, noggin_schema.seal_tiles, noggin_schema.seal_checkpoints, noggin_schema.seal_logs;
		INSERT INTO noggin_schema.seal_due SELECT tip FROM noggin_schema.noggin_data ON CONFLICT DO NOTHING`)
	batchtest.Must(t, os.Remove(s.sealer.Config.KeyFile))
	if _, made, err := Init(s.sealer.Config, t.TempDir(), "example.com/inspections"); err != nil || !made {
		t.Fatal(made, err)
	}
	got, err := s.sealer.Run(t.Context(), 1, "the key and the database are lost")
	if err != nil || got.Origin != "example.com/inspections/2" || read(t, first.Checkpoint) != kept {
		t.Errorf("%+v, %v", got, err)
	}
}
