// Package health judges the state of the mirror. It reads the vitals, raises
// flags, tells what to do about errors and forecasts when the disk is full. The
// dashboard, `validate quick` and the metrics all judge by it. It also holds the
// few texts for people that several rooms print: sizes, counts, durations.
//
// It changes nothing but the table of samples. The checks that `validate` makes
// of the database, the API and the files live in batch/validate. The tables of
// `report` live in commands/report.
//
//	database ─┐
//	samples ──┼─> Vitals ──> Flags ──> red: act now
//	disk ─────┘   (read)     (judge)   yellow: look at it today
//
// Invariants:
//
//   - Judgement is pure: Flags knows neither database nor disk nor clock, only Vitals.
//   - Every flag has a stable name and a remedy that names a command.
//   - The manual's limits stand in one place, at the top of redflags.go.
//   - A value that no sample tells is nil, and a flag that needs it is not raised.
//   - A forecast rests on the readings of one host since the last clean-up.
//   - A disk that cannot be read is a finding. It does not stop the other vitals.
package health
