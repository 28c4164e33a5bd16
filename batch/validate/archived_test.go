package validate

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"noggin/batch/archive"
	"noggin/batch/batchtest"
	"noggin/batch/files"
)

// archiverOf returns an archiver whose archives lie outside the output folder.
func archiverOf(m *batchtest.Mirror) *archive.Archiver {
	return &archive.Archiver{
		DB: m.DB, Paths: files.Paths{Output: m.Output, Archive: filepath.Join(m.T.TempDir(), "archive")}, ClaimLease: m.Processing.ClaimLease, Log: m.Log,
	}
}

// archived moves everything into archives and returns them.
func archived(m *batchtest.Mirror, a *archive.Archiver) []archive.Created {
	m.T.Helper()
	summary, err := a.Create(m.T.Context(), archive.CreateOptions{Before: "2100-01-01"})
	if err != nil || len(summary.Archives) == 0 || summary.LeftOutCount+summary.Busy > 0 {
		m.T.Fatalf("%+v, %v\n%s", summary, err, m.Logged)
	}
	return summary.Archives
}

// An archived record has files on disk again when it was edited, or healed. They are
// judged like those of other records; what an archive holds is not expected on disk.
func TestFilesOfArchivedRecordsOnDiskAreJudged(t *testing.T) {
	t.Parallel()
	m := finished(t, 6)
	a := archiverOf(m)
	archived(m, a)
	v := validatorOf(m)
	wantNothing(t, lookAtFiles(m, v, FileOptions{Deep: true}))
	tip := attachedTips(m)[0]
	if _, err := a.Restore(t.Context(), archive.RestoreOptions{Target: tip, InPlace: true}); err != nil {
		t.Fatal(err)
	}
	batchtest.Must(t, os.RemoveAll(a.Paths.Archive)) // it would be searched for what is missing
	// One photograph stays in the archive, the other is new and the report was rewritten.
	execAs(m, true, `UPDATE noggin_schema.noggin_data SET archived = true, archived_at = now() WHERE tip = '`+tip+`'`,
		`UPDATE noggin_schema.attachments SET archive_id = (SELECT min(archive_id) FROM noggin_schema.archive_records WHERE record_tip = '`+tip+`')
		WHERE record_tip = '`+tip+`' AND attachment_sequence = 1`)
	path := func(query string) string { return filepath.Join(m.Output, m.Value(query)) }
	photo := func(n string) string {
		return path(`SELECT file_path FROM noggin_schema.attachments WHERE record_tip = '` + tip + `' AND attachment_sequence = ` + n)
	}
	batchtest.Must(t, os.Remove(photo("1")))
	wantNothing(t, lookAtFiles(m, v, FileOptions{Deep: true}))

	report := path(`SELECT report_path FROM noggin_schema.noggin_data WHERE tip = '` + tip + `'`)
	content, err := os.ReadFile(report)
	batchtest.Must(t, err)
	content[len(content)/2] ^= 1
	batchtest.Must(t, os.WriteFile(report, content, 0o644))
	batchtest.Must(t, os.Remove(photo("2")))
	deep := lookAtFiles(m, v, FileOptions{Deep: true})
	for check, name := range map[string]string{"missing": photo("2"), "wrong_hash": report} {
		if f := finding(t, deep, check); f.Count != 1 || filepath.Join(m.Output, f.Examples[0]) != name {
			t.Errorf("%s: %+v, want %s", check, f, name)
		}
	}
	if f := finding(t, lookAtFiles(m, v, FileOptions{}), "missing"); f.Count != 1 {
		t.Errorf("without --deep: %+v", f)
	}

	// The archive holds nothing of it any more but an old report: still no record archived by hand.
	batchtest.Must(t, os.Remove(report))
	execAs(m, true, `UPDATE noggin_schema.attachments SET archive_id = NULL WHERE record_tip = '`+tip+`'`)
	if f := finding(t, lookAtFiles(m, v, FileOptions{}), "missing"); f.Count < 3 {
		t.Errorf("with nothing but the archive's list of records: %+v", f)
	}
}

// The files of a record that an operator archived by hand may be elsewhere. Those on disk
// are judged.
func TestFilesOfRecordsArchivedByHandAreJudgedWhereTheyAre(t *testing.T) {
	t.Parallel()
	m := finished(t, 3)
	tip := attachedTips(m)[0]
	execAs(m, false, `UPDATE noggin_schema.noggin_data SET archived = true WHERE tip = '`+tip+`'`)
	var names []string
	for _, n := range []string{"1", "2"} {
		names = append(names, filepath.Join(m.Output, m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE record_tip = '`+tip+`' AND attachment_sequence = `+n)))
	}
	batchtest.Must(t, os.Remove(names[0]))
	wantNothing(t, lookAtFiles(m, validatorOf(m), FileOptions{Deep: true}))
	batchtest.Must(t, os.Truncate(names[1], 10))
	if f := finding(t, lookAtFiles(m, validatorOf(m), FileOptions{}), "wrong_size"); f.Count != 1 {
		t.Errorf("%+v", f)
	}
}

// The server lost the last commits of an archive run, as after an asynchronous failover: the
// originals are gone, and the database has them on disk. The archive's manifest tells.
func TestMissingFilesAreFoundInArchivesThatTheDatabaseLost(t *testing.T) {
	t.Parallel()
	m := finished(t, 6)
	a := archiverOf(m)
	archives := archived(m, a)
	files := m.Value(`SELECT (SELECT count(*) FROM noggin_schema.attachments) + (SELECT count(*) FROM noggin_schema.noggin_data)`)
	lose := func(archive string) {
		execAs(m, true, archive, `UPDATE noggin_schema.attachments SET archive_id = NULL`,
			`UPDATE noggin_schema.noggin_data SET archived = false, archived_at = NULL, report_archive_id = NULL`, `DELETE FROM noggin_schema.archive_records`)
	}
	v := validatorOf(m)
	v.Paths.Archive = a.Paths.Archive
	v.Register = func(ctx context.Context, at string) (archive.RegisterSummary, error) {
		return a.Register(ctx, archive.RegisterOptions{File: at})
	}
	for name, statement := range map[string]string{
		"their rows too": `DELETE FROM noggin_schema.archives`,
		"the state":      `UPDATE noggin_schema.archives SET state = 'writing', hash_sha256 = '', record_count = 0, file_count = 0, verified_at = NULL`,
		"the links":      `UPDATE noggin_schema.archives SET state = 'removing'`,
	} {
		lose(statement)
		v.Fix = false
		f := finding(t, lookAtFiles(m, v, FileOptions{}), "in_archive")
		if strconv.FormatInt(f.Count, 10) != files || !strings.Contains(f.Examples[0], " (in noggin-20") || f.Severity != SeverityError {
			t.Errorf("lost %s: %+v", name, f)
		}
		v.Fix = true
		fixed := lookAtFiles(m, v, FileOptions{})
		if f := finding(t, fixed, "in_archive"); f.Open() || len(fixed.Findings) != 1 {
			t.Errorf("lost %s: %+v", name, fixed.Findings)
		}
		v.Fix = false
		wantNothing(t, lookAtFiles(m, v, FileOptions{Deep: true}))
		wantNothing(t, lookAtData(m, v))
		verified, err := a.Verify(t.Context(), archive.VerifyOptions{})
		if err != nil || len(verified.Archives) != len(archives) || !verified.Archives[0].OK {
			t.Errorf("lost %s: %+v, %v", name, verified, err)
		}
	}

	// Only what has the database's hash counts as archived. The rest is fetched again.
	lose(`DELETE FROM noggin_schema.archives`)
	tip := attachedTips(m)[0]
	execAs(m, true, `UPDATE noggin_schema.attachments SET file_hash_sha256 = repeat('0', 64) WHERE record_tip = '`+tip+`' AND attachment_sequence = 1`)
	v.Fix = true
	fixed := lookAtFiles(m, v, FileOptions{})
	if f := finding(t, fixed, "missing"); f.Count != 1 || f.Open() {
		t.Errorf("of another hash: %+v", f)
	}
	if f := finding(t, fixed, "in_archive"); f.Open() {
		t.Errorf("beside it: %+v", f)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.attachments WHERE attachment_status = 'pending'`); n != "1" {
		t.Errorf("%s attachments are fetched again", n)
	}

	// An archive that claims to hold them, and does not, keeps nothing from being fetched again.
	execAs(m, true, `UPDATE noggin_schema.noggin_data SET processing_status = 'complete', next_retry_at = NULL`, `UPDATE noggin_schema.attachments SET attachment_status = 'complete'`)
	lose(`DELETE FROM noggin_schema.archives`)
	for _, made := range archives {
		content, err := os.ReadFile(made.Path)
		batchtest.Must(t, err)
		content[20] ^= 1 // its manifest is whole
		batchtest.Must(t, os.WriteFile(made.Path, content, 0o644))
	}
	// The record that lost a file by itself was queued for that; the next run takes the rest.
	if f := finding(t, lookAtFiles(m, v, FileOptions{}), "in_archive"); f.Count-f.Fixed > 3 || f.Fixed == 0 {
		t.Errorf("of damaged archives: %+v", f)
	}
	if f := finding(t, lookAtFiles(m, v, FileOptions{}), "in_archive"); f.Open() {
		t.Errorf("of damaged archives, by the next run: %+v", f)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`); n != "0" {
		t.Errorf("%s records are not fetched again", n)
	}
}
