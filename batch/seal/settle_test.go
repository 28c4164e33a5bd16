package seal

import (
	"os"
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
