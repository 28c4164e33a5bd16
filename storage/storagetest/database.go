package storagetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"
)

// EnvURL names the environment variable that has Database use a server of
// yours: the libpq URL of a role that may create databases.
const EnvURL = "NOGGIN_TEST_DATABASE_URL"

// statementTimeout bounds the making and dropping of a database.
const statementTimeout = time.Minute

// shared is the one server of this process. Nothing stops it but its watchdog,
// after the last test: no test knows that it is the last.
var shared = sync.OnceValues(func() (*Server, error) { return Start(Options{}) })

// Database returns the libpq URL of a new, empty database, which is dropped at
// the end of the test with whatever is still connected to it. All tests of a
// process share one server, started by the first; $NOGGIN_TEST_DATABASE_URL
// replaces it.
//
// libpq's variables (PGHOST, …) are taken from the process's environment; a test
// that needs some sets them after this.
func Database(t testing.TB) string {
	t.Helper()
	dropLibpqVariables()
	name := "noggin_test_" + strings.ToLower(rand.Text())
	server, address, err := testServer(name)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	if err := createDatabase(server, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := execute(server, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)"); err != nil {
			t.Errorf("drop database %s: %v", name, err)
		}
	})
	return address
}

// Private returns a server of the test's own, for tests that stop, kill or
// restart it. It is removed at the end of the test.
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

// dropLibpqVariables takes libpq's variables from the process's environment:
// lib/pq reads, and may refuse, even those that the URL makes needless.
func dropLibpqVariables() {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
}

// testServer returns the URLs of the database to administer the server from
// and of the named database on it.
func testServer(name string) (admin, database string, err error) {
	if admin = os.Getenv(EnvURL); admin != "" {
		u, err := url.Parse(admin)
		if err != nil {
			return "", "", fmt.Errorf("$%s is not a libpq URL", EnvURL)
		}
		u.Path = "/" + name
		return admin, u.String(), nil
	}
	s, err := shared()
	if err != nil {
		return "", "", err
	}
	return s.URL("postgres"), s.URL(name), nil
}

// createDatabase copies template0, which nobody can be connected to.
func createDatabase(server, name string) error {
	if err := execute(server, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE template0"); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

func execute(server, statement string) error {
	connector, err := pq.NewConnector(server)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	_, err = db.ExecContext(ctx, statement)
	return err
}
