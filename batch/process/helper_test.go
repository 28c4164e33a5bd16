package process_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/storage"
)

// plainWorld is one of records alone, whose requests are logged.
func plainWorld(records int) apitest.Options {
	return apitest.Options{Records: records, Forms: []string{"LCD"}, Photos: apitest.None, Log: true}
}

// photoWorld has n photographs in each record.
func photoWorld(records, n int) apitest.Options {
	return apitest.Options{
		Records: records, Forms: []string{"LCD"}, Photos: apitest.Fixed(n),
		MediaBytes: apitest.Range{Min: 2000, Max: 5000}, Log: true,
	}
}

// newQueue is a mirror with every record of its world pending, whose requests are
// not repeated.
func newQueue(t testing.TB, o apitest.Options) *batchtest.Mirror {
	t.Helper()
	m := batchtest.NewMirror(t, o)
	m.API.MaxRetries = 0
	m.ImportAll()
	return m
}

// nothingCounted checks that no record was burnt and none is held.
func nothingCounted(m *batchtest.Mirror) {
	m.T.Helper()
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count > 0 OR permanently_failed OR claimed_by IS NOT NULL`); n != "0" {
		m.T.Errorf("%s records were counted against or are still claimed", n)
	}
}

// makeDue lets time pass for records that wait for their retry.
func makeDue(m *batchtest.Mirror) {
	m.T.Helper()
	m.Execute(`UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE next_retry_at > now()`)
}

// inTwoRuns drains the queue with two runs at once.
func inTwoRuns(m *batchtest.Mirror) (errs [2]error) {
	m.T.Helper()
	var runs sync.WaitGroup
	for i := range errs {
		runs.Go(func() { _, errs[i] = m.Run(m.T.Context(), process.Options{UntilEmpty: true}) })
	}
	runs.Wait()
	return errs
}

// during runs act once the API has been asked for something.
func during(m *batchtest.Mirror, act func()) (acted chan struct{}) {
	acted = make(chan struct{})
	go func() {
		defer close(acted)
		for m.Server.Stats().Requests == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		act()
	}()
	return acted
}

// only selects one record by its tip.
func only(m *batchtest.Mirror, index int) storage.Selector {
	return storage.Selector{Tips: []string{m.Server.Record(index).Tip}}
}

// findFiles returns the files of the output folder whose names end so.
func findFiles(m *batchtest.Mirror, end string) []string {
	m.T.Helper()
	var found []string
	err := filepath.WalkDir(m.Output, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, end) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		m.T.Fatal(err)
	}
	return found
}

func mediaRequests(m *batchtest.Mirror) int {
	n := 0
	for _, entry := range m.Server.Log() {
		if entry.Kind == apitest.OnMedia {
			n++
		}
	}
	return n
}

// filesOf are the photographs and reports on disk, relative to the output folder.
func filesOf(m *batchtest.Mirror) (photographs, reports []string) {
	m.T.Helper()
	root := os.DirFS(m.Output)
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir() || path == files.MarkerName:
		case strings.HasSuffix(path, "_inspection_data.txt"):
			reports = append(reports, path)
		default:
			photographs = append(photographs, path)
		}
		return err
	})
	if err != nil {
		m.T.Fatal(err)
	}
	return photographs, reports
}
