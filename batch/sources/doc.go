// Package sources fetches exports from SFTP servers into the input folder, and deletes
// from a server what was imported.
//
//	connect ─→ list ─→ new? ─→ read ─→ same size and time? ─→ input folder ─→ (importcsv)
//	                                                                              │
//	            delete, if the file is still the one that was fetched ←── imported ┘
//
// A source of tips ends in the input folder itself. One of names ends in the folder
// names-KIND in it.
//
// What sources promises:
//
//   - A server whose key is not in known_hosts gets neither a login nor a request.
//   - One version of a file (path, size, time of modification) is fetched once, on any
//     number of hosts: the database has a row for it, and one run at a time fetches from
//     a source.
//   - A file appears in the input folder whole, under a name of its own, and on the
//     disk. It replaces nothing and has the time of modification of the server.
//   - A killed run loses nothing: what it had not finished is fetched again.
//   - A file is deleted on its server only after all its rows are in the database and,
//     where backups are made, in a backup, and only if it is still the one that was fetched.
//   - A file that was fetched and that no import has seen is told of, as it may be lost.
//   - Nothing that a server says leads out of the folder on either side. Symbolic links
//     are not followed.
//   - A server that hangs or talks without end costs a bounded time and memory.
//   - What fails at one source stops no other source. A file that its server does not give
//     or delete stops no other file.
//
// What the rows of a file mean is decided in importcsv and names.
package sources
