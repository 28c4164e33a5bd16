// Package queue finds records, and what they refer to, as people name them. It takes
// records out of the queue and back.
//
//	selector ── WriteSkipList ──→ list ── SkipListed ──→ skipped
//	                               └──── UnskipListed ──→ as before
//
// What queue promises:
//
//   - A record is skipped only after the list holds its state, so a skip can be undone.
//   - A record whose status changed after it was listed stays as it is, and so does one
//     that a run has claimed.
//   - A damaged list brings nothing back.
//   - An inspection id is found however it is spelled; a text that fits several records
//     is refused where one is meant.
//
// Claiming due records is the work of process. Filling the queue is that of importcsv.
package queue
