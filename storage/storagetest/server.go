// Package storagetest gives tests, the demo and the benchmark a real
// PostgreSQL of their own: the distribution's server programs in a temporary
// folder, on a free port of the loopback interface, removed again however the
// process ends. Proxy stands between a client and that server where a test
// needs the connection to fail at a given moment.
//
// Nothing here knows the tables of storage. Program pgtemp runs any command
// beside such a server.
package storagetest

import (
	"context"
	"crypto/rand"
	"database/sql"
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
	// A port below the range of outgoing connections stays free while the
	// server restarts.
	lowestPort, highestPort = 12000, 32000
	portAttempts            = 20
	startTimeout            = 60 * time.Second
	stopTimeout             = 30 * time.Second
	pollInterval            = 20 * time.Millisecond
)

// Options of a server. The zero value is right for most tests.
type Options struct {
	// Fsync makes commits survive a crash of the machine too, at the price that
	// production pays for it: for benchmarks. A crash of the server alone they
	// always survive.
	Fsync bool
	// Settings are added to postgresql.conf, quoted, and win over ours.
	Settings map[string]string
}

// Server is a PostgreSQL server of one's own. Its methods may be called from
// several goroutines.
type Server struct {
	programs string
	folder   string
	account  account
	password string
	port     int
	watchdog *watchdog

	mu      sync.Mutex
	process *os.Process
	// exited is closed when the process has been waited for.
	exited chan struct{}
}

// Start makes a new, empty server and waits until it answers. It needs the
// server programs of PostgreSQL 13 or newer, in Debian's place for them or on
// the PATH, and works as root as well as an ordinary user.
//
// Close removes it; so does the end of this process, even a killed one. libpq's
// variables (PGHOST, …) are taken from the process's environment, lest they
// lead a client elsewhere.
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

// URL is the libpq URL of a database on the server, which need not exist yet.
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
	return createDatabase(s.URL("postgres"), name)
}

// Stop ends the server in good order: transactions under way are rolled back,
// their clients told. The data stay for Restart.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// StopImmediate ends the server at once; connections break and the next start
// recovers from the log. The data stay for Restart.
func (s *Server) StopImmediate() error { return s.end(syscall.SIGQUIT) }

// Kill kills the server's main process; its others find that out and go. The
// data stay for Restart.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Restart starts the server again with the same data on the same port, after
// ending it in good order if it still runs.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	// The last processes of a killed server keep the data for a moment.
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

// initialise writes the data folder. Anybody on this machine can connect to a
// port, and a superuser of PostgreSQL can run commands: hence the password.
func (s *Server) initialise(o Options) error {
	passwordFile := filepath.Join(s.folder, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password+"\n"), 0o600); err != nil {
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

// settings is what initdb's configuration lacks.
func settings(o Options) string {
	values := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "32MB",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		// Shared memory in the data folder goes with it.
		"dynamic_shared_memory_type": "mmap",
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

// startOnFreePort tries ports until the server gets one: another process may
// take a port between our look and the server's.
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

// launch starts the server's process and waits until it takes connections.
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

// startAndWait starts the process and closes exited when it has ended. The
// kernel sends Pdeathsig when the thread that started the process ends, not
// only when all of them do, so that the thread has to be kept until then.
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

// awaitConnections returns when the server answers, has ended, or does neither
// in time.
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

// end sends the signal and waits until the process is gone, with more force
// when it takes too long.
func (s *Server) end(signal os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	for _, signal := range []os.Signal{signal, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := s.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("signal the server: %w", err)
		}
		select {
		case <-s.exited:
			s.process = nil
			return nil
		case <-time.After(stopTimeout):
		}
	}
	return errors.New("the server does not end")
}
