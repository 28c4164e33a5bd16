package storage

import (
	"context"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// SelectedRecord is a record that an export takes.
type SelectedRecord struct {
	Tip      string `db:"tip"`
	Answered bool   `db:"answered"` // it has an answer, so there is something to export
}

// EachSelected hands every record that the selector chooses to each, by day and tip;
// records without a day come last.
func (db *DB) EachSelected(ctx context.Context, s Selector, each func(SelectedRecord) error) error {
	conditions, args := s.where(1)
	return eachRow(ctx, db, "select the records to export", each, `
		SELECT d.tip, d.payload IS NOT NULL AS answered FROM noggin_schema.noggin_data d WHERE true`+conditions+`
		ORDER BY d.inspection_date NULLS LAST, d.tip`, args...)
}

// ExportRecord is all that an export shows of a record, as it was at one moment.
type ExportRecord struct {
	Tip            string  `db:"tip"`
	ObjectType     string  `db:"object_type"`
	Status         Status  `db:"processing_status"`
	InspectionID   *string `db:"inspection_id"`
	InspectionDate *string `db:"inspection_date"` // 2024-03-05
	Vehicle        *string `db:"vehicle"`
	Trailer        *string `db:"trailer"`
	Trailer2       *string `db:"trailer2"`
	Trailer3       *string `db:"trailer3"`
	Team           *string `db:"team"`
	Department     *string `db:"department"`
	Compliance     *string `db:"load_compliance"`
	ReportArchive  *string `db:"report_archive"`
	Claimed        bool    `db:"claimed"` // somebody may change it and its files
	Leaves         int     `db:"leaves"`  // of it, in all logs

	Stored Stored `db:"-"`
	Files  []File `db:"-"` // attachments that were mirrored, the text report, former files
}

// ExportRecords returns records that have an answer, in no order.
func (db *DB) ExportRecords(ctx context.Context, tips []string) ([]ExportRecord, error) {
	var records []ExportRecord
	err := db.snapshot(ctx, "read the records", func(tx *sqlx.Tx) (err error) {
		records, err = db.exportRecords(ctx, tx, tips)
		return err
	})
	return records, err
}

func (db *DB) exportRecords(ctx context.Context, tx *sqlx.Tx, tips []string) ([]ExportRecord, error) {
	var records []ExportRecord
	if err := tx.SelectContext(ctx, &records, db.sql(`
		SELECT d.tip, d.object_type, d.processing_status, d.inspection_id, d.inspection_date::text AS inspection_date, d.vehicle, d.trailer,
		       d.trailer2, d.trailer3, d.team, d.department, d.load_compliance,
		       (SELECT v.name FROM noggin_schema.archives v WHERE v.id = d.report_archive_id) AS report_archive, NOT `+unclaimed+` AS claimed,
		       (SELECT count(*) FROM noggin_schema.seal_leaves l WHERE l.record_tip = d.tip) AS leaves
		FROM noggin_schema.noggin_data d WHERE d.tip = ANY($1::text[]) AND d.payload IS NOT NULL`), pq.Array(tips)); err != nil {
		return nil, err
	}
	stored := map[ClaimKey]Stored{}
	if err := db.currentAnswers(ctx, tx, tips, stored); err != nil {
		return nil, err
	}
	if err := db.fillStored(ctx, tx, stored); err != nil {
		return nil, err
	}
	var former []File
	if err := tx.SelectContext(ctx, &former, db.sql(`
		SELECT o.record_tip, o.attachment_tip, o.attachment_sequence, o.field_name, o.path AS file_path, o.size_bytes, o.hash_sha256, o.content_type,
		       o.validation, o.archive_id, true AS complete, o.kind AS former, o.first_version, o.last_version,
		       (SELECT v.name FROM noggin_schema.archives v WHERE v.id = o.archive_id) AS archive_name
		FROM noggin_schema.former_files o WHERE o.record_tip = ANY($1::text[]) ORDER BY o.record_tip, o.path`), pq.Array(tips)); err != nil {
		return nil, err
	}
	byTip := map[string]Stored{}
	for key, s := range stored {
		byTip[key.Tip] = s
	}
	for i := range records {
		r := &records[i]
		r.Stored = byTip[r.Tip]
		r.Files = r.currentFiles()
		for _, f := range former {
			if f.RecordTip == r.Tip {
				r.Files = append(r.Files, f)
			}
		}
	}
	return records, nil
}

// currentFiles returns the files of the current version that were mirrored.
func (r *ExportRecord) currentFiles() (files []File) {
	for _, a := range r.Stored.Attachments {
		if a.Status == AttachmentComplete && a.Path != nil {
			files = append(files, File{
				RecordTip: r.Tip, AttachmentTip: a.Tip, Sequence: a.Sequence, Field: a.Field, Path: *a.Path, Size: ValueOf(a.Size), SHA256: ValueOf(a.SHA256),
				ContentType: ValueOf(a.ContentType), Complete: true, Validation: a.Validation, ArchiveID: a.ArchiveID, ArchiveName: a.Archive,
			})
		}
	}
	if m := r.Stored.Marks; m.ReportPath != nil {
		report := File{
			RecordTip: r.Tip, Path: *m.ReportPath, Size: ValueOf(m.ReportSize), SHA256: ValueOf(m.ReportSHA256), ContentType: "text/plain",
			Complete: true, ArchiveName: r.ReportArchive,
		}
		if m.ReportShows != m.Version { // the attachments of an edit are still to come
			report.Former, report.FirstVersion, report.LastVersion = "report", m.ReportShows, m.ReportShows
		}
		files = append(files, report)
	}
	return files
}
