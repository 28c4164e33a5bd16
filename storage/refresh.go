package storage

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Asking is how the asking of a complete record ended that changed nothing of it.
type Asking struct {
	Tip        string      `json:"tip"`
	Token      int64       `json:"token"`
	HTTPStatus int         `json:"http_status"` // 0: none came
	Failed     bool        `json:"failed"`      // or the answer was older or reduced: it is asked for again the next day
	Broken     bool        `json:"broken"`      // the run ended first: the record stays due, behind those that are due already
	Failures   []Failure   `json:"-"`
	Suspects   []Suspect   `json:"-"`
	Served     []Served    `json:"-"`
	Found      []FoundFile `json:"-"`
}

// The next step of [refresh] after. $1 are the seconds of each; f.version_at is known.
const nextStep = `LEFT JOIN LATERAL (
	SELECT s.n - 1 AS step, f.version_at + s.seconds * (1 + 0.2 * random()) * interval '1 second' AS due_at
	FROM unnest($1::float8[]) WITH ORDINALITY AS s (seconds, n)
	WHERE f.version_at + s.seconds * interval '1 second' > now() ORDER BY s.n LIMIT 1) AS next ON true`

func seconds(steps []time.Duration) any {
	s := make([]float64, len(steps))
	for i, d := range steps {
		s[i] = d.Seconds()
	}
	return pq.Array(s)
}

// Asked records askings that changed nothing and frees the claims. It returns the
// records whose claim still held and may be repeated.
func (db *DB) Asked(ctx context.Context, run int64, askings []Asking, backoff Backoff) ([]Finished, error) {
	return settle(ctx, db, "record the askings", run, askings, func(tx *sqlx.Tx, owned []Asking) error {
		tips, failures, suspects, served, found := make([]string, len(owned)), []Failure{}, []Suspect{}, []Served{}, []FoundFile{}
		unknown := []string{} // records that had files which the database did not know
		for i, a := range owned {
			tips[i], failures = a.Tip, append(failures, a.Failures...)
			suspects, served, found = append(suspects, a.Suspects...), append(served, a.Served...), append(found, a.Found...)
			if slices.ContainsFunc(a.Found, func(f FoundFile) bool { return f.Validation == "" }) {
				unknown = append(unknown, a.Tip)
			}
		}
		if err := db.writeSuspects(ctx, tx, suspects); err != nil {
			return err
		}
		if err := db.writeServed(ctx, tx, served); err != nil {
			return err
		}
		if err := db.writeFound(ctx, tx, found); err != nil {
			return err
		}
		if err := db.writeAskings(ctx, tx, owned, backoff.AskAgain); err != nil {
			return err
		}
		if err := db.writeFailures(ctx, tx, run, failures); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, db.sql(`
			UPDATE noggin_schema.noggin_data d SET claimed_by = NULL, claim_expires_at = NULL, crash_count = 0,
				names_stale = d.names_stale OR d.report_path IS NOT NULL AND d.tip = ANY($2::text[]) -- the killed run may have written the text report
			WHERE d.tip = ANY($1::text[])`), pq.Array(tips), pq.Array(unknown))
		return err
	})
}

func (db *DB) writeAskings(ctx context.Context, tx *sqlx.Tx, askings []Asking, steps []time.Duration) error {
	var broken []string
	askings = slices.DeleteFunc(slices.Clone(askings), func(a Asking) bool {
		if a.Broken {
			broken = append(broken, a.Tip)
		}
		return a.Broken
	})
	if len(broken) > 0 { // or one that ends each run would hold up all others
		if _, err := tx.ExecContext(ctx, db.sql(`
			UPDATE noggin_schema.refreshes r SET due_at = now() FROM (SELECT o.record_tip FROM noggin_schema.refreshes o
				WHERE o.record_tip = ANY($1::text[]) AND o.due_at < now() ORDER BY o.record_tip FOR NO KEY UPDATE) AS o
			WHERE r.record_tip = o.record_tip`), pq.Array(broken)); err != nil {
			return err
		}
	}
	if len(askings) == 0 {
		return nil
	}
	doc, err := json.Marshal(askings)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.refreshes AS r (record_tip, due_at, step, version_at, asked_at, last_status)
		SELECT f.tip, CASE WHEN NOT f.failed THEN next.due_at WHEN cardinality($1::float8[]) > 0
		           THEN now() + (1 + 0.2 * random()) * interval '1 day' END,
		       coalesce(CASE WHEN NOT f.failed THEN next.step ELSE f.step END, 0), f.version_at, now(), f.http_status
		FROM (SELECT v.tip, v.http_status, v.failed, (SELECT o.step FROM noggin_schema.refreshes o WHERE o.record_tip = v.tip) AS step,
		             coalesce((SELECT o.version_at FROM noggin_schema.refreshes o WHERE o.record_tip = v.tip), `+versionStored+`, now()) AS version_at
			FROM jsonb_to_recordset($2::jsonb) AS v (tip text, http_status integer, failed boolean)
			JOIN noggin_schema.noggin_data d ON d.tip = v.tip) AS f `+nextStep+`
		ORDER BY f.tip
		ON CONFLICT (record_tip) DO UPDATE SET due_at = excluded.due_at, step = excluded.step, asked_at = now(), last_status = excluded.last_status`),
		seconds(steps), string(doc)); err != nil {
		return err
	}
	var back []string
	for _, a := range askings {
		if a.HTTPStatus == 200 {
			back = append(back, a.Tip)
		}
	}
	return db.noteReturned(ctx, tx, back)
}

// versionStored is when the current version of the record d was stored. The clock of the
// server may have been ahead then.
const versionStored = `(SELECT least(v.fetched_at, now()) FROM noggin_schema.record_versions v WHERE v.record_tip = d.tip AND v.version = coalesce(d.version, 1))`

// scheduleRefreshes sets when the records of the results are asked for again: complete
// ones at the next step of their version, those to be asked again at their step as soon as
// the next day. Others never are, as they are in the queue.
func (db *DB) scheduleRefreshes(ctx context.Context, tx *sqlx.Tx, results []Result, steps []time.Duration) error {
	var tips, back []string
	for _, r := range results {
		tips = append(tips, r.Tip)
		if r.HTTPStatus == 200 {
			back = append(back, r.Tip)
		}
	}
	doc, err := json.Marshal(results)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.refreshes AS r (record_tip, due_at, step, version_at, asked_at, last_status)
		SELECT f.tip, CASE WHEN f.done THEN CASE WHEN NOT f.again THEN next.due_at WHEN cardinality($1::float8[]) > 0 THEN now() + interval '1 day' END END,
		       coalesce(CASE WHEN f.again THEN f.step END, next.step, 0), f.version_at, now(), f.http_status
		FROM (SELECT d.tip, d.processing_status = 'complete' AS done, v.again, v.http_status, o.step, coalesce(`+versionStored+`, o.version_at, now()) AS version_at
			FROM noggin_schema.noggin_data d
			JOIN jsonb_to_recordset($3::jsonb) AS v (tip text, again boolean, http_status integer) ON v.tip = d.tip
			LEFT JOIN noggin_schema.refreshes o ON o.record_tip = d.tip
			WHERE d.tip = ANY($2::text[]) AND (d.processing_status = 'complete' OR o.record_tip IS NOT NULL)) AS f `+nextStep+`
		ORDER BY f.tip
		ON CONFLICT (record_tip) DO UPDATE SET due_at = excluded.due_at, step = excluded.step, version_at = excluded.version_at,
			asked_at = now(), last_status = excluded.last_status`), seconds(steps), pq.Array(tips), string(doc)); err != nil {
		return err
	}
	return db.noteReturned(ctx, tx, back)
}

// resumePage is how many records [DB.ResumeAskings] makes due.
const resumePage = 10_000

// ResumeAskings makes complete records due at the next of the steps, where none was left
// when their times were set, as [refresh] after was empty or shorter. It takes a page of
// them, the oldest versions first. Where there are none it reads next to nothing: their
// index ends with the records whose steps are all over.
func (db *DB) ResumeAskings(ctx context.Context, steps []time.Duration) error {
	if len(steps) == 0 {
		return nil
	}
	var resumed int // a statement alone takes no transaction
	return db.get(ctx, "make records due that were asked for no more", &resumed, `
		WITH resumed AS (UPDATE noggin_schema.refreshes r SET due_at = next.due_at, step = next.step
		FROM (SELECT n.record_tip, n.version_at FROM noggin_schema.refreshes n WHERE n.record_tip = ANY (ARRAY(
			SELECT o.record_tip FROM noggin_schema.refreshes o
			WHERE o.due_at IS NULL AND o.version_at > now() - $2 * interval '1 second'
			  AND (SELECT d.processing_status FROM noggin_schema.noggin_data d WHERE d.tip = o.record_tip) = 'complete'
			ORDER BY o.version_at LIMIT $3 FOR NO KEY UPDATE OF o SKIP LOCKED))) AS f `+nextStep+`
		WHERE r.record_tip = f.record_tip AND next.due_at IS NOT NULL RETURNING r.record_tip)
		SELECT count(*) FROM resumed`, seconds(steps), slices.Max(steps).Seconds(), resumePage)
}

// LookAgain makes records that are complete due now, as the platform no longer serves
// them as they were. It leaves those alone whose last asking has shown that already.
func (db *DB) LookAgain(ctx context.Context, tips []string) error {
	return db.change(ctx, "make records due that changed at the platform", `
		INSERT INTO noggin_schema.refreshes AS r (record_tip, due_at, version_at)
		SELECT d.tip, now(), coalesce(`+versionStored+`, d.processed_at, now()) FROM noggin_schema.noggin_data d
		WHERE d.tip = ANY($1::text[]) AND d.processing_status = 'complete' ORDER BY d.tip
		ON CONFLICT (record_tip) DO UPDATE SET due_at = now() WHERE coalesce(r.last_status, 200) = 200`, pq.Array(tips))
}

// noteMissing notes that the API does not have, or does not give, records that were
// complete once. A second time on another day they are gone. Healing writes the text
// report that says so. failures is a JSON array of [CountedFailure].
func (db *DB) noteMissing(ctx context.Context, tx *sqlx.Tx, failures string, tips []string) error {
	_, err := tx.ExecContext(ctx, db.sql(`
		WITH v AS (SELECT d.tip FROM noggin_schema.noggin_data d
			JOIN jsonb_to_recordset($1::jsonb) AS v (tip text, token bigint, kept boolean) ON d.tip = v.tip AND d.claim_token = v.token AND v.kept
			WHERE d.tip = ANY($2) AND d.claimed_by IS NULL ORDER BY d.tip FOR NO KEY UPDATE OF d),
		missing AS (UPDATE noggin_schema.refreshes r SET missing_since = coalesce(r.missing_since, now()),
			gone_at = CASE WHEN r.missing_since::date < current_date AND (r.gone_at IS NULL OR r.returned_at IS NOT NULL) THEN now() ELSE r.gone_at END,
			gone_status = CASE WHEN r.missing_since::date < current_date THEN r.last_status ELSE r.gone_status END,
			returned_at = CASE WHEN r.missing_since::date < current_date THEN NULL ELSE r.returned_at END
			FROM v WHERE r.record_tip = v.tip AND r.last_status IN (403, 404, 410)
			RETURNING r.record_tip, r.gone_at)
		UPDATE noggin_schema.noggin_data d SET names_stale = true FROM missing m
		WHERE d.tip = m.record_tip AND m.gone_at = now() AND d.report_path IS NOT NULL`), failures, pq.Array(tips))
	return err
}

// noteReturned takes the mark off records that the API gives again.
func (db *DB) noteReturned(ctx context.Context, tx *sqlx.Tx, tips []string) error {
	if len(tips) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, db.sql(`
		WITH back AS (UPDATE noggin_schema.refreshes r SET missing_since = NULL,
			returned_at = CASE WHEN r.gone_at IS NOT NULL THEN coalesce(r.returned_at, now()) END
			WHERE r.record_tip = ANY($1::text[]) AND r.missing_since IS NOT NULL RETURNING r.record_tip, r.returned_at)
		UPDATE noggin_schema.noggin_data d SET names_stale = true FROM back b
		WHERE d.tip = b.record_tip AND b.returned_at = now() AND d.report_path IS NOT NULL`), pq.Array(tips))
	return err
}

// seedRefreshes makes complete records of an older schema due at those steps that are
// still to come. Where there are no steps, [DB.ResumeAskings] does so when there are.
func (db *DB) seedRefreshes(ctx context.Context, tx *sqlx.Tx, steps []time.Duration) error {
	_, err := tx.ExecContext(ctx, db.sql(`
		INSERT INTO noggin_schema.refreshes (record_tip, due_at, step, version_at)
		SELECT f.tip, next.due_at, coalesce(next.step, 0), f.version_at
		FROM (SELECT d.tip, coalesce(d.processed_at, d.updated_at) AS version_at FROM noggin_schema.noggin_data d
			WHERE d.processing_status = 'complete' AND d.payload IS NOT NULL
			  AND ($2::float8 = 0 OR coalesce(d.processed_at, d.updated_at) > now() - $2 * interval '1 second')) AS f `+nextStep+`
		WHERE next.due_at IS NOT NULL OR $2::float8 = 0 ON CONFLICT DO NOTHING`), seconds(steps), slices.Max(append([]time.Duration{0}, steps...)).Seconds())
	return err
}

// Marks are what a text report says about the versions of its record.
type Marks struct {
	Version      int     // the current one; 0: the record has no answer
	ReportPath   *string // nil: no report was written yet
	ReportSize   *int64
	ReportSHA256 *string
	ReportShows  int  // the version that the report shows
	ReportStored bool // the report is only in an archive
	Versions     []VersionMark
	ExpectedID   *string // by the import
	ExpectedDate *string
	GoneAt       *time.Time
	GoneStatus   int
	// Taken are the names of its files that may not lie in its folder: former ones, and
	// attachments that are in archives.
	Taken []string
	// Dropped are the tips of attachments that left the record before they were complete, or
	// that only an older answer named, by their numbers. A run that was killed may have named
	// their files.
	Dropped map[int]string
}

// VersionMark is one version, as the text report lists it.
type VersionMark struct {
	Tip        string     `db:"record_tip" json:"-"`
	Version    int        `db:"version" json:"version"`
	Kind       string     `db:"kind" json:"kind"`
	FromRow    bool       `db:"from_row" json:"from_row"`
	SID        *string    `db:"sid" json:"sid"`
	ModifiedAt *time.Time `db:"api_modified_at" json:"api_modified_at"`
	FetchedAt  time.Time  `db:"fetched_at" json:"fetched_at"`
	Size       int64      `db:"size_bytes" json:"size_bytes"`
	SHA256     string     `db:"hash_sha256" json:"sha256"`
}

// marksOf reads the marks of records.
func (db *DB) marksOf(ctx context.Context, q sqlx.QueryerContext, tips []string) (map[string]Marks, error) {
	var rows []struct {
		Tip          string         `db:"tip"`
		Version      int            `db:"version"`
		ReportPath   *string        `db:"report_path"`
		ReportSize   *int64         `db:"report_size_bytes"`
		ReportSHA256 *string        `db:"report_hash_sha256"`
		ReportShows  int            `db:"report_shows"`
		ReportStored bool           `db:"report_stored"`
		ExpectedID   *string        `db:"expected_inspection_id"`
		ExpectedDate *string        `db:"expected_date"`
		GoneAt       *time.Time     `db:"gone_at"`
		GoneStatus   int            `db:"gone_status"`
		Taken        pq.StringArray `db:"taken"`
		Dropped      []byte         `db:"dropped"`
	}
	if err := sqlx.SelectContext(ctx, q, &rows, db.sql(`
		SELECT d.tip, CASE WHEN d.payload IS NULL THEN 0 ELSE coalesce(d.version, 1) END AS version,
		       d.report_path, d.report_size_bytes, d.report_hash_sha256, coalesce(d.report_version, 1) AS report_shows,
		       d.report_archive_id IS NOT NULL AS report_stored, d.expected_inspection_id, d.expected_inspection_date::text AS expected_date, d.dropped,
		       CASE WHEN r.returned_at IS NULL THEN r.gone_at END AS gone_at, coalesce(r.gone_status, 0) AS gone_status,
		       ARRAY(SELECT regexp_replace(f.path, '^.*/', '') FROM noggin_schema.former_files f WHERE f.record_tip = d.tip
		           UNION ALL SELECT a.filename FROM noggin_schema.attachments a WHERE a.record_tip = d.tip AND a.archive_id IS NOT NULL) AS taken
		FROM noggin_schema.noggin_data d LEFT JOIN noggin_schema.refreshes r ON r.record_tip = d.tip WHERE d.tip = ANY($1::text[])`),
		pq.Array(tips)); err != nil {
		return nil, err
	}
	var versions []VersionMark
	if err := sqlx.SelectContext(ctx, q, &versions, db.sql(`
		SELECT `+versionMark+` FROM noggin_schema.record_versions v WHERE v.record_tip = ANY($1::text[]) ORDER BY v.record_tip, v.version`),
		pq.Array(tips)); err != nil {
		return nil, err
	}
	marks := make(map[string]Marks, len(rows))
	for _, r := range rows {
		m := Marks{
			Version: r.Version, ReportPath: r.ReportPath, ReportSize: r.ReportSize, ReportSHA256: r.ReportSHA256, ReportShows: r.ReportShows,
			ReportStored: r.ReportStored, ExpectedID: r.ExpectedID, ExpectedDate: r.ExpectedDate, GoneAt: r.GoneAt, GoneStatus: r.GoneStatus, Taken: r.Taken,
		}
		if r.Dropped != nil && json.Unmarshal(r.Dropped, &m.Dropped) != nil {
			m.Dropped = nil // somebody else wrote it
		}
		for _, v := range versions {
			if v.Tip == r.Tip {
				m.Versions = append(m.Versions, v)
			}
		}
		marks[r.Tip] = m
	}
	return marks, nil
}

const versionMark = `v.record_tip, v.version, v.kind, v.from_row, v.sid, v.api_modified_at, v.fetched_at, v.size_bytes, v.hash_sha256`
