// Package export hands records over to people who have no noggin: a folder or a ZIP that
// any browser shows without a network, and that is a BagIt bag.
//
//	index.html                         every record; sorted and filtered where scripts run
//	data/lists/…                       by day, vehicle, trailer, team
//	data/2025-09/000001_2025-09-17_…/  one record: index.html, originals, thumbs/, former/
//	data/records.jsonl                 the same for programs: an Entry a line
//	bagit.txt, manifest-sha256.txt, …  see package bag
//
// A record goes this way, several at a time, and in its order into the bag:
//
//	selection ─→ database ─→ work folder (originals compared, thumbnails, page) ─→ journal ─→ bag
//
// What export promises:
//
//   - Originals are byte for byte those that were mirrored. A file that differs from its
//     hash in the database is left out and told.
//   - No text from the platform is a part of a path or of markup: names of files are made
//     of ASCII letters, digits, dots, dashes and underscores, and pages run no script but
//     their own.
//   - A folder whose export was killed at any instant is continued with the same records.
//     What is there already is read and compared first.
//   - Memory does not grow with the number of records, but for 500 bytes a file in a ZIP.
//   - Nothing in the database, the output folder or the archives changes.
//
// Which records are selected is decided by the caller; proofs are added through
// [Exporter].Proofs.
package export
