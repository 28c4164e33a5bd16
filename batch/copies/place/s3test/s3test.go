// Package s3test gives tests a real S3 server: versitygw on a folder, with versions and
// Object Lock, behind a proxy that breaks connections when a test says so.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// The credentials that the server accepts.
const (
	KeyID  = "noggin-test"
	Secret = "secret-of-the-test-server"
)

// Server is an S3 server.
type Server struct {
	URL    string // with the port of the proxy
	Folder string // of the buckets, which are its folders

	// Requests counts connections' beginnings of requests.
	Requests atomic.Int64
	socket   string

	mu    sync.Mutex
	down  bool
	cut   int64 // break each connection after so many bytes from the client; 0: none
	conns map[net.Conn]struct{}
	ends  []func() // the last first
}

// Program finds the server's program: in bin of the repository, where `make setup` puts
// it, or in $PATH. "" is none.
func Program() string {
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path
	}
	folder, err := os.Getwd()
	if err != nil {
		return ""
	}
	for ; folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			found, _ := filepath.Glob(filepath.Join(folder, "bin", "versitygw-*"))
			if len(found) > 0 {
				return found[len(found)-1]
			}
		}
	}
	return ""
}

// Start starts a server for the duration of the test. Without its program it skips the
// test.
func Start(t testing.TB) *Server {
	t.Helper()
	if Program() == "" {
		t.Skip("no versitygw on this machine: NOGGIN_SETUP=all make setup")
	}
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// New starts a server, which Close ends.
func New() (s *Server, err error) {
	program := Program()
	if program == "" {
		return nil, errors.New("no versitygw on this machine: NOGGIN_SETUP=all make setup")
	}
	// A socket's path may have 108 bytes, which those of a test's folder may exceed.
	dir, err := os.MkdirTemp("", "noggin-s3-")
	if err != nil {
		return nil, err
	}
	s = &Server{Folder: filepath.Join(dir, "buckets"), socket: filepath.Join(dir, "s3.sock"), conns: map[net.Conn]struct{}{}}
	s.ends = append(s.ends, func() { _ = os.RemoveAll(dir) })
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	versions := filepath.Join(dir, "versions")
	if err := errors.Join(os.Mkdir(s.Folder, 0o755), os.Mkdir(versions, 0o755)); err != nil {
		return nil, err
	}
	// The server ends with this process, also when that is killed: the shell sees the end
	// of its stdin.
	cmd := exec.Command("/bin/sh", "-c", `"$@" & server=$!; read -r _; kill -9 $server; wait $server 2>/dev/null`, "s3test",
		program, "--port", s.socket, "--access", KeyID, "--secret", Secret, "--keep-alive", "--quiet", "posix", "--versioning-dir", versions, s.Folder)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &output, &output, dir
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	s.ends = append(s.ends, func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("unix", s.socket)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the S3 server does not start: %w", err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.URL = "http://" + listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { s.accept(listener, &serving) })
	s.ends = append(s.ends, func() {
		_ = listener.Close()
		s.Down()
		serving.Wait()
	})
	return s, nil
}

// Close ends the server and removes its buckets.
func (s *Server) Close() {
	for _, end := range slices.Backward(s.ends) {
		end()
	}
}

func (s *Server) accept(listener net.Listener, serving *sync.WaitGroup) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		serving.Go(func() { s.serve(client) })
	}
}

func (s *Server) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", s.socket)
	if err != nil {
		return
	}
	defer server.Close()
	s.mu.Lock()
	down, most := s.down, s.cut
	s.conns[client] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, client)
		s.mu.Unlock()
	}()
	if down {
		return
	}
	go func() {
		defer client.Close()
		_, _ = io.Copy(client, server)
	}()
	from := io.TeeReader(client, (*counter)(&s.Requests))
	if most > 0 {
		from = io.LimitReader(from, most)
	}
	_, _ = io.Copy(server, from)
}

// counter counts requests by the first line of their heads.
type counter atomic.Int64

func (c *counter) Write(p []byte) (int, error) {
	(*atomic.Int64)(c).Add(int64(bytes.Count(p, []byte(" HTTP/1.1\r\n"))))
	return len(p), nil
}

// Down breaks all connections, and new ones until Up.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Cut breaks each new connection after n bytes from the client, until Up.
func (s *Server) Cut(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = n
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Up ends Down and Cut.
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.cut = false, 0
}

// MakeBucket makes a bucket, with Object Lock or without.
func (s *Server) MakeBucket(t testing.TB, name string, locked bool) {
	t.Helper()
	if err := s.NewBucket(t.Context(), name, locked); err != nil {
		t.Fatal(err)
	}
}

// NewBucket is MakeBucket outside of tests.
func (s *Server) NewBucket(ctx context.Context, name string, locked bool) error {
	client, err := minio.New(strings.TrimPrefix(s.URL, "http://"), &minio.Options{Creds: credentials.NewStaticV4(KeyID, Secret, ""), Region: "us-east-1"})
	if err == nil {
		err = client.MakeBucket(ctx, name, minio.MakeBucketOptions{ObjectLocking: locked})
	}
	return err
}

// Path is the file in which the server keeps the current version of an object.
func (s *Server) Path(bucket, key string) string {
	return filepath.Join(s.Folder, bucket, filepath.FromSlash(key))
}

// Keys lists the keys of a bucket, sorted.
func (s *Server) Keys(t testing.TB, bucket string) (keys []string) {
	t.Helper()
	top := filepath.Join(s.Folder, bucket)
	err := filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && !strings.HasPrefix(entry.Name(), ".") {
			keys = append(keys, strings.TrimPrefix(path, top+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(fmt.Errorf("list the bucket: %w", err))
	}
	return keys
}
