package main

import (
	"context"
	"time"

	"noggin/api/apitest"
)

// benchIdle measures the timer's usual case: nothing is due. Statements
// and connections are counted by the server.
func benchIdle(ctx context.Context, b *bench) error {
	simulated := apitest.New(apitest.Options{Records: 1})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return err
	}
	defer simulated.Close()
	m, err := b.newMirror(ctx, simulated, "")
	if err != nil {
		return err
	}
	defer m.close()
	if err := m.exec(ctx, `CREATE EXTENSION IF NOT EXISTS pg_stat_statements`); err != nil {
		return err
	}
	var wall, cpu, statements, sessions []float64
	for range 5 * b.rounds {
		before, err := m.sessions(ctx)
		if err != nil {
			return err
		}
		if err := m.exec(ctx, `SELECT pg_stat_statements_reset()`); err != nil {
			return err
		}
		c, err := m.run(ctx, "process", "--until-empty")
		if err != nil {
			return err
		}
		var calls float64
		if err := m.db.QueryRowContext(ctx, `SELECT coalesce(sum(s.calls), 0) FROM pg_stat_statements s
			JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
			WHERE s.query NOT LIKE '%pg_stat_%'`).Scan(&calls); err != nil {
			return err
		}
		after, err := m.sessions(ctx)
		if err != nil {
			return err
		}
		wall, cpu = append(wall, c.wall.Seconds()*1e3), append(cpu, c.cpu.Seconds()*1e3)
		statements, sessions = append(statements, calls), append(sessions, after-before)
	}
	b.bound("idle run, CPU", "ms", cpu, atMost(30))
	b.bound("idle run, wall clock", "ms", wall, atMost(1000))
	b.bound("idle run, statements", "", statements, atMost(5))
	b.bound("idle run, connections", "", sessions, atMost(1))
	return nil
}

// sessions reads how many sessions the database has seen; one counts when it has
// ended and reported its statistics.
func (m *mirror) sessions(ctx context.Context) (n float64, err error) {
	for range 100 {
		var others int
		if err := m.db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&others); err != nil {
			return 0, err
		}
		if others == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	err = m.db.QueryRowContext(ctx, `SELECT sessions FROM pg_stat_database WHERE datname = current_database()`).Scan(&n)
	return n, err
}
