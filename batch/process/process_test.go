package process_test

import (
	"errors"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/gate"
	"noggin/batch/process"
)

func TestADrainMirrorsEveryRecordOfEveryForm(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 40, MediaBytes: apitest.Range{Min: 2000, Max: 9000}})
	m.ImportAll()
	s := m.MustRun(process.Options{UntilEmpty: true})
	if s.Complete != 40 || s.Unsuccessful() != 0 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	m.CheckFiles()
	if again := m.MustRun(process.Options{UntilEmpty: true}); again.Claimed != 0 {
		t.Errorf("a second run claimed %d records", again.Claimed)
	}
}

func TestABadRecordAmongGoodOnesIsGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 5, Forms: []string{"LCD"}, Photos: apitest.None})
	m.ImportAll()
	if _, err := m.DB.EnsureRecords(t.Context(), []string{strings.Repeat("ab", 32)}, "LCD", false); err != nil {
		t.Fatal(err)
	}
	s := m.MustRun(process.Options{UntilEmpty: true})
	if s.Complete != 5 || s.APIFailed != 1 || s.PermanentlyFailed != 1 {
		t.Errorf("summary %+v", s)
	}
}

func TestAWrongAddressBurnsNoQueue(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 20, Forms: []string{"LCD"}})
	m.ImportAll()
	m.Server.AddFault(apitest.Fault{Kind: "status", Status: 404})
	s := m.MustRun(process.Options{UntilEmpty: true})
	if s.APIFailed != 20 || s.PermanentlyFailed != 0 {
		t.Errorf("summary %+v", s)
	}
}

func TestRejectedCredentialsEndTheRunUncounted(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 20, Forms: []string{"LCD"}})
	m.ImportAll()
	m.API.BearerToken = "wrong"
	s, err := m.TryRun(process.Options{UntilEmpty: true})
	if !errors.Is(err, gate.ErrCredentials) || s.PermanentlyFailed != 0 {
		t.Errorf("summary %+v, error %v", s, err)
	}
	if n := m.Server.Stats(); n.Requests > int64(m.Processing.Concurrency) {
		t.Errorf("%d requests were sent", n.Requests)
	}
}

func TestAnOutageOpensTheCircuitAndTheQueueSurvives(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 60, Forms: []string{"LCD"}, Photos: apitest.None})
	m.ImportAll()
	m.API.MaxRetries = 0
	m.Server.AddFault(apitest.Fault{Kind: "status", Status: 503})
	_, err := m.TryRun(process.Options{UntilEmpty: true})
	if !errors.Is(err, gate.ErrAPIUnavailable) {
		t.Fatalf("error %v\n%s", err, m.Logged)
	}
	standing, err := m.DB.Standing(t.Context())
	if err != nil || standing.State != "open" {
		t.Errorf("circuit %q, %v", standing.State, err)
	}
}
