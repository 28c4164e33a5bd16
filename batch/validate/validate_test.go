package validate

import (
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// finished returns a mirror whose every record is complete.
func finished(t *testing.T, records int) *batchtest.Mirror {
	t.Helper()
	return finishedOn(t, batchtest.Database(t), records)
}

func finishedOn(t *testing.T, url string, records int) *batchtest.Mirror {
	t.Helper()
	m := batchtest.NewMirrorOn(t, url, apitest.Options{Records: records, Photos: apitest.Range{Min: 2, Max: 3}, MediaBytes: apitest.Range{Min: 2000, Max: 4000}})
	m.ImportAll()
	if s := m.MustRun(process.Options{UntilEmpty: true, Batch: 50}); s.Complete != records {
		t.Fatalf("%d of %d records are complete\n%s", s.Complete, records, m.Logged)
	}
	return m
}

func validatorOf(m *batchtest.Mirror) *Validator {
	m.T.Helper()
	return &Validator{DB: m.DB, Paths: files.Paths{Output: m.Output}, Location: time.Local, DefaultObjectType: "LCD", Types: m.Types, Schema: batchtest.Schema(m.T), Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// execAs runs statements as an operator in psql does, or as noggin itself.
func execAs(m *batchtest.Mirror, asNoggin bool, statements ...string) {
	m.T.Helper()
	db, err := sql.Open("postgres", m.URL)
	if err != nil {
		m.T.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if asNoggin {
		statements = append([]string{"SET noggin.client = 'on'", "SET noggin.schema = " + strconv.Itoa(storage.SchemaVersion)}, statements...)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			m.T.Fatalf("%s: %v", s, err)
		}
	}
}

// attachedTips returns the tips of complete records with attachments, in order.
func attachedTips(m *batchtest.Mirror) (tips []string) {
	m.T.Helper()
	for r := range m.Server.Records() {
		if len(r.Attachments) >= 2 {
			tips = append(tips, r.Tip)
		}
	}
	slices.Sort(tips)
	return tips
}

func areaOf(m *batchtest.Mirror, look func(v *Validator) (*Area, error), v *Validator) *Area {
	m.T.Helper()
	a, err := look(v)
	if err != nil {
		m.T.Fatal(err)
	}
	return a
}

func lookAtData(m *batchtest.Mirror, v *Validator) *Area {
	m.T.Helper()
	return areaOf(m, func(v *Validator) (*Area, error) { return v.Data(m.T.Context()) }, v)
}

func lookAtFiles(m *batchtest.Mirror, v *Validator, opts FileOptions) *Area {
	m.T.Helper()
	return areaOf(m, func(v *Validator) (*Area, error) { return v.Files(m.T.Context(), opts) }, v)
}

func checksOf(a *Area) []string {
	var checks []string
	for _, f := range a.Findings {
		checks = append(checks, f.Check)
	}
	slices.Sort(checks)
	return checks
}

func finding(t *testing.T, a *Area, check string) Finding {
	t.Helper()
	for _, f := range a.Findings {
		if f.Check == check {
			return f
		}
	}
	t.Errorf("%s was not found; found: %v", check, checksOf(a))
	return Finding{}
}

func wantNothing(t *testing.T, a *Area) {
	t.Helper()
	for _, f := range a.Findings {
		t.Errorf("%s: %s (%s): %d, %q", f.Area, f.Message, f.Check, f.Count, f.Examples)
	}
	if !a.Checked {
		t.Errorf("%s was not checked: %s", a.Name, a.Reason)
	}
}

func TestAHealthyMirrorGivesNoFinding(t *testing.T) {
	t.Parallel()
	m := finished(t, 20)
	v := validatorOf(m)
	v.Location = time.UTC // as the private server's
	execAs(m, true, `INSERT INTO noggin_schema.runs (command, host, pid, finished_at, exit_code) VALUES ('maintain backup', 'yard', 1, now(), 0)`)
	database, err := v.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantNothing(t, database)
	quick, err := v.Quick(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	wantNothing(t, quick)
	wantNothing(t, lookAtData(m, v))
	wantNothing(t, lookAtFiles(m, v, FileOptions{Deep: true}))
}

// brokenData is what may be wrong in the database. $n is the nth record. No two cases share
// a record: what is given up is not queued again.
var brokenData = []struct {
	check, statement string
	asNoggin         bool
	fixed            bool
}{
	{check: "missing_inspection_id", statement: `UPDATE noggin_data SET inspection_id = NULL WHERE tip = '$0'`},
	{check: "missing_inspection_date", statement: `UPDATE noggin_data SET inspection_date = NULL WHERE tip = '$1'`},
	{check: "no_attachment_complete", statement: `UPDATE noggin_data SET processing_status = 'failed', completed_attachment_count = 0 WHERE tip = '$2';
		UPDATE attachments SET attachment_status = 'failed' WHERE record_tip = '$2'`},
	{check: "complete_without_attachments", fixed: true, statement: `UPDATE attachments SET attachment_status = 'failed' WHERE record_tip = '$3' AND attachment_sequence = 1;
		UPDATE noggin_data SET completed_attachment_count = completed_attachment_count - 1 WHERE tip = '$3'`},
	{check: "complete_without_report", fixed: true, statement: `UPDATE noggin_data SET report_path = NULL WHERE tip = '$4'`},
	{check: "fetched_without_answer", statement: `UPDATE noggin_data SET payload = NULL WHERE tip = '$5'`},
	{check: "stuck_claims", fixed: true, asNoggin: true, statement: `UPDATE noggin_data SET claimed_by = 1, claim_expires_at = now() - interval '2 hours' WHERE tip = '$6'`},
	{check: "crashing", statement: `UPDATE noggin_data SET crash_count = 4 WHERE tip = '$7';
		UPDATE refreshes SET due_at = now() + interval '1 day' WHERE record_tip = '$7'`},
	{check: "permanently_failed_status", fixed: true, statement: `UPDATE noggin_data SET permanently_failed = true WHERE tip = '$8'`},
	{check: "given_up_early", statement: `UPDATE noggin_data SET permanently_failed = true, processing_status = 'api_failed' WHERE tip IN ('$25', '$26', '$27');
		INSERT INTO processing_errors (tip, error_type, error_message, created_at) VALUES ('$25', 'server_error', 'answered 500', now() - interval '2 hours'), ('$25', 'timeout', 'no answer', now()),
			('$26', 'not_found', 'answered 404', now()), ('$27', 'timeout', 'no answer', now() - interval '25 hours'), ('$27', 'timeout', 'no answer', now())`},
	{check: "unknown_form", statement: `UPDATE noggin_data SET object_type = 'XYZ' WHERE tip = '$9'`},
	{check: "unknown_hashes_flag", fixed: true, statement: `UPDATE noggin_data SET has_unknown_hashes = NOT has_unknown_hashes WHERE tip = '$10'`},
	{check: "archived_nowhere", statement: `UPDATE noggin_data SET archived = true WHERE tip = '$11'`},
	{check: "duplicate_tips", fixed: true, statement: `ALTER TABLE noggin_data DROP CONSTRAINT noggin_data_pkey CASCADE;
		INSERT INTO noggin_data (tip, object_type, created_at) VALUES ('$12', 'LCD', now() - interval '1 year')`},
	{check: "duplicate_inspection_ids", statement: `UPDATE noggin_data d SET inspection_id = o.inspection_id, object_type = o.object_type FROM noggin_data o WHERE d.tip = '$13' AND o.tip = '$14'`},
	{check: "attachment_count", fixed: true, statement: `UPDATE noggin_data SET total_attachments = 9, completed_attachment_count = 9 WHERE tip = '$15'`},
	{check: "completed_count", fixed: true, statement: `UPDATE noggin_data SET completed_attachment_count = 1, processing_status = 'partial' WHERE tip = '$16'`},
	{check: "complete_without_file", fixed: true, statement: `UPDATE attachments SET file_path = NULL WHERE record_tip = '$17'`},
	{check: "complete_without_hash", statement: `UPDATE attachments SET file_hash_sha256 = NULL WHERE record_tip = '$18'`},
	{check: "complete_but_invalid", statement: `UPDATE attachments SET attachment_validation_status = 'validation_failed' WHERE record_tip = '$19'`},
	{check: "kept_pages", fixed: true, statement: `UPDATE attachments SET content_type = 'application/xml' WHERE record_tip = '$28'`},
	{check: "suspect_attachments", statement: `UPDATE attachments SET attachment_validation_status = 'suspect' WHERE record_tip = '$23'`},
	{check: "suspect_beside_whole", statement: `INSERT INTO former_files (path, record_tip, kind, attachment_tip, first_version, last_version, validation, size_bytes, hash_sha256)
		SELECT 'a/suspect.jpg', record_tip, 'suspect', attachment_tip, 1, 1, 'validation_failed', 1, 'h' FROM attachments WHERE record_tip = '$23' LIMIT 1`},
	{check: "suspect_alone", statement: `INSERT INTO former_files (path, record_tip, kind, attachment_tip, first_version, last_version, validation, size_bytes, hash_sha256)
		VALUES ('a/alone.jpg', '$23', 'suspect', 'x', 1, 1, 'validation_failed', 1, 'h')`},
	{check: "unvalidated_pictures", statement: `UPDATE attachments SET attachment_validation_status = 'not_validated', content_type = 'image/tiff' WHERE record_tip = '$24'`},
	{check: "shared_file", statement: `UPDATE attachments SET file_path = 'a/b.jpg' WHERE record_tip = '$20'`},
	{check: "orphaned_attachments", fixed: true, statement: `INSERT INTO attachments (record_tip, attachment_tip, attachment_sequence, field_name) VALUES ('orphan', 'x', 1, 'f')`},
	{check: "lost_archive", statement: `UPDATE attachments SET archive_id = 999 WHERE record_tip = '$21'`},
	{check: "orphaned_references", fixed: true, statement: `INSERT INTO record_hashes (record_tip, field_name, entity_type, hash_value) VALUES ('orphan2', 'f', 'vehicle', 'h0')`},
	{check: "names_not_applied", statement: `INSERT INTO unknown_hashes (hash_value, entity_type) VALUES ('h1', 'vehicle'); INSERT INTO entity_hashes (hash_value, entity_type, entity_name) VALUES ('h1', 'vehicle', 'n')`},
	{check: "resolved_without_name", fixed: true, statement: `INSERT INTO unknown_hashes (hash_value, entity_type, resolved_at) VALUES ('h2', 'vehicle', now())`},
	{check: "unlisted_unknown", fixed: true, statement: `INSERT INTO record_hashes (record_tip, field_name, entity_type, hash_value) VALUES ('$22', 'f', 'vehicle', 'h3')`},
	{check: "record_counts", fixed: true, statement: `INSERT INTO record_counts (object_type, processing_status, permanently_failed, records) VALUES ('LCD', 'failed', false, 3)`},
	{check: "answer_without_rows", fixed: true, statement: `DELETE FROM attachments WHERE record_tip = '$29';
		UPDATE noggin_data SET total_attachments = 0, completed_attachment_count = 0 WHERE tip = '$29'`},
	{check: "version_without_answer", statement: `DELETE FROM record_versions WHERE record_tip = '$30'`},
	{check: "unexpected_id", statement: `UPDATE noggin_data SET expected_inspection_id = inspection_id || '0' WHERE tip = '$31'`},
	{check: "unexpected_date", statement: `UPDATE noggin_data SET expected_inspection_date = inspection_date + 1 WHERE tip = '$32'`},
	{check: "sequences_behind", fixed: true, statement: `SELECT setval(pg_get_serial_sequence('noggin_data', 'queue_order'), 3)`},
	{check: "file_counts", fixed: true, statement: `DELETE FROM file_counts WHERE kind = 'report'`},
}

func TestEveryCheckOfTheDataHasItsRemedy(t *testing.T) {
	t.Parallel()
	checks := storage.Checks(nil, nil)
	for _, c := range checks {
		if dataRemedies[c.Name] == "" {
			t.Errorf("%s: nothing says what to do", c.Name)
		}
	}
	if len(dataRemedies) != len(checks) {
		t.Errorf("%d remedies for %d checks", len(dataRemedies), len(checks))
	}
}

func TestWhateverIsBrokenInTheDataIsFoundNamedAndMended(t *testing.T) {
	t.Parallel()
	m := finished(t, 40)
	execAs(m, false, "ALTER TABLE noggin_schema.noggin_data SET (autovacuum_enabled = false)")
	tips := attachedTips(m)
	for _, b := range brokenData {
		statement := b.statement
		for i := len(tips) - 1; i >= 0; i-- {
			statement = strings.ReplaceAll(statement, fmt.Sprintf("'$%d'", i), "'"+tips[i]+"'")
		}
		if strings.Contains(statement, "'$") {
			t.Fatalf("the world has too few records with attachments: %d", len(tips))
		}
		execAs(m, b.asNoggin, "SET search_path = noggin_schema", statement)
	}
	v := validatorOf(m)
	a := lookAtData(m, v)
	for _, b := range brokenData {
		f := finding(t, a, b.check)
		if f.Count == 0 || len(f.Examples) == 0 || f.Remedy == "" || f.Message == "" || f.Fixed != 0 {
			t.Errorf("%s: %+v", b.check, f)
		}
	}
	if len(a.Findings) != len(brokenData) {
		t.Errorf("found %v", checksOf(a))
	}
	v.Fix = true
	a = lookAtData(m, v)
	for _, b := range brokenData {
		if b.check == "file_counts" { // counted anew with the records
			continue
		}
		if f := finding(t, a, b.check); b.fixed == f.Open() {
			t.Errorf("%s: %d of %d mended", b.check, f.Fixed, f.Count)
		}
	}
	v.Fix = false
	a = lookAtData(m, v)
	for _, b := range brokenData {
		if b.fixed && slices.Contains(checksOf(a), b.check) {
			t.Errorf("%s was said to be mended, and is not", b.check)
		}
	}
}

// What a finding says that mends it does, where that is to fetch the record again.
func TestFetchingARecordAgainMendsWhatItsFindingSays(t *testing.T) {
	t.Parallel()
	m := finished(t, 20)
	tips := attachedTips(m)
	execAs(m, false, "SET search_path = noggin_schema",
		`UPDATE noggin_data SET archived = true, archived_at = now() WHERE tip = '`+tips[0]+`'`,
		`UPDATE noggin_data SET payload = NULL WHERE tip = '`+tips[1]+`'`,
		`UPDATE noggin_data SET inspection_id = NULL WHERE tip = '`+tips[2]+`'`,
		`UPDATE noggin_data SET inspection_date = NULL WHERE tip = '`+tips[3]+`'`,
		`UPDATE attachments SET attachment_validation_status = 'validation_failed' WHERE record_tip = '`+tips[4]+`'`,
		`UPDATE attachments SET file_hash_sha256 = NULL WHERE record_tip = '`+tips[5]+`'`,
		`UPDATE noggin_data d SET inspection_id = o.inspection_id FROM noggin_data o
			WHERE d.tip = '`+tips[6]+`' AND o.object_type = d.object_type AND o.tip <> d.tip`,
	)
	found := checksOf(lookAtData(m, validatorOf(m)))
	if len(found) != 7 {
		t.Errorf("found %v", found)
	}
	for _, tip := range tips[:7] {
		m.MustRun(process.Options{Selector: storage.Selector{Tips: []string{tip}}, Batch: 1})
	}
	wantNothing(t, lookAtData(m, validatorOf(m)))
	wantNothing(t, lookAtFiles(m, validatorOf(m), FileOptions{Deep: true}))
}

// The platform has the same answer still, so no new version is stored of these records.
func TestRecordsThatMendingMadeDueBecomeCompleteByTheNextRun(t *testing.T) {
	t.Parallel()
	m := finished(t, 10)
	tips := attachedTips(m)
	execAs(m, false, "SET search_path = noggin_schema",
		`DELETE FROM attachments WHERE record_tip = '`+tips[0]+`'`,
		`UPDATE noggin_data SET total_attachments = 0, completed_attachment_count = 0 WHERE tip = '`+tips[0]+`'`,
		`DELETE FROM attachments WHERE record_tip = '`+tips[1]+`' AND attachment_sequence = 1`,
		`UPDATE noggin_data SET total_attachments = total_attachments - 1, completed_attachment_count = completed_attachment_count - 1 WHERE tip = '`+tips[1]+`'`,
		`UPDATE attachments SET content_type = 'text/html' WHERE record_tip = '`+tips[2]+`'`,
		`UPDATE noggin_data SET report_path = NULL WHERE tip = '`+tips[3]+`'`,
	)
	v := validatorOf(m)
	v.Fix = true
	a := lookAtData(m, v)
	for check, n := range map[string]int64{"answer_without_rows": 2, "kept_pages": 2, "complete_without_report": 1} {
		if f := finding(t, a, check); f.Count < n || f.Open() {
			t.Errorf("%s: %d of %d mended, want at least %d", check, f.Fixed, f.Count, n)
		}
	}
	if s := m.MustRun(process.Options{UntilEmpty: true, Batch: 50}); s.Complete != 4 {
		t.Errorf("%d records were fetched again, want 4\n%s", s.Complete, m.Logged)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.record_versions WHERE version > 1`); n != "0" {
		t.Errorf("%s further versions of the same answers are stored", n)
	}
	v.Fix = false
	wantNothing(t, lookAtData(m, v))
	// Sequences are not used twice: the file of the one deleted row has a further name now.
	for _, f := range lookAtFiles(m, v, FileOptions{Deep: true}).Findings {
		if f.Check != "stray" || f.Count != 1 {
			t.Errorf("%s: %d, %q", f.Check, f.Count, f.Examples)
		}
	}
}

// breakFiles breaks what may break on disk, and returns what must be found of it.
func breakFiles(m *batchtest.Mirror) (want map[string]int64) {
	m.T.Helper()
	root := m.Output
	photos, err := filepath.Glob(filepath.Join(root, "*", "*", "*", "*_photo_*.jpg"))
	if err != nil || len(photos) < 8 {
		m.T.Fatalf("%d photographs, %v", len(photos), err)
	}
	var dirs []string // of different records
	first := map[string]string{}
	for _, p := range photos {
		if dir := filepath.Dir(p); first[dir] == "" {
			first[dir] = p
			dirs = append(dirs, dir)
		}
	}
	old := time.Now().Add(-7 * time.Hour)
	write := func(name string) {
		name = filepath.Join(root, name)
		batchtest.Must(m.T, os.MkdirAll(filepath.Dir(name), 0o777))
		batchtest.Must(m.T, os.WriteFile(name, []byte("x"), 0o666))
		batchtest.Must(m.T, os.Chtimes(name, old, old))
	}
	within := func(dir, name string) string {
		relative, err := filepath.Rel(root, filepath.Join(dir, name))
		batchtest.Must(m.T, err)
		return relative
	}
	batchtest.Must(m.T, os.Remove(first[dirs[0]]))
	batchtest.Must(m.T, os.RemoveAll(dirs[1])) // at least two photographs, and the report
	gone := int64(1)
	for _, p := range photos {
		if filepath.Dir(p) == dirs[1] {
			gone++
		}
	}
	reports, err := filepath.Glob(filepath.Join(dirs[2], "*_inspection_data.txt"))
	batchtest.Must(m.T, err)
	batchtest.Must(m.T, os.Remove(reports[0]))
	batchtest.Must(m.T, os.Truncate(first[dirs[2]], 10))
	content, err := os.ReadFile(first[dirs[3]])
	batchtest.Must(m.T, err)
	content[len(content)/2] ^= 1
	batchtest.Must(m.T, os.WriteFile(first[dirs[3]], content, 0o666))
	batchtest.Must(m.T, os.Rename(first[dirs[4]], filepath.Join(m.T.TempDir(), "moved.jpg")))
	batchtest.Must(m.T, os.Symlink("/etc/hostname", first[dirs[4]]))
	write(within(dirs[5], "holiday.jpg"))
	write(within(dirs[5], "download.tmp"))
	batchtest.Must(m.T, os.WriteFile(filepath.Join(dirs[5], "young.tmp"), []byte("x"), 0o666))
	write("notes.txt")
	write("2025/13/x/y")
	write("2025/09/2025-09-17 LCD-nobody/photo.jpg")
	write(files.TempFolder + "/1-dead.part")
	batchtest.Must(m.T, os.WriteFile(filepath.Join(root, files.TempFolder, "2-alive.part"), []byte("x"), 0o666))
	return map[string]int64{
		"missing": gone + 2, "wrong_size": 1, "wrong_hash": 1, "not_regular": 1, "stray": 3, "stray_folder": 2, "temporary": 2,
	}
}

func TestWhateverIsBrokenOnDiskIsFoundAndFetchedAgain(t *testing.T) {
	t.Parallel()
	m := finished(t, 30)
	want := breakFiles(m)
	v := validatorOf(m)
	a := lookAtFiles(m, v, FileOptions{Deep: true})
	for check, n := range want {
		if f := finding(t, a, check); f.Count != n || len(f.Examples) == 0 || f.Remedy == "" {
			t.Errorf("%s: %d, want %d: %q", check, f.Count, n, f.Examples)
		}
	}
	if len(a.Findings) != len(want) {
		t.Errorf("found %v", checksOf(a))
	}
	// A shallow look does not read the files.
	if checks := checksOf(lookAtFiles(m, v, FileOptions{})); slices.Contains(checks, "wrong_hash") {
		t.Error("a file was read without --deep")
	}

	// A run is at work on one of the records: it is left to that.
	execAs(m, true, `UPDATE noggin_schema.noggin_data SET claimed_by = 1, claim_expires_at = now() + interval '1 hour'`)
	if checks := checksOf(lookAtFiles(m, v, FileOptions{Deep: true})); slices.Contains(checks, "missing") {
		t.Errorf("files of claimed records are judged: %v", checks)
	}
	execAs(m, true, `UPDATE noggin_schema.noggin_data SET claimed_by = NULL, claim_expires_at = NULL`)

	// Mended, what was lost comes again; what is not noggin's stays.
	v.Fix = true
	a = lookAtFiles(m, v, FileOptions{Deep: true})
	for _, check := range []string{"missing", "wrong_size", "wrong_hash", "temporary"} {
		if f := finding(t, a, check); f.Open() {
			t.Errorf("%s: %d of %d mended", check, f.Fixed, f.Count)
		}
	}
	if _, err := os.Lstat(filepath.Join(m.Output, files.TempFolder, "2-alive.part")); err != nil {
		t.Errorf("what a run writes at this moment was removed: %v", err)
	}
	wantNothing(t, lookAtData(m, validatorOf(m)))
	batchtest.Must(t, os.Remove(firstLink(t, m.Output)))
	s := m.MustRun(process.Options{UntilEmpty: true, Batch: 50})
	if s.Complete != 4 {
		t.Errorf("%d records were fetched again, want 4\n%s", s.Complete, m.Logged)
	}
	v.Fix = false
	a = lookAtFiles(m, v, FileOptions{Deep: true})
	for _, f := range a.Findings {
		// The damaged files were not replaced: they are strays now.
		if f.Check == "missing" && f.Count == 1 { // the link's
			continue
		}
		if f.Check != "stray" && f.Check != "stray_folder" {
			t.Errorf("%s is left: %q", f.Check, f.Examples)
		}
	}
	wantNothing(t, lookAtData(m, v))
}

func firstLink(t *testing.T, root string) (link string) {
	t.Helper()
	batchtest.Must(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type()&os.ModeSymlink != 0 {
			link = path
		}
		return err
	}))
	return link
}

// The platform does not give a file of a former version again, so nothing is queued for it.
func TestALostFileOfAFormerVersionIsToldAndNotFetchedAgain(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
	record := m.Server.Record(0)
	m.Server.Edit(record.Tip, apitest.Edit{Remove: []string{record.Attachments[0].Tip}})
	m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
	lost := m.Value(`SELECT path FROM noggin_schema.former_files WHERE kind = 'attachment'`)
	batchtest.Must(t, os.Remove(filepath.Join(m.Output, lost)))
	v := validatorOf(m)
	v.Fix = true
	a := lookAtFiles(m, v, FileOptions{})
	if f := finding(t, a, "former"); f.Count != 1 || !f.Open() || f.Examples[0] != lost || len(a.Findings) != 1 {
		t.Errorf("found %+v", a.Findings)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`); n != "1" {
		t.Error("the record is fetched again")
	}
}

// What was given up is not asked for again, so it is not mended.
func TestALostFileOfARecordThatIsGivenUpStaysAnError(t *testing.T) {
	t.Parallel()
	m := finished(t, 3)
	tip := attachedTips(m)[0]
	execAs(m, true, `UPDATE noggin_schema.noggin_data SET permanently_failed = true WHERE tip = '`+tip+`'`)
	batchtest.Must(t, os.Remove(filepath.Join(m.Output, m.Value(`SELECT min(file_path) FROM noggin_schema.attachments WHERE record_tip = '`+tip+`'`))))
	v := validatorOf(m)
	v.Fix = true
	a := lookAtFiles(m, v, FileOptions{})
	if f := finding(t, a, "missing"); f.Count != 1 || !f.Open() || !slices.Contains(a.Facts, "0 records queued again; left alone: 1 (skipped, permanently failed, or changed since)") {
		t.Errorf("found %+v, facts %q", f, a.Facts)
	}
}

// What a run changed since it was looked at is compared again, and what it works on is left out.
func TestWhatARunChangedMeanwhileIsComparedAgain(t *testing.T) {
	t.Parallel()
	m := finished(t, 1)
	tip := attachedTips(m)[0]
	for name, test := range map[string]struct {
		change      func(r *storage.FiledRecord)
		claimed     bool
		stray, busy int64
	}{
		"nothing":                     {func(*storage.FiledRecord) {}, false, 1, 0},
		"a run ended":                 {func(r *storage.FiledRecord) { r.Token-- }, false, 0, 0},
		"a run gave it back":          {func(r *storage.FiledRecord) { r.Claimed = true }, false, 0, 0},
		"a run has it at this moment": {func(*storage.FiledRecord) {}, true, 0, 1},
	} {
		c := &fileCheck{Validator: validatorOf(m), lostAt: map[string]int{}}
		batchtest.Must(t, c.open(NewArea("files")))
		records, err := m.DB.RecordFiles(t.Context(), []string{tip})
		batchtest.Must(t, err)
		test.change(&records[0])
		if test.claimed {
			execAs(m, true, `UPDATE noggin_schema.noggin_data SET claimed_by = 1, claim_expires_at = now() + interval '1 hour'`)
		}
		batchtest.Must(t, c.confirm(t.Context(), []look{{record: records[0], problems: []problemFile{{problem: fileStray, path: "gone by now"}}}}))
		if c.found[fileStray].count != test.stray || c.busy != test.busy {
			t.Errorf("%s: %d strays, %d busy", name, c.found[fileStray].count, c.busy)
		}
		execAs(m, true, `UPDATE noggin_schema.noggin_data SET claimed_by = NULL, claim_expires_at = NULL`)
		files.Release(c.tree)
	}
}

// A volume that lost every file is where a check is needed most: what it asks of
// the database must not grow with what is missing.
func TestMissingFilesAreLookedUpByThePage(t *testing.T) { // not parallel: it sets filesPage
	defer func(lowered int) { filesPage = lowered }(filesPage)
	filesPage = 500
	server := storagetest.Private(t, storagetest.Options{Settings: map[string]string{"shared_preload_libraries": "pg_stat_statements"}})
	batchtest.Must(t, server.CreateDatabase("noggin"))
	m := finishedOn(t, server.URL("noggin"), 40)
	execAs(m, false, `CREATE EXTENSION pg_stat_statements`)
	statements := func() (n int) {
		execAs(m, false, `SELECT pg_stat_statements_reset()`)
		lookAtFiles(m, validatorOf(m), FileOptions{})
		db, err := sql.Open("postgres", m.URL)
		batchtest.Must(t, err)
		defer db.Close()
		batchtest.Must(t, db.QueryRow(`SELECT sum(calls) FROM pg_stat_statements WHERE query LIKE '%noggin_schema%' AND query NOT LIKE '%pg_stat%'`).Scan(&n))
		return n
	}
	whole := statements()
	folders, err := filepath.Glob(filepath.Join(m.Output, "2*"))
	batchtest.Must(t, err)
	for _, folder := range folders {
		batchtest.Must(t, os.RemoveAll(folder))
	}
	if lost := statements(); lost > whole+2 {
		t.Errorf("%d statements where all files of 40 records are missing, %d where none is", lost, whole)
	}
	if f := finding(t, lookAtFiles(m, validatorOf(m), FileOptions{}), "missing"); f.Count < 80 {
		t.Errorf("%d files are missing", f.Count)
	}
}

func TestTheSharesOfTheFilesMakeTheWhole(t *testing.T) {
	t.Parallel()
	m := finished(t, 30)
	want := breakFiles(m)
	got := map[string]int64{}
	for part := 1; part <= 4; part++ {
		for _, f := range lookAtFiles(m, validatorOf(m), FileOptions{Deep: true, Part: part, Parts: 4}).Findings {
			got[f.Check] += f.Count
		}
	}
	for check, n := range want {
		if got[check] != n {
			t.Errorf("%s: %d in all parts, want %d", check, got[check], n)
		}
	}
}

func TestNothingIsMendedOnWhatLooksUnmounted(t *testing.T) {
	t.Parallel()
	m := finished(t, 30)
	output := m.Output
	copied := filepath.Join(t.TempDir(), "copy")
	batchtest.Must(t, os.CopyFS(copied, os.DirFS(output)))
	for year := 2000; year < 2100; year++ {
		batchtest.Must(t, os.RemoveAll(filepath.Join(output, strconv.Itoa(year))))
	}
	batchtest.Must(t, os.RemoveAll(filepath.Join(output, forms.UnknownDate)))
	v := validatorOf(m)
	v.Fix = true
	a := lookAtFiles(m, v, FileOptions{})
	finding(t, a, "unmounted")
	if f := finding(t, a, "missing"); f.Fixed != 0 {
		t.Errorf("mended %d", f.Fixed)
	}
	wantNothing(t, lookAtData(m, validatorOf(m)))

	// The copy has everything; it needs no marker.
	batchtest.Must(t, os.Remove(filepath.Join(copied, files.MarkerName)))
	wantNothing(t, lookAtFiles(m, validatorOf(m), FileOptions{Root: copied, Deep: true}))

	batchtest.Must(t, os.Remove(filepath.Join(output, files.MarkerName)))
	a = lookAtFiles(m, v, FileOptions{})
	finding(t, a, "output")
	if a.Checked || len(a.Findings) != 1 {
		t.Errorf("without its marker the folder was looked at: %v", checksOf(a))
	}
}

func TestNothingIsMendedWhereMostFilesAreMissing(t *testing.T) {
	output := t.TempDir()
	batchtest.Must(t, files.CreateMarker(output))
	for _, test := range []struct {
		missing, known int64
		refused        bool
	}{{fewFiles, fewFiles, false}, {fewFiles + 1, fewFiles + 1, true}, {fewFiles + 1, 2*fewFiles + 1, true}, {fewFiles + 1, 2*fewFiles + 2, false}} {
		c := &fileCheck{Validator: &Validator{Fix: true, Paths: files.Paths{Output: output}}, files: test.known}
		c.found[fileMissing].count = test.missing
		a := NewArea("files")
		batchtest.Must(t, c.fix(t.Context(), a))
		if refused := slices.Equal(checksOf(a), []string{"unmounted"}); refused != test.refused {
			t.Errorf("%d of %d are missing: %v", test.missing, test.known, checksOf(a))
		}
	}
}

func TestForeignOwnersAreFound(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	m := finished(t, 3)
	v := validatorOf(m)
	wantNothing(t, lookAtFiles(m, v, FileOptions{}))
	photographs, err := filepath.Glob(filepath.Join(m.Output, "*", "*", "*", "*.jpg"))
	if err != nil || len(photographs) == 0 {
		t.Fatal(photographs, err)
	}
	month := filepath.Dir(filepath.Dir(photographs[0]))
	for _, name := range []string{photographs[0], month} {
		if err := os.Chown(name, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	f := finding(t, lookAtFiles(m, v, FileOptions{}), "foreign_owner")
	if f.Count != 2 || f.Severity != SeverityError {
		t.Errorf("%+v", f)
	}
	for _, name := range []string{photographs[0], month} {
		rel, err := filepath.Rel(m.Output, name)
		if err != nil || !slices.ContainsFunc(f.Examples, func(e string) bool { return strings.TrimSuffix(e, "/") == rel }) {
			t.Errorf("%s is not among %v", rel, f.Examples)
		}
	}
}

func TestAdviceNamesAPathAsAShellTakesIt(t *testing.T) {
	if got := writeAdvice("/mnt/the data", os.ErrInvalid); !strings.HasSuffix(got, "ls -ld '/mnt/the data'") {
		t.Error(got)
	}
}

func TestExamplesAreTheFirstFew(t *testing.T) {
	var found tally
	for i := range 100 {
		found.add(fmt.Sprintf("%02d", (i*37)%100))
	}
	if found.count != 100 || !slices.Equal(found.examples, []string{"00", "01", "02", "03", "04"}) {
		t.Errorf("%d, %q", found.count, found.examples)
	}
}
