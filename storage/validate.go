package storage

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// maxExamples is the number of examples that a check returns.
const maxExamples = 5

// Check is a rule of the data.
type Check struct {
	Name    string // the key in the output, never renamed
	Warning bool   // a violation is a warning, not an error
	Message string // what is wrong, after a count: "records have …"
	Fixable bool   // [DB.Fix] mends violations

	query string // returns one row for each violation, with the columns example and tip
	fix   string // the SET of an UPDATE of noggin_data; "": see otherFixes and [DB.Fix]
}

// Violations are the violations of a check.
type Violations struct {
	Count    int64
	Examples []string
}

// settled are records that no run works on. Only they must keep all rules.
const settled = unclaimed + ` AND d.processing_status <> 'api_success'`

// records is a query for the records that a condition over d finds.
func records(condition string) string {
	return `SELECT d.tip, concat_ws('  ', d.tip, coalesce(d.inspection_id, d.expected_inspection_id)) AS example
		FROM noggin_schema.noggin_data d WHERE ` + condition
}

// attachments is a query for the attachments that a condition over a and their
// record d finds.
func attachments(condition string) string {
	return `SELECT d.tip, a.attachment_tip, coalesce(a.file_path, a.record_tip || ' ' || a.attachment_tip) AS example
		FROM noggin_schema.attachments a JOIN noggin_schema.noggin_data d ON d.tip = a.record_tip WHERE ` + condition
}

const (
	withoutFile      = settled + ` AND a.attachment_status = 'complete' AND (a.file_path IS NULL OR a.file_size_bytes IS NULL)`
	attachmentCounts = `(SELECT record_tip, count(*) AS total, count(*) FILTER (WHERE attachment_status = 'complete') AS complete
		FROM noggin_schema.attachments GROUP BY record_tip)`
	countAgain = `total_attachments = (SELECT count(*) FROM noggin_schema.attachments a WHERE a.record_tip = d.tip),
		completed_attachment_count = (SELECT count(*) FROM noggin_schema.attachments a
			WHERE a.record_tip = d.tip AND a.attachment_status = 'complete')`
	// counted are records whose attachments were counted; those of a new record are not.
	counted = settled + ` AND NOT (d.processing_status = 'pending' AND d.payload IS NULL AND d.total_attachments = 0)`
	// notQueued are records that mending does not queue again.
	notQueued  = `(d.processing_status IN ('pending', 'skipped') OR d.permanently_failed)`
	queueAgain = `processing_status = CASE WHEN ` + notQueued + ` THEN d.processing_status ELSE 'interrupted' END,
		next_retry_at = CASE WHEN ` + notQueued + ` THEN d.next_retry_at ELSE now() END`
	// countOrQueueAgain counts again, or queues a record whose table lacks attachments:
	// only `process` reads them from the answer.
	countOrQueueAgain = countAgain + `,
		processing_status = CASE WHEN ` + lacksRows + ` THEN 'interrupted' ELSE d.processing_status END,
		next_retry_at = CASE WHEN ` + lacksRows + ` THEN now() ELSE d.next_retry_at END`
	lacksRows = `d.processing_status IN ('complete', 'partial', 'failed') AND NOT d.permanently_failed AND d.total_attachments >
		(SELECT count(*) FROM noggin_schema.attachments a WHERE a.record_tip = d.tip)`
	withUnknown = `(SELECT DISTINCT r.record_tip FROM noggin_schema.record_hashes r WHERE NOT EXISTS
		(SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = r.hash_value))`
	// rechecked says that no record waits for the check that follows an upgrade.
	rechecked = `NOT EXISTS (SELECT FROM noggin_schema.names_recheck WHERE after IS NOT NULL)`
)

// Checks returns the rules of the data: those of the manual's "Data Validation" and
// "Database Cleanup", and further ones that noggin relies on. objectTypes are the codes
// of the configured forms, documents the fields that may hold text.
func Checks(objectTypes, documents []string) []Check {
	return slices.Concat(countChecks, recordChecks(objectTypes), attachmentChecks, []Check{pageCheck(documents)}, tableChecks)
}

// pageCheck finds pages that were kept as attachments, before noggin told these apart. In
// the fields of documents only HTML is one.
func pageCheck(documents []string) Check {
	return Check{
		Name: "kept_pages", Warning: true, Fixable: true,
		Message: "attachments are text, HTML, JSON or XML: pages that came in the place of files",
		query: attachments(settled + ` AND a.attachment_status = 'complete' AND a.content_type ~ '^text/|[/+](json|xml)$'
			AND (a.content_type ~ '^text/html|xhtml' OR d.object_type || ' ' || a.field_name <> ALL (ARRAY[` + quotedList(documents) + `]::text[]))`),
	}
}

func recordChecks(objectTypes []string) []Check {
	return []Check{
		{
			Name: "missing_inspection_id", Warning: true, Message: "fetched records have no inspection id",
			query: records(settled + ` AND d.payload IS NOT NULL AND coalesce(d.inspection_id, '') = ''`),
		},
		{
			Name: "missing_inspection_date", Warning: true, Message: "fetched records have no inspection date",
			query: records(settled + ` AND d.payload IS NOT NULL AND d.inspection_date IS NULL`),
		},
		{
			Name: "no_attachment_complete", Warning: true, Message: "records have attachments, but none was downloaded",
			query: records(settled + ` AND d.processing_status NOT IN ('pending', 'interrupted', 'complete') AND d.total_attachments > 0 AND d.completed_attachment_count = 0`),
		},
		{
			Name: "complete_without_attachments", Message: "records are complete, but some of their attachments are not", Fixable: true,
			query: records(settled + ` AND d.processing_status = 'complete' AND (d.total_attachments <> d.completed_attachment_count
				OR EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.attachment_status <> 'complete'))`),
			fix: queueAgain,
		},
		{
			Name: "answer_without_rows", Message: "records lack attachments that their stored answer lists", Fixable: true,
			query: records(settled + ` AND d.processing_status IN ('complete', 'partial', 'failed') AND EXISTS (
				SELECT FROM jsonb_path_query(d.payload, 'strict $.** ? (@.type() == "string" && @ like_regex
					"^(https?://[^/ ]+)?(/media|/mediaservice)?/file[?]([^ ]*&)?tip=[0-9A-Fa-f]{64}(&|$)")') AS leaf (value)
				WHERE NOT EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip
					AND a.attachment_tip = lower(substring(leaf.value #>> '{}' FROM '[?&]tip=([0-9A-Fa-f]{64})'))))`),
			fix: queueAgain,
		},
		{
			Name: "complete_without_report", Message: "records are complete, but have no text report", Fixable: true,
			query: records(settled + ` AND d.processing_status = 'complete' AND d.report_path IS NULL AND d.payload IS NOT NULL`),
			fix:   queueAgain,
		},
		{
			Name: "fetched_without_answer", Warning: true, Message: "records have a fetched status, but no stored answer (do they come from the replaced service?)",
			query: records(settled + ` AND d.processing_status IN ('complete', 'partial', 'failed') AND d.payload IS NULL`),
		},
		{
			Name: "stuck_claims", Warning: true, Message: "records have a claim of a run that vanished more than an hour ago", Fixable: true,
			query: records(`d.claimed_by IS NOT NULL AND d.claim_expires_at < now() - interval '1 hour'`),
			fix:   `claimed_by = NULL, claim_expires_at = NULL, crash_count = d.crash_count + (d.processing_status NOT IN ('complete', 'skipped'))::int`,
		},
		{
			Name: "crashing", Warning: true, Message: "records had a claim three times or more when the run died",
			query: records(crashing),
		},
		{
			Name: "permanently_failed_status", Message: "records are permanently failed, but their status is not a failure", Fixable: true,
			query: records(unclaimed + ` AND d.permanently_failed AND d.processing_status NOT IN ('partial', 'failed', 'api_failed')`),
			fix:   `permanently_failed = false`,
		},
		{
			Name: "given_up_early", Warning: true, Message: "records were given up by an older version, within a day, for failures that may pass",
			query: records(`d.permanently_failed AND d.first_failed_at IS NULL AND EXISTS (
				SELECT FROM noggin_schema.processing_errors e WHERE e.tip = d.tip
				HAVING (array_agg(e.error_type ORDER BY e.created_at DESC, e.id DESC))[1] NOT IN ('not_found', 'bad_request', 'bad_reference')
				   AND max(e.created_at) < min(e.created_at) + interval '24 hours')`),
		},
		{
			Name: "unknown_form", Message: "records have a form that is not configured",
			query: records(`d.object_type <> ALL (ARRAY[` + quotedList(objectTypes) + `])`),
		},
		{
			Name: "unknown_hashes_flag", Message: "records have a wrong has_unknown_hashes", Fixable: true,
			query: `SELECT d.tip, concat_ws('  ', d.tip, d.inspection_id) AS example
				FROM noggin_schema.noggin_data d LEFT JOIN ` + withUnknown + ` u ON u.record_tip = d.tip
				WHERE ` + settled + ` AND d.payload IS NOT NULL AND NOT d.names_stale AND d.has_unknown_hashes <> (u.record_tip IS NOT NULL) AND ` + rechecked,
			fix: `names_stale = true, has_unknown_hashes = NOT d.has_unknown_hashes`,
		},
		{
			Name: "archived_nowhere", Warning: true, Message: "records are marked as archived, but no archive of noggin holds their files",
			query: records(unclaimed + ` AND d.archived AND NOT ` + inArchive),
		},
		{
			Name: "unexpected_id", Warning: true, Message: "records have another inspection id than the export said",
			query: records(`d.payload IS NOT NULL AND d.inspection_id IS NOT NULL AND d.expected_inspection_id IS NOT NULL
				AND d.inspection_id <> d.expected_inspection_id -- nearly always equal, and much cheaper
				AND regexp_replace(d.inspection_id, '[^[:alnum:]]', '', 'g') <> regexp_replace(d.expected_inspection_id, '[^[:alnum:]]', '', 'g')`),
		},
		{
			Name: "unexpected_date", Warning: true, Message: "records have another inspection date than the export said",
			query: records(`d.payload IS NOT NULL AND d.inspection_date <> d.expected_inspection_date`),
		},
		{
			Name: "version_without_answer", Message: "records have a current version that is not kept",
			query: records(settled + ` AND d.version IS NOT NULL AND NOT EXISTS (SELECT FROM noggin_schema.record_versions v
				WHERE v.record_tip = d.tip AND v.version = d.version)`),
		},
		{
			Name: "duplicate_tips", Message: "records exist more than once", Fixable: true,
			query: `SELECT tip, tip AS example FROM noggin_schema.noggin_data GROUP BY tip HAVING count(*) > 1`,
		},
		{
			Name: "duplicate_inspection_ids", Warning: true, Message: "inspection ids belong to several records of the same form",
			query: `SELECT min(tip) AS tip, inspection_id AS example FROM noggin_schema.noggin_data WHERE inspection_id IS NOT NULL
				GROUP BY object_type, inspection_id HAVING count(*) > 1`,
		},
	}
}

// inArchive is true when an archive holds a file of the record d, which may be an older
// text report.
const inArchive = `(d.report_archive_id IS NOT NULL
	OR EXISTS (SELECT FROM noggin_schema.archive_records r WHERE r.record_tip = d.tip)
	OR EXISTS (SELECT FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id IS NOT NULL)
	OR EXISTS (SELECT FROM noggin_schema.former_files o WHERE o.record_tip = d.tip AND o.archive_id IS NOT NULL))`

// countChecks come first: the other checks use the counts.
var countChecks = []Check{
	{
		Name: "attachment_count", Message: "records have a wrong total_attachments", Fixable: true,
		query: `SELECT d.tip, concat_ws('  ', d.tip, d.total_attachments || ' stored, ' || coalesce(c.total, 0) || ' counted') AS example
			FROM noggin_schema.noggin_data d LEFT JOIN ` + attachmentCounts + ` c ON c.record_tip = d.tip
			WHERE ` + counted + ` AND d.total_attachments <> coalesce(c.total, 0)`,
		fix: countOrQueueAgain,
	},
	{
		Name: "completed_count", Message: "records have a wrong completed_attachment_count", Fixable: true,
		query: `SELECT d.tip, concat_ws('  ', d.tip, d.completed_attachment_count || ' stored, ' || coalesce(c.complete, 0) || ' counted') AS example
			FROM noggin_schema.noggin_data d LEFT JOIN ` + attachmentCounts + ` c ON c.record_tip = d.tip
			WHERE ` + counted + ` AND d.completed_attachment_count <> coalesce(c.complete, 0)`,
		fix: countAgain,
	},
}

const (
	suspectFiles = `SELECT f.record_tip AS tip, f.attachment_tip, f.path AS example FROM noggin_schema.former_files f
		WHERE f.kind = 'suspect' AND f.validation <> 'suspect'` // those were current once
	wholeBeside = `(EXISTS (SELECT FROM noggin_schema.attachments a
			WHERE a.record_tip = f.record_tip AND a.attachment_tip = f.attachment_tip AND a.attachment_status = 'complete')
		OR EXISTS (SELECT FROM noggin_schema.former_files w
			WHERE w.record_tip = f.record_tip AND w.attachment_tip = f.attachment_tip AND w.kind = 'attachment'))`
)

var attachmentChecks = []Check{
	{
		Name: "complete_without_file", Message: "attachments are complete, but have no file path or size", Fixable: true,
		query: attachments(withoutFile),
	},
	{
		Name: "complete_without_hash", Warning: true, Message: "attachments are complete, but have no SHA-256",
		query: attachments(settled + ` AND a.attachment_status = 'complete' AND a.file_path IS NOT NULL AND a.file_hash_sha256 IS NULL`),
	},
	{
		Name: "complete_but_invalid", Warning: true, Message: "attachments are complete, but their content failed the check",
		query: attachments(settled + ` AND a.attachment_status = 'complete' AND a.attachment_validation_status = 'validation_failed'`),
	},
	{
		Name: "suspect_attachments", Warning: true, Message: "attachments are kept as suspect: the platform delivers them broken",
		query: attachments(settled + ` AND a.attachment_validation_status = 'suspect' AND ` + doubtful),
	},
	{
		Name: "suspect_beside_whole", Warning: true, Message: "files stand beside whole attachments: the platform served other bytes in their place, and they are not known to be whole",
		query: suspectFiles + ` AND ` + wholeBeside,
	},
	{
		Name: "suspect_alone", Warning: true, Message: "attachments came, but are not known to be whole, and no whole file of them is there",
		query: suspectFiles + ` AND NOT ` + wholeBeside,
	},
	{
		Name: "unvalidated_pictures", Warning: true, Message: "pictures are complete, but nothing proves that their end is there",
		query: attachments(settled + ` AND a.attachment_validation_status <> 'suspect' AND ` + doubtful),
	},
	{
		Name: "shared_file", Message: "files belong to more than one attachment",
		query: `SELECT min(record_tip) AS tip, file_path AS example FROM (
				SELECT record_tip, file_path FROM noggin_schema.attachments WHERE file_path IS NOT NULL AND attachment_status = 'complete'
				UNION ALL SELECT record_tip, path FROM noggin_schema.former_files) AS f GROUP BY file_path HAVING count(*) > 1`,
	},
	{
		Name: "orphaned_attachments", Message: "attachments have no record", Fixable: true,
		query: `SELECT a.record_tip AS tip, concat_ws('  ', a.record_tip, a.filename) AS example FROM noggin_schema.attachments a
			WHERE NOT EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE d.tip = a.record_tip)`,
	},
	{
		Name: "lost_archive", Message: "files have the id of an archive that is not recorded",
		query: `SELECT f.tip, f.example FROM (
				SELECT record_tip AS tip, coalesce(file_path, attachment_tip) AS example, archive_id FROM noggin_schema.attachments
				UNION ALL SELECT tip, report_path, report_archive_id FROM noggin_schema.noggin_data
				UNION ALL SELECT record_tip, path, archive_id FROM noggin_schema.former_files) AS f
			WHERE f.archive_id IS NOT NULL AND NOT EXISTS (SELECT FROM noggin_schema.archives v WHERE v.id = f.archive_id)`,
	},
}

func quotedList(values []string) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = pq.QuoteLiteral(v)
	}
	return strings.Join(list, ", ")
}

// Violations runs a check in one statement, so on one snapshot.
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

// otherFixes mend violations that an UPDATE of unclaimed records cannot mend.
var otherFixes = map[string]string{
	// As in the manual, the latest row stays.
	"duplicate_tips": `DELETE FROM noggin_schema.noggin_data d USING (
			SELECT ctid AS id, row_number() OVER (PARTITION BY tip ORDER BY created_at DESC, ctid DESC) AS n FROM noggin_schema.noggin_data) AS v
		WHERE d.ctid = v.id AND v.n > 1`,
	"sequences_behind": `SELECT setval(sequence, taken) FROM (` + behind + `) AS behind`,
	"resolved_without_name": shareNames + `; UPDATE noggin_schema.unknown_hashes u SET resolved_at = NULL, resolved_name = NULL
		WHERE u.resolved_at IS NOT NULL AND NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = u.hash_value)`,
	"unlisted_unknown": shareNames + `; INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, first_seen_tip, occurrence_count)
		SELECT r.hash_value, r.entity_type, min(r.record_tip), count(*) FROM noggin_schema.record_hashes r
		WHERE NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = r.hash_value)
		GROUP BY 1, 2 ORDER BY 1, 2 ON CONFLICT DO NOTHING`,
}

// Fix mends the violations of a check and returns how many rows it changed. It leaves alone
// records that are claimed, or were since its snapshot. It raises the token of the others, so
// that no run with an old claim writes over them. objectType is the form of records that it
// has to insert.
func (db *DB) Fix(ctx context.Context, c Check, objectType string) (int64, error) {
	what := "mend " + c.Name
	switch c.Name {
	case "record_counts", "file_counts":
		return 1, db.tx(ctx, what, func(tx *sqlx.Tx) error { return db.recount(ctx, tx) })
	case "orphaned_attachments", "orphaned_references":
		var tips []string
		if err := db.selectAll(ctx, what, &tips, `SELECT DISTINCT tip FROM (`+c.query+`) AS found
			WHERE tip ~ '^[A-Za-z0-9_-]{1,64}$' ORDER BY tip LIMIT 100000`); err != nil {
			return 0, err
		}
		return db.EnsureRecords(ctx, tips, objectType, true)
	case "complete_without_file", "kept_pages":
		why := "the file was not on disk as it should be"
		if c.Name == "kept_pages" {
			why = "a page was kept in the place of the file"
		}
		var lost []LostFiles
		if err := db.selectAll(ctx, what, &lost, `
			SELECT f.tip, d.claim_token, array_agg(f.attachment_tip) AS attachments
			FROM (`+c.query+`) AS f JOIN noggin_schema.noggin_data d ON d.tip = f.tip GROUP BY f.tip, d.claim_token LIMIT 100000`); err != nil {
			return 0, err
		}
		n, err := db.queueFiles(ctx, lost, why)
		return int64(n), err
	}
	statement, ok := otherFixes[c.Name]
	if !ok {
		statement = `WITH found AS MATERIALIZED (` + c.query + `),
			chosen AS (SELECT d.tip FROM noggin_schema.noggin_data d JOIN noggin_schema.noggin_data was ON was.tip = d.tip AND was.claim_token = d.claim_token
				WHERE d.tip IN (SELECT tip FROM found) AND ` + unclaimed + ` ORDER BY d.tip FOR UPDATE OF d SKIP LOCKED)
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
