package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/storage"
)

func reportDatabaseCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "database",
		Usage: "table and index sizes, dead rows, sessions, long transactions, cache, slow queries",
		Description: `The manual's weekly and monthly look at the database, and the first look when
processing is slow. Slow statements are shown where pg_stat_statements is there.`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "also every index, and the column statistics"}},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		return runReportDatabase(ctx, r, c.Bool("all"))
	})
}

type databaseReport struct {
	At time.Time `json:"at"`
	storage.DatabaseState
	Tables     []storage.TableState     `json:"tables"`
	Indexes    []storage.IndexState     `json:"indexes"`
	Columns    []storage.ColumnState    `json:"columns"`
	Sessions   []storage.SessionState   `json:"sessions"`
	Statements []storage.StatementState `json:"slow_statements"` // null without pg_stat_statements
}

func runReportDatabase(ctx context.Context, r *reporter, all bool) error {
	d := databaseReport{At: r.now}
	var statements []storage.StatementState
	var there bool
	for _, read := range []func() error{
		func() (err error) { d.DatabaseState, err = r.db.DatabaseState(ctx); return err },
		func() (err error) { d.Tables, err = r.db.TableStates(ctx); return err },
		func() (err error) { d.Indexes, err = r.db.IndexStates(ctx); return err },
		func() (err error) { d.Columns, err = r.db.ColumnStates(ctx); return err },
		func() (err error) { d.Sessions, err = r.db.SessionStates(ctx); return err },
		func() (err error) { statements, there, err = r.db.SlowStatements(ctx, 10); return err },
	} {
		if err := read(); err != nil {
			return err
		}
	}
	if there {
		d.Statements = statements
	}
	return r.out.report(d, tablesTable(d.Tables), func() sheet { return r.databaseSheet(d, there, all) })
}

func tablesTable(tables []storage.TableState) table {
	t := table{columns: []column{
		{"table", "Table"},
		{"total_bytes", "Size"},
		{"table_bytes", "Rows' size"},
		{"index_bytes", "Indexes"},
		{"rows", "Rows"},
		{"dead_rows", "Dead"},
		{"last_vacuum", "Last vacuum"},
		{"last_analyse", "Last analyse"},
		{"sequential_scans", "Seq. scans"},
		{"index_scans", "Index scans"},
	}}
	for _, s := range tables {
		t.rows = append(t.rows, []any{
			s.Table, size(s.Bytes), size(s.TableBytes), size(s.IndexBytes), count(s.Rows), count(s.DeadRows), value(s.VacuumedAt), value(s.AnalysedAt),
			count(s.SeqScans), count(s.IndexScans),
		})
	}
	return t
}

func (r *reporter) databaseSheet(d databaseReport, statements, all bool) sheet {
	tables := &table{columns: headings("Table", "Size", "Indexes", "Rows", "Dead", "Vacuum", "Analyse")}
	day := func(at *time.Time) any {
		if at == nil {
			return "never"
		}
		return at.In(r.now.Location()).Format("01-02 15:04")
	}
	for _, t := range d.Tables {
		tables.rows = append(tables.rows, []any{
			t.Table, size(t.Bytes), size(t.IndexBytes), count(t.Rows), count(t.DeadRows), day(t.VacuumedAt), day(t.AnalysedAt),
		})
	}
	page := sheet{title: r.heading("Database"), sections: []section{
		{facts: r.databaseFacts(d)},
		{title: "Tables", table: tables, notes: []string{"Rows are the server's estimates. `noggin maintain weekly` vacuums and analyses."}},
		r.indexSection(d.Indexes, all), r.sessionSection(d.Sessions), r.statementSection(d.Statements, statements),
	}}
	if all {
		columns := &table{columns: headings("Table", "Column", "Distinct", "Correlation")}
		for _, c := range d.Columns {
			columns.rows = append(columns.rows, []any{c.Table, c.Column, distinct(c.Distinct), correlation(c.Correlation)})
		}
		page.sections = append(page.sections, section{title: "Columns with over 100 values", table: columns})
	}
	return page
}

// distinct is a number of values, or the share of the rows that differ.
func distinct(n float64) string {
	if n < 0 {
		return fmt.Sprintf("%.0f %% of rows", -100*n)
	}
	return humanize.Comma(int64(n))
}

func correlation(c *float64) any {
	if c == nil {
		return nil
	}
	return fmt.Sprintf("%.2f", *c)
}

func (r *reporter) databaseFacts(d databaseReport) []fact {
	hits := func(rate *float64) string {
		if rate == nil {
			return "unknown"
		}
		return percent(*rate).human()
	}
	facts := []fact{
		{"database", fmt.Sprintf("%s, schema %s, %s", d.Database, d.Schema, size(d.Bytes).human())},
		{"server", "PostgreSQL " + d.ServerVersion + ", up since " + clock(d.StartedAt, r.now)},
		{"rows", humanize.Comma(d.Records) + " records, " + humanize.Comma(d.Attachments) + " attachments, " + humanize.Comma(d.Hashes) + " names"},
	}
	if d.LastUpdate != nil {
		facts = append(facts, fact{"last change", clock(*d.LastUpdate, r.now)})
	}
	oldest := "none is open"
	if d.OldestXact != nil {
		oldest = duration(*d.OldestXact).human()
	}
	return append(facts,
		fact{"connections", fmt.Sprintf("%d of %d", d.Connections, d.MaxConnections)},
		fact{"found in cache", "tables " + hits(d.TableHits) + ", indexes " + hits(d.IndexHits)},
		fact{"oldest transaction", oldest},
		fact{"deadlocks", humanize.Comma(d.Deadlocks)}, fact{"temporary files", size(d.TempBytes).human() + " since the statistics were reset"})
}

func (r *reporter) indexSection(indexes []storage.IndexState, all bool) section {
	const largest = 10
	t := &table{columns: headings("Index", "Table", "Size", "Scans", "")}
	for i, x := range indexes {
		state := ""
		if !x.Valid {
			state = "invalid: `noggin maintain reindex` mends it"
		}
		if all || i < largest || !x.Valid {
			t.rows = append(t.rows, []any{x.Index, x.Table, size(x.Bytes), count(x.Scans), state})
		}
	}
	s := section{title: "Indexes", table: t}
	if len(t.rows) < len(indexes) {
		s.notes = []string{fmt.Sprintf("The largest of %d; --all shows every one.", len(indexes))}
	}
	return s
}

func (r *reporter) sessionSection(sessions []storage.SessionState) section {
	t := &table{columns: headings("Process", "User", "Application", "State", "For", "Transaction", "Waits for", "Query"), spare: []string{"User", "State", "Transaction"}}
	long := 0
	for _, s := range sessions {
		waits := either(s.WaitsFor, nil)
		if s.BlockedBy != nil {
			waits = "blocked by " + *s.BlockedBy
		}
		if s.OverFiveMinute {
			long++
		}
		t.rows = append(t.rows, []any{
			s.PID, value(s.User), s.Application, value(s.State), duration(s.QuerySeconds), as[duration](s.XactSeconds), waits, s.Query,
		})
	}
	s := section{title: "Sessions at work", table: t}
	switch {
	case len(sessions) == 0:
		s.lines = []string{"None."}
	case long > 0:
		s.notes = []string{fmt.Sprintf("! %d of them for over 5 minutes: `SELECT pg_terminate_backend(PROCESS)` in psql ends one", long)}
	default:
		s.notes = []string{"None of them for over 5 minutes."}
	}
	return s
}

func (r *reporter) statementSection(statements []storage.StatementState, there bool) section {
	s := section{title: "Slow statements"}
	if !there {
		s.lines = []string{"pg_stat_statements is not there, or not readable for this role. To have it: shared_preload_libraries = 'pg_stat_statements' in " +
			"postgresql.conf, restart PostgreSQL, and `CREATE EXTENSION pg_stat_statements` in this database as its superuser."}
		return s
	}
	s.table = &table{columns: headings("Calls", "Average", "Longest", "In all", "Rows", "Statement"), spare: []string{"Rows", "Longest"}}
	for _, q := range statements {
		s.table.rows = append(s.table.rows, []any{count(q.Calls), seconds3(q.MeanSeconds), seconds3(q.MaxSeconds), duration(q.TotalSeconds), count(q.Rows), q.Query})
	}
	return s
}

func seconds3(s float64) string { return fmt.Sprintf("%.3f s", s) }
