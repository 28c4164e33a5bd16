// Package storagetest gives tests, the demo and the benchmark a real
// PostgreSQL of their own. It runs the distribution's server programs in a temporary
// folder, on a free port of the loopback interface. A [Proxy] between a client and the
// server makes the connection fail when a test needs it. Program pgtemp runs a command
// beside such a server. Only [Fill] knows the tables of storage.
//
// Invariants:
//   - However this process ends, its watchdog ends the server and removes its folder.
//   - A database of a test is dropped at the end of the test.
//   - A test uses only servers that are marked as servers for tests.
package storagetest

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"
)

const (
	superuser = "noggin"
	// These ports are below the range of outgoing connections, so that the port stays
	// free while the server restarts.
	lowestPort, highestPort = 12000, 32000
	portAttempts            = 20
	startTimeout            = 60 * time.Second
	stopTimeout             = 30 * time.Second
	pollInterval            = 20 * time.Millisecond
)

// Options of a server. The zero value is right for most tests.
type Options struct {
	// Fsync makes commits survive a crash of the machine, at the same cost as in
	// production: the data are on a disk. Benchmarks need it. Commits always survive a
	// crash of the server.
	Fsync bool
	// Settings are further lines of postgresql.conf. They override the defaults here.
	Settings map[string]string
}

// Server is a private PostgreSQL server. Several goroutines may call its methods.
type Server struct {
	programs string
	folder   string
	account  account
	password string
	port     int
	watchdog *watchdog

	mu      sync.Mutex
	process *os.Process
	// exited is closed when the process has ended.
	exited chan struct{}
}

// Start makes a new, empty server and waits until it answers. It needs the server
// programs of PostgreSQL in Debian's folders or on the PATH. It works as root and as an
// ordinary user. Its data are in the temporary folder, or in memory if there is much.
//
// Close removes the server, and so does the end of this process. Start removes libpq's
// variables (PGHOST, …) from the process's environment: they would lead a client to
// another server.
func Start(o Options) (*Server, error) {
	dropLibpqVariables()
	programs, err := findPrograms()
	if err != nil {
		return nil, err
	}
	as, err := serverAccount()
	if err != nil {
		return nil, err
	}
	parent, err := as.temporaryFolder()
	if err != nil {
		return nil, err
	}
	sweep(parent, as)
	sweep(memoryFolder, as)
	if !o.Fsync && memoryHasRoom() {
		parent = memoryFolder
	}
	folder, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("make the server's folder: %w", err)
	}
	if err := os.Chown(folder, as.uid, as.gid); err != nil {
		_ = os.Remove(folder)
		return nil, fmt.Errorf("give the server its folder: %w", err)
	}
	dog, err := startWatchdog(folder, as)
	if err != nil {
		_ = os.RemoveAll(folder)
		return nil, err
	}
	s := &Server{programs: programs, folder: folder, account: as, password: rand.Text(), watchdog: dog}
	if err := s.initialise(o); err != nil {
		s.watchdog.clear()
		return nil, err
	}
	if err := s.startOnFreePort(); err != nil {
		s.watchdog.clear()
		return nil, err
	}
	return s, nil
}

// URL returns the libpq URL of a database on the server. The database need not exist.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     s.address(),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// CreateDatabase makes an empty database.
func (s *Server) CreateDatabase(name string) error {
	return createDatabase(s.URL("postgres"), name, "template0")
}

// Stop ends the server in good order: it rolls back open transactions and tells their
// clients. The data stay for Restart.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// StopImmediate ends the server at once. Connections break, and the next start recovers
// from the log. The data stay for Restart.
func (s *Server) StopImmediate() error { return s.end(syscall.SIGQUIT) }

// Kill kills the server's main process; its other processes then end by themselves. The
// data stay for Restart.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Restart stops the server if it runs, and starts it with the same data on the same
// port.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	// The other processes of a killed server hold the data for a moment.
	deadline := time.Now().Add(startTimeout)
	for {
		err := s.launch()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollInterval)
	}
}

// Close ends the server and removes its data.
func (s *Server) Close() error {
	err := s.StopImmediate()
	s.watchdog.clear()
	return err
}

func (s *Server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// initialise writes the data folder. The server has a password, because every user of
// this machine can connect to its port, and a superuser of PostgreSQL can run commands.
func (s *Server) initialise(o Options) error {
	passwordFile := filepath.Join(s.folder, "password")
	verifier, err := scramVerifier(s.password)
	if err != nil {
		return err
	}
	if err := os.WriteFile(passwordFile, []byte(verifier+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the server's password: %w", err)
	}
	if err := os.Chown(passwordFile, s.account.uid, s.account.gid); err != nil {
		return fmt.Errorf("write the server's password: %w", err)
	}
	cmd := exec.Command(filepath.Join(s.programs, "initdb"), "--pgdata", s.data(), "--no-sync", "--encoding=UTF8", "--locale=C",
		"--username", superuser, "--auth=scram-sha-256", "--pwfile", passwordFile)
	cmd.Dir = s.folder
	cmd.Env = serverEnvironment(s.folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account.credential}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	_, err = conf.WriteString(settings(o))
	return errors.Join(err, conf.Close())
}

// scramVerifier is what the server keeps of a password, with the fewest rounds that lib/pq
// takes: each connection of a test goes through them, and the password is random.
func scramVerifier(password string) (string, error) {
	const rounds = 1000
	salt := []byte(rand.Text())
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("make the server's password: %w", err)
	}
	keyed := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(keyed("Client Key"))
	text := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, text(salt), text(stored[:]), text(keyed("Server Key"))), nil
}

// settings returns the settings to add to initdb's configuration.
func settings(o Options) string {
	values := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "32MB",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		// Shared memory in the data folder is removed with the folder.
		"dynamic_shared_memory_type": "mmap",
		testsSetting:                 "on",
	}
	if !o.Fsync {
		values["fsync"] = "off"
		values["full_page_writes"] = "off"
	}
	maps.Copy(values, o.Settings)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(values[name], "'", "''"))
	}
	return b.String()
}

// startOnFreePort tries ports until the server gets one. Another process may take a port
// after startOnFreePort found it free.
func (s *Server) startOnFreePort() error {
	var last error
	for range portAttempts {
		n, err := rand.Int(rand.Reader, big.NewInt(highestPort-lowestPort))
		if err != nil {
			return fmt.Errorf("choose a port: %w", err)
		}
		s.port = lowestPort + int(n.Int64())
		l, err := net.Listen("tcp", s.address())
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("try port %d: %w", s.port, err)
		}
		if last = s.launch(); last == nil {
			return nil
		}
		if !strings.Contains(last.Error(), "could not bind") {
			return last
		}
	}
	return last
}

// launch starts the server's process and waits until it accepts connections.
func (s *Server) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	logFile := filepath.Join(s.folder, "log")
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create the server's log: %w", err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(filepath.Join(s.programs, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port))
	cmd.Dir = s.folder
	cmd.Env = serverEnvironment(s.folder)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Credential: s.account.credential,
		Pdeathsig:  syscall.SIGQUIT,
	}
	exited := make(chan struct{})
	if err := startAndWait(cmd, exited); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.process, s.exited = cmd.Process, exited
	if err := s.awaitConnections(); err != nil {
		_ = s.process.Kill()
		<-exited
		s.process = nil
		report, _ := os.ReadFile(logFile)
		return fmt.Errorf("%w\n%s", err, report)
	}
	return nil
}

// startAndWait starts the process and closes exited at its end. It keeps the thread
// that starts the process: the kernel sends Pdeathsig when that thread ends, even if
// this process goes on.
func startAndWait(cmd *exec.Cmd, exited chan<- struct{}) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(exited)
		}
	}()
	return <-started
}

// awaitConnections waits until the server answers or ends, or the time is over.
func (s *Server) awaitConnections() error {
	connector, err := pq.NewConnector(s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("the server did not start")
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(pollInterval):
		}
	}
}

// end sends the signal and waits for the end of the process. When that takes too long,
// it sends stronger signals.
func (s *Server) end(signal os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	for _, signal := range []os.Signal{signal, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := s.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("send a signal to the server: %w", err)
		}
		select {
		case <-s.exited:
			s.process = nil
			return nil
		case <-time.After(stopTimeout):
		}
	}
	return errors.New("the server does not stop")
}
