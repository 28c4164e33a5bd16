-- The replaced service's tables as the manual shows them, with other types and some
-- columns that noggin does not have.
CREATE SCHEMA noggin_schema;
CREATE TABLE noggin_schema.noggin_data (
    id serial PRIMARY KEY,
    tip varchar(64),
    object_type varchar(100),
    processing_status varchar(20),
    lcd_inspection_id varchar(50),
    inspection_date text,
    vehicle text,
    vehicle_hash varchar(64),
    total_attachments text,
    completed_attachment_count integer,
    has_unknown_hashes boolean,
    retry_count integer,
    next_retry_at timestamp,
    last_error_message text,
    permanently_failed boolean,
    archived boolean,
    raw_json text,
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now()
);
CREATE TABLE noggin_schema.attachments (
    record_tip varchar(64),
    attachment_tip varchar(64),
    attachment_sequence integer,
    filename text,
    file_path text,
    attachment_status varchar(20),
    attachment_validation_status varchar(20),
    file_size_bytes bigint,
    file_hash_sha256 varchar(64),
    download_started_at timestamp,
    download_duration_seconds numeric(10, 3),
    last_error_message text
);
CREATE TABLE noggin_schema.entity_hashes (entity_type varchar(20), hash_value varchar(64), entity_name text, created_at timestamp);
CREATE TABLE noggin_schema.unknown_hashes (entity_type varchar(20), hash_value varchar(64), first_seen_tip varchar(64), resolved_at timestamp);

INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status, lcd_inspection_id, inspection_date, vehicle, retry_count, permanently_failed, archived) VALUES
    ('aa', 'Load Compliance Check (Driver/Loader)', 'complete', 'LCD - 000001', '2025-09-17 00:00:00', 'TRUCK 1', 0, false, NULL),
    ('bb', 'couplingComplianceCheck', 'importing', NULL, NULL, NULL, NULL, NULL, false),
    ('cc', NULL, 'api_failed', NULL, '', NULL, 4, true, false),
    ('dd', NULL, 'complete', NULL, NULL, NULL, 0, false, true),
    ('not a tip!', NULL, 'pending', NULL, NULL, NULL, 0, false, false);
INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, filename, attachment_status, file_path) VALUES
    ('aa', 'p1', 1, 'a.jpg', 'completed', '/mnt/data/noggin/output/2025/09/2025-09-17 LCD-000001/a.jpg'),
    ('aa', 'p2', 1, 'b.jpg', 'failed', NULL), ('gone', 'p3', 1, 'c.jpg', 'complete', NULL),
    ('bb', 'q1', 1, 'one.jpg', 'complete', '2025/09/shared/one.jpg'),
    ('bb', 'q2', 2, '/srv/old/2025/08/x/two.jpg', 'complete', NULL),
    ('bb', 'q3', 3, 'three.jpg', 'complete', '/mnt/data/noggin/output/2025/../../../etc/three.jpg'),
    ('bb', 'q4', 4, NULL, 'complete', './2025/09/four.jpg'),
    ('bb', 'q5', 5, 'same.jpg', 'complete', '2025/07/same.jpg'), ('bb', 'q6', 6, 'same.jpg', 'complete', '2025/07/same.jpg');
INSERT INTO noggin_schema.attachments (record_tip, attachment_tip, attachment_sequence, filename, attachment_status, file_path, file_hash_sha256) VALUES
    ('bb', 'q7', 7, 'seven.jpg', 'complete', 'seven.jpg', upper(repeat('ab', 32)));
INSERT INTO noggin_schema.entity_hashes VALUES ('vehicle', 'h1', 'TRUCK 1', now()), ('team', 'h2', 'Perth', NULL), ('team', 'h3', NULL, now()),
    (NULL, 'h4', 'Nobody', now()), ('Trailer ', 'h5', 'TRAILER 5', now()), ('team', 'h6', '', now());
INSERT INTO noggin_schema.unknown_hashes VALUES ('trailer', 'h4', 'aa', NULL);
