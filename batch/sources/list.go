package sources

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"golang.org/x/crypto/ssh"
)

// entry is a file of a folder, as its server lists it.
type entry struct {
	name     string
	size     int64
	modified time.Time
	regular  bool
	link     bool
}

// Types of packets of SFTP version 3 (draft-ietf-secsh-filexfer-02) and what else of it
// is needed to read a folder.
const (
	packetInit    = 1
	packetVersion = 2
	packetClose   = 4
	packetOpendir = 11
	packetReaddir = 12
	packetStatus  = 101
	packetHandle  = 102
	packetName    = 104

	statusEOF        = 1
	statusNoSuchFile = 2
	statusDenied     = 3

	attrSize, attrOwner, attrMode, attrTimes, attrExtended = 1, 2, 4, 8, 1 << 31

	modeType, modeRegular, modeLink = 0o170000, 0o100000, 0o120000

	maxPacket  = 256 << 10 // bytes; OpenSSH sends no longer one
	maxEntries = 5_000_000 // more come from a server that talks without end
)

// lister reads a folder packet by packet. pkg/sftp reads all of it into memory.
type lister struct {
	c       *connection
	session *ssh.Session
	in      io.Writer
	out     io.Reader
	handle  string
	entries int
	reply   []byte // what is unread of the last one
}

// openFolder begins to read a folder. The caller closes the session.
func (c *connection) openFolder(folder string) (l *lister, err error) {
	l = &lister{c: c}
	err = c.within(func() error {
		if l.session, err = c.ssh.NewSession(); err != nil {
			return err
		}
		if l.in, err = l.session.StdinPipe(); err != nil {
			return err
		}
		if l.out, err = l.session.StdoutPipe(); err != nil {
			return err
		}
		if err = l.session.RequestSubsystem("sftp"); err != nil {
			return err
		}
		if kind, err := l.ask(packetInit, binary.BigEndian.AppendUint32(nil, 3)); err != nil || kind != packetVersion {
			return errors.Join(err, errBadReply)
		}
		kind, err := l.request(packetOpendir, folder)
		if err != nil {
			return err
		}
		if kind != packetHandle {
			return l.status(kind)
		}
		l.handle = l.text()
		return nil
	})
	if err != nil {
		l.close()
		return nil, fmt.Errorf("list the folder %q: %w", folder, c.explain(err))
	}
	return l, nil
}

var errBadReply = errors.New("an answer of the server is no SFTP")

// next returns the next entries; io.EOF: there are none left.
func (l *lister) next() (entries []entry, err error) {
	err = l.c.within(func() error {
		kind, err := l.request(packetReaddir, l.handle)
		if err != nil {
			return err
		}
		if kind != packetName {
			return l.status(kind)
		}
		count := int(l.number())
		if l.entries += count + 1; l.entries > maxEntries {
			return fmt.Errorf("the folder has more than %d entries, which noggin does not read", maxEntries)
		}
		for range count {
			if len(l.reply) == 0 {
				return errBadReply
			}
			e := entry{name: l.text()}
			l.text() // the line of ls -l
			l.attributes(&e)
			entries = append(entries, e)
		}
		return nil
	})
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	return entries, l.c.explain(err)
}

// close ends the session; the server closes the handle then.
func (l *lister) close() {
	if l.session != nil {
		_ = l.session.Close()
	}
}

// attributes reads the attributes of a file.
func (l *lister) attributes(e *entry) {
	flags := l.number()
	if flags&attrSize != 0 {
		e.size = int64(l.number())<<32 | int64(l.number())
	}
	if flags&attrOwner != 0 {
		l.number()
		l.number()
	}
	if flags&attrMode != 0 {
		mode := l.number()
		e.regular, e.link = mode&modeType == modeRegular, mode&modeType == modeLink
	}
	if flags&attrTimes != 0 {
		l.number()
		e.modified = time.Unix(int64(l.number()), 0)
	}
	if flags&attrExtended != 0 {
		for range min(l.number(), maxPacket) {
			l.text()
			l.text()
		}
	}
}

// request sends a packet with one text and waits for the answer.
func (l *lister) request(kind byte, text string) (answer byte, err error) {
	packet := binary.BigEndian.AppendUint32(nil, 1) // the id: there is one request at a time
	packet = binary.BigEndian.AppendUint32(packet, uint32(len(text)))
	if answer, err = l.ask(kind, append(packet, text...)); err == nil {
		l.number() // the id
	}
	return answer, err
}

func (l *lister) ask(kind byte, body []byte) (answer byte, err error) {
	packet := append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+1)), kind)
	if _, err := l.in.Write(append(packet, body...)); err != nil {
		return 0, err
	}
	var head [5]byte
	if _, err := io.ReadFull(l.out, head[:]); err != nil {
		return 0, noEOF(err)
	}
	length := binary.BigEndian.Uint32(head[:4])
	if length == 0 || length > maxPacket {
		return 0, errBadReply
	}
	l.reply = make([]byte, length-1)
	_, err = io.ReadFull(l.out, l.reply)
	return head[4], noEOF(err)
}

// noEOF keeps the end of a connection from looking like the end of a folder.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// status returns the error of an answer that is a status.
func (l *lister) status(kind byte) error {
	if kind != packetStatus {
		return errBadReply
	}
	switch code := l.number(); code {
	case statusEOF:
		return io.EOF
	case statusNoSuchFile:
		return fs.ErrNotExist
	case statusDenied:
		return fs.ErrPermission
	default:
		return fmt.Errorf("the server says %q (status %d)", l.text(), code)
	}
}

// number reads a number of the answer; 0, where it has no more.
func (l *lister) number() uint32 {
	if len(l.reply) < 4 {
		l.reply = nil
		return 0
	}
	n := binary.BigEndian.Uint32(l.reply)
	l.reply = l.reply[4:]
	return n
}

// text reads a text of the answer.
func (l *lister) text() string {
	n := int(l.number())
	if n > len(l.reply) {
		n = len(l.reply)
	}
	s := string(l.reply[:n])
	l.reply = l.reply[n:]
	return s
}
