// Package process drains the queue: a run claims due records, asks the API for them and
// brings each into the database and onto the disk.
//
//	claim ─▶ fetch ─▶ store ─▶ download ─▶ report ─▶ finish
//	  │        │        │          │          │        ├─▶ complete
//	  │        │        │          │          │        ├─▶ partial, failed   some, all attachments failed
//	  │        └────────┴──────────┴──────────┴───────▶├─▶ api_failed        the API did not give the record, or one of its files or folders is refused
//	  │                                                └─▶ interrupted       our own fault, or told to stop
//	  └─▶ lost   the lease ended, or an operator changed the record: its new owner does it
//
// The gate (batch/gate) stands before each request, and judges whose fault a failure is:
// a failure is written uncounted and handed to it.
//
// A record that was complete once is asked for again, last of all that is due. What the API
// says then never makes less of it than there is (again.go):
//
//	asked again ─┬─ the same version ────▶ nothing is written but the claim and when it is due
//	             ├─ a newer version ─────▶ the way above; files of the former version stay
//	             ├─ an older, a reduced ─▶ kept as a version; the current one stays, and what only
//	             │                         that version names is fetched into former files
//	             ├─ former bytes ────────▶ of an attachment, from a cache: they become current when they
//	             │                         come on another day as well
//	             └─ 404, 410, 403, 5xx ──▶ the record stays complete; asked again the next day
//
// Invariants:
//
//   - A run writes a record only while it holds the claim.
//   - A request ends before the lease of its record does, unless the run renews that. It is
//     sent again once it has renewed it, and nothing counts.
//   - A run never leaves a record claimed that it could work on: it takes its own claims
//     again when the connection broke before it knew them.
//   - Every answer with status 200 is kept as it was received, each version once.
//   - No file that was mirrored is replaced or removed. One that a killed run named is used
//     by the next run, or becomes a former file.
//   - What was mirrored stays known when its file is lost: other bytes make it a former file.
//   - With --adopt, a text report that the database does not know is copied before another
//     takes its place, and nothing is healed: it may be of a version that was lost.
//   - An attachment is complete only when its file is whole, under its name and flushed
//     to the disk.
//   - A record is given up for failures that may pass only after [retry] give_up_after.
//   - A fault of our own side (disk, database, interruption) never counts.
//   - --max-time, a signal and a maintenance pause end claiming; the records in hand have
//     stop_grace to end, and then wait neither for a pause of the API nor for another
//     attempt. An attachment that had half of the time that --max-time and stop_grace give
//     has failed: it is too slow.
//   - Everything that a run does in the database ends within retry_for. A lock that
//     another session holds delays only the record behind it.
//
// Where to look: process.go what a caller sees, run.go one run, claim.go and lease.go
// the claims, record.go the way of one record, outcome.go how it ended, download.go its
// attachments, again.go records that were complete, dropped.go attachments of former
// versions, ending.go how a run ends in time, group.go writes in common, fetchnames.go names
// of hashes from the API. What stands before a request lives in gate, files that are on disk
// already in adopt, picking records out by hand in queue, SQL in storage, HTTP in api.
package process
