// Package csvfile reads the rows of CSV files as spreadsheets and other programs write
// them, writes rows, and guards cells against formulas.
//
//	bytes ─→ encoding, line ends ─→ separator ─→ header ─→ Next: row, *RowError or io.EOF
//
// What csvfile promises:
//
//   - UTF-8 and UTF-16, LF, CRLF and CR (also mixed), comma, semicolon and tab give the
//     same rows.
//   - Each line belongs to one row or rejected row, or is blank.
//   - A damaged row is reported with its line, and reading goes on at the next line. A
//     quote that is never closed costs one row, not the rest of the file.
//   - Memory stays at a little over one row of the largest size.
//   - [UnguardFormula] gives back exactly what [GuardFormula] was given.
//
// What a column means is decided in importcsv and names.
package csvfile
