// Package bag writes and checks BagIt bags (RFC 8493): a folder or a ZIP whose files are
// listed with their SHA-256, so that whoever gets it sees whether it is whole.
//
//	bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt  data/…
//
// What bag promises:
//
//   - A folder without bagit.txt is no bag yet: that file is written last, once all others
//     are on disk.
//   - `sha256sum -c manifest-sha256.txt` works for every name without a line end or a
//     percent sign, which the format escapes in its own way.
//   - A check follows no symbolic link, leaves the folder by no name, and knows neither
//     configuration nor database.
//   - Memory does not grow with the size of files. A check keeps about 50 bytes for each
//     file, a ZIP about 500.
//
// What a bag holds is decided by package export.
package bag
