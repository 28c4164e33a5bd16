package storage

var tableChecks = []Check{
	sequencesBehind,
	{
		Name: "orphaned_references", Message: "references to hashes have no record", Fixable: true,
		query: `SELECT DISTINCT r.record_tip AS tip, r.record_tip AS example FROM noggin_schema.record_hashes r
			WHERE NOT EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE d.tip = r.record_tip)`,
	},
	{
		Name: "names_not_applied", Message: "hashes are listed as unknown, but have a name",
		query: `SELECT u.first_seen_tip AS tip, u.entity_type || ' ' || u.hash_value AS example FROM noggin_schema.unknown_hashes u
			WHERE u.resolved_at IS NULL AND ` + rechecked + ` AND EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = u.hash_value)`,
	},
	{
		Name: "resolved_without_name", Message: "hashes are listed as resolved, but have no name", Fixable: true,
		query: `SELECT u.first_seen_tip AS tip, u.entity_type || ' ' || u.hash_value AS example FROM noggin_schema.unknown_hashes u
			WHERE u.resolved_at IS NOT NULL AND NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = u.hash_value)`,
	},
	{
		Name: "unlisted_unknown", Message: "hashes have no name, but are not listed as unknown", Fixable: true,
		query: `SELECT r.tip, r.entity_type || ' ' || r.hash_value AS example
			FROM (SELECT entity_type, hash_value, min(record_tip) AS tip FROM noggin_schema.record_hashes GROUP BY 1, 2) AS r
			WHERE NOT EXISTS (SELECT FROM noggin_schema.entity_hashes e WHERE e.hash_value = r.hash_value)
			  AND NOT EXISTS (SELECT FROM noggin_schema.unknown_hashes u WHERE u.hash_value = r.hash_value AND u.entity_type = r.entity_type)`,
	},
	{
		Name: "record_counts", Message: "counts of records by form and status, which reports show, are wrong", Fixable: true,
		query: `SELECT NULL::text AS tip, concat_ws(' ', c.object_type, c.processing_status, CASE WHEN c.permanently_failed THEN 'permanently failed' END)
				|| ': ' || sum(c.counted) || ' stored, ' || sum(c.there) || ' counted' AS example
			FROM (SELECT object_type, processing_status, permanently_failed, records AS counted, 0 AS there FROM noggin_schema.record_counts
				UNION ALL SELECT object_type, processing_status, permanently_failed, 0, count(*) FROM noggin_schema.noggin_data GROUP BY 1, 2, 3) AS c
			GROUP BY c.object_type, c.processing_status, c.permanently_failed HAVING sum(c.counted) <> sum(c.there)`,
	},
	{
		Name: "file_counts", Message: "counts of files by month and form, which reports show, are wrong", Fixable: true,
		query: `SELECT NULL::text AS tip, concat_ws(' ', c.month, c.object_type, c.kind, c.status)
				|| ': ' || sum(c.counted) || ' stored, ' || sum(c.there) || ' counted' AS example
			FROM (SELECT month, object_type, kind, status, files AS counted, 0 AS there, bytes AS counted_bytes, 0 AS bytes FROM noggin_schema.file_counts
				UNION ALL
				SELECT noggin_schema.month_of(d.folder, d.inspection_date), d.object_type, f.kind, f.status, 0, sum(f.there), 0, sum(f.bytes)
				FROM (SELECT record_tip, 'attachment' AS kind, attachment_status AS status, count(*) AS there,
				             coalesce(sum(file_size_bytes) FILTER (WHERE attachment_status = 'complete'), 0) AS bytes
				      FROM noggin_schema.attachments GROUP BY 1, 3
				      UNION ALL
				      SELECT record_tip, CASE kind WHEN 'report' THEN 'report' ELSE 'attachment' END, 'former', count(*), sum(size_bytes)
				      FROM noggin_schema.former_files GROUP BY 1, 2) AS f
				JOIN noggin_schema.noggin_data d ON d.tip = f.record_tip GROUP BY 1, 2, 3, 4
				UNION ALL
				SELECT noggin_schema.month_of(d.folder, d.inspection_date), d.object_type, 'report', 'complete', 0, count(*), 0, sum(d.report_size_bytes)
				FROM noggin_schema.noggin_data d WHERE d.report_size_bytes IS NOT NULL GROUP BY 1, 2) AS c
			GROUP BY c.month, c.object_type, c.kind, c.status
			HAVING sum(c.counted) <> sum(c.there) OR sum(c.counted_bytes) <> sum(c.bytes)`,
	},
}
