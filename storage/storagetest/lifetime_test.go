package storagetest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envStarter has the test program start a server, tell its folder, its port and
// its watchdog's process id, and wait to be killed.
const envStarter = "NOGGIN_STORAGETEST_STARTER"

func TestMain(m *testing.M) {
	if os.Getenv(envStarter) == "" {
		os.Exit(m.Run())
	}
	s, err := Start(Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(envStarter) == "killed server" {
		if err := s.Kill(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Println(s.folder, s.address(), s.watchdog.cmd.Process.Pid)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// starter is another process that has started a server.
type starter struct {
	cmd             *exec.Cmd
	stdin           io.Closer
	folder, address string
	watchdog        int
}

func startElsewhere(t *testing.T, what string) starter {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), envStarter+"="+what)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := starter{cmd: cmd, stdin: stdin}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the other process told nothing: %v", err)
	}
	if _, err := fmt.Sscan(line, &s.folder, &s.address, &s.watchdog); err != nil {
		t.Fatalf("the other process told %q: %v", line, err)
	}
	return s
}

// eventually waits for what another process does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 seconds: %s", what)
		}
	}
}

func isGone(path string) func() bool {
	return func() bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	}
}

// hasNoProcess says whether no process works in the folder, as PostgreSQL's do.
func hasNoProcess(folder string) func() bool {
	return func() bool {
		links, err := filepath.Glob("/proc/[0-9]*/cwd")
		if err != nil {
			return false
		}
		for _, l := range links {
			if at, err := os.Readlink(l); err == nil && strings.HasPrefix(at, folder) {
				return false
			}
		}
		return true
	}
}

func TestNothingRemainsOfAServerWhoseStarterEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s starter) error{
		"in good order":     func(s starter) error { return s.stdin.Close() },
		"killed":            func(s starter) error { return s.cmd.Process.Kill() },
		"killed as a group": func(s starter) error { return syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) },
		"interrupted by ^C": func(s starter) error { return syscall.Kill(-s.cmd.Process.Pid, syscall.SIGINT) },
		"ended by a signal": func(s starter) error { return s.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startElsewhere(t, "server")
			if hasNoProcess(s.folder)() {
				t.Fatal("no server process to begin with")
			}
			if err := end(s); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the folder is removed", isGone(s.folder))
			eventually(t, "the server has ended", hasNoProcess(s.folder))
		})
	}
}

func TestServerEndsAndFolderIsSweptWhenTheWatchdogIsKilledToo(t *testing.T) {
	t.Parallel()
	s := startElsewhere(t, "server")
	if err := syscall.Kill(s.watchdog, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server has ended", hasNoProcess(s.folder))

	parent := filepath.Dir(s.folder)
	as, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	sweep(parent, as)
	if isGone(s.folder)() {
		t.Error("a folder that might just be being made was swept")
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.folder, long, long); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the folder is swept", func() bool {
		sweep(parent, as)
		return isGone(s.folder)()
	})
}

func TestFolderInUseIsNotSwept(t *testing.T) {
	t.Parallel()
	s := Private(t, Options{})
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.folder, long, long); err != nil {
		t.Fatal(err)
	}
	sweep(filepath.Dir(s.folder), s.account)
	if isGone(s.folder)() {
		t.Error("the folder of a running server was swept")
	}
}

func TestKilledServerLeavesNoSharedMemory(t *testing.T) {
	t.Parallel()
	s := startElsewhere(t, "killed server")
	pidFile, err := os.ReadFile(filepath.Join(s.folder, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(pidFile), "\n")
	if len(lines) < 7 {
		t.Fatalf("postmaster.pid tells no shared memory segment:\n%s", pidFile)
	}
	segment := strings.Fields(lines[6])
	hasSegment := func() bool {
		all, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(all)) {
			if f := strings.Fields(line); len(f) > 1 && f[1] == segment[1] {
				return true
			}
		}
		return false
	}
	if !hasSegment() {
		t.Fatal("no shared memory segment to begin with")
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the folder is removed", isGone(s.folder))
	if hasSegment() {
		t.Error("the server's shared memory segment remains")
	}
}

func TestCloseRemovesEverything(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.folder); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if !hasNoProcess(s.folder)() {
		t.Error("a server process is still there")
	}
}

func TestOnlyTheServersUserReachesItsFiles(t *testing.T) {
	t.Parallel()
	s := Private(t, Options{})
	info, err := os.Stat(s.folder)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		t.Errorf("the server's folder has mode %v", mode)
	}
}
