// Package show prints results: a document as JSON, a table as text, JSON or CSV, a
// report as a sheet, rows as they come ([RowStream]). It also writes values for people:
// sizes, durations, times, numbers with their noun.
//
// It knows nothing of commands, flags, the database or the log, and prints only what
// it is handed. Other packages decide what a result says; here is how it looks.
//
// Invariants:
//   - JSON and CSV never depend on the terminal, and have every column. Keys are
//     snake_case and are never renamed.
//   - Text fits the terminal's width; spare columns go first, cells are broken last.
//   - Nothing that came from outside reaches a terminal unescaped: tables and sheets
//     escape their cells, and whoever writes a line himself uses [Printable] or [Quoted].
//   - CSV escapes too, and guards formulas, unless [Output.Raw].
//   - A [RowStream] holds no rows: memory does not grow with their number. Its CSV is that of
//     PostgreSQL's COPY, which tells an empty text ("") from no value (nothing);
//     encoding/csv cannot, and writes the CSV of tables.
package show
