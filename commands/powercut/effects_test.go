package powercut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// An effect is something that noggin does and that can be counted from outside.
type effect string

const (
	request effect = "request" // that the API is about to answer
	commit  effect = "commit"  // of a write, before noggin hears of it
	change  effect = "change"  // of a folder of a volume, or a written file was closed
)

// effects counts what a process does, and acts at the nth effect of one kind. The
// action is over before the process goes on, save for changes: those it makes without
// asking.
type effects struct {
	mu      sync.Mutex
	counts  map[effect]int
	kind    effect
	at      int
	act     func() // nil: done, or nothing to do
	watches *os.File
}

// arm begins to count anew for a process that is about to start.
func (e *effects) arm(kind effect, at int, act func(), volumes ...*volume) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts, e.kind, e.at, e.act = map[effect]int{}, kind, at, act
	return e.watch(volumes)
}

// disarm ends the counting and tells whether the action was taken.
func (e *effects) disarm() (counts map[effect]int, acted bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	acted, e.act = e.act == nil, nil
	_ = e.watches.Close()              // it was only read
	return maps.Clone(e.counts), acted // the last changes may still be counted
}

func (e *effects) count(kind effect) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.counts[kind]++; e.act == nil || kind != e.kind || e.counts[kind] < e.at {
		return
	}
	e.act()
	e.act = nil
}

// watch counts the changes of whole volumes.
func (e *effects) watch(volumes []*volume) error {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_REPORT_DFID_NAME, unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("watch volumes: %w", err)
	}
	e.watches = os.NewFile(uintptr(fd), "fanotify")
	for _, v := range volumes {
		if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM,
			unix.FAN_CREATE|unix.FAN_MOVED_TO|unix.FAN_DELETE|unix.FAN_CLOSE_WRITE|unix.FAN_ONDIR, unix.AT_FDCWD, v.dir); err != nil {
			return errors.Join(fmt.Errorf("watch %s: %w", v.dir, err), e.watches.Close())
		}
	}
	go func(events io.Reader) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := events.Read(buffer)
			if err != nil {
				return // closed
			}
			for rest := buffer[:n]; len(rest) >= unix.FAN_EVENT_METADATA_LEN; {
				e.count(change)
				rest = rest[min(len(rest), int(binary.NativeEndian.Uint32(rest))):]
			}
		}
	}(e.watches)
	return nil
}

// serving counts the requests before they are answered.
func (e *effects) serving(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.count(request)
		api.ServeHTTP(w, r)
	})
}

// listen forwards connections to PostgreSQL and counts the commits. It returns its
// address, and ends with the test.
func (e *effects) listen(t *testing.T, postgres string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go e.forward(client, postgres)
		}
	}()
	return listener.Addr().String()
}

func (e *effects) forward(client net.Conn, postgres string) {
	defer client.Close()
	server, err := net.Dial("tcp", postgres)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client) // the end of one direction is the connection's
		_ = server.Close()
	}()
	e.answers(client, server)
}

// answers forwards the server's messages: a type and a length each.
func (e *effects) answers(client io.Writer, server io.Reader) {
	wrote := false
	header := make([]byte, 5)
	for {
		if _, err := io.ReadFull(server, header); err != nil {
			return
		}
		message := make([]byte, 1+binary.BigEndian.Uint32(header[1:]))
		copy(message, header)
		if _, err := io.ReadFull(server, message[5:]); err != nil {
			return
		}
		switch tag := string(message[5:]); message[0] {
		case 'C': // a statement is done
			verb, _, _ := strings.Cut(strings.TrimRight(tag, "\x00"), " ")
			switch verb {
			case "COMMIT", "INSERT", "UPDATE", "DELETE":
				wrote = true
			case "ROLLBACK":
				wrote = false
			}
		case 'Z': // ready for the next one: I outside of a transaction
			if wrote && tag == "I" {
				e.count(commit)
				wrote = false
			}
		}
		if _, err := client.Write(message); err != nil {
			return
		}
	}
}
