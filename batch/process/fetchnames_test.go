package process_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/gate"
	"noggin/batch/names"
	"noggin/batch/process"
)

// namesQueue is a mirror whose records are complete and whose names are all unknown.
func namesQueue(t *testing.T, records int) *batchtest.Mirror {
	t.Helper()
	m := batchtest.NewQueue(t, plainWorld(records))
	m.MustRun(process.Options{UntilEmpty: true})
	return m
}

func fetchNames(m *batchtest.Mirror, request process.NamesRequest) (names.FetchSummary, error) {
	m.T.Helper()
	run, err := m.DB.StartRun(m.T.Context(), "hashes fetch", "test")
	if err != nil {
		m.T.Fatal(err)
	}
	request.Run = run
	return m.FetchNames(m.T.Context(), request)
}

const unknownLeft = `SELECT count(DISTINCT hash_value) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL`

// It runs while no parallel test does, as it counts goroutines.
func TestAFetchOfNamesLeavesNoWriterBehind(t *testing.T) {
	m := namesQueue(t, 2)
	writers := func() int {
		stacks := make([]byte, 4<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "process.newGroup[")
	}
	before := writers()
	if _, err := fetchNames(m, process.NamesRequest{}); err != nil {
		t.Fatal(err)
	}
	if after := writers(); after != before {
		t.Errorf("%d grouped writers are at work, want %d", after, before)
	}
}

func TestTheAPIGivesTheNamesOfUnknownHashes(t *testing.T) {
	t.Parallel()
	m := namesQueue(t, 6)
	unknown := m.Value(unknownLeft)
	s, err := fetchNames(m, process.NamesRequest{})
	if err != nil || strconv.Itoa(s.Named) != unknown || s.Asked != s.Named || s.Marked == 0 || m.Value(unknownLeft) != "0" {
		t.Errorf("of %s hashes: %+v, %v", unknown, s, err)
	}
	if got := m.Value(`SELECT string_agg(DISTINCT source, ' ') FROM noggin_schema.entity_hashes`); got != "api" {
		t.Errorf("the source of the names is %s", got)
	}
	wrong := 0
	for hash, name := range allNames(m) {
		if e, ok := m.Server.Entity(hash); !ok || e.Name != name {
			wrong++
		}
	}
	if wrong > 0 {
		t.Errorf("%d names are not those of the platform", wrong)
	}
	m.Server.ResetStats()
	if s, err := fetchNames(m, process.NamesRequest{}); err != nil || s.Asked != 0 || m.Server.Stats().Requests != 0 {
		t.Errorf("again: %+v, %v, %d requests", s, err, m.Server.Stats().Requests)
	}
}

// allNames returns the names in the database by their hash.
func allNames(m *batchtest.Mirror) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(m.Value(`SELECT string_agg(hash_value || ' ' || entity_name, E'\n') FROM noggin_schema.entity_hashes`)) {
		hash, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		found[hash] = name
	}
	return found
}

func TestOnlySoManyHashesOfTheTypeAreAskedAbout(t *testing.T) {
	t.Parallel()
	m := namesQueue(t, 6)
	if s, err := fetchNames(m, process.NamesRequest{EntityType: "team", Limit: 1}); err != nil || s.Asked != 1 || s.Named != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if got := m.Value(`SELECT string_agg(DISTINCT entity_type, ' ') FROM noggin_schema.entity_hashes`); got != "team" {
		t.Errorf("names of the types %s", got)
	}
}

func TestAHashWithoutANameIsAskedAboutAgainAfter30Days(t *testing.T) {
	t.Parallel()
	m := namesQueue(t, 4)
	for i, status := range []int{403, 404, 200} {
		hash := m.Value(fmt.Sprintf(`SELECT hash_value FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL AND asked_at IS NULL ORDER BY hash_value LIMIT 1 OFFSET %d`, i))
		f := apitest.Fault{Tips: []string{hash}, Kind: "status", Status: status}
		if status == 200 {
			f.Kind, f.Value = "body", `{"$meta": {"tip": "`+hash+`"}, "assetName": "  ", "firstName": ""}`
		}
		m.Server.AddFault(f)
	}
	s, err := fetchNames(m, process.NamesRequest{})
	if err != nil || s.Refused != 1 || s.NotFound != 1 || s.Nameless != 1 || s.Failed != 0 || s.Named == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := m.Value(`SELECT string_agg(ask_outcome, ' ' ORDER BY ask_outcome) FROM noggin_schema.unknown_hashes WHERE asked_at IS NOT NULL`); got != "nameless not_found refused" {
		t.Errorf("remembered: %s", got)
	}
	if s, err = fetchNames(m, process.NamesRequest{}); err != nil || s.Asked != 0 {
		t.Errorf("the next day: %+v, %v", s, err)
	}
	m.Server.ClearFaults()
	m.Execute(`UPDATE noggin_schema.unknown_hashes SET asked_at = asked_at - interval '30 days'`)
	if s, err = fetchNames(m, process.NamesRequest{}); err != nil || s.Named != 3 {
		t.Errorf("30 days later: %+v, %v", s, err)
	}
}

func TestATokenThatMayNotAskForObjectsIsToldFromARejectedOne(t *testing.T) {
	t.Parallel()
	m := namesQueue(t, 6)
	m.Server.AddFault(apitest.Fault{On: apitest.OnTip, Kind: "status", Status: 403})
	s, err := fetchNames(m, process.NamesRequest{})
	if err != nil || s.Refused != s.Asked || s.Asked < 12 {
		t.Errorf("records are served: %+v, %v", s, err)
	}
	m.Execute(`UPDATE noggin_schema.unknown_hashes SET asked_at = NULL, ask_outcome = NULL`)
	m.Server.AddFault(apitest.Fault{Kind: "status", Status: 403})
	for _, limit := range []int{0, 2} {
		if s, err = fetchNames(m, process.NamesRequest{Limit: limit}); !errors.Is(err, gate.ErrCredentials) {
			t.Errorf("nothing is served: %+v, %v", s, err)
		}
		if n := m.Value(`SELECT count(*) FROM noggin_schema.unknown_hashes WHERE asked_at IS NOT NULL`); n != "0" {
			t.Errorf("%s hashes are remembered although the token is at fault", n)
		}
	}
}

func TestNamesAreAskedForThroughTheGate(t *testing.T) {
	t.Parallel()
	m := namesQueue(t, 4)
	m.Server.AddFault(apitest.Fault{Kind: "status", Status: 401, On: apitest.OnTip})
	if _, err := fetchNames(m, process.NamesRequest{}); !errors.Is(err, gate.ErrCredentials) {
		t.Errorf("a rejected token: %v", err)
	}
	m.Server.ClearFaults()
	m.Execute(`UPDATE noggin_schema.circuit SET state = 'open', open_until = now() + interval '1 hour', generation = generation + 1`)
	m.Server.ResetStats()
	if _, err := fetchNames(m, process.NamesRequest{}); !errors.Is(err, gate.ErrAPIUnavailable) || m.Server.Stats().Requests != 0 {
		t.Errorf("an open circuit: %v, %d requests", err, m.Server.Stats().Requests)
	}
	m.Execute(`UPDATE noggin_schema.circuit SET state = 'closed', open_until = NULL, generation = generation + 1`)
	m.Server.AddFault(apitest.Fault{On: apitest.OnTip, Kind: "status", Status: 503, Until: 3})
	s, err := fetchNames(m, process.NamesRequest{})
	if err != nil || s.Failed != 3 || s.Named == 0 {
		t.Errorf("a few failures: %+v, %v", s, err)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.unknown_hashes WHERE asked_at IS NOT NULL`); n != "0" {
		t.Errorf("%s failures are remembered", n)
	}
}

func TestNamesAreNotAskedForInAPause(t *testing.T) {
	t.Parallel()
	m := namesQueue(t, 1)
	_, err := m.DB.Pause(t.Context(), 0, "moving the server")
	batchtest.Must(t, err)
	m.Server.ResetStats()
	_, err = fetchNames(m, process.NamesRequest{})
	if _, ok := errors.AsType[*gate.PausedError](err); !ok || m.Server.Stats().Requests != 0 {
		t.Errorf("in a pause: %v, %d requests", err, m.Server.Stats().Requests)
	}
}

func TestAFetchOfNamesEndsWithItsTime(t *testing.T) {
	t.Parallel()
	m := namesQueue(t, 6)
	m.Processing.Concurrency = 1
	m.Server.AddFault(apitest.Fault{Kind: "delay", On: apitest.OnTip, Delay: time.Second / 4})
	s, err := fetchNames(m, process.NamesRequest{MaxTime: time.Second})
	if err != nil || s.Named == 0 || m.Value(unknownLeft) == "0" || !strings.Contains(s.Stopped, "--max-time") {
		t.Errorf("%+v, %v", s, err)
	}
}

// The witness for media is asked at the end, or when it was media that opened the circuit.
func TestAFetchOfNamesAsksTheWitnessForMedia(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		circuit string
		mounted bool
		want    string
	}{
		"attachments failed":             {`media_failing_since = now()`, true, "closed f after 1"},
		"the circuit opened for them":    {`state = 'half_open', subject = 'media', generation = generation + 1`, true, "closed f after 1"},
		"the output folder is not there": {`media_failing_since = now()`, false, "closed t after 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(2, 1))
			m.MustRun(process.Options{UntilEmpty: true})
			m.Execute(`UPDATE noggin_schema.circuit SET ` + test.circuit)
			if !test.mounted {
				batchtest.Must(t, os.Remove(filepath.Join(m.Output, files.MarkerName)))
			}
			m.Server.ResetStats()
			if s, err := fetchNames(m, process.NamesRequest{}); err != nil || s.Named == 0 {
				t.Errorf("%+v, %v", s, err)
			}
			circuit := m.Value(`SELECT concat_ws(' ', state, media_failing_since IS NOT NULL) FROM noggin_schema.circuit`)
			if got := fmt.Sprintf("%s after %d", circuit, m.MediaRequests()); got != test.want {
				t.Errorf("the circuit is %s requests for media, want %s", got, test.want)
			}
		})
	}
}

func TestOnlyARunThatMayFetchesNames(t *testing.T) {
	t.Parallel()
	m := namesQueue(t, 4)
	unknown := m.Value(unknownLeft)
	if m.MustRun(process.Options{UntilEmpty: true}); m.Value(unknownLeft) != unknown {
		t.Error("a run fetched names without being told to")
	}
	m.Names.Fetch = true
	s := m.MustRun(process.Options{UntilEmpty: true})
	if strconv.Itoa(s.NamesFetched) != unknown || s.RecordsRenewed != 4 || m.Value(unknownLeft) != "0" {
		t.Errorf("an idle run: %+v", s)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE has_unknown_hashes OR names_stale`); n != "0" {
		t.Errorf("%s records do not show their names", n)
	}
	m.Execute(`DELETE FROM noggin_schema.entity_hashes; UPDATE noggin_schema.unknown_hashes SET resolved_at = NULL;
		UPDATE noggin_schema.noggin_data SET processing_status = 'pending'`)
	if s = m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 4 || s.NamesFetched == 0 || s.RecordsRenewed != 4 {
		t.Errorf("a run with records: %+v", s)
	}
}
