package api

import (
	"errors"
	"fmt"
	"net"
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
		"name lookup": errors.New("lookup api.example.com: dial udp: socket: too many open files"),
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
