package commands

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// startReceiver starts a receiver of heartbeats and alerts at $receiver. It writes what it
// is told to the file told, a line each.
func startReceiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: receiver")
	}
	t, ok := ts.Value("t").(testing.TB)
	if !ok {
		ts.Fatalf("not run by testing")
	}
	path := ts.MkAbs("told")
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = fmt.Fprintln(file, req.Method, req.URL.RequestURI(), strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", " "))
		_ = file.Close()
	}))
	ts.Defer(server.Close)
	ts.Setenv("receiver", server.URL)
}
