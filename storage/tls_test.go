package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// impostor answers as the database's host: it has no TLS and asks for a password in the
// given pieces. It returns its address, and what it got after the startup message.
func impostor(t *testing.T, pieces ...string) (address string, got chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	got = make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				for {
					head := make([]byte, 4)
					if _, err := io.ReadFull(conn, head); err != nil {
						return
					}
					body := make([]byte, binary.BigEndian.Uint32(head)-4)
					if _, err := io.ReadFull(conn, body); err != nil {
						return
					}
					if binary.BigEndian.Uint32(body) != requestTLS {
						break
					}
					_, _ = conn.Write([]byte("N"))
				}
				for _, piece := range pieces {
					_, _ = conn.Write([]byte(piece))
					time.Sleep(time.Millisecond) // so that it is a piece of its own
				}
				answer, _ := io.ReadAll(conn)
				got <- string(answer)
			}()
		}
	}()
	return listener.Addr().String(), got
}

func TestNoPasswordIsSentInTheClear(t *testing.T) {
	t.Parallel()
	const asks = "R\x00\x00\x00\x08\x00\x00\x00\x03"
	notice := "N\x00\x00\x00\x09SXX\x00\x00"
	for _, mode := range []string{"", "disable", "allow", "prefer"} {
		for name, pieces := range map[string][]string{
			"at once": {asks}, "byte by byte": strings.Split(asks, ""), "behind a notice": {notice + asks},
			"behind a cut notice": {notice[:4], notice[4:] + asks[:3], asks[3:]}, "behind a parameter": {"S\x00\x00\x00\x08a\x00b\x00" + asks},
		} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				address, got := impostor(t, pieces...)
				cfg := DefaultConfig()
				cfg.RetryFor = 0
				cfg.URL = "postgres://noggin:s3cret@" + address + "/noggin_db"
				if mode != "" {
					cfg.URL += "?sslmode=" + mode
				}
				err := openDB(t, cfg).Ping(t.Context())
				// In mode allow the last error is that of the second try, with TLS.
				if err == nil || mode != "allow" && !strings.Contains(err.Error(), "cleartext") || !strings.Contains(err.Error(), "[database] url") || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("got %v", err)
				}
				select {
				case answer := <-got:
					if strings.Contains(answer, "s3cret") {
						t.Errorf("the impostor got %q", answer)
					}
				case <-time.After(10 * time.Second):
					t.Error("the connection stays open")
				}
			})
		}
	}
}

func TestTLSIsRequiredOffThisHost(t *testing.T) {
	services := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(services, []byte("[secured]\nhost=db.example.com\nsslmode=verify-full\n[plain]\nhost=db.example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", services)
	for address, want := range map[string]string{
		"postgres://noggin@db.example.com/noggin_db":                                "require",
		"postgres://noggin:sslmode@10.1.2.3/noggin_db":                              "require",
		"postgres://noggin@[2001:db8::1]/noggin_db":                                 "require",
		"postgres://noggin@localhost.example.com/noggin_db":                         "require",
		"postgres://noggin@localhost,db.example.com/noggin_db":                      "require",
		"host=db2.example.com,/run/postgresql":                                      "require",
		"postgres://u:p@db1.example.com:5433,db2.example.com/d?sslmode=verify-full": "verify-full",
		"postgres://u@[2001:db8::1],[2001:db8::2]/d?sslmode=verify-full":            "verify-full",
		"service=secured": "verify-full",
		"service=plain":   "require",
		"postgres://noggin@/noggin_db?host=localhost&hostaddr=10.1.2.3":      "require",
		"host=db.example.com user=noggin password=' sslmode'":                "require",
		"postgres://noggin@db.example.com/noggin_db?sslmode=prefer":          "prefer",
		"host=db.example.com sslmode = verify-full":                          "verify-full",
		"postgres://noggin@db.example.com/noggin_db?sslrootcert=system":      "verify-full",
		"postgres://noggin@localhost/noggin_db":                              "prefer",
		"postgres://noggin@127.0.0.2/noggin_db":                              "prefer",
		"postgres://noggin@[::1]/noggin_db":                                  "prefer",
		"postgres://noggin@/noggin_db?host=/run/postgresql":                  "disable",
		"host=/run/postgresql dbname=noggin_db":                              "disable",
		"postgres://noggin@/noggin_db?host=" + url.QueryEscape("/run/a b/c"): "disable",
	} {
		cfg := DefaultConfig()
		cfg.URL = address
		got, err := cfg.libpq()
		if err != nil || string(got.SSLMode) != want {
			t.Errorf("%s: %s, %v, want %s", address, got.SSLMode, err, want)
		}
		unverified := want
		if want == "verify-full" || isLocal(got) {
			unverified = ""
		}
		if cfg.Unverified() != unverified {
			t.Errorf("%s: %q is told as unverified, want %q", address, cfg.Unverified(), unverified)
		}
	}
}

// For all servers of a list the driver switches TLS off when the first one is a socket.
func TestASocketBeforeAnotherHostIsRefused(t *testing.T) {
	for _, address := range []string{
		"postgres://noggin@/noggin_db?host=/run/postgresql,db2.example.com&sslmode=verify-full",
		"host=/run/postgresql,db2.example.com", "host=@abstract,10.1.2.3 sslmode=disable",
	} {
		cfg := DefaultConfig()
		cfg.URL = address
		if got, err := cfg.libpq(); !errors.Is(err, errSocketFirst) {
			t.Errorf("%s: %s, %v", address, got.SSLMode, err)
		}
	}
	cfg := DefaultConfig()
	cfg.URL = "host=/run/postgresql,localhost"
	if got, err := cfg.libpq(); err != nil || got.SSLMode != "disable" {
		t.Errorf("%s, %v", got.SSLMode, err)
	}
}

// The error of an upgrade that lost its connection without TLS names the key.
func TestAServerWithoutTLSIsRefusedAndTheErrorNamesTheKey(t *testing.T) {
	t.Parallel()
	address, _ := impostor(t)
	cfg := DefaultConfig()
	cfg.RetryFor = 0
	cfg.URL = "postgres://noggin@" + address + "/noggin_db?sslmode=require"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := openDB(t, cfg).Ping(ctx); err == nil || !strings.Contains(err.Error(), "sslmode=prefer into [database] url") {
		t.Errorf("got %v", err)
	}
}
