package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"noggin/storage/storagetest"
)

// envPgtemp has the test program be pgtemp.
const envPgtemp = "NOGGIN_PGTEMP"

func TestMain(m *testing.M) {
	if os.Getenv(envPgtemp) == "" {
		os.Exit(m.Run())
	}
	main()
}

func pgtemp(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), envPgtemp+"=1", "PGPORT=garbage", "PGHOST=nowhere.invalid")
	return cmd
}

func TestExitCodeIsTheCommands(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"exit 11": 11, "kill -9 $$": 137} {
		cmd := pgtemp(t, "--", "sh", "-c", script)
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%q: exit code %d (%v), want %d\n%s", script, got, err, want, out)
		}
	}
	missing := pgtemp(t, "--", "/no/such/command")
	_ = missing.Run()
	if got := missing.ProcessState.ExitCode(); got != exitNotFound {
		t.Errorf("a missing command: exit code %d, want %d", got, exitNotFound)
	}
}

func TestCommandFindsADatabaseAndNoLibpqVariables(t *testing.T) {
	t.Parallel()
	out, err := pgtemp(t, "sh", "-c", `env | grep ^PG; echo "$NOGGIN_DATABASE_URL"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if url := string(out); !strings.HasPrefix(url, "postgres://noggin:") || !strings.Contains(url, "/"+database+"?") {
		t.Errorf("the command found %q", out)
	}
}

func TestTestsFindAServerAndNoDatabaseOfNoggins(t *testing.T) {
	t.Parallel()
	cmd := pgtemp(t, "--tests", "--", "sh", "-c", `echo "$NOGGIN_DATABASE_URL;$NOGGIN_TEST_DATABASE_URL"`)
	cmd.Env = append(cmd.Env, "NOGGIN_DATABASE_URL=", storagetest.EnvURL+"=postgres://somebody@nowhere.invalid/work")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if variables := string(out); !strings.HasPrefix(variables, ";postgres://noggin:") || !strings.Contains(variables, "@127.0.0.1:") {
		t.Errorf("the tests found %q", out)
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	t.Parallel()
	cmd := pgtemp(t, "--", "sh", "-c", `trap 'kill $!; echo ended; exit 42' TERM; echo ready; sleep 60 & wait`)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer guard.Stop()
	ready := make([]byte, len("ready\n"))
	if _, err := stdout.Read(ready); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 42 {
		t.Errorf("exit code %d, want the command's own 42", got)
	}
}

func TestServerCanBeAskedForSafety(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("psql"); err != nil {
		t.Skip("no psql to ask with")
	}
	out, err := pgtemp(t, "--fsync", "--", "sh", "-c", `psql -XAt "$NOGGIN_DATABASE_URL" -c 'SHOW fsync' -c 'SHOW data_directory'`).Output()
	fsync, folder, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || fsync != "on" || !filepath.IsAbs(folder) || strings.HasPrefix(folder, "/dev/shm/") {
		t.Errorf("with --fsync, the server's fsync is %q and its data are in %q (%v)", fsync, folder, err)
	}
}
