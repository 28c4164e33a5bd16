package process_test

import (
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
)

// plainWorld is one of records alone, whose requests are logged.
func plainWorld(records int) apitest.Options {
	return apitest.Options{Records: records, Forms: []string{"LCD"}, Photos: apitest.None, Log: true}
}

// nothingCounted checks that no record was burnt and none is held.
func nothingCounted(m *batchtest.Mirror) {
	m.T.Helper()
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count > 0 OR permanently_failed OR claimed_by IS NOT NULL`); n != "0" {
		m.T.Errorf("%s records were counted against or are still claimed", n)
	}
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

// midway runs act once the API has been asked for something. The answers wait for that.
func midway(m *batchtest.Mirror, act func()) (acted chan struct{}) {
	held := make(chan struct{})
	m.Server.AddFault(apitest.Fault{Kind: "delay", Held: held})
	return during(m, func() {
		defer close(held)
		act()
	})
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
