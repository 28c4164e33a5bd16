// Package adopt finds files that are on disk already, so that process (batch/process) need
// not download them again and so that none stays unknown to the database.
//
//	a file on disk ─┬─ of an attachment that is missing ─▶ adopted   it is whole, and the text report, its name
//	                │                                               or the replaced service says whose it is
//	                ├─ of a former version, or left by a ─▶ former file, or suspect   its name or a former report says whose it is
//	                │  run that was killed
//	                └─ any other ─▶ left as it is
//
// A run has one [Finder]. For each record whose answer is stored, [Finder.Look] looks into
// the record's folder once; the [Folder] then answers for each attachment, and at the end
// for what nothing has used.
//
// Invariants:
//
//   - No file is replaced or removed. A file of the replaced service is moved into the
//     folder of its record; nothing else is.
//   - A file is adopted only if its bytes are those that are known of it: by the SHA-256 of
//     the record's text report, or by the size and hash that the replaced service recorded.
//     Where none is known, it must be whole.
//   - A file that another record's text report claims is not used.
//   - A damaged file, beside which the whole one stands again, is left as it is: it is none of
//     the platform's.
//   - A file that may still become an attachment's is not recorded as a former one.
//   - Nothing is written to the database here, save where files of the replaced service lie.
//     The result of the record carries what was found, and takes effect with it.
//
// Where to look: adopt.go files for the attachments of a record, unknown.go those that the
// database does not know, legacy.go those of the replaced service, wherever they lie.
package adopt
