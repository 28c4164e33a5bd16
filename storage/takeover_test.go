package storage

import "testing"

// `init-db` marks no folder that should hold files: its volume is not mounted.
func TestWhetherTheOutputFolderShouldHoldFiles(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	insertPending(t, db, 1)
	foreign(t, db, `INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, field_name) SELECT tip, 'a', 1, 'f' FROM noggin_schema.noggin_data;
		INSERT INTO noggin_schema.archives (id, name, path, month) OVERRIDING SYSTEM VALUE VALUES (7, 'a', '/a', '2025-01')`)
	for _, step := range []struct {
		record, attachment string
		want               bool
	}{
		{`archived = false`, `archive_id = NULL`, false},
		{`report_path = 'r.txt'`, `archive_id = NULL`, true},
		{`report_archive_id = 7, archived = true`, `archive_id = NULL`, false},
		{`report_path = NULL, report_archive_id = NULL, archived = false`, `attachment_status = 'complete'`, true},
		{`archived = true`, `attachment_status = 'complete'`, false}, // by hand
		{`report_path = 'r.txt'`, `archive_id = 7`, true},            // it was fetched again
		{`report_archive_id = 7`, `archive_id = 7`, false},
		{`report_archive_id = 7`, `archive_id = NULL`, true},
	} {
		foreign(t, db, `UPDATE noggin_schema.noggin_data SET `+step.record)
		foreign(t, db, `UPDATE noggin_schema.attachments SET `+step.attachment)
		if filed, err := db.HasFiled(t.Context()); err != nil || filed != step.want {
			t.Errorf("with %s and %s: %v, %v", step.record, step.attachment, filed, err)
		}
	}
}
