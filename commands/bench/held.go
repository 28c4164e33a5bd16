package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"noggin/api/apitest"
)

// benchHeld compares a drain beside a transaction that has held its snapshot since many
// records were drained with a drain without one. While it lasts, PostgreSQL removes no
// former version of a row, so the indexes of the queue keep an entry of every drained
// record.
func benchHeld(ctx context.Context, b *bench) error {
	simulated := apitest.New(apitest.Options{Records: 1500, Forms: []string{"LCD"}, Photos: apitest.None})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return err
	}
	defer simulated.Close()
	drained := b.size(300_000)
	var firsts, claims, statements, walls, idle [2][]float64
	for range b.rounds {
		for i, held := range []bool{true, false} {
			f, err := b.drainHeld(ctx, simulated, drained, held)
			if err != nil {
				return err
			}
			firsts[i], claims[i], statements[i] = append(firsts[i], f.first), append(claims[i], f.claim), append(statements[i], f.statements)
			walls[i], idle[i] = append(walls[i], f.wall), append(idle[i], f.idle)
		}
	}
	beside := fmt.Sprintf(", a snapshot held for %d records", drained)
	b.compare("the slowest claim, which reads the whole queue"+beside, "ms", firsts[0], "none held", firsts[1])
	b.compare("another claim of the drain"+beside, "ms", claims[0], "none held", claims[1])
	b.compare("all statements of a record"+beside, "ms", statements[0], "none held", statements[1])
	b.compare("the drain"+beside, "s", walls[0], "none held", walls[1])
	b.compare("an idle run"+beside, "ms", idle[0], "none held", idle[1])
	return nil
}

// heldFigures has the slowest claim apart: the first of a run, and one every two minutes,
// begins at the queue's first entry.
type heldFigures struct{ first, claim, statements, wall, idle float64 }

// drainHeld drains the simulated records behind others that were drained before.
func (b *bench) drainHeld(ctx context.Context, simulated *apitest.Server, drained int, held bool) (f heldFigures, err error) {
	m, err := b.newMirror(ctx, simulated, "concurrency = 16")
	if err != nil {
		return f, err
	}
	defer m.close()
	for _, statement := range []string{
		`CREATE EXTENSION IF NOT EXISTS pg_stat_statements`,
		bulk + fmt.Sprintf(`INSERT INTO noggin_schema.noggin_data (tip, object_type)
		SELECT encode(sha256(i::text::bytea), 'hex'), 'LCD' FROM generate_series(1, %d) AS i`, drained),
		`VACUUM (ANALYZE) noggin_schema.noggin_data`,
	} {
		if err := m.exec(ctx, statement); err != nil {
			return f, err
		}
	}
	if held {
		analyst, err := m.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		if err != nil {
			return f, err
		}
		defer func() { err = errors.Join(err, analyst.Rollback()) }()
		if err := analyst.QueryRowContext(ctx, `SELECT count(*) FROM noggin_schema.runs`).Scan(new(int)); err != nil {
			return f, err
		}
	}
	if err := m.drainFast(ctx, drained); err != nil {
		return f, err
	}
	if err := m.enqueue(ctx, simulated); err != nil {
		return f, err
	}
	if err := settle(ctx); err != nil {
		return f, err
	}
	c, _, err := m.counted(ctx, "process", "--until-empty", "--quiet")
	if err != nil {
		return f, err
	}
	f.wall = c.wall.Seconds()
	if err := m.db.QueryRowContext(ctx, `SELECT max(s.max_exec_time) FILTER (WHERE s.query LIKE '%first_retries%'),
		sum(s.total_exec_time - s.max_exec_time) FILTER (WHERE s.query LIKE '%first_retries%') / sum(s.calls - 1) FILTER (WHERE s.query LIKE '%first_retries%'),
		sum(s.total_exec_time) / $1::float8
		FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()`, simulated.Len()).Scan(&f.first, &f.claim, &f.statements); err != nil {
		return f, err
	}
	var left int
	if err := m.db.QueryRowContext(ctx, `SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status <> 'complete'`).Scan(&left); err != nil || left > 0 {
		return f, errors.Join(err, fmt.Errorf("%d records are not complete", left))
	}
	started := time.Now()
	_, err = m.run(ctx, "process", "--until-empty")
	f.idle = time.Since(started).Seconds() * 1e3
	return f, err
}

// drainFast changes records as runs do: a claim, an answer and a result of each.
func (m *mirror) drainFast(ctx context.Context, records int) error {
	const each = 5000
	for first := 0; first < records; first += each {
		for _, change := range []string{
			`claimed_by = 1, claim_expires_at = now() + interval '1 minute', claim_token = claim_token + 1`,
			`processing_status = 'api_success', next_retry_at = now()`,
			`processing_status = 'complete', next_retry_at = NULL, claimed_by = NULL, claim_expires_at = NULL`,
		} {
			if err := m.exec(ctx, bulk+fmt.Sprintf(`UPDATE noggin_schema.noggin_data SET %s WHERE tip IN
				(SELECT encode(sha256(i::text::bytea), 'hex') FROM generate_series(%d, %d) AS i)`, change, first+1, min(first+each, records))); err != nil {
				return err
			}
		}
	}
	return nil
}
