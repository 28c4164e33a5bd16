package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// Circuit is the circuit's row. All runs on all hosts share it.
type Circuit struct {
	State          CircuitState `db:"state"`
	Generation     int64        `db:"generation"`
	Recent         string       `db:"recent"` // the last requests, oldest first: '1' failed, '0' answered
	OpenUntil      *time.Time   `db:"open_until"`
	ProbesLeased   int          `db:"probes_leased"`
	ProbesExpireAt *time.Time   `db:"probes_expire_at"`
	TotalRequests  int64        `db:"total_requests"`
	TotalFailures  int64        `db:"total_failures"`
	PausedUntil    *time.Time   `db:"paused_until"` // a 429 on any host
	// FirstOutcomes is like Recent of the first request of each record that had not
	// failed before.
	FirstOutcomes string `db:"first_outcomes"`
	Subject       string `db:"subject"` // what it opened for: [SubjectMedia], or the code of a form
	// Probing says whose requests are probes of a half-open circuit. It is "" until the
	// witness was asked.
	Probing       Probing    `db:"probing"`
	QuestionRun   *int64     `db:"question_run"` // the run that asks the witness, until QuestionUntil
	QuestionUntil *time.Time `db:"question_until"`
	Answered      HostTimes  `db:"answered"` // when each host was answered last
	// MediaFailingSince is nil unless the witness for media fails.
	MediaFailingSince *time.Time `db:"media_failing_since"`
}

// SubjectMedia is the subject of requests for attachments. That of requests for records
// is the code of their form.
const SubjectMedia = "media"

// Probing says whose requests are probes of a half-open circuit.
type Probing string

// The records whose requests are probes.
const (
	ProbingNew Probing = "new" // those that have not failed before
	ProbingAny Probing = "any"
)

// HostTimes are times by the name of a host, stored as JSON.
type HostTimes map[string]time.Time

// Scan is part of sql.Scanner.
func (h *HostTimes) Scan(src any) error {
	*h = nil
	switch text := src.(type) {
	case nil:
		return nil
	case []byte:
		return json.Unmarshal(text, h)
	case string:
		return json.Unmarshal([]byte(text), h)
	}
	return fmt.Errorf("read times of hosts from a %T", src)
}

// Transition is a change of the circuit's state.
type Transition struct {
	From        CircuitState `db:"from_state" json:"from"`
	To          CircuitState `db:"to_state" json:"to"`
	Reason      string       `db:"reason" json:"reason"`
	FailureRate float64      `db:"failure_rate" json:"failure_rate_percent"`
	RunID       *int64       `db:"run_id" json:"run_id"`
	At          time.Time    `db:"created_at" json:"at"`
}

const circuitColumns = `c.state, c.generation, c.recent, c.open_until, c.probes_leased, c.probes_expire_at,
	c.total_requests, c.total_failures, c.paused_until, c.first_outcomes, c.subject, c.probing, c.question_run, c.question_until,
	c.answered, c.media_failing_since`

// StepCircuit changes the circuit. step gets the row and the server's time; it returns the
// new row and the transitions. step must be pure: it runs again when another run was
// faster. No lock is held while this program has to act: one that hangs or loses its
// network would hold up the requests of all hosts.
func (db *DB) StepCircuit(ctx context.Context, run int64, step func(c Circuit, now time.Time) (Circuit, []Transition)) (Circuit, time.Time, error) {
	var row struct {
		Circuit
		Now     time.Time `db:"now"`
		Version string    `db:"version"`
	}
	err := db.retry(ctx, "update the circuit", mayPass, func(ctx context.Context) error {
		for {
			if err := db.pool.GetContext(ctx, &row, db.sql(`SELECT clock_timestamp() AS now, c.xmin::text AS version, `+circuitColumns+` FROM noggin_schema.circuit c`)); err != nil {
				return err
			}
			before, err := json.Marshal(row.Circuit) // step may change its map
			if err != nil {
				return err
			}
			next, transitions := step(row.Circuit, row.Now)
			row.Circuit = next
			after, err := json.Marshal(next)
			if err != nil || len(transitions) == 0 && bytes.Equal(before, after) {
				return err
			}
			replaced, err := db.replaceCircuit(ctx, row.Version, run, next, transitions)
			if err != nil || replaced {
				return err
			}
		}
	})
	return row.Circuit, row.Now, err
}

// replaceCircuit stores the circuit and its transitions unless the row is no longer the
// version that was read.
func (db *DB) replaceCircuit(ctx context.Context, version string, run int64, next Circuit, transitions []Transition) (replaced bool, err error) {
	answered, err := json.Marshal(next.Answered)
	if err != nil {
		return false, err
	}
	var from, to, reasons []string
	var rates []float64
	for _, t := range transitions {
		from, to, reasons, rates = append(from, string(t.From)), append(to, string(t.To)), append(reasons, t.Reason), append(rates, t.FailureRate)
	}
	err = db.pool.GetContext(ctx, &replaced, db.sql(`
		WITH replaced AS (
			UPDATE noggin_schema.circuit SET state = $2, generation = $3, recent = $4, open_until = $5::timestamptz, probes_leased = $6,
				probes_expire_at = $7::timestamptz, total_requests = $8, total_failures = $9, updated_at = now(), first_outcomes = $10,
				subject = $11, probing = $12, question_run = $13::bigint, question_until = $14::timestamptz,
				answered = coalesce(nullif($15::jsonb, 'null'), '{}'), media_failing_since = $16::timestamptz
			WHERE xmin::text = $1
			RETURNING id
		), told AS (
			INSERT INTO noggin_schema.circuit_transitions (from_state, to_state, reason, failure_rate, run_id)
			SELECT t.from_state, t.to_state, t.reason, t.failure_rate, nullif($17::bigint, 0)
			FROM replaced, unnest($18::text[], $19::text[], $20::text[], $21::float8[]) WITH ORDINALITY AS t (from_state, to_state, reason, failure_rate, n)
			ORDER BY t.n
		)
		SELECT EXISTS (SELECT FROM replaced)`),
		version, next.State, next.Generation, next.Recent, next.OpenUntil, next.ProbesLeased, next.ProbesExpireAt, next.TotalRequests, next.TotalFailures,
		next.FirstOutcomes, next.Subject, string(next.Probing), next.QuestionRun, next.QuestionUntil, string(answered), next.MediaFailingSince,
		run, pq.Array(from), pq.Array(to), pq.Array(reasons), pq.Array(rates))
	return replaced, err
}

// PauseRequests makes every run on every host wait for d: the API answered 429.
func (db *DB) PauseRequests(ctx context.Context, d time.Duration) error {
	return db.retry(ctx, "pause the requests", mayPass, func(ctx context.Context) error {
		_, err := db.pool.ExecContext(ctx, db.sql(`UPDATE noggin_schema.circuit
			SET paused_until = greatest(paused_until, now() + $1 * interval '1 second')`), d.Seconds())
		return err
	})
}

// ReserveRequests reserves n requests under the rate limit that all hosts share. It
// returns how long to wait for the first; the others follow at the rate. A wait of
// more than a minute and a hundred requests means that the server's clock was set
// back, and the reservations begin again from now.
func (db *DB) ReserveRequests(ctx context.Context, n int, perSecond float64) (time.Duration, error) {
	var seconds float64
	err := db.retry(ctx, "reserve requests", mayPass, func(ctx context.Context) error {
		return db.pool.GetContext(ctx, &seconds, db.sql(`
			UPDATE noggin_schema.circuit SET rate_next_at = $1::int / $2::float8 * interval '1 second' +
				CASE WHEN rate_next_at BETWEEN clock_timestamp() AND clock_timestamp() + (60 + 100 / $2::float8) * interval '1 second'
				THEN rate_next_at ELSE clock_timestamp() END
			RETURNING extract(epoch FROM rate_next_at - $1::int / $2::float8 * interval '1 second' - clock_timestamp())::float8`), n, perSecond)
	})
	return max(0, time.Duration(seconds*float64(time.Second))), err
}
