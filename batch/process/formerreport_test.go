package process_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// Answers without times and sids do not tell their order.
func TestTheReportOfALaterVersionIsKeptWhenAFormerOneIsCurrentAgain(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(1))
	for _, job := range []string{"J-1", "J-2", "J-1"} {
		m.Server.SetFaults(apitest.Fault{Kind: "body", On: apitest.OnRecord, Value: fmt.Sprintf(
			`{"$meta": {"tip": "%s"}, "lcdInspectionId": "LCD - 000001", "date": "2025-08-20", "jobNumber": "%s"}`, m.Server.Record(0).Tip, job)})
		if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Complete != 1 {
			t.Errorf("summary %+v\n%s", s, m.Logged)
		}
	}
	if state := m.Value(recordState); state != "complete v1 0 f t" {
		t.Fatalf("the record is %s", state)
	}
	for _, former := range m.FilesEnding(".v2.txt") {
		if text, err := os.ReadFile(former); err == nil && strings.Contains(string(text), "J-2") {
			return
		}
	}
	t.Errorf("no file has the answers of version 2\n%s", m.Logged)
}
