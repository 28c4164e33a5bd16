package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// sampleEvery is the least time between two samples, over all hosts.
const sampleEvery = 5 * time.Minute

// Disk is the state of the volume of a host's output folder.
type Disk struct {
	Host       string `json:"host"`
	Path       string `json:"path"`
	FreeBytes  int64  `json:"free_bytes"`
	TotalBytes int64  `json:"total_bytes"`
}

// Measures are the numbers in a sample.
type Measures struct {
	Records           map[Status]int64 `json:"records"` // by status
	PermanentlyFailed int64            `json:"permanently_failed"`
	Due               int64            `json:"due"`
	Later             int64            `json:"later"`
	OldestDueSeconds  float64          `json:"oldest_due_seconds"` // how long the oldest due record waits
	Attachments       int64            `json:"attachments"`        // complete attachments
	AttachmentBytes   int64            `json:"attachment_bytes"`
	UnknownHashes     int64            `json:"unknown_hashes"`
	Requests          int64            `json:"requests"` // since the mirror was set up
	RequestFailures   int64            `json:"request_failures"`
	Circuit           CircuitState     `json:"circuit"`
	DatabaseBytes     int64            `json:"database_bytes"`
	Disk              *Disk            `json:"disk"` // nil: the output folder is not available
}

// Sample is the state of the mirror at one time.
type Sample struct {
	At time.Time `json:"at"`
	Measures
}

// measures is the SQL that builds the document of [Measures]; $1 is the disk.
const measures = `jsonb_build_object(
	'records', (SELECT coalesce(jsonb_object_agg(s.processing_status, s.records), '{}') FROM
		(SELECT processing_status, sum(records) AS records FROM noggin_schema.record_counts GROUP BY 1) AS s),
	'permanently_failed', (SELECT coalesce(sum(records), 0) FROM noggin_schema.record_counts WHERE permanently_failed),
	'due', q.due, 'later', q.later, 'oldest_due_seconds', coalesce(greatest(extract(epoch FROM now() - q.oldest_at), 0), 0),
	'attachments', f.files, 'attachment_bytes', f.bytes,
	'unknown_hashes', (SELECT count(*) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL),
	'requests', c.total_requests, 'request_failures', c.total_failures, 'circuit', c.state,
	'database_bytes', pg_database_size(current_database()), 'disk', $1::jsonb)`

// Sample stores the state of the mirror as a sample, unless the last five minutes have
// one. After that it folds the counts if they have grown, and once an hour it thins old
// samples. disk may be nil.
func (db *DB) Sample(ctx context.Context, disk *Disk) (taken bool, err error) {
	if disk != nil {
		disk.Host = db.host
	}
	doc, err := json.Marshal(disk)
	if err != nil {
		return false, fmt.Errorf("encode the disk's state: %w", err)
	}
	var after struct {
		Counts int64 `db:"counts"`
		Hourly bool  `db:"hourly"`
	}
	err = db.get(ctx, "take a sample", &after, `
		INSERT INTO noggin_schema.samples (taken_at, measures)
		SELECT now(), `+measures+`
		FROM noggin_schema.queue_depth q, noggin_schema.circuit c,
		     (SELECT coalesce(sum(files), 0) AS files, coalesce(sum(bytes), 0) AS bytes FROM noggin_schema.file_counts
		      WHERE kind = 'attachment' AND status = 'complete') AS f,
		     (SELECT FROM noggin_schema.schema_version ORDER BY version DESC LIMIT 1 FOR UPDATE SKIP LOCKED) AS turn
		WHERE NOT EXISTS (SELECT FROM noggin_schema.samples WHERE taken_at > now() - $2 * interval '1 second')
		ON CONFLICT DO NOTHING
		RETURNING greatest((SELECT count(*) FROM noggin_schema.record_counts), (SELECT count(*) FROM noggin_schema.file_counts)) AS counts,
			NOT EXISTS (SELECT FROM noggin_schema.samples WHERE taken_at >= date_trunc('hour', now())) AS hourly`,
		string(doc), sampleEvery.Seconds())
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := db.CountUnknown(ctx); err != nil {
		return true, err
	}
	if after.Counts >= foldFrom {
		if err := db.Fold(ctx); err != nil {
			return true, err
		}
	}
	if !after.Hourly {
		return true, nil
	}
	_, err = db.ThinSamples(ctx)
	return true, err
}

// ThinSamples keeps one sample an hour after two days and one a day after 60 days. It
// returns how many it deleted.
func (db *DB) ThinSamples(ctx context.Context) (int64, error) {
	var n int64
	err := db.get(ctx, "thin old samples", &n, `
		WITH gone AS (DELETE FROM noggin_schema.samples s USING (
			SELECT taken_at, row_number() OVER (PARTITION BY
				CASE WHEN taken_at < now() - interval '60 days' THEN date_trunc('day', taken_at) ELSE date_trunc('hour', taken_at) END,
				taken_at < now() - interval '60 days' ORDER BY taken_at) AS n
			FROM noggin_schema.samples WHERE taken_at < now() - interval '2 days') AS old
			WHERE s.taken_at = old.taken_at AND old.n > 1 RETURNING 1)
		SELECT count(*) FROM gone`)
	return n, err
}

// Samples returns the samples since a time, the oldest first.
func (db *DB) Samples(ctx context.Context, since time.Time) ([]Sample, error) {
	var rows []struct {
		At       time.Time `db:"taken_at"`
		Measures []byte    `db:"measures"`
	}
	if err := db.selectAll(ctx, "read the samples", &rows, `
		SELECT taken_at, measures FROM noggin_schema.samples WHERE taken_at >= $1::timestamptz ORDER BY taken_at`,
		since.Format(time.RFC3339Nano)); err != nil {
		return nil, err
	}
	samples := make([]Sample, len(rows))
	for i, r := range rows {
		samples[i].At = r.At
		if err := json.Unmarshal(r.Measures, &samples[i].Measures); err != nil {
			return nil, fmt.Errorf("read the sample of %s: %w", r.At, err)
		}
	}
	return samples, nil
}
