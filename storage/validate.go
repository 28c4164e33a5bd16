package storage

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// maxExamples is how many examples a check shows of what it finds.
const maxExamples = 5

// Check is a rule that the data keeps to.
type Check struct {
	Name    string // its key in the output, never renamed
	Warning bool   // rather than an error
	Message string // what is wrong, after a count: "records have …"
	Remedy  string // the command that mends it, or what to do
	// Fixable: [DB.Fix] mends what the check finds.
	Fixable bool

	query string // one row a violation, with the columns example and tip
	fix   string // changes the rows of noggin_data named chosen, under their claims; "" for what fixes say
}

// Violations are what a check found.
type Violations struct {
	Count    int64
	Examples []string
}

// settled are records that no run is at work on; only they have to keep to all
// rules.
const settled = unclaimed + ` AND d.processing_status <> 'api_success'`

// records is a query for the records that a condition over d finds.
func records(condition string) string {
	return `SELECT d.tip, concat_ws('  ', d.tip, coalesce(d.inspection_id, d.expected_inspection_id)) AS example
		FROM noggin_schema.noggin_data d WHERE ` + condition
}

// attachments is a query for the attachments that a condition over a and their
// record d finds.
func attachments(condition string) string {
	return `SELECT d.tip, coalesce(a.file_path, a.record_tip || ' ' || a.attachment_tip) AS example
		FROM noggin_schema.attachments a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip WHERE ` + condition
}

const (
	withoutFile      = settled + ` AND a.attachment_status = 'complete' AND (a.file_path IS NULL OR a.file_size_bytes IS NULL)`
	attachmentCounts = `(SELECT record_tip, count(*) AS total, count(*) FILTER (WHERE attachment_status = 'complete') AS complete
		FROM noggin_schema.attachments GROUP BY record_tip)`
	countAgain = `total_attachments = (SELECT count(*) FROM noggin_schema.attachments a WHERE a.record_tip = d.tip),
		completed_attachment_count = (SELECT count(*) FROM noggin_schema.attachments a
			WHERE a.record_tip = d.tip AND a.attachment_status = 'complete')`
	// counted are records whose attachments were counted: a fresh one's were not.
	counted = settled + ` AND NOT (d.processing_status = 'pending' AND d.payload IS NULL AND d.total_attachments = 0)`
	// staysAsItIs are records that mending does not put into the queue.
	staysAsItIs = `(d.processing_status IN ('pending', 'skipped') OR d.permanently_failed)`
	queueAgain  = `processing_status = CASE WHEN ` + staysAsItIs + ` THEN d.processing_status ELSE 'interrupted' END,
		next_retry_at = CASE WHEN ` + staysAsItIs + ` THEN d.next_retry_at ELSE now() END`
	// countOrQueueAgain: an attachment that is missing from the table is in the
	// record's answer, which only `process` takes apart.
	countOrQueueAgain = countAgain + `,
		processing_status = CASE WHEN ` + lacksRows + ` THEN 'interrupted' ELSE d.processing_status END,
		next_retry_at = CASE WHEN ` + lacksRows + ` THEN now() ELSE d.next_retry_at END`
	lacksRows = `d.processing_status IN ('complete', 'partial', 'failed') AND NOT d.permanently_failed AND d.total_attachments >
		(SELECT count(*) FROM noggin_schema.attachments a WHERE a.record_tip = d.tip)`
	withUnknown = `(SELECT DISTINCT r.record_tip FROM noggin_schema.record_hashes r WHERE NOT EXISTS
		(SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = r.hash_value AND e.entity_type = r.entity_type))`
	fixData      = "noggin validate data --fix"
	processTip   = "noggin process --tip TIP (fetches the record again)"
	resolveNames = "noggin hashes resolve"
)

// Checks are the rules of the data: those of the manual's "Data Validation" and
// "Database Cleanup", and what else noggin relies on. objectTypes are the codes of
// the configured forms.
func Checks(objectTypes []string) []Check {
	return slices.Concat(countChecks, recordChecks(objectTypes), attachmentChecks, tableChecks)
}

func recordChecks(objectTypes []string) []Check {
	return []Check{
		{
			Name: "missing_inspection_id", Warning: true, Message: "fetched records have no inspection id", Remedy: "mend the inspection on the platform, then " + processTip,
			query: records(settled + ` AND d.payload IS NOT NULL AND coalesce(d.inspection_id, '') = ''`),
		},
		{
			Name: "missing_inspection_date", Warning: true, Message: "fetched records have no inspection date", Remedy: "mend the inspection on the platform, then " + processTip,
			query: records(settled + ` AND d.payload IS NOT NULL AND d.inspection_date IS NULL`),
		},
		{
			Name: "no_attachment_complete", Warning: true, Message: "records have attachments, and not one of them was downloaded",
			Remedy: "noggin report attachments shows why; noggin retry-failed tries them again now",
			query:  records(settled + ` AND d.processing_status NOT IN ('pending', 'interrupted', 'complete') AND d.total_attachments > 0 AND d.completed_attachment_count = 0`),
		},
		{
			Name: "complete_without_attachments", Message: "records are complete, but not all of their attachments are", Remedy: fixData + " (queues them again)", Fixable: true,
			query: records(settled + ` AND d.processing_status = 'complete' AND (d.total_attachments <> d.completed_attachment_count
				OR EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.attachment_status <> 'complete'))`),
			fix: queueAgain,
		},
		{
			Name: "complete_without_report", Message: "records are complete, but have no text report", Remedy: fixData + " (queues them again)", Fixable: true,
			query: records(settled + ` AND d.processing_status = 'complete' AND d.report_path IS NULL AND d.payload IS NOT NULL`),
			fix:   queueAgain,
		},
		{
			Name: "fetched_without_answer", Warning: true, Message: "records are said to be fetched, but their answer is not kept (were they taken over from the replaced service?)", Remedy: processTip,
			query: records(settled + ` AND d.processing_status IN ('complete', 'partial', 'failed') AND d.payload IS NULL`),
		},
		{
			Name: "stuck_claims", Warning: true, Message: "records were claimed by a run that vanished more than an hour ago", Remedy: "noggin process takes those that are due; " + fixData + " frees the others", Fixable: true,
			query: records(`d.claim_expires_at < now() - interval '1 hour'`),
			fix:   `claimed_by = NULL, claim_expires_at = NULL, crash_count = d.crash_count + (d.processing_status NOT IN ('complete', 'skipped'))::int`,
		},
		{
			Name: "crashing", Warning: true, Message: "records were in the hands of runs that died, three times or more", Remedy: "noggin report tip TIP, and the journal of those runs",
			query: records(`d.crash_count >= 3`),
		},
		{
			Name: "permanently_failed_status", Message: "records are permanently failed, but have a status that is no failure", Remedy: fixData + ", or noggin retry-failed --permanent", Fixable: true,
			query: records(settled + ` AND d.permanently_failed AND d.processing_status NOT IN ('partial', 'failed', 'api_failed')`),
			fix:   `permanently_failed = false`,
		},
		{
			Name: "unknown_form", Message: "records are of a form that is not configured", Remedy: "add an [[object_type]] table for it to the configuration",
			query: records(`d.object_type <> ALL (ARRAY[` + quotedList(objectTypes) + `])`),
		},
		{
			Name: "unknown_hashes_flag", Message: "records say wrongly that they have, or have not, a name that is unknown", Remedy: fixData + ", then noggin hashes resolve", Fixable: true,
			query: `SELECT d.tip, concat_ws('  ', d.tip, d.inspection_id) AS example
				FROM noggin_schema.noggin_data d LEFT JOIN ` + withUnknown + ` u ON u.record_tip = d.tip
				WHERE ` + settled + ` AND d.payload IS NOT NULL AND NOT d.names_stale AND d.has_unknown_hashes <> (u.record_tip IS NOT NULL)`,
			fix: `names_stale = true, has_unknown_hashes = NOT d.has_unknown_hashes`,
		},
		{
			Name: "archived_nowhere", Warning: true, Message: "records are marked as archived, but no archive of noggin has their files", Remedy: "if they were archived by hand, keep those archives; else: noggin process --tip TIP",
			query: records(unclaimed + ` AND d.archived AND NOT ` + inArchive),
		},
		{
			Name: "duplicate_tips", Message: "records are there more than once", Remedy: fixData + " keeps the latest of each, then: noggin init-db --repair", Fixable: true,
			query: `SELECT tip, tip AS example FROM noggin_schema.noggin_data GROUP BY tip HAVING count(*) > 1`,
		},
		{
			Name: "duplicate_inspection_ids", Warning: true, Message: "inspection ids are those of several records of the same form", Remedy: "compare them with noggin report tip INSPECTION-ID; noggin process --tip TIP fetches each again, in case the platform did not make them",
			query: `SELECT min(tip) AS tip, inspection_id AS example FROM noggin_schema.noggin_data WHERE inspection_id IS NOT NULL
				GROUP BY object_type, inspection_id HAVING count(*) > 1`,
		},
	}
}

// inArchive says that an archive has a file of the record d, an older text report
// perhaps.
const inArchive = `(d.report_archive_id IS NOT NULL
	OR EXISTS (SELECT FROM noggin_schema.archive_records r WHERE r.record_tip = d.tip)
	OR EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id IS NOT NULL))`

// countChecks come first: what the others say depends on the counts.
var countChecks = []Check{
	{
		Name: "attachment_count", Message: "records have another number of attachments than they say", Remedy: fixData + " (counts them, and queues records that lack some)", Fixable: true,
		query: `SELECT d.tip, concat_ws('  ', d.tip, d.total_attachments || ' said, ' || coalesce(c.total, 0) || ' there') AS example
			FROM noggin_schema.noggin_data d LEFT JOIN ` + attachmentCounts + ` c ON c.record_tip = d.tip
			WHERE ` + counted + ` AND d.total_attachments <> coalesce(c.total, 0)`,
		fix: countOrQueueAgain,
	},
	{
		Name: "completed_count", Message: "records have another number of complete attachments than they say", Remedy: fixData + " (counts them)", Fixable: true,
		query: `SELECT d.tip, concat_ws('  ', d.tip, d.completed_attachment_count || ' said, ' || coalesce(c.complete, 0) || ' there') AS example
			FROM noggin_schema.noggin_data d LEFT JOIN ` + attachmentCounts + ` c ON c.record_tip = d.tip
			WHERE ` + counted + ` AND d.completed_attachment_count <> coalesce(c.complete, 0)`,
		fix: countAgain,
	},
}

var attachmentChecks = []Check{
	{
		Name: "complete_without_file", Message: "attachments are complete, but without a file's path or size", Remedy: fixData + " (queues them again)", Fixable: true,
		query: attachments(withoutFile),
	},
	{
		Name: "complete_without_hash", Warning: true, Message: "attachments are complete, but their hash is not known", Remedy: processTip,
		query: attachments(settled + ` AND a.attachment_status = 'complete' AND a.file_path IS NOT NULL AND a.file_hash_sha256 IS NULL`),
	},
	{
		Name: "complete_but_invalid", Warning: true, Message: "attachments are complete, although their content did not pass the check", Remedy: processTip,
		query: attachments(settled + ` AND a.attachment_status = 'complete' AND a.attachment_validation_status = 'validation_failed'`),
	},
	{
		Name: "shared_file", Message: "files are those of more than one attachment", Remedy: "noggin process --tip TIP, for each of the records",
		query: `SELECT min(record_tip) AS tip, file_path AS example FROM noggin_schema.attachments
			WHERE file_path IS NOT NULL AND attachment_status = 'complete' GROUP BY file_path HAVING count(*) > 1`,
	},
	{
		Name: "orphaned_attachments", Message: "attachments have no record", Remedy: fixData + " (puts their records into the queue)", Fixable: true,
		query: `SELECT a.record_tip AS tip, concat_ws('  ', a.record_tip, a.filename) AS example FROM noggin_schema.attachments a
			WHERE NOT EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE d.tip = a.record_tip)`,
	},
	{
		Name: "lost_archive", Message: "files are said to be in an archive that is not recorded", Remedy: "noggin archive list",
		query: `SELECT f.tip, f.example FROM (
				SELECT record_tip AS tip, coalesce(file_path, attachment_tip) AS example, archive_id FROM noggin_schema.attachments
				UNION ALL SELECT tip, report_path, report_archive_id FROM noggin_schema.noggin_data) AS f
			WHERE f.archive_id IS NOT NULL AND NOT EXISTS (SELECT FROM noggin_schema.archives v WHERE v.id = f.archive_id)`,
	},
}

var tableChecks = []Check{
	{
		Name: "orphaned_references", Message: "references to names have no record", Remedy: fixData + " (puts their records into the queue)", Fixable: true,
		query: `SELECT DISTINCT r.record_tip AS tip, r.record_tip AS example FROM noggin_schema.record_hashes r
			WHERE NOT EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE d.tip = r.record_tip)`,
	},
	{
		Name: "names_not_applied", Message: "hashes are listed as unknown, although their name is there", Remedy: resolveNames,
		query: `SELECT u.first_seen_tip AS tip, u.entity_type || ' ' || u.hash_value AS example FROM noggin_schema.unknown_hashes u
			JOIN noggin_schema.entity_hashes e USING (hash_value, entity_type) WHERE u.resolved_at IS NULL`,
	},
	{
		Name: "resolved_without_name", Message: "hashes are listed as resolved, although no name is there", Remedy: fixData + " (lists them as unknown)", Fixable: true,
		query: `SELECT u.first_seen_tip AS tip, u.entity_type || ' ' || u.hash_value AS example FROM noggin_schema.unknown_hashes u
			WHERE u.resolved_at IS NOT NULL AND NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e
				WHERE e.hash_value = u.hash_value AND e.entity_type = u.entity_type)`,
	},
	{
		Name: "unlisted_unknown", Message: "hashes have no name, and are not listed as unknown", Remedy: fixData + " (lists them)", Fixable: true,
		query: `SELECT r.tip, r.entity_type || ' ' || r.hash_value AS example
			FROM (SELECT entity_type, hash_value, min(record_tip) AS tip FROM noggin_schema.record_hashes GROUP BY 1, 2) AS r
			WHERE NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = r.hash_value AND e.entity_type = r.entity_type)
			  AND NOT EXISTS (SELECT FROM noggin_schema.unknown_hashes u WHERE u.hash_value = r.hash_value AND u.entity_type = r.entity_type)`,
	},
	{
		Name: "record_counts", Message: "counts of records by form and status are wrong: reports show them", Remedy: fixData + " (counts anew)", Fixable: true,
		query: `SELECT NULL::text AS tip, concat_ws(' ', c.object_type, c.processing_status, CASE WHEN c.permanently_failed THEN 'permanently failed' END)
				|| ': ' || sum(c.counted) || ' said, ' || sum(c.there) || ' there' AS example
			FROM (SELECT object_type, processing_status, permanently_failed, records AS counted, 0 AS there FROM noggin_schema.record_counts
				UNION ALL SELECT object_type, processing_status, permanently_failed, 0, count(*) FROM noggin_schema.noggin_data GROUP BY 1, 2, 3) AS c
			GROUP BY c.object_type, c.processing_status, c.permanently_failed HAVING sum(c.counted) <> sum(c.there)`,
	},
	{
		Name: "file_counts", Message: "counts of files by month and form are wrong: reports show them", Remedy: fixData + " (counts anew)", Fixable: true,
		query: `SELECT NULL::text AS tip, concat_ws(' ', c.month, c.object_type, c.kind, c.status)
				|| ': ' || sum(c.counted) || ' said, ' || sum(c.there) || ' there' AS example
			FROM (SELECT month, object_type, kind, status, files AS counted, 0 AS there, bytes AS counted_bytes, 0 AS bytes FROM noggin_schema.file_counts
				UNION ALL
				SELECT noggin_schema.month_of(d.folder, d.inspection_date), d.object_type, 'attachment', a.attachment_status, 0, count(*), 0,
				       coalesce(sum(a.file_size_bytes) FILTER (WHERE a.attachment_status = 'complete'), 0)
				FROM noggin_schema.attachments a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip GROUP BY 1, 2, 4
				UNION ALL
				SELECT noggin_schema.month_of(d.folder, d.inspection_date), d.object_type, 'report', 'complete', 0, count(*), 0, sum(d.report_size_bytes)
				FROM noggin_schema.noggin_data d WHERE d.report_size_bytes IS NOT NULL GROUP BY 1, 2) AS c
			GROUP BY c.month, c.object_type, c.kind, c.status
			HAVING sum(c.counted) <> sum(c.there) OR sum(c.counted_bytes) <> sum(c.bytes)`,
	},
}

func quotedList(values []string) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = pq.QuoteLiteral(v)
	}
	return strings.Join(list, ", ")
}

// Violations runs a check: one statement, so one snapshot.
func (db *DB) Violations(ctx context.Context, c Check) (Violations, error) {
	var v Violations
	row := struct {
		Count    int64          `db:"n"`
		Examples pq.StringArray `db:"examples"`
	}{}
	err := db.get(ctx, "check "+c.Name, &row, `
		WITH found AS MATERIALIZED (`+c.query+`)
		SELECT (SELECT count(*) FROM found) AS n,
		       ARRAY(SELECT left(coalesce(example, tip), 200) FROM found ORDER BY example LIMIT `+strconv.Itoa(maxExamples)+`) AS examples`)
	v.Count, v.Examples = row.Count, row.Examples
	return v, err
}

// otherFixes mend what is not a column of an unclaimed record.
var otherFixes = map[string]string{
	// The manual's own: the latest stays.
	"duplicate_tips": `DELETE FROM noggin_schema.noggin_data d USING (
			SELECT ctid AS id, row_number() OVER (PARTITION BY tip ORDER BY created_at DESC, ctid DESC) AS n FROM noggin_schema.noggin_data) AS v
		WHERE d.ctid = v.id AND v.n > 1`,
	"resolved_without_name": `UPDATE noggin_schema.unknown_hashes u SET resolved_at = NULL, resolved_name = NULL
		WHERE u.resolved_at IS NOT NULL AND NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e
			WHERE e.hash_value = u.hash_value AND e.entity_type = u.entity_type)`,
	"unlisted_unknown": `INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, first_seen_tip, occurrence_count)
		SELECT r.hash_value, r.entity_type, min(r.record_tip), count(*) FROM noggin_schema.record_hashes r
		WHERE NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = r.hash_value AND e.entity_type = r.entity_type)
		GROUP BY 1, 2 ORDER BY 1, 2 ON CONFLICT DO NOTHING`,
}

// Fix mends what a check finds, and returns how many rows that changed. Records that
// a run is at work on are left alone; of the others the claim's token moves, so that
// nobody writes over it. objectType is the form assumed for records that have to be
// put into the queue.
func (db *DB) Fix(ctx context.Context, c Check, objectType string) (int64, error) {
	what := "mend " + c.Name
	switch c.Name {
	case "record_counts", "file_counts":
		return 1, db.Recount(ctx)
	case "orphaned_attachments", "orphaned_references":
		var tips []string
		if err := db.selectAll(ctx, what, &tips, `SELECT DISTINCT tip FROM (`+c.query+`) AS found
			WHERE tip ~ '^[A-Za-z0-9_-]{1,64}$' ORDER BY tip LIMIT 100000`); err != nil {
			return 0, err
		}
		return db.EnsureRecords(ctx, tips, objectType, true)
	case "complete_without_file":
		var lost []LostFiles
		if err := db.selectAll(ctx, what, &lost, `
			SELECT d.tip, d.claim_token, array_agg(a.attachment_tip) AS attachments
			FROM noggin_schema.attachments a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip
			WHERE `+withoutFile+` GROUP BY d.tip, d.claim_token LIMIT 100000`); err != nil {
			return 0, err
		}
		n, err := db.QueueLost(ctx, lost)
		return int64(n), err
	}
	statement, ok := otherFixes[c.Name]
	if !ok {
		statement = `WITH found AS MATERIALIZED (` + c.query + `),
			chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d
				WHERE d.tip IN (SELECT tip FROM found) AND ` + unclaimed + ` ORDER BY d.tip FOR UPDATE SKIP LOCKED)
			UPDATE noggin_schema.noggin_data d SET ` + c.fix + `, claim_token = d.claim_token + 1
			FROM chosen WHERE d.tip = chosen.tip`
	}
	var changed int64
	err := db.tx(ctx, what, func(tx *sqlx.Tx) error {
		result, err := tx.ExecContext(ctx, db.sql(statement))
		if err != nil {
			return err
		}
		changed, err = result.RowsAffected()
		return err
	})
	return changed, err
}
