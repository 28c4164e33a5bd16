package main

import (
	"context"
	"time"

	"noggin/api/apitest"
)

// benchIdle measures a run that finds nothing due, the usual case of the timer.
// PostgreSQL counts the statements and connections.
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
		c, calls, err := m.counted(ctx, "process", "--until-empty")
		if err != nil {
			return err
		}
		after, err := m.sessions(ctx)
		if err != nil {
			return err
		}
		wall, cpu = append(wall, c.wall.Seconds()*1e3), append(cpu, c.cpu.Seconds()*1e3)
		statements, sessions = append(statements, calls), append(sessions, after-before)
	}
	b.state("idle run, CPU", "ms", cpu)
	b.state("idle run, wall clock", "ms", wall)
	b.state("idle run, statements", "", statements)
	b.state("idle run, connections", "", sessions)
	return nil
}

// counted runs noggin and returns how many statements it sent. The database has
// pg_stat_statements.
func (m *mirror) counted(ctx context.Context, args ...string) (c cost, calls float64, err error) {
	if err := m.exec(ctx, `SELECT pg_stat_statements_reset()`); err != nil {
		return c, 0, err
	}
	if c, err = m.run(ctx, args...); err != nil {
		return c, 0, err
	}
	err = m.db.QueryRowContext(ctx, `SELECT coalesce(sum(s.calls), 0) FROM pg_stat_statements s
		JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
		WHERE s.query NOT LIKE '%pg_stat_%'`).Scan(&calls)
	return c, calls, err
}

// sessions returns how many sessions the database has had. It waits for the others to
// end, as PostgreSQL counts a session at its end.
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
