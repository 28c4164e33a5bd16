package api

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestAHostWithoutSocketsIsToBlameItself(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"socket()":    &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)},
		"whole host":  &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.ENFILE)},
		"name lookup": &net.DNSError{Err: "dial udp: socket: too many open files", Name: "api.example.com"},
	} {
		failed := (&Client{scrubber: newScrubber("token", "namespace")}).newError(0, fmt.Errorf("connect: %w", err))
		outcome := Outcome{Class: failed.Class, Kind: failed.Kind}
		if failed.Class != ClassOwn || !outcome.Neutral() || outcome.Unavailable() {
			t.Errorf("%s: class %s, kind %s", name, failed.Class, failed.Kind)
		}
		if !strings.Contains(failed.Error(), "LimitNOFILE") {
			t.Errorf("%s: %s", name, failed)
		}
	}
}

// A server's words do not make a failure ours: such a failure never counts.
func TestAnAnswerCannotSayThatTheHostIsToBlame(t *testing.T) {
	t.Parallel()
	server, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"$meta":{"tip":"too many open files"}}`)
	})
	c := newTestClient(t, server.URL, nil)
	_, err := c.Record(t.Context(), testForm, testTip)
	if failed := asError(t, err); failed.Class != ClassBroken || failed.Kind != KindBrokenAnswer {
		t.Errorf("an answer: class %s, kind %s: %s", failed.Class, failed.Kind, failed)
	}
	_, err = c.Media(t.Context(), "/media/too many open files", Sink{})
	if failed := asError(t, err); failed.Class != ClassPermanent || failed.Kind != KindBadReference {
		t.Errorf("a media reference: class %s, kind %s: %s", failed.Class, failed.Kind, failed)
	}
}
