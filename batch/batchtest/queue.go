package batchtest

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/process"
	"noggin/storage"
)

// PhotoWorld has n photographs in each record.
func PhotoWorld(records, n int) apitest.Options {
	return apitest.Options{
		Records: records, Forms: []string{"LCD"}, Photos: apitest.Fixed(n),
		MediaBytes: apitest.Range{Min: 2000, Max: 5000}, Log: true,
	}
}

// NewQueue is a mirror with every record of its world pending, whose requests are
// not repeated.
func NewQueue(t testing.TB, o apitest.Options) *Mirror {
	t.Helper()
	m := NewMirror(t, o)
	m.API.MaxRetries = 0
	m.ImportAll()
	return m
}

// NewComplete is a mirror whose records are complete and refreshed.
func NewComplete(t testing.TB, o apitest.Options) *Mirror {
	t.Helper()
	m := NewQueue(t, o)
	m.Refresh = process.DefaultRefresh()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != o.Records || s.AskedAgain != 0 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	return m
}

// MakeDue lets time pass for records that wait for their retry.
func (m *Mirror) MakeDue() {
	m.T.Helper()
	m.Execute(`UPDATE noggin_schema.noggin_data SET next_retry_at = now() WHERE next_retry_at > now()`)
}

// PassDays lets days pass for everything that is asked again.
func (m *Mirror) PassDays(days string) {
	m.T.Helper()
	m.Execute(`UPDATE noggin_schema.refreshes SET due_at = due_at - '` + days + ` days'::interval, version_at = version_at - '` + days + ` days'::interval,
		missing_since = missing_since - '` + days + ` days'::interval, gone_at = gone_at - '` + days + ` days'::interval`)
	m.Execute(`UPDATE noggin_schema.attachments SET former_served_at = former_served_at - '` + days + ` days'::interval`)
	m.Execute(`UPDATE noggin_schema.record_versions SET fetched_at = fetched_at - '` + days + ` days'::interval`)
	m.MakeDue()
}

// Only selects one record by its tip.
func (m *Mirror) Only(index int) storage.Selector {
	return storage.Selector{Tips: []string{m.Server.Record(index).Tip}}
}

// FilesEnding returns the files of the output folder whose names end so.
func (m *Mirror) FilesEnding(end string) []string {
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

// MediaRequests counts the requests for attachments.
func (m *Mirror) MediaRequests() int {
	n := 0
	for _, entry := range m.Server.Log() {
		if entry.Kind == apitest.OnMedia {
			n++
		}
	}
	return n
}
