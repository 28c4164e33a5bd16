// Package place puts objects into a second place and finds them there again: a folder on
// another volume, or a bucket of S3. It knows neither records nor the database; what is
// copied, and under which key, is decided in package copies. It alone speaks S3.
//
// Invariants:
//
//   - An object appears under its key whole or not at all.
//   - Content that has not the size and SHA-256 of its object never becomes an object.
//   - What has those under a key is left as it is. Anything else under it is damaged, as
//     the key ends in the SHA-256, and Put replaces it.
//   - A folder without its marker is never written: its volume is not mounted.
package place

import (
	"errors"
	"time"
)

var (
	// ErrAway says that the place cannot be used now: it is not mounted, full, cannot be
	// reached, or refuses the credentials. A later try may succeed.
	ErrAway = errors.New("the target is away")
	// ErrSource is wrapped by the errors of the content that was to be put.
	ErrSource = errors.New("the original cannot be read")
	// ErrNoLock says that a bucket keeps no object from being deleted.
	ErrNoLock = errors.New("the bucket has no Object Lock")
	// ErrLocked says that the place refuses to delete an object.
	ErrLocked = errors.New("the target refuses to delete it")
)

// Object is what is put into a place.
type Object struct {
	Key    string // slash-separated, relative to the place
	Size   int64
	SHA256 string // in lower-case hex
}

// PutOptions say how an object is put.
type PutOptions struct {
	Retain time.Time // the object cannot be deleted until then; zero: it can
	// Doubt has an object that is there already read back: a server that lost its bytes may
	// still know its SHA-256.
	Doubt bool
}

// Stored says how an object came to its key.
type Stored struct {
	VersionID string // of S3; "": there are no versions
	Already   bool   // the same content was there
	Mended    bool   // other content was there, and is replaced
}

// Found is an object of a listing.
type Found struct {
	Key      string
	Size     int64
	Modified time.Time
}
