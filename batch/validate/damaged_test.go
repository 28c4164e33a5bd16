package validate

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// A damaged photograph is none that the platform gave. Once it came again, nothing may take
// it for one, and the versions that had it still do.
func TestADamagedPhotographNeverBecomesEvidence(t *testing.T) {
	t.Parallel()
	for name, mend := range map[string]func(m *batchtest.Mirror){
		"the check finds it": func(m *batchtest.Mirror) {
			v := validatorOf(m)
			v.Fix = true
			lookAtFiles(m, v, FileOptions{Deep: true})
			m.MustRun(process.Options{UntilEmpty: true})
		},
		"an operator asks": func(m *batchtest.Mirror) { m.MustRun(process.Options{Selector: m.Only(0)}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
			record := m.Server.Record(0)
			for _, number := range []string{"J-2", "J-3"} {
				m.Server.Edit(record.Tip, apitest.Edit{Set: map[string]any{"jobNumber": number}})
				m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
			}
			at := func(number string) string {
				return filepath.Join(m.Output, m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_sequence = `+number))
			}
			other, err := os.ReadFile(at("2"))
			batchtest.Must(t, err)
			damaged := map[string]bool{}
			for range 3 { // also what came again is damaged
				file := at("1")
				batchtest.Must(t, os.WriteFile(file, other, 0o666))
				damaged[file] = true
				mend(m)
				m.PassDays("2")
				m.MustRun(process.Options{UntilEmpty: true})
				m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true})
				m.MustRun(process.Options{Adopt: true, Selector: m.Only(0)})
				if former := m.Value(`SELECT coalesce(string_agg(kind || ' ' || path, ', '), '') FROM noggin_schema.former_files WHERE kind <> 'report'`); former != "" {
					t.Fatalf("former files: %s\n%s", former, m.Logged)
				}
				if sum, _ := batchtest.HashFile(at("1")); sum != m.Server.MediaSHA256(record.Attachments[0].Tip) {
					t.Errorf("%s has SHA-256 %s", at("1"), sum)
				}
				for version := 1; version <= 3; version++ {
					if s, err := m.DB.StoredVersion(t.Context(), record.Tip, version, nil); err != nil || len(s.Attachments) != 2 {
						t.Errorf("version %d has %d attachments, %v", version, len(s.Attachments), err)
					}
				}
			}
			for _, file := range slices.Collect(maps.Keys(damaged)) {
				if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, other) {
					t.Errorf("%s is not left as it was: %v", file, err)
				}
			}
			a := lookAtFiles(m, validatorOf(m), FileOptions{Deep: true})
			if f := finding(t, a, "stray"); f.Count != int64(len(damaged)) || len(a.Findings) != 1 || len(damaged) != 3 {
				t.Errorf("of %d damaged files %d are told: %v", len(damaged), f.Count, checksOf(a))
			}
		})
	}
}
