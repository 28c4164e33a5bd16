// Package storage keeps noggin's state in PostgreSQL. Every SQL statement of noggin
// stands here, in the method that runs it; a query that is longer than a screen is
// a view in schema.sql. HTTP, files and the command line are not known here.
//
// Where to look: schema.go and schemacheck.go make, upgrade and compare the schema;
// records.go, claims.go and finish.go are the life of a record; circuit.go, pause
// and runs are what all hosts share; hashes.go and heal.go hold names; archiving.go
// holds archives; report*.go, counts.go and sample.go answer questions; validate.go
// holds the rules of the data and mends what breaks them.
//
// A record moves like this; Skip and ResetForRetry are an operator's:
//
//	import ──> pending ──Claim, Store──> api_success ──Finish──> complete
//	             ^  │                        │
//	             │  │                        ├──> partial, failed   (attachments failed)
//	             │  ├──Claim, Finish──> api_failed                  (no answer)
//	             │  └──Skip──> skipped       └──> interrupted       (the run ended first)
//	             └──ResetForRetry── partial, failed, api_failed, interrupted
//
// A run takes partial, failed, api_failed, interrupted and api_success again when
// next_retry_at has come, until the record is permanently failed.
//
// Invariants:
//   - A record has one claim at a time. Each claim has a higher token than the last.
//   - A write on a record checks the claim's token. A run that lost its claim writes
//     nothing.
//   - Every write may be repeated. A lost connection leaves open whether a COMMIT
//     took effect, so the transaction runs again and gives the same result.
//   - Records are locked in the order of their tips, so that no two transactions
//     wait for each other.
//   - Every time is the server's clock. No host's clock decides anything.
//   - Counts of records and files are deltas that triggers write. No report counts
//     the rows of the large tables.
//   - An update by another client, such as psql, breaks the record's claim.
//   - A program runs only on a schema that is at least its own version, and only if
//     it is not older than the schema's oldest_program. The database itself refuses
//     programs of version 1, which do not look.
package storage
