package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
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

func TestARunRemovesWhatKilledRunsBeganLongAgo(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	temp := filepath.Join(m.Output, files.TempFolder)
	batchtest.Must(t, os.MkdirAll(temp, 0o755))
	for name, age := range map[string]time.Duration{"old.part": 2 * files.TempAge, "new.part": files.TempAge / 2} {
		at := filepath.Join(temp, name)
		then := time.Now().Add(-age)
		batchtest.Must(t, os.WriteFile(at, []byte("begun"), 0o600), os.Chtimes(at, then, then))
	}
	m.MustRun(process.Options{UntilEmpty: true})
	if left := m.FilesEnding(".part"); len(left) != 1 || filepath.Base(left[0]) != "new.part" || !strings.Contains(m.Logged.String(), `msg="removed old temporary files" files=1 bytes=5`) {
		t.Errorf("left are %q\n%s", left, m.Logged)
	}
}

func TestALongRunTakesSamples(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	m.SampleEvery(20 * time.Millisecond)
	const samples = `SELECT count(*) FROM noggin_schema.samples`
	before := m.Value(samples)
	acted := midway(m, func() {
		for until := time.Now().Add(30 * time.Second); m.Value(samples) == before; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(until) {
				t.Error("no sample is taken while the run lasts")
				return
			}
		}
	})
	m.MustRun(process.Options{UntilEmpty: true})
	<-acted
}

// Records that the replaced service archived are complete without an answer.
func TestARecordThatNeverHadAnAnswerIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	m.Execute(`DELETE FROM noggin_schema.record_versions; UPDATE noggin_schema.noggin_data SET payload = NULL, version = NULL`)
	if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Complete != 1 || s.AskedAgain != 0 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
}
