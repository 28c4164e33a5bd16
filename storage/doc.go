// Package storage keeps noggin's state in PostgreSQL: the queue of records with
// its claims, attachments, names, runs, the circuit and what the reports read.
// Every SQL statement of noggin is in this package, beside the method that runs
// it, and names its schema; no HTTP, no files and no command line are known here.
//
// Writes that must not happen twice carry the claim's fencing token, so each may
// be repeated when a connection is lost and nobody knows whether it committed.
package storage
