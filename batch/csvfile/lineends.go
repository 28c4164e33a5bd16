package csvfile

import (
	"bufio"
	"bytes"
)

// lineEnds turns a CR that no LF follows into LF. Old Macintoshes end lines so, and so do
// parts of files that several programs wrote. CRLF stays. A line break within quotes is
// treated the same way.
type lineEnds struct{ r *bufio.Reader }

func (l lineEnds) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	for rest := p[:n]; ; {
		i := bytes.IndexByte(rest, '\r')
		if i < 0 {
			return n, err
		}
		after := rest[i+1:]
		if len(after) == 0 {
			after, _ = l.r.Peek(1) // an error comes again with the next read
		}
		if len(after) == 0 || after[0] != '\n' {
			rest[i] = '\n'
		}
		rest = rest[i+1:]
	}
}
