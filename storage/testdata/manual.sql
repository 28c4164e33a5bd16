-- Every SQL statement of the operations manual as it stands there, its misspellings
-- put right. Placeholders in angle brackets or shell variables carry a value.

SELECT COUNT(*) FROM noggin_data;

SELECT processing_status, COUNT(*) as count
FROM noggin_data
WHERE processing_status IN ('pending', 'failed', 'partial', 'api_failed')
GROUP BY processing_status;

SELECT
    COUNT(*) as total_today,
    SUM(CASE WHEN processing_status = 'complete' THEN 1 ELSE 0 END) as completed,
    ROUND(100.0 * SUM(CASE WHEN processing_status = 'complete' THEN 1 ELSE 0 END) / COUNT(*), 1) as completion_rate
FROM noggin_data
WHERE updated_at >= CURRENT_DATE;

ANALYZE VERBOSE noggin_data;
ANALYZE VERBOSE attachments;
ANALYZE VERBOSE entity_hashes;
VACUUM ANALYZE noggin_data;
VACUUM ANALYZE attachments;

SELECT
    schemaname,
    tablename,
    pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) as size
FROM pg_tables
WHERE schemaname = 'noggin_schema'
ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC;

SELECT
    error_type,
    COUNT(*) as occurrences,
    LEFT(error_message, 100) as sample_message
FROM processing_errors
WHERE created_at >= CURRENT_DATE - INTERVAL '7 days'
GROUP BY error_type, LEFT(error_message, 100)
ORDER BY COUNT(*) DESC
LIMIT 20;

SELECT
    DATE(updated_at) as date,
    COUNT(*) as tips_processed,
    ROUND(AVG(EXTRACT(EPOCH FROM (updated_at - created_at))), 1) as avg_seconds,
    MIN(EXTRACT(EPOCH FROM (updated_at - created_at))) as min_seconds,
    MAX(EXTRACT(EPOCH FROM (updated_at - created_at))) as max_seconds
FROM noggin_data
WHERE updated_at >= CURRENT_DATE - INTERVAL '7 days'
  AND processing_status = 'complete'
GROUP BY DATE(updated_at)
ORDER BY date DESC;

REINDEX TABLE noggin_data;
REINDEX TABLE attachments;
ANALYZE VERBOSE;

SELECT
    schemaname,
    tablename,
    attname,
    n_distinct,
    correlation
FROM pg_stats
WHERE schemaname = 'noggin_schema'
  AND n_distinct > 100
ORDER BY abs(correlation) DESC;

COPY (
    SELECT
        tip,
        lcd_inspection_id,
        last_error_message,
        retry_count,
        updated_at
    FROM noggin_data
    WHERE permanently_failed = TRUE
    ORDER BY updated_at DESC
) TO STDOUT WITH CSV HEADER;

UPDATE noggin_data
SET permanently_failed = FALSE,
    retry_count = 0,
    processing_status = 'pending',
    next_retry_at = NULL
WHERE tip IN ('tip1', 'tip2', 'tip3');

SELECT
    tip,
    lcd_inspection_id,
    processing_status,
    retry_count,
    last_error_message
FROM noggin_data
WHERE processing_status IN ('failed', 'partial', 'api_failed')
  AND retry_count < 5
ORDER BY updated_at DESC
LIMIT 20;

UPDATE noggin_data
SET retry_count = 0,
    next_retry_at = NULL,
    processing_status = 'pending'
WHERE tip IN ('tip_hash_1', 'tip_hash_2');

SELECT COUNT(*) as remaining_unknown
FROM unknown_hashes
WHERE entity_type = 'vehicle'
  AND resolved_at IS NULL;

SELECT
    tip,
    object_type,
    processing_status,
    lcd_inspection_id,
    inspection_date,
    total_attachments,
    completed_attachment_count,
    retry_count,
    last_error_message,
    updated_at
FROM noggin_data
WHERE tip = 'YOUR_TIP_HASH_HERE';

SELECT
    tip,
    processing_status,
    lcd_inspection_id,
    inspection_date,
    vehicle,
    trailer,
    total_attachments,
    completed_attachment_count
FROM noggin_data
WHERE lcd_inspection_id = 'LCD - 045289';

SELECT
    filename,
    attachment_status,
    file_size_bytes / 1024 / 1024 as size_mb,
    download_duration_seconds,
    attachment_validation_status
FROM attachments
WHERE record_tip = 'YOUR_TIP_HASH_HERE'
ORDER BY attachment_sequence;

COPY (
    SELECT tip, lcd_inspection_id, inspection_date
    FROM noggin_data
    WHERE processing_status = 'pending'
) TO STDOUT WITH CSV HEADER;

UPDATE noggin_data
SET processing_status = 'skipped',
    last_error_message = 'Manually skipped on 2025-10-22'
WHERE processing_status = 'pending';

SELECT 1;

SELECT
    error_type,
    COUNT(*) as count,
    MAX(created_at) as last_occurrence
FROM processing_errors
WHERE created_at >= CURRENT_TIMESTAMP - INTERVAL '1 hour'
GROUP BY error_type
ORDER BY count DESC;

SELECT
    pid,
    usename,
    application_name,
    state,
    query_start,
    LEFT(query, 100) as query
FROM pg_stat_activity
WHERE datname = 'noggin_db'
  AND state = 'active'
ORDER BY query_start;

SELECT
    pid,
    now() - query_start as duration,
    query
FROM pg_stat_activity
WHERE state = 'active'
  AND now() - query_start > interval '5 minutes'
ORDER BY duration DESC;

UPDATE noggin_data
SET processing_status = 'pending',
    retry_count = 0
WHERE has_unknown_hashes = TRUE
  AND processing_status = 'complete';

SELECT
    attachment_status,
    COUNT(*) as count
FROM attachments
WHERE download_started_at >= CURRENT_DATE
GROUP BY attachment_status;

SELECT
    filename,
    attachment_status,
    last_error_message
FROM attachments
WHERE attachment_status = 'failed'
ORDER BY download_started_at DESC
LIMIT 10;

ALTER TABLE noggin_data SET (
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.05
);

UPDATE noggin_data
SET archived = TRUE,
    archived_at = CURRENT_TIMESTAMP
WHERE inspection_date < '2023-10-22';

DELETE FROM processing_errors
WHERE created_at < CURRENT_DATE - INTERVAL '6 months';
VACUUM ANALYZE processing_errors;

SELECT tip, COUNT(*)
FROM noggin_data
GROUP BY tip
HAVING COUNT(*) > 1;

DELETE FROM noggin_data a
USING noggin_data b
WHERE a.tip = b.tip
  AND a.created_at < b.created_at;

SELECT a.record_tip, a.filename
FROM attachments a
LEFT JOIN noggin_data n ON a.record_tip = n.tip
WHERE n.tip IS NULL;

DELETE FROM attachments
WHERE record_tip NOT IN (SELECT tip FROM noggin_data);

COPY (
    SELECT
        lcd_inspection_id,
        inspection_date,
        vehicle,
        trailer,
        department,
        team,
        load_compliance,
        total_attachments,
        processing_status
    FROM noggin_data
    WHERE inspection_date >= '2025-01-01'
    ORDER BY inspection_date DESC
) TO STDOUT WITH CSV HEADER;

COPY (
    SELECT
        n.lcd_inspection_id,
        n.inspection_date,
        n.vehicle,
        n.trailer,
        a.filename,
        a.file_size_bytes / 1024 / 1024 as size_mb,
        a.attachment_status
    FROM noggin_data n
    LEFT JOIN attachments a ON n.tip = a.record_tip
    WHERE n.inspection_date >= '2025-01-01'
    ORDER BY n.inspection_date DESC, a.attachment_sequence
) TO STDOUT WITH CSV HEADER;

SELECT 'Missing LCD Inspection IDs' as issue, COUNT(*) as count
FROM noggin_data
WHERE lcd_inspection_id IS NULL
UNION ALL
SELECT 'Missing Inspection Dates', COUNT(*)
FROM noggin_data
WHERE inspection_date IS NULL
UNION ALL
SELECT 'Missing Attachments', COUNT(*)
FROM noggin_data
WHERE total_attachments > 0
  AND completed_attachment_count = 0;

SELECT
    n.tip,
    n.lcd_inspection_id,
    n.total_attachments as expected,
    COUNT(a.attachment_tip) as actual
FROM noggin_data n
LEFT JOIN attachments a ON n.tip = a.record_tip
WHERE n.total_attachments > 0
GROUP BY n.tip, n.lcd_inspection_id, n.total_attachments
HAVING n.total_attachments != COUNT(a.attachment_tip);

SELECT
    tip,
    lcd_inspection_id,
    total_attachments,
    completed_attachment_count
FROM noggin_data
WHERE processing_status = 'complete'
  AND total_attachments != completed_attachment_count;

SELECT * FROM noggin_data WHERE tip IS NULL LIMIT 10;

SELECT MAX(updated_at) FROM noggin_data;

UPDATE noggin_data
SET processing_status = 'pending',
    retry_count = 0,
    next_retry_at = NULL
WHERE updated_at >= '2025-10-15'
  AND processing_status NOT IN ('complete', 'skipped');

UPDATE noggin_data
SET processing_status = 'pending',
    has_unknown_hashes = FALSE
WHERE has_unknown_hashes = TRUE
  AND processing_status = 'complete';

DELETE FROM unknown_hashes
WHERE resolved_at IS NOT NULL
  AND resolved_at < CURRENT_DATE - INTERVAL '3 months';

SELECT COUNT(*) as total_records FROM noggin_data;
SELECT COUNT(*) as total_attachments FROM attachments;
SELECT COUNT(*) as total_hashes FROM entity_hashes;

DELETE FROM processing_errors WHERE created_at < CURRENT_DATE - INTERVAL '3 months';
VACUUM FULL processing_errors;

SELECT processing_status, COUNT(*) FROM noggin_data GROUP BY processing_status;
SELECT COUNT(*) FROM noggin_data WHERE updated_at >= CURRENT_DATE;
SELECT * FROM processing_errors WHERE created_at >= CURRENT_DATE ORDER BY created_at DESC LIMIT 20;
SELECT entity_type, COUNT(*) FROM unknown_hashes WHERE resolved_at IS NULL GROUP BY entity_type;
