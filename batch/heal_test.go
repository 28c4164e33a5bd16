package batch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/storage"
)

// execute runs SQL as noggin itself does, so that it breaks no claim.
func (m *mirror) execute(statement string) {
	m.t.Helper()
	m.query("SET noggin.client = on; "+statement, nil)
}

// value reads one value.
func (m *mirror) value(query string) string {
	m.t.Helper()
	var v string
	m.query(query, &v)
	return v
}

func (m *mirror) query(statement string, dest *string) {
	m.t.Helper()
	db, err := sql.Open("postgres", m.url)
	if err != nil {
		m.t.Fatal(err)
	}
	defer db.Close()
	if dest == nil {
		_, err = db.ExecContext(context.Background(), statement)
	} else {
		err = db.QueryRowContext(context.Background(), statement).Scan(dest)
	}
	if err != nil {
		m.t.Fatalf("%s: %v", statement, err)
	}
}

// importWorld imports the names of every entity of the simulated world.
func (m *mirror) importWorld() {
	m.t.Helper()
	for _, kind := range []apitest.EntityType{apitest.Vehicle, apitest.Trailer, apitest.Department, apitest.Team, apitest.Person, apitest.Customer} {
		var b bytes.Buffer
		if err := m.server.WriteNamesCSV(&b, kind, "hash"); err != nil {
			m.t.Fatal(err)
		}
		m.importNames(string(kind), b.String(), false)
	}
}

func (m *mirror) healer() *Healer {
	return &Healer{DB: m.DB, Types: m.Types, Config: m.Config, Log: m.Log, Run: 7}
}

func (m *mirror) heal() HealSummary {
	m.t.Helper()
	s, err := m.healer().Heal(m.t.Context())
	if err != nil {
		m.t.Fatalf("heal: %v\n%s", err, m.log)
	}
	return s
}

// reports reads every text report, by its path below the output folder, and checks
// that the database knows each as it is.
func (m *mirror) reports() map[string]string {
	m.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(m.Config.Paths.Output, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".txt") {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(m.Config.Paths.Output, path)
		found[name] = string(content)
		sum := sha256.Sum256(content)
		known := m.value(fmt.Sprintf(`SELECT count(*) FROM noggin_schema.noggin_data WHERE report_path = '%s'
			AND report_size_bytes = %d AND report_hash_sha256 = '%s'`, strings.ReplaceAll(name, "'", "''"), len(content), hex.EncodeToString(sum[:])))
		if known != "1" {
			m.t.Errorf("the database knows %s otherwise", name)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return found
}

const shownColumns = `SELECT string_agg(concat_ws('|', tip, vehicle, trailer, trailer2, trailer3, department, team, inspected_by,
	has_unknown_hashes, names_stale, processing_status, claimed_by), E'\n' ORDER BY tip) FROM noggin_schema.noggin_data`

func sameReports(t testing.TB, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d reports, want %d", len(got), len(want))
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s differs:\n%s\nwant:\n%s", name, got[name], text)
			return
		}
	}
}

func healWorld() apitest.Options {
	return apitest.Options{Records: 18, MediaBytes: apitest.Range{Min: 500, Max: 900}}
}

// known is what a mirror looks like that knew every name from the start.
func known(t testing.TB) (reports map[string]string, columns string) {
	t.Helper()
	m := newMirror(t, healWorld())
	m.importWorld()
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	return m.reports(), m.value(shownColumns)
}

func TestHealedRecordsAreWhatTheyWouldHaveBeenWithTheNames(t *testing.T) {
	t.Parallel()
	want, columns := known(t)
	m := newMirror(t, healWorld())
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	before := m.reports()
	updated := m.value(`SELECT string_agg(updated_at::text, ',' ORDER BY tip) FROM noggin_schema.noggin_data`)
	requests := m.server.Stats().Requests

	m.importWorld()
	if s := m.heal(); s.Healed != 18 || s.Reports != 18 || s.Waiting != 0 {
		t.Errorf("summary %+v", s)
	}
	after := m.reports()
	sameReports(t, after, want)
	if got := m.value(shownColumns); got != columns {
		t.Errorf("columns are\n%s\nwant\n%s", got, columns)
	}
	if n := m.server.Stats().Requests; n != requests {
		t.Errorf("healing sent %d requests", n-requests)
	}
	if now := m.value(`SELECT string_agg(updated_at::text, ',' ORDER BY tip) FROM noggin_schema.noggin_data`); now != updated {
		t.Error("healing moved updated_at")
	}
	for name, text := range before {
		onlyNamesDiffer(t, name, text, after[name])
	}
}

// onlyNamesDiffer compares line by line: what had no unknown name stays as it was.
func onlyNamesDiffer(t testing.TB, name, before, after string) {
	t.Helper()
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	if len(was) < len(is) { // a hash may be wrapped, a name not
		t.Errorf("%s has grown", name)
	}
	kept := map[string]bool{}
	for _, line := range is {
		kept[line] = true
	}
	for _, line := range was {
		if !kept[line] && !strings.Contains(line, "Unknown (") && len(strings.TrimSpace(line)) > 70 {
			t.Errorf("%s lost the line %q", name, line)
		}
	}
}

func TestHealingWithoutAChangeLeavesTheReportsAsTheyAre(t *testing.T) {
	t.Parallel()
	m := newMirror(t, healWorld())
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	before, columns := m.reports(), m.value(shownColumns)
	m.execute(`UPDATE noggin_schema.noggin_data SET names_stale = true`)
	if s := m.heal(); s.Healed != 18 {
		t.Errorf("summary %+v", s)
	}
	sameReports(t, m.reports(), before)
	if got := m.value(shownColumns); got != columns {
		t.Errorf("columns are\n%s\nwant\n%s", got, columns)
	}
}

func TestAnImportBesideARunLeavesNoOldName(t *testing.T) {
	t.Parallel()
	want, columns := known(t)
	m := newMirror(t, healWorld())
	m.importAll()
	var beside sync.WaitGroup
	beside.Go(func() {
		for _, kind := range []apitest.EntityType{apitest.Vehicle, apitest.Trailer, apitest.Department, apitest.Team, apitest.Person, apitest.Customer} {
			var b bytes.Buffer
			if err := m.server.WriteNamesCSV(&b, kind, "hash"); err != nil {
				t.Error(err)
			}
			for _, suffix := range []string{" once", ""} { // every name changes while records are stored
				text := strings.ReplaceAll(b.String(), "\r\n", suffix+"\r\n")
				text = strings.Replace(strings.ReplaceAll(text, `"`+suffix+"\r\n", suffix+"\"\r\n"), "hash,name"+suffix, "hash,name", 1)
				if _, err := ImportNames(t.Context(), m.DB, m.Types, m.Config.Hashes, strings.NewReader(text), NameImportOptions{EntityType: string(kind)}); err != nil {
					t.Error(err)
				}
				if _, err := m.healer().Heal(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	m.mustRun(ProcessOptions{UntilEmpty: true})
	beside.Wait()
	m.heal()
	sameReports(t, m.reports(), want)
	if got := m.value(shownColumns); got != columns {
		t.Errorf("columns are\n%s\nwant\n%s", got, columns)
	}
}

func TestAHealerThatDiesAnywhereIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	want, columns := known(t)
	m := newMirror(t, healWorld())
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	m.importWorld() // the first one dies before it heals anything
	// The second dies with claims, of which it has written some reports.
	batch, err := m.DB.ClaimStale(t.Context(), 5, "", 9, time.Second)
	if err != nil || len(batch.Records) != 9 {
		t.Fatalf("claimed %d, %v", len(batch.Records), err)
	}
	output, err := OpenOutput(m.Config.Paths.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer release(output)
	dying := &healing{Healer: m.healer(), output: output}
	if _, err := dying.renew(t.Context(), storage.StaleBatch{Records: batch.Records[:4], Names: batch.Names}); err != nil {
		t.Fatal(err)
	}
	if s := m.heal(); s.Healed != 18 || s.Waiting != 0 {
		t.Errorf("summary %+v", s)
	}
	sameReports(t, m.reports(), want)
	if got := m.value(shownColumns); got != columns {
		t.Errorf("columns are\n%s\nwant\n%s", got, columns)
	}
	if n := m.value(`SELECT sum(crash_count) FROM noggin_schema.noggin_data`); n != "0" {
		t.Errorf("healing counted %s crashes against records", n)
	}
}

func TestRecordsInTheHandsOfARunThatLivesAreLeftToIt(t *testing.T) {
	t.Parallel()
	m := newMirror(t, healWorld())
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	m.execute(`UPDATE noggin_schema.noggin_data SET names_stale = true, claimed_by = 5, claim_expires_at = now() + interval '2 minutes'`)
	started := time.Now()
	if s := m.heal(); s.Healed != 0 || s.Waiting != 18 || time.Since(started) > 5*time.Second {
		t.Errorf("summary %+v after %s", s, time.Since(started))
	}
}

func TestWithoutTheOutputFolderColumnsAreRenewedAndReportsWait(t *testing.T) {
	t.Parallel()
	want, _ := known(t)
	m := newMirror(t, healWorld())
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	m.importWorld()
	there, gone := m.Config.Paths.Output, filepath.Join(t.TempDir(), "not mounted")
	m.Config.Paths.Output = gone
	s, err := m.healer().Heal(t.Context())
	if !IsDiskError(err) || s.Failed != 18 || s.Waiting != 18 {
		t.Errorf("summary %+v, %v", s, err)
	}
	if n := m.value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE NOT has_unknown_hashes AND names_stale AND claimed_by IS NULL`); n != "18" {
		t.Errorf("%s records have their columns renewed and wait for their report", n)
	}
	m.Config.Paths.Output = there
	if s := m.heal(); s.Healed != 18 || s.Reports != 18 {
		t.Errorf("summary %+v", s)
	}
	sameReports(t, m.reports(), want)
}

func TestAReportThatCannotBeWrittenHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	m := newMirror(t, healWorld())
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	m.execute(`UPDATE noggin_schema.noggin_data SET names_stale = true;
		UPDATE noggin_schema.noggin_data SET object_type = 'GONE' WHERE object_type = 'TA'`)
	s, err := m.healer().Heal(t.Context())
	if err == nil || !strings.Contains(err.Error(), `object type "GONE" is not configured`) || s.Healed != 15 || s.Failed != 3 || s.Waiting != 3 {
		t.Errorf("summary %+v, %v", s, err)
	}
}

func TestAnArchivedRecordGetsANewReportOnDisk(t *testing.T) {
	t.Parallel()
	want, _ := known(t)
	m := newMirror(t, healWorld())
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	for name := range m.reports() {
		if err := os.Remove(filepath.Join(m.Config.Paths.Output, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.execute(`UPDATE noggin_schema.noggin_data SET archived = true, archived_at = now(), report_archive_id = 3`)
	m.importWorld()
	m.heal()
	sameReports(t, m.reports(), want)
	if n := m.value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE archived AND report_archive_id IS NULL`); n != "18" {
		t.Errorf("%s of 18 records are archived with a report on disk", n)
	}
}

func TestARecordWithoutAReportGetsItsColumns(t *testing.T) {
	t.Parallel()
	m := newMirror(t, healWorld())
	m.importAll()
	m.mustRun(ProcessOptions{UntilEmpty: true})
	m.execute(`UPDATE noggin_schema.noggin_data SET report_path = NULL, processing_status = 'interrupted'`)
	m.importWorld()
	m.Config.Paths.Output = filepath.Join(t.TempDir(), "not mounted") // and not needed
	if s := m.heal(); s.Healed != 18 || s.Reports != 0 {
		t.Errorf("summary %+v", s)
	}
}
