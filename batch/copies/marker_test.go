package copies

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/batch/batchtest"
	"noggin/batch/copies/place"
)

// A person makes the marker of an empty volume that took the place of a broken one.
func TestCopiesInAFolderThatIsMarkedAnewCountOnceTheyAreFoundAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.run()
	records, err := w.DB.RecordFiles(t.Context(), []string{w.Server.Record(0).Tip, w.Server.Record(1).Tip})
	batchtest.Must(t, err)
	uncopied := func() (n int) {
		t.Helper()
		for _, r := range records {
			tips, err := w.DB.UncopiedRecords(t.Context(), r.Files, w.copier.Config.Place(), time.Hour)
			batchtest.Must(t, err)
			n += len(tips)
		}
		return n
	}
	verify := func() VerifySummary {
		t.Helper()
		s, err := w.copier.Verify(t.Context(), 1, VerifyOptions{})
		batchtest.Must(t, err)
		return s
	}
	marker := filepath.Join(w.target, place.MarkerName)
	if s := verify(); s.Count != 0 || uncopied() != 0 {
		t.Fatalf("%+v; without copies: %d", s, uncopied())
	}
	batchtest.Must(t, os.RemoveAll(filepath.Join(w.target, "files")), os.WriteFile(marker, nil, 0o644))
	if s := w.run(); s.Copied != 0 || uncopied() != 2 || !strings.Contains(w.Logged.String(), "the marker of the target is new") {
		t.Errorf("%+v; without copies: %d\n%s", s, uncopied(), w.Logged)
	}
	if text, err := os.ReadFile(marker); err != nil || !strings.Contains(string(text), "noggin copies its files") {
		t.Errorf("the marker has %q, %v", text, err)
	}
	if s := verify(); s.Missing != 6 || uncopied() != 2 {
		t.Errorf("%+v; without copies: %d", s, uncopied())
	}
	if s := w.run(); s.Copied != 6 || s.Count != 0 {
		t.Errorf("%+v", s)
	}
	w.checkTarget()
	// A verification right after the marker was made counts.
	batchtest.Must(t, os.WriteFile(marker, nil, 0o644))
	if s := verify(); s.Count != 0 || uncopied() != 0 {
		t.Errorf("%+v; without copies: %d", s, uncopied())
	}
	if w.run(); uncopied() != 0 {
		t.Errorf("without copies: %d", uncopied())
	}
}
