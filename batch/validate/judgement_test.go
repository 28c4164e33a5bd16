package validate

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/storage"
)

// found lists the severities and names of what was found, in its order.
func found(a *Area) (list []string) {
	for _, f := range a.Findings {
		list = append(list, f.Severity+" "+f.Check)
	}
	return list
}

func TestAServerIsJudged(t *testing.T) {
	for name, test := range map[string]struct {
		change func(s *storage.Server)
		want   []string
	}{
		"a good one":          {func(*storage.Server) {}, nil},
		"one before 14":       {func(s *storage.Server) { s.VersionNumber = 130_022 }, []string{"error version"}},
		"in another encoding": {func(s *storage.Server) { s.Encoding = "SQL_ASCII" }, []string{"error encoding"}},
		"a standby":           {func(s *storage.Server) { s.Standby = true }, []string{"error read_only"}},
		"read-only":           {func(s *storage.Server) { s.ReadOnly = true }, []string{"error read_only"}},
		"9 s ahead":           {func(s *storage.Server) { s.ClockAhead = 9 }, nil},
		"11 s ahead":          {func(s *storage.Server) { s.ClockAhead = 11 }, []string{"warning clock"}},
		"11 s behind":         {func(s *storage.Server) { s.ClockAhead = -11 }, []string{"warning clock"}},
	} {
		s := storage.Server{VersionNumber: 140_000, Encoding: "UTF8"}
		test.change(&s)
		a := NewArea("database")
		if checkServer(a, s); !slices.Equal(found(a), test.want) {
			t.Errorf("%s: %q instead of %q", name, found(a), test.want)
		}
	}
}

func TestDifferencesOfTheSchemaAreJudged(t *testing.T) {
	for want, d := range map[string]storage.SchemaDifference{
		"error schema_missing":            {Kind: "trigger", State: storage.SchemaMissing},
		"warning indexes_missing":         {Kind: "index", State: storage.SchemaMissing},
		"error triggers_disabled":         {Kind: "trigger", State: storage.SchemaDisabled},
		"error indexes_invalid":           {Kind: "index", State: storage.SchemaInvalid},
		"warning schema_different":        {Kind: "function", State: storage.SchemaDifferent},
		"warning constraints_unvalidated": {Kind: "constraint", State: storage.SchemaUnvalidated},
	} {
		a := NewArea("database")
		if addDifferences(a, slices.Repeat([]storage.SchemaDifference{d}, 7)); !slices.Equal(found(a), []string{want}) || a.Findings[0].Count != 7 || len(a.Findings[0].Examples) != maxExamples {
			t.Errorf("%s: %+v", want, a.Findings)
		}
	}
	for _, kind := range []string{"table", "column", "constraint", "trigger", "function", "view"} {
		a := NewArea("database")
		if addDifferences(a, []storage.SchemaDifference{{Kind: kind, State: storage.SchemaMissing}}); !slices.Equal(found(a), []string{"error schema_missing"}) {
			t.Errorf("a %s that is missing: %q", kind, found(a))
		}
	}
}

func TestAFullVolumeIsJudged(t *testing.T) {
	v := &Validator{}
	for _, test := range []struct {
		key   string
		share float64
		want  []string
	}{
		{"output", 85, nil},
		{"output", 85.5, []string{"error disk"}},
		{"backups", 85.5, []string{"warning disk"}},
		{"backups", 94.9, []string{"warning disk"}},
		{"backups", 95, []string{"error disk"}},
	} {
		a := NewArea("config")
		if v.judgeVolume(a, &files.Volume{Keys: []string{"input", test.key}}, "disk", test.share, ""); !slices.Equal(found(a), test.want) {
			t.Errorf("%s at %.1f %%: %q instead of %q", test.key, test.share, found(a), test.want)
		}
	}
}

func TestFoldersAreJudged(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	batchtest.Must(t, os.Mkdir(at("output"), 0o755), files.CreateMarker(at("output")), os.WriteFile(at("file"), nil, 0o644))
	a := NewArea("config")
	v := &Validator{Paths: files.Paths{Output: at("output"), Archive: at("file"), Backups: at("file/below"), Input: at("input"), Reports: at("reports"), Processed: dir, Error: dir, Checkpoints: dir}}
	v.Folders(a)
	if want := []string{"warning folders", "error folders", "error folders"}; !slices.Equal(found(a), want) || !slices.Contains(a.Facts, "folders that noggin creates when it needs them: reports") {
		t.Errorf("%+v, facts %q", a.Findings, a.Facts)
	}
	batchtest.Must(t, os.Remove(filepath.Join(at("output"), files.MarkerName)))
	v.Paths.Archive, v.Paths.Backups, v.Paths.Input = dir, dir, dir
	a = NewArea("config")
	if v.Folders(a); !slices.Equal(found(a), []string{"error output"}) {
		t.Errorf("without the marker: %+v", a.Findings)
	}
}

// A check that cannot go on says so: it is never taken for one that found nothing.
func TestAnAreaThatFailsHasAFinding(t *testing.T) {
	for want, err := range map[string]error{
		"error pooler": storage.ErrPooler, "error reachable": storage.ErrUnavailable, "error schema": storage.ErrSchema, "error failed": os.ErrInvalid,
	} {
		a := NewArea("data")
		if got := a.Done(t.Context(), fmt.Errorf("look: %w", err)); got != nil || a.Checked || a.Reason == "" || !slices.Equal(found(a), []string{want}) {
			t.Errorf("%v: %+v, %v", err, a, got)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(os.ErrDeadlineExceeded)
	a := NewArea("data")
	if err := a.Done(ctx, os.ErrInvalid); !errors.Is(err, os.ErrDeadlineExceeded) || a.Checked || len(a.Findings) > 0 {
		t.Errorf("%v, %+v", err, a)
	}
}

// The role's rights and what others may do are looked at in the database itself.
func TestRightsInTheDatabaseAreJudged(t *testing.T) {
	t.Parallel()
	m := finished(t, 1)
	v := validatorOf(m)
	zone, err := time.LoadLocation("Australia/Perth")
	batchtest.Must(t, err)
	v.Location = zone
	m.Execute(`GRANT CREATE ON SCHEMA noggin_schema TO PUBLIC`)
	a, err := v.Database(t.Context())
	if err != nil || !slices.Equal(found(a), []string{"warning create_functions", "warning timezone"}) {
		t.Errorf("%q, %v", found(a), err)
	}
}

// A role that lacks rights cannot work, and one that does not own the tables cannot maintain
// them.
func TestRightsAndOwnersOfTheTablesAreJudged(t *testing.T) {
	t.Parallel()
	m := finished(t, 1)
	owner, role := m.Value(`SELECT current_user`), "clerk_"+m.Value(`SELECT current_database()`)
	m.Execute(`CREATE ROLE ` + role + ` LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA noggin_schema TO ` + role + `; GRANT ALL ON ALL TABLES IN SCHEMA noggin_schema TO ` + role)
	t.Cleanup(func() { m.Execute(`DROP OWNED BY ` + role + `; DROP ROLE ` + role) })
	u, err := url.Parse(m.URL)
	batchtest.Must(t, err)
	u.User = url.UserPassword(role, "x")
	cfg := storage.DefaultConfig()
	cfg.URL = u.String()
	v := validatorOf(m)
	v.DB, err = storage.Open(cfg, "test")
	batchtest.Must(t, err)
	defer files.Release(v.DB)
	judged := func(want ...Finding) {
		t.Helper()
		a, err := v.Database(t.Context())
		batchtest.Must(t, err)
		got := slices.DeleteFunc(a.Findings, func(f Finding) bool { return f.Check != "rights" && f.Check != "owner" })
		if !slices.EqualFunc(got, want, func(a, b Finding) bool {
			return a.Severity == b.Severity && a.Check == b.Check && a.Count == b.Count && slices.Equal(a.Examples, b.Examples) && strings.HasSuffix(a.Remedy, " TO "+role)
		}) {
			t.Errorf("%+v instead of %+v", got, want)
		}
	}
	const tables = `FROM pg_tables WHERE schemaname = 'noggin_schema'`
	count, err := strconv.ParseInt(m.Value(`SELECT count(*) `+tables), 10, 64)
	batchtest.Must(t, err)
	foreign := Finding{
		Severity: SeverityWarning, Check: "owner", Count: count,
		Examples: strings.Split(m.Value(`SELECT string_agg(tablename, ',') FROM (SELECT tablename `+tables+` ORDER BY tablename LIMIT `+strconv.Itoa(maxExamples)+`) AS first`), ","),
	}
	judged(foreign)
	m.Execute(`REVOKE UPDATE, DELETE ON noggin_schema.attachments FROM ` + role + `; REVOKE SELECT, INSERT ON noggin_schema.samples FROM ` + role)
	judged(Finding{
		Severity: SeverityError, Check: "rights", Count: 4,
		Examples: []string{"DELETE on attachments", "UPDATE on attachments", "INSERT on samples", "SELECT on samples"},
	}, foreign)
	m.Execute(`GRANT ` + owner + ` TO ` + role)
	judged()
}
