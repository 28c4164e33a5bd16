package place

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"noggin/batch/files"
)

// block is how much of a content is held back.
const block = 64 << 10

// digest counts and hashes.
type digest struct {
	size int64
	hash hash.Hash
}

func newDigest() digest { return digest{hash: sha256.New()} }

func (d *digest) add(p []byte) {
	d.size += int64(len(p))
	d.hash.Write(p)
}

// compare returns [files.ErrDiffers] unless what was added is the object's content.
func (d *digest) compare(o Object) error {
	return o.compare(d.size, hex.EncodeToString(d.hash.Sum(nil)))
}

// compare returns [files.ErrDiffers] unless content of that size and SHA-256 is the object's.
func (o Object) compare(size int64, sum string) error {
	if size > o.Size {
		return fmt.Errorf("%w: more than %d bytes", files.ErrDiffers, o.Size)
	}
	if size != o.Size {
		return fmt.Errorf("%w: %d bytes instead of %d", files.ErrDiffers, size, o.Size)
	}
	if sum != o.SHA256 {
		return fmt.Errorf("%w: SHA-256 %s instead of %s", files.ErrDiffers, sum, o.SHA256)
	}
	return nil
}

// source is content that is checked while it is read. It holds its last block back until
// all of it has the right size and SHA-256, so that a request with a longer or damaged
// body is cut off before its end. A request that was answered early, or whose connection
// broke, may still be sent by a goroutine of the client's, until end.
type source struct {
	mu      sync.Mutex
	content io.Reader
	object  Object
	digest  digest
	buffers [2][]byte
	turn    int    // the buffer that was filled last
	ready   []byte // to hand out
	held    []byte // held back
	err     error  // once nothing more is read; io.EOF: all is right
}

func newSource(o Object, content io.Reader) *source {
	return &source{content: content, object: o, digest: newDigest()}
}

// Read hands out content, or the error that is in err.
func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.fill()
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// fill makes the block that was read last ready, and reads the next one. After the last
// block it compares the content, and without a fault makes that block ready too.
func (s *source) fill() {
	s.turn = 1 - s.turn
	if s.buffers[s.turn] == nil {
		s.buffers[s.turn] = make([]byte, min(block-1, max(0, s.object.Size))+1) // a server may have said any size
	}
	n, err := io.ReadFull(s.content, s.buffers[s.turn])
	read := s.buffers[s.turn][:n]
	s.digest.add(read)
	s.ready, s.held = s.held, read
	switch {
	case s.digest.size > s.object.Size:
		err = fmt.Errorf("%w: more than %d bytes", files.ErrDiffers, s.object.Size)
	case err == nil:
		return
	case errors.Is(err, ErrAway): // it broke off, see body
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if err = s.digest.compare(s.object); err == nil {
			s.ready, s.held, s.err = append(append(make([]byte, 0, len(s.ready)+n), s.ready...), read...), nil, io.EOF
			return
		}
	}
	s.ready, s.held, s.err = nil, nil, s.wrap(err)
}

func (s *source) wrap(err error) error { return fmt.Errorf("%w: %w", ErrSource, err) }

var errEnded = errors.New("the request has ended")

// end returns whether all of the content was handed out, and what is wrong with it, as far
// as it was read; nil: nothing is. From then on nothing reads the content, which the next
// try may read from its beginning.
func (s *source) end() (all bool, wrong error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong = s.err
	all = errors.Is(wrong, io.EOF) && len(s.ready) == 0
	if errors.Is(wrong, io.EOF) {
		wrong = nil
	}
	s.ready, s.held, s.err = nil, nil, errEnded
	return all, wrong
}

// Compare reads an object's content to its end, or until ctx ends. The error is
// [files.ErrDiffers] unless it is the object's.
func Compare(ctx context.Context, o Object, content io.Reader) error {
	size, sum, err := files.HashReader(ctx, io.LimitReader(content, o.Size+1))
	if err != nil {
		return err
	}
	return o.compare(size, sum)
}

// CopyChecked writes an object's content to w. The error is [files.ErrDiffers] unless it
// is the object's.
func CopyChecked(w io.Writer, o Object, content io.Reader) error {
	from := newSource(o, content)
	_, err := io.Copy(w, from)
	if _, failed := from.end(); failed != nil {
		return failed
	}
	return err
}
