// Package files owns the output folder and every other file that noggin writes. It
// has the one atomic writer, the one hasher and the one judgement of what the file
// system refuses. Nobody else opens, renames or removes a file of the output folder.
//
// What a folder or file is called lives in batch/forms. Whether a picture is whole
// lives in batch/media. The callers decide what a file holds.
//
// A file of the output folder is made this way; Stage and WriteNew do the same in a
// single other folder:
//
//	Temp ──> Write, hash ──> Keep: fsync ──> rename ──> Folder.Sync: fsync the folders
//	 │           │                              │
//	 └───────────┴──> Discard             name is taken: the same content is adopted,
//	                                      else the next free name is tried
//
// Invariants:
//
//   - A file appears under its name whole and on disk, or not at all.
//   - A name in the output folder is safe from a power loss when Folder.Sync returned nil.
//   - Nothing replaces a mirrored file. Only Replace replaces, and only noggin's own files.
//   - Output reads and writes nothing outside its folder: it is held as an os.Root.
//   - Nothing is written while the marker is missing: its volume is not mounted.
//   - noggin neither follows nor replaces a symbolic link, a device or a folder in a file's place.
//   - A refusal of the disk is a DiskError and never counts against a record.
//   - A temporary file that a killed process left is removed after TempAge.
package files
