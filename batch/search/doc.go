// Package search makes the words by which inspections are found, and the question that
// somebody's text is.
//
//	content of a report ── Document ──→ words ──→ storage
//	a text ── Query ──→ words that must all occur ──→ storage
//	after an upgrade: stored answers ── Fill ──→ words ──→ storage
//
// What search promises:
//
//   - A text and a document are cut into words in the same way. Case, accents, marks of
//     direction and punctuation do not matter.
//   - No character of a text is an operator, except that a word with "*" at its end also
//     stands for all words that begin so.
//   - What is found: ids, names, and what people wrote or chose. Questions and labels are
//     in every record, so they are not.
//   - Fill never overwrites words that a run or healing wrote meanwhile.
//
// A run writes the words of a record with its result, healing with the names. The queries
// are in package storage.
package search
