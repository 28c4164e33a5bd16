// Package media tells from its content what kind of file an attachment is, and whether
// it is whole. A kind is one row of the table in kinds.go: how it begins, how its end is
// proved, its extension.
//
//	file ─→ first 3 KiB ─→ kind ─→ proof of the end ─→ Verdict
//
//	valid          the end is there
//	failed         it is not; or the file is empty, a page, or not the type promised
//	not_validated  the format, or this file, leaves open where its end is
//
// What media promises:
//
//   - The content decides. A content type counts only where the content tells nothing.
//   - A file that is cut short is never valid, if its kind has a proof.
//   - Bytes behind the end do no harm: phones add more pictures and videos there. But
//     then nothing proves that all of them came, and [Verdict.Proved] is false.
//   - A page of a proxy or of the platform is told from a file: [Verdict.Page].
//   - A judgement holds 128 KiB of memory, whatever the size of the file.
//
// Whether a broken file is kept as suspect is decided in process. Pixels are not decoded.
package media
