package commands

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"noggin/api/apitest"
	"noggin/batch/sources/sshdtest"
	"noggin/storage/storagetest"
)

// sourceVariable tells the noggin of a script where the files are that main
// embeds.
const sourceVariable = "NOGGIN_TEST_SOURCE"

// TestMain is also the noggin of the tests: testscript runs the test's own program under
// that name. With -race each would sleep for a second before it ends, so it is told not to.
func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", cmp.Or(os.Getenv("GORACE"), "atexit_sleep_ms=0")); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"noggin": nogginMain})
}

// nogginMain is what main does, for the scripts.
func nogginMain() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { <-signals; cancel(ErrInterrupted) }()
	assets := Assets{Version: "1.2.3"}
	for name, text := range map[string]*string{"schema.sql": &assets.Schema, "config.example.toml": &assets.ExampleConfig} {
		content, err := os.ReadFile(filepath.Join(os.Getenv(sourceVariable), name))
		if err != nil {
			panic(err)
		}
		*text = string(content)
	}
	os.Exit(Run(ctx, os.Args, Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, assets))
}

// TestScripts runs the sessions in testdata/script. Beside testscript's own
// commands they have
//
//	exits CODE COMMAND…  runs a command, which has to end with that exit code
//	database             makes an empty database and sets $NOGGIN_DATABASE_URL
//	api N [FORM…] …      starts a simulated API with N records, see startAPI
//	faults [FAULT…]      replaces the faults of the simulated API
//	receiver             starts a receiver of heartbeats and alerts, see startReceiver
//	sshd                 starts an SFTP server; its folder is $outbox
//	enqueue              makes its records pending
//	failed UNIT CODE     runs systemd's alert for a unit that ended with that exit code
//	well UNIT CODE       the same for one of whom that is a good end
//
// Each begins with a $NOGGIN_CONFIG of its own, whose folders are below $WORK/data.
func TestScripts(t *testing.T) {
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			config := filepath.Join(env.WorkDir, "noggin.toml")
			env.Setenv(sourceVariable, source)
			env.Setenv("NOGGIN_CONFIG", config)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("TZ", "Australia/Perth")
			env.Setenv("data", filepath.Join(env.WorkDir, "data"))
			env.Values["t"] = env.T()
			env.Values["api"] = new(*apitest.Server)
			return os.WriteFile(config, []byte(scriptConfig(filepath.Join(env.WorkDir, "data"))), 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"database": database,
			"api":      startAPI,
			"faults":   faults,
			"sshd":     startSSHD,
			"receiver": startReceiver,
			"enqueue":  enqueue,
			"failed":   func(ts *testscript.TestScript, neg bool, args []string) { alert(ts, neg, args, "exit-code", "") },
			"well":     func(ts *testscript.TestScript, neg bool, args []string) { alert(ts, neg, args, "success", ":well") },
		},
	})
}

func scriptConfig(data string) string {
	return `[paths]
input = "` + data + `/input"
output = "` + data + `/output"
archive = "` + data + `/archive"
backups = "` + data + `/backups"
reports = "` + data + `/reports"
`
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// alert runs the alert as systemd does.
func alert(ts *testscript.TestScript, neg bool, args []string, result, suffix string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: failed UNIT CODE, well UNIT CODE")
	}
	ts.Setenv("MONITOR_SERVICE_RESULT", result)
	ts.Setenv("MONITOR_EXIT_STATUS", args[1])
	ts.Check(ts.Exec(filepath.Join(ts.Getenv(sourceVariable), "systemd/noggin-alert"), args[0]+suffix))
}

// startSSHD starts an SFTP server and tells the script of it: $outbox is its folder, and
// $sftp_url, $sftp_key, $sftp_other_key and $sftp_known_hosts are what a source needs.
func startSSHD(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: sshd")
	}
	t, ok := ts.Value("t").(testing.TB)
	if !ok {
		ts.Fatalf("not run by testing")
	}
	server := sshdtest.Start(t)
	for name, value := range map[string]string{
		"outbox": server.Folder, "sftp_url": server.URL, "sftp_key": server.Key, "sftp_other_key": server.OtherKey, "sftp_known_hosts": server.KnownHosts,
	} {
		ts.Setenv(name, value)
	}
}

func database(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: database")
	}
	t, ok := ts.Value("t").(testing.TB)
	if !ok {
		ts.Fatalf("not run by testing")
	}
	ts.Setenv("NOGGIN_DATABASE_URL", storagetest.Database(t))
}
