package process_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
	"noggin/storage"
)

// What a run asks for before it fetches anything is enough for all that it may do, and the
// statements that it names grant it.
func TestTheRightsThatARunAsksForAreEnough(t *testing.T) {
	t.Parallel()
	o := batchtest.PhotoWorld(8, 2)
	o.Unnamed = 0.5
	m := batchtest.NewQueue(t, o)
	m.Refresh, m.Circuit.SampleSize = process.DefaultRefresh(), 1000
	owner := m.DB
	role := "worker_" + m.Value(`SELECT current_database()`)
	m.Execute(`CREATE ROLE ` + role + ` LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA noggin_schema TO ` + role)
	cfg := storage.DefaultConfig()
	cfg.URL = asRole(t, m.URL, role)
	db, err := storage.Open(cfg, "process")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	err = db.CheckRights(t.Context())
	if !errors.Is(err, storage.ErrNoRight) {
		t.Fatalf("error %v", err)
	}
	grants := regexp.MustCompile(`GRANT [A-Z, ]+ ON [^;]+ TO "\w+"`).FindAllString(err.Error(), -1)
	m.Execute(strings.Join(grants, "; "))
	if err := db.CheckRights(t.Context()); err != nil {
		t.Fatalf("after %q: %v", grants, err)
	}
	m.DB = db
	run := func(what string, opts process.Options) process.Summary {
		t.Helper()
		s, err := m.TryRun(opts)
		if err != nil || strings.Contains(m.Logged.String(), "lacks a right") || strings.Contains(m.Logged.String(), "permission denied") {
			t.Fatalf("%s: %v\n%s", what, err, m.Logged)
		}
		return s
	}
	r := m.Server.Record
	m.Server.SetFaults(
		apitest.Fault{Status: 404, Tips: []string{r(0).Tip}}, apitest.Fault{Status: 500, Tips: []string{r(1).Attachments[0].Tip}},
		apitest.Fault{Kind: "cut-picture", Tips: []string{r(2).Attachments[0].Tip}},
	)
	all := process.Options{UntilEmpty: true}
	if s := run("the first run", all); s.Complete != 5 || s.Partial != 2 || s.PermanentlyFailed != 1 {
		t.Errorf("summary %+v", s)
	}
	m.Server.ClearFaults()
	m.MakeDue()
	run("retries", all)
	run("a new record by its tip", process.Options{Selector: storage.Selector{Tips: []string{strings.Repeat("ab", 32)}}})
	m.Server.Edit(r(3).Tip, apitest.Edit{Add: []string{"attachments"}, Remove: []string{r(3).Attachments[0].Tip}})
	m.Server.Edit(r(4).Tip, apitest.Edit{Replace: []string{r(4).Attachments[0].Tip}})
	m.Server.AddFault(apitest.Fault{Kind: "reduced", Tips: []string{r(5).Tip}})
	m.Server.AddFault(apitest.Fault{Status: 404, Tips: []string{r(6).Tip}})
	if s := run("a comparison", process.Options{Refresh: true, Media: true, UntilEmpty: true}); s.Changed != 2 || s.Reduced != 1 || s.Gone != 1 {
		t.Errorf("summary %+v", s)
	}
	m.PassDays("2")
	run("the second asking of what is gone", all)
	m.Server.ClearFaults()
	m.PassDays("2")
	run("what comes back", all)
	// The removed attachment is named again, and names change.
	m.Server.Edit(r(3).Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-1"}})
	m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true, processing_status = 'pending' WHERE processing_status = 'complete'`)
	if s := run("healing", all); s.AskedAgain == 0 {
		t.Errorf("summary %+v", s)
	}
	m.Execute(`UPDATE noggin_schema.circuit SET updated_at = now() + interval '1 hour'`)
	run("a clock that was set back", all)
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete' AND payload IS NOT NULL`); n != "7" {
		t.Errorf("%s records are complete", n)
	}
	m.DB = owner
}
