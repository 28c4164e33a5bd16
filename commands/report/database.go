package report

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func databaseCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "database",
		Usage: "table and index sizes, dead rows, sessions, long transactions, cache, slow queries",
		Description: `The manual's weekly and monthly look at the database, and the first look when
processing is slow. Slow statements are shown where pg_stat_statements is there.`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "also every index, and the column statistics"}},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		return runDatabase(ctx, r, c.Bool("all"))
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

func runDatabase(ctx context.Context, r *reporter, all bool) error {
	d := databaseReport{At: r.now}
	var statements []storage.StatementState
	var there bool
	for _, read := range []func() error{
		func() (err error) { d.DatabaseState, err = r.DB.DatabaseState(ctx); return err },
		func() (err error) { d.Tables, err = r.DB.TableStates(ctx); return err },
		func() (err error) { d.Indexes, err = r.DB.IndexStates(ctx); return err },
		func() (err error) { d.Columns, err = r.DB.ColumnStates(ctx); return err },
		func() (err error) { d.Sessions, err = r.DB.SessionStates(ctx); return err },
		func() (err error) { statements, there, err = r.DB.SlowStatements(ctx, 10); return err },
	} {
		if err := read(); err != nil {
			return err
		}
	}
	if there {
		d.Statements = statements
	}
	return r.out.Report(d, tablesTable(d.Tables), func() show.Sheet { return r.databaseSheet(d, there, all) })
}

func tablesTable(tables []storage.TableState) show.Table {
	t := show.Table{Columns: []show.Column{
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
		t.Rows = append(t.Rows, []any{
			s.Table, show.Size(s.Bytes), show.Size(s.TableBytes), show.Size(s.IndexBytes), show.Count(s.Rows), show.Count(s.DeadRows), show.Value(s.VacuumedAt), show.Value(s.AnalysedAt),
			show.Count(s.SeqScans), show.Count(s.IndexScans),
		})
	}
	return t
}

func (r *reporter) databaseSheet(d databaseReport, statements, all bool) show.Sheet {
	tables := &show.Table{Columns: show.Headings("Table", "Size", "Indexes", "Rows", "Dead", "Vacuum", "Analyse"), Spare: []string{"Indexes", "Dead", "Analyse", "Vacuum"}}
	day := func(at *time.Time) any {
		if at == nil {
			return "never"
		}
		return at.In(r.now.Location())
	}
	for _, t := range d.Tables {
		tables.Rows = append(tables.Rows, []any{
			t.Table, show.Size(t.Bytes), show.Size(t.IndexBytes), show.Count(t.Rows), show.Count(t.DeadRows), day(t.VacuumedAt), day(t.AnalysedAt),
		})
	}
	page := show.Sheet{Title: r.heading("Database"), Sections: []show.Section{
		{Facts: r.databaseFacts(d)},
		{Title: "Tables", Table: tables, Notes: []string{"Rows are the server's estimates. `noggin maintain weekly` vacuums and analyses."}},
		r.indexSection(d.Indexes, all), r.sessionSection(d.Sessions), r.statementSection(d.Statements, statements),
	}}
	if all {
		columns := &show.Table{Columns: show.Headings("Table", "Column", "Distinct", "Correlation"), Spare: []string{"Correlation"}}
		for _, c := range d.Columns {
			columns.Rows = append(columns.Rows, []any{c.Table, c.Column, distinct(c.Distinct), correlation(c.Correlation)})
		}
		page.Sections = append(page.Sections, show.Section{Title: "Columns with over 100 values", Table: columns})
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

func (r *reporter) databaseFacts(d databaseReport) []show.Fact {
	hits := func(rate *float64) string {
		if rate == nil {
			return "unknown"
		}
		return show.Percent(*rate).Human()
	}
	facts := []show.Fact{
		{"database", fmt.Sprintf("%s, schema %s, %s", d.Database, d.Schema, show.Size(d.Bytes).Human())},
		{"server", "PostgreSQL " + d.ServerVersion + ", up since " + show.Clock(d.StartedAt, r.now)},
		{"rows", humanize.Comma(d.Records) + " records, " + humanize.Comma(d.Attachments) + " attachments, " + humanize.Comma(d.Hashes) + " names"},
	}
	if d.LastUpdate != nil {
		facts = append(facts, show.Fact{"last change", show.Clock(*d.LastUpdate, r.now)})
	}
	oldest := "none is open"
	if d.OldestXact != nil {
		oldest = show.Duration(*d.OldestXact).Human()
	}
	return append(facts,
		show.Fact{"connections", fmt.Sprintf("%d of %d", d.Connections, d.MaxConnections)},
		show.Fact{"found in cache", "tables " + hits(d.TableHits) + ", indexes " + hits(d.IndexHits)},
		show.Fact{"oldest transaction", oldest},
		show.Fact{"deadlocks", humanize.Comma(d.Deadlocks)}, show.Fact{"temporary files", show.Size(d.TempBytes).Human() + " since the statistics were reset"})
}

func (r *reporter) indexSection(indexes []storage.IndexState, all bool) show.Section {
	const largest = 10
	t := &show.Table{Columns: show.Headings("Index", "Table", "Size", "Scans", ""), Spare: []string{"Scans", "Table"}}
	for i, x := range indexes {
		state := ""
		if !x.Valid {
			state = "invalid: `noggin maintain reindex` mends it"
		}
		if all || i < largest || !x.Valid {
			t.Rows = append(t.Rows, []any{x.Index, x.Table, show.Size(x.Bytes), show.Count(x.Scans), state})
		}
	}
	s := show.Section{Title: "Indexes", Table: t}
	if len(t.Rows) < len(indexes) {
		s.Notes = []string{show.Textf("The largest of %d; --all shows every one.", len(indexes))}
	}
	return s
}

func (r *reporter) sessionSection(sessions []storage.SessionState) show.Section {
	t := &show.Table{Columns: show.Headings("Process", "User", "Application", "State", "For", "Transaction", "Waits for", "Query"), Spare: []string{"User", "State", "Transaction", "Application"}}
	long := 0
	for _, s := range sessions {
		waits := show.Either(s.WaitsFor, nil)
		if s.BlockedBy != nil {
			waits = "blocked by " + *s.BlockedBy
		}
		if s.OverFiveMinute {
			long++
		}
		t.Rows = append(t.Rows, []any{
			show.Number(s.PID), show.Value(s.User), s.Application, show.Value(s.State), show.Duration(s.QuerySeconds), show.As[show.Duration](s.XactSeconds), waits, s.Query,
		})
	}
	s := show.Section{Title: "Sessions at work", Table: t}
	switch {
	case len(sessions) == 0:
		s.Lines = []string{"None."}
	case long > 0:
		s.Notes = []string{fmt.Sprintf("! %d of them for over 5 minutes: `SELECT pg_terminate_backend(PROCESS)` in psql ends one", long)}
	default:
		s.Notes = []string{"None of them for over 5 minutes."}
	}
	return s
}

func (r *reporter) statementSection(statements []storage.StatementState, there bool) show.Section {
	s := show.Section{Title: "Slow statements"}
	if !there {
		s.Lines = []string{"pg_stat_statements is not there, or not readable for this role. To have it: shared_preload_libraries = 'pg_stat_statements' in " +
			"postgresql.conf, restart PostgreSQL, and `CREATE EXTENSION pg_stat_statements` in this database as its superuser."}
		return s
	}
	s.Table = &show.Table{Columns: show.Headings("Calls", "Average", "Longest", "In all", "Rows", "Statement"), Spare: []string{"Rows", "Longest", "In all"}}
	for _, q := range statements {
		s.Table.Rows = append(s.Table.Rows, []any{show.Count(q.Calls), show.Duration(q.MeanSeconds), show.Duration(q.MaxSeconds), show.Duration(q.TotalSeconds), show.Count(q.Rows), q.Query})
	}
	return s
}
