package copies

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"noggin/batch/archive"
	"noggin/batch/batchtest"
)

// Once an archive is not whole, its files come back from the second place.
func TestFilesOfADamagedArchiveComeBack(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(content []byte) []byte{
		"rotten":                        func(content []byte) []byte { content[len(content)/3] ^= 1; return content },
		"another archive, not verified": func(content []byte) []byte { return slices.Insert(content, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			w.run()
			before := tree(t, w.Output)
			archiver := &archive.Archiver{DB: w.DB, Paths: w.paths, ClaimLease: w.Processing.ClaimLease, Log: w.Log}
			made, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2026-01-01"})
			if err != nil || len(made.Archives) != 1 || made.FilesRemoved != 9 {
				t.Fatal(made, err)
			}
			at := made.Archives[0].Path
			content, err := os.ReadFile(at)
			batchtest.Must(t, err, os.Chmod(at, 0o644), os.WriteFile(at, damage(content), 0o644))
			if name == "rotten" {
				if found, err := archiver.Verify(t.Context(), archive.VerifyOptions{}); err != nil || len(found.Archives) != 1 || found.Archives[0].OK {
					t.Fatal(found, err)
				}
				if _, err := archiver.Forget(t.Context(), made.Archives[0].Name); err == nil || !strings.Contains(err.Error(), "`noggin copy restore`: it is damaged") {
					t.Errorf("forgetting it: %v", err)
				}
			}
			r, err := w.copier.Restore(t.Context(), RestoreOptions{})
			if err != nil || r.Files != 9 || r.Unarchived != 9 || r.InArchives != 0 || r.Count != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			if after := tree(t, w.Output); !reflect.DeepEqual(after, before) {
				t.Errorf("restored are\n%v, want\n%v", after, before)
			}
			if _, err := archiver.Forget(t.Context(), made.Archives[0].Name); err != nil {
				t.Errorf("forgetting it, with every file on disk: %v", err)
			}
		})
	}
}
