package place

import (
	"io"
	"testing"
)

// counted counts its reads, and is read by one goroutine at a time or races.
type counted struct{ reads int }

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return len(p), nil
}

// The client's goroutine may still send a request that was answered. The next try reads the
// same file.
func TestNothingReadsTheContentOfARequestThatEnded(t *testing.T) {
	t.Parallel()
	content := new(counted)
	s := newSource(Object{Size: 1 << 40}, content)
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1000)
		_, err := s.Read(buffer)
		for close(begun); err == nil; {
			_, err = s.Read(buffer)
		}
	}()
	<-begun
	if _, err := s.end(); err != nil {
		t.Error(err)
	}
	reads := content.reads
	<-done
	if _, err := io.Copy(io.Discard, s); err == nil || content.reads != reads {
		t.Errorf("%d reads after the end, %v", content.reads-reads, err)
	}
}
