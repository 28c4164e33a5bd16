package names_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/names"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// importWorld imports the names of every entity of the simulated world.
func importWorld(m *batchtest.Mirror) {
	m.T.Helper()
	for _, kind := range []apitest.EntityType{apitest.Vehicle, apitest.Trailer, apitest.Department, apitest.Team, apitest.Person, apitest.Customer} {
		var b bytes.Buffer
		if err := m.Server.WriteNamesCSV(&b, kind); err != nil {
			m.T.Fatal(err)
		}
		importNames(m, string(kind), b.String(), false)
	}
}

func healerOf(m *batchtest.Mirror) *names.Healer {
	return &names.Healer{DB: m.DB, Types: m.Types, Output: m.Output, Concurrency: m.Processing.Concurrency, Log: m.Log, Run: 7}
}

func healNames(m *batchtest.Mirror) names.HealSummary {
	m.T.Helper()
	s, err := healerOf(m).Heal(m.T.Context())
	if err != nil {
		m.T.Fatalf("heal: %v\n%s", err, m.Logged)
	}
	return s
}

// reportsOf reads every text report, by its path below the output folder, and checks
// that the database knows each as it is.
func reportsOf(m *batchtest.Mirror) map[string]string {
	m.T.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(m.Output, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".txt") {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(m.Output, path)
		found[name] = string(content)
		sum := sha256.Sum256(content)
		known := m.Value(fmt.Sprintf(`SELECT count(*) FROM noggin_schema.noggin_data WHERE report_path = '%s'
			AND report_size_bytes = %d AND report_hash_sha256 = '%s'`, strings.ReplaceAll(name, "'", "''"), len(content), hex.EncodeToString(sum[:])))
		if known != "1" {
			m.T.Errorf("the database knows %s otherwise", name)
		}
		return err
	})
	if err != nil {
		m.T.Fatal(err)
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
	m := batchtest.NewMirror(t, healWorld())
	importWorld(m)
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	return reportsOf(m), m.Value(shownColumns)
}

func TestHealedRecordsAreWhatTheyWouldHaveBeenWithTheNames(t *testing.T) {
	t.Parallel()
	want, columns := known(t)
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	before := reportsOf(m)
	updated := m.Value(`SELECT string_agg(updated_at::text, ',' ORDER BY tip) FROM noggin_schema.noggin_data`)
	requests := m.Server.Stats().Requests

	importWorld(m)
	flushed := map[string]bool{} // before the database has the reports' hashes
	stop := files.WatchFlushes(m.Output, func(_, path string) {
		if m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE names_stale`) != "0" {
			flushed[path] = true
		}
	})
	if s := healNames(m); s.Healed != 18 || s.Reports != 18 || s.Waiting != 0 {
		t.Errorf("summary %+v", s)
	}
	stop()
	after := reportsOf(m)
	for name := range after {
		if folder := filepath.Dir(filepath.Join(m.Output, name)); !flushed[folder] {
			t.Errorf("the folder of %s was not flushed", name)
		}
	}
	sameReports(t, after, want)
	if got := m.Value(shownColumns); got != columns {
		t.Errorf("columns are\n%s\nwant\n%s", got, columns)
	}
	if n := m.Server.Stats().Requests; n != requests {
		t.Errorf("healing sent %d requests", n-requests)
	}
	if now := m.Value(`SELECT string_agg(updated_at::text, ',' ORDER BY tip) FROM noggin_schema.noggin_data`); now != updated {
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
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	before, columns := reportsOf(m), m.Value(shownColumns)
	m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true`)
	if s := healNames(m); s.Healed != 18 {
		t.Errorf("summary %+v", s)
	}
	sameReports(t, reportsOf(m), before)
	if got := m.Value(shownColumns); got != columns {
		t.Errorf("columns are\n%s\nwant\n%s", got, columns)
	}
}

func TestAReportThatIsStoredWhileOthersAreHealedIsRenewedToo(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	before := reportsOf(m)
	// At first only a record without a report is marked.
	m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true, report_path = NULL, report_size_bytes = NULL, report_hash_sha256 = NULL
		WHERE tip = (SELECT min(tip) FROM noggin_schema.noggin_data)`)
	h := healerOf(m)
	beside := sync.OnceFunc(func() {
		m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true WHERE report_path IS NOT NULL`)
	})
	h.Progress = func(int, int) { beside() }
	s, err := h.Heal(t.Context())
	if want := len(before) - 1; err != nil || s.Reports != want || s.Failed != 0 {
		t.Errorf("summary %+v, %v; want %d reports", s, err, want)
	}
}

func TestAnImportBesideARunLeavesNoOldName(t *testing.T) {
	t.Parallel()
	want, columns := known(t)
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	cfg := storage.DefaultConfig() // an import's, which waits longer for a lock than a run
	cfg.URL = m.URL
	db := batchtest.InitDatabase(t, cfg, "hashes import")
	var beside sync.WaitGroup
	beside.Go(func() {
		for _, kind := range []apitest.EntityType{apitest.Vehicle, apitest.Trailer, apitest.Department, apitest.Team, apitest.Person, apitest.Customer} {
			var b bytes.Buffer
			if err := m.Server.WriteNamesCSV(&b, kind); err != nil {
				t.Error(err)
			}
			for _, suffix := range []string{" once", ""} { // every name changes while records are stored
				text := strings.ReplaceAll(b.String(), "\r\n", suffix+"\r\n")
				text = strings.Replace(strings.ReplaceAll(text, `"`+suffix+"\r\n", suffix+"\"\r\n"), "hash,name"+suffix, "hash,name", 1)
				if _, err := names.Import(t.Context(), db, m.Types, names.DefaultConfig(), strings.NewReader(text), names.ImportOptions{EntityType: string(kind)}); err != nil {
					t.Error(err)
				}
				if _, err := healerOf(m).Heal(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	m.MustRun(process.Options{UntilEmpty: true})
	beside.Wait()
	healNames(m)
	sameReports(t, reportsOf(m), want)
	if got := m.Value(shownColumns); got != columns {
		t.Errorf("columns are\n%s\nwant\n%s", got, columns)
	}
}

func TestAHealerThatDiesAnywhereIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	want, columns := known(t)
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	importWorld(m) // the first one dies before it heals anything
	// The second dies with claims, of which it has written some reports.
	batch, err := m.DB.ClaimStale(t.Context(), 5, "", 9, time.Second)
	if err != nil || len(batch.Records) != 9 {
		t.Fatalf("claimed %d, %v", len(batch.Records), err)
	}
	if err := healerOf(m).Renew(t.Context(), storage.StaleBatch{Records: batch.Records[:4], Names: batch.Names}); err != nil {
		t.Fatal(err)
	}
	if s := healNames(m); s.Healed != 18 || s.Waiting != 0 {
		t.Errorf("summary %+v", s)
	}
	sameReports(t, reportsOf(m), want)
	if got := m.Value(shownColumns); got != columns {
		t.Errorf("columns are\n%s\nwant\n%s", got, columns)
	}
	if n := m.Value(`SELECT sum(crash_count) FROM noggin_schema.noggin_data`); n != "0" {
		t.Errorf("healing counted %s crashes against records", n)
	}
}

// The record changes before the next healer comes.
func TestAReportThatADeadHealerRenewedIsKeptWhenItsRecordChanges(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.None})
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	recorded := m.Value(`SELECT report_hash_sha256 FROM noggin_schema.noggin_data`)
	importWorld(m)
	batch, err := m.DB.ClaimStale(t.Context(), 5, "", 1, time.Minute)
	if err != nil || len(batch.Records) != 1 {
		t.Fatalf("claimed %d, %v", len(batch.Records), err)
	}
	if err := healerOf(m).Renew(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	renewed, err := batchtest.HashFile(filepath.Join(m.Output, *batch.Records[0].ReportPath))
	if err != nil || renewed == recorded {
		t.Fatalf("the renewed report has SHA-256 %s, as before; %v", renewed, err)
	}
	m.Execute(`UPDATE noggin_schema.noggin_data SET claim_expires_at = now() - interval '1 second'`)
	m.Server.Edit(m.Server.Record(0).Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-77"}})
	if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Changed != 1 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	former := strings.Fields(m.Value(`SELECT coalesce(string_agg(concat_ws(' ', kind, 'v' || first_version, hash_sha256, replace(path, ' ', '*')), ' '), '') FROM noggin_schema.former_files`))
	if len(former) != 4 || former[0] != "report" || former[1] != "v1" || former[2] != renewed {
		t.Fatalf("the former files are %q, want the report that was on disk\n%s", former, m.Logged)
	}
	if sum, err := batchtest.HashFile(filepath.Join(m.Output, strings.ReplaceAll(former[3], "*", " "))); err != nil || sum != renewed {
		t.Errorf("the former report has SHA-256 %s, %v", sum, err)
	}
}

// staleMirror is a mirror whose names came after its records, and the reports without them.
func staleMirror(t *testing.T) (m *batchtest.Mirror, reports map[string]string) {
	t.Helper()
	m = batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	importWorld(m)
	return m, reportsOf(m)
}

// Its lease has ended, and another run may have written newer reports.
func TestAHealerWhoseHostWasSuspendedWritesNoReport(t *testing.T) {
	t.Parallel()
	m, before := staleMirror(t)
	batch, err := m.DB.ClaimStale(t.Context(), 5, "", 9, time.Minute)
	if err != nil || len(batch.Records) != 9 {
		t.Fatalf("claimed %d, %v", len(batch.Records), err)
	}
	ctx, cancel := context.WithDeadline(t.Context(), storagetest.BeforeSuspension(time.Hour).Add(time.Minute))
	defer cancel()
	if err := healerOf(m).Renew(ctx, batch); err != nil {
		t.Fatal(err)
	}
	sameReports(t, reportsOf(m), before)
}

// A report that is begun then may be written after the lease has ended.
func TestAHealerWritesNoReportNearTheEndOfItsLease(t *testing.T) {
	t.Parallel()
	m, before := staleMirror(t)
	for _, test := range []struct {
		left   time.Duration
		healed int
	}{{4 * time.Second, 0}, {time.Hour, 9}} {
		batch, err := m.DB.ClaimStale(t.Context(), 7, "", 9, time.Minute)
		if err != nil || len(batch.Records) != 9 {
			t.Fatalf("claimed %d, %v", len(batch.Records), err)
		}
		if healed, err := healerOf(m).HealBatch(t.Context(), test.left, batch); err != nil || healed != test.healed {
			t.Errorf("%s before the end: healed %d, want %d; %v", test.left, healed, test.healed, err)
		}
		if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE claimed_by IS NOT NULL`); n != "0" {
			t.Errorf("%s before the end: %s records stay claimed", test.left, n)
		}
		if test.healed == 0 {
			sameReports(t, reportsOf(m), before)
		}
	}
}

func TestRecordsInTheHandsOfARunThatLivesAreLeftToIt(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true, claimed_by = 5, claim_expires_at = now() + interval '2 minutes'`)
	started := time.Now()
	if s := healNames(m); s.Healed != 0 || s.Waiting != 18 || time.Since(started) > 5*time.Second {
		t.Errorf("summary %+v after %s", s, time.Since(started))
	}
}

func TestWithoutTheOutputFolderColumnsAreRenewedAndReportsWait(t *testing.T) {
	t.Parallel()
	want, _ := known(t)
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	importWorld(m)
	there, gone := m.Output, filepath.Join(t.TempDir(), "not mounted")
	m.Output = gone
	s, err := healerOf(m).Heal(t.Context())
	if !files.IsDiskError(err) || s.Failed != 18 || s.Waiting != 18 {
		t.Errorf("summary %+v, %v", s, err)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE NOT has_unknown_hashes AND names_stale AND claimed_by IS NULL`); n != "18" {
		t.Errorf("%s records have their columns renewed and wait for their report", n)
	}
	m.Output = there
	if s := healNames(m); s.Healed != 18 || s.Reports != 18 {
		t.Errorf("summary %+v", s)
	}
	sameReports(t, reportsOf(m), want)
}

func TestAReportThatCannotBeWrittenHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true;
		UPDATE noggin_schema.noggin_data SET object_type = 'GONE' WHERE object_type = 'TA'`)
	s, err := healerOf(m).Heal(t.Context())
	if err == nil || !strings.Contains(err.Error(), `object type "GONE" is not configured`) || s.Healed != 15 || s.Failed != 3 || s.Waiting != 3 {
		t.Errorf("summary %+v, %v", s, err)
	}
}

func TestAnArchivedRecordGetsANewReportOnDisk(t *testing.T) {
	t.Parallel()
	want, _ := known(t)
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	for name := range reportsOf(m) {
		if err := os.Remove(filepath.Join(m.Output, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.Execute(`UPDATE noggin_schema.noggin_data SET archived = true, archived_at = now(), report_archive_id = 3`)
	importWorld(m)
	healNames(m)
	sameReports(t, reportsOf(m), want)
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE archived AND report_archive_id IS NULL`); n != "18" {
		t.Errorf("%s of 18 records are archived with a report on disk", n)
	}
}

func TestARecordWithoutAReportGetsItsColumns(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	m.Execute(`UPDATE noggin_schema.noggin_data SET report_path = NULL, processing_status = 'interrupted'`)
	importWorld(m)
	m.Output = filepath.Join(t.TempDir(), "not mounted") // and not needed
	if s := healNames(m); s.Healed != 18 || s.Reports != 0 {
		t.Errorf("summary %+v", s)
	}
}

// In real exports the kind of an object is often another one than the field suggests.
func TestNoReferenceStaysUnknownWhoseHashIsInTheExports(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, healWorld())
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	kinds := map[string][]string{
		"vehicle": {"PRIME MOVER", "TRAILER", "DOLLY", "SKEL", ""}, "trailer": {"TRAILER", "DROPDECK", "RIGID"},
		"department": {"team"}, "team": {"team", "businessUnit", "virtualForReporting"},
	}
	assets, sites, people := "nogginId,assetName,assetId,assetType\n", "nogginId,siteId,siteName,goldstarId,siteType\n", "hash,name\n"
	hashes := strings.Split(m.Value(`SELECT string_agg(DISTINCT entity_type || ' ' || hash_value, ',') FROM noggin_schema.record_hashes`), ",")
	for i, line := range hashes {
		kind, hash, _ := strings.Cut(line, " ")
		name := fmt.Sprint("Name ", i)
		switch kind {
		case "vehicle", "trailer":
			assets += fmt.Sprintf("%s,%s,A1,%s\n", hash, name, kinds[kind][i%len(kinds[kind])])
		case "department", "team":
			sites += fmt.Sprintf("%s,S1,%s,G1,%s\n", hash, name, kinds[kind][i%len(kinds[kind])])
		default:
			people += hash + "," + name + "\n"
		}
	}
	for text, kind := range map[string]string{assets: names.AutoType, sites: names.AutoType, people: "person"} {
		s, err := names.Import(t.Context(), m.DB, m.Types, names.DefaultConfig(), strings.NewReader(text), names.ImportOptions{EntityType: kind, AnyType: true})
		if err != nil || s.New != int64(s.Rows) {
			t.Errorf("%s: %+v, %v", kind, s, err)
		}
	}
	healNames(m)
	if n := m.Value(`SELECT (SELECT count(*) FROM noggin_schema.noggin_data WHERE has_unknown_hashes) || ' ' ||
		(SELECT count(*) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL)`); n != "0 0" {
		t.Errorf("%s records and hashes are unknown", n)
	}
	for name, text := range reportsOf(m) {
		if strings.Contains(text, "Unknown (") {
			t.Errorf("%s has an unknown name", name)
		}
	}
}
