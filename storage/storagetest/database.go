package storagetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"
)

// EnvURL is the environment variable that makes [Database] use a running server. It
// holds the libpq URL of a role that may create databases. `pgtemp --tests` sets it for
// all packages of a test run. The server must have the setting noggin.tests = on, as
// servers of [Start] have, so that no test touches a server that somebody works with.
const EnvURL = "NOGGIN_TEST_DATABASE_URL"

// testsSetting marks a server as one for tests.
const testsSetting = "noggin.tests"

// statementTimeout bounds CREATE DATABASE and DROP DATABASE.
const statementTimeout = time.Minute

// started is the server that shared starts. Without this reference the garbage collector
// would close the watchdog's pipe, and the watchdog would end the server.
var started *Server

// shared returns the URL of the server for this process: the one in EnvURL, or one that
// it starts. No test knows that it is the last, so only the watchdog stops that server.
var shared = sync.OnceValues(func() (_ string, err error) {
	if server := os.Getenv(EnvURL); server != "" {
		return server, checkForTests(server)
	}
	if started, err = Start(Options{}); err != nil {
		return "", err
	}
	return started.URL("postgres"), nil
})

// Database returns the libpq URL of a new, empty database. The end of the test drops it
// and ends its connections. All tests of a process share one server: that of
// $NOGGIN_TEST_DATABASE_URL, or one that the first test starts.
//
// Database removes libpq's variables (PGHOST, …) from the process's environment. A test
// that needs some sets them afterwards.
func Database(t testing.TB) string {
	t.Helper()
	dropLibpqVariables()
	server, err := shared()
	if err != nil {
		t.Fatalf("find PostgreSQL: %v", err)
	}
	return database(t, server, "template0") // to which no session can be connected
}

// database copies a template for the duration of the test.
func database(t testing.TB, server, template string) string {
	t.Helper()
	name := "noggin_test_" + strings.ToLower(rand.Text())
	address, err := addressOf(server, name)
	if err != nil {
		t.Fatal(err)
	}
	if err := createDatabase(server, name, template); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := execute(server, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)"); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	return address
}

// Private returns a server for this test alone, which the test may stop, kill or
// restart. The end of the test removes it.
func Private(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("remove the private PostgreSQL: %v", err)
		}
	})
	return s
}

// dropLibpqVariables removes libpq's variables from the process's environment. lib/pq
// reads all of them, and may refuse even one that the URL overrides.
func dropLibpqVariables() {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
}

// checkForTests refuses a server that is not marked as a server for tests.
func checkForTests(server string) error {
	db, err := connect(server)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	var value sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT current_setting($1, true)", testsSetting).Scan(&value); err != nil {
		return fmt.Errorf("ask the server of $%s: %w", EnvURL, err)
	}
	if value.String != "on" {
		return fmt.Errorf("the server of $%s is not one for tests: unset the variable, or add %s = on to that server's postgresql.conf", EnvURL, testsSetting)
	}
	return nil
}

func createDatabase(server, name, template string) error {
	if err := execute(server, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE "+pq.QuoteIdentifier(template)); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

func execute(server, statement string) error {
	db, err := connect(server)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	_, err = db.ExecContext(ctx, statement)
	return err
}

func connect(server string) (*sql.DB, error) {
	connector, err := pq.NewConnector(server)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return sql.OpenDB(connector), nil
}
