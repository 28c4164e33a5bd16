// Package format is the file format of archives: [Writer] makes an archive, [Reader],
// [EachGroup] and [Verify] read one. It knows neither the output folder nor the database.
//
// An archive consists of zstd frames, one for each record, so that a record can be cut off
// again while it is written, and read without the others:
//
//	record | record | … | manifest, checksums | locator
//
// tar, zstd and sha256sum open it without noggin: they see one stream, and skip the
// locator, which says where the manifest begins.
//
// Invariants:
//
//   - An archive has its final name whole or not at all.
//   - No archive is ever overwritten.
//   - What an archive says of itself bounds no memory: lines, records and frames have
//     limits.
//   - Every error about a wrong content wraps [ErrDamaged].
package format
