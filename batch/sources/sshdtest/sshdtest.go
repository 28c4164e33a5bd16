// Package sshdtest gives tests a real SFTP server: OpenSSH's sshd, one process for each
// connection, for the user that runs the tests. It listens on a free port of the
// loopback.
package sshdtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Server is an SFTP server.
type Server struct {
	Address    string // host and port
	URL        string // of Folder
	Folder     string // what it serves
	Key        string // file of a private key that it accepts
	OtherKey   string // file of one that it refuses
	KnownHosts string // file with its own key

	t        testing.TB
	config   string
	logs     string
	hostKeys []ssh.PublicKey
	mu       sync.Mutex
	logins   int
	cut      int64
	hang     bool
	release  chan struct{}
}

// Start starts a server for the duration of the test. Without an sshd on this machine
// it skips the test.
func Start(t testing.TB) *Server {
	t.Helper()
	program, err := exec.LookPath("sshd")
	if err != nil {
		program = "/usr/sbin/sshd"
		if _, err := os.Stat(program); err != nil {
			t.Skip("no sshd on this machine: apt-get install openssh-server")
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &Server{
		Folder: filepath.Join(dir, "outbox"), Key: filepath.Join(dir, "key"), OtherKey: filepath.Join(dir, "other"),
		KnownHosts: filepath.Join(dir, "known_hosts"),
		t:          t, config: filepath.Join(dir, "sshd_config"), logs: filepath.Join(dir, "sshd.log"), release: make(chan struct{}),
	}
	s.hostKeys = []ssh.PublicKey{writeKey(t, filepath.Join(dir, "host"), newEd25519(t)), writeKey(t, filepath.Join(dir, "host2"), newECDSA(t))}
	accepted := writeKey(t, s.Key, newEd25519(t))
	writeKey(t, s.OtherKey, newEd25519(t))
	if os.Getuid() == 0 {
		_ = os.MkdirAll("/run/sshd", 0o755) // where Debian's sshd wants it; it says so if it is missing
	}
	write(t, filepath.Join(dir, "authorized"), string(ssh.MarshalAuthorizedKey(accepted)))
	write(t, s.config, strings.Join([]string{
		"HostKey " + filepath.Join(dir, "host"), "HostKey " + filepath.Join(dir, "host2"),
		"AuthorizedKeysFile " + filepath.Join(dir, "authorized"),
		"StrictModes no", "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"Subsystem sftp internal-sftp", "PidFile none", "LogLevel ERROR", "",
	}, "\n"))
	if err := os.Mkdir(s.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = listener.Addr().String()
	s.URL = "sftp://" + me.Username + "@" + s.Address + s.Folder
	s.Know(0)
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { s.serve(program, conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		close(s.release)
		connections.Wait()
		if logs, err := os.ReadFile(s.logs); err == nil && t.Failed() {
			t.Logf("sshd says: %s", logs)
		}
	})
	return s
}

// Break has the server break each further connection, or hang, after it sent so many
// bytes; 0: never.
func (s *Server) Break(after int64, hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut, s.hang = after, hang
}

// Connections counts the connections so far.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// Put writes a file that the server serves.
func (s *Server) Put(name, text string) {
	s.t.Helper()
	write(s.t, filepath.Join(s.Folder, name), text)
}

// Know has KnownHosts hold one of the two keys of the server: 0, its Ed25519 key, or 1,
// its ECDSA key.
func (s *Server) Know(key int) {
	s.t.Helper()
	write(s.t, s.KnownHosts, "# the keys of our servers\n"+knownhosts.Line([]string{s.Address}, s.hostKeys[key])+"\n")
}

// ChangeHostKey has KnownHosts hold a key that the server does not have.
func (s *Server) ChangeHostKey() {
	s.t.Helper()
	key := writeKey(s.t, s.KnownHosts+"-key", newEd25519(s.t))
	write(s.t, s.KnownHosts, knownhosts.Line([]string{s.Address}, key)+"\n")
}

// Fingerprint is that of one of the two keys of the server.
func (s *Server) Fingerprint(key int) string { return ssh.FingerprintSHA256(s.hostKeys[key]) }

// serve hands a connection to an sshd of its own.
func (s *Server) serve(program string, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	s.mu.Lock()
	s.logins++
	cut, hang := s.cut, s.hang
	s.mu.Unlock()
	logs, err := os.OpenFile(s.logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer func() { _ = logs.Close() }()
	cmd := exec.Command(program, "-i", "-e", "-f", s.config)
	cmd.Stderr = logs
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return
	}
	if err := cmd.Start(); err != nil {
		_, _ = fmt.Fprintln(logs, err)
		return
	}
	go func() {
		_, _ = io.Copy(in, conn)
		_ = in.Close()
	}()
	if cut > 0 {
		_, _ = io.CopyN(conn, out, cut)
		if hang {
			<-s.release
		}
	} else {
		_, _ = io.Copy(conn, out)
	}
	_ = conn.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func newEd25519(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newECDSA(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// writeKey writes a private key to a file and returns its public part.
func writeKey(t testing.TB, path string, private crypto.Signer) ssh.PublicKey {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "noggin test")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
