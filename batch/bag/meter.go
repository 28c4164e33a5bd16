package bag

import (
	"crypto/sha256"
	"hash"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// meter measures and hashes what is written through it.
type meter struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func newMeter(w io.Writer) meter { return meter{w: w, hash: sha256.New()} }

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.hash.Write(p[:n])
	m.size += int64(n)
	return n, err
}

// syncVolume flushes the volume of an open file to disk: one call for any number of files.
func syncVolume(f *os.File) error {
	if isLeftOut() {
		return nil
	}
	return unix.Syncfs(int(f.Fd()))
}
