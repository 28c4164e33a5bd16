package storagetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"sync"
	"testing"

	"github.com/lib/pq"
)

// preparedLock is the key of the advisory lock under which a template is made.
const preparedLock = 7_240_613

// templates holds a function for each name, which makes the template once in a process.
var templates sync.Map

// Prepared is [Database], but the database is a copy of what prepare makes of an empty
// one. All tests on a server, also those of other packages, share what was made for a
// key. A copy takes less than half the time of the schema. PostgreSQL copies all but what
// belongs to a role in a database, such as its search_path.
func Prepared(t testing.TB, key string, prepare func(url string) error) string {
	t.Helper()
	dropLibpqVariables()
	server, err := shared()
	if err != nil {
		t.Fatalf("find PostgreSQL: %v", err)
	}
	sum := sha256.Sum256([]byte(key))
	name := "noggin_template_" + hex.EncodeToString(sum[:16])
	once, _ := templates.LoadOrStore(name, sync.OnceValue(func() error { return makeTemplate(server, name, prepare) }))
	if err := once.(func() error)(); err != nil {
		t.Fatalf("make a template of a database: %v", err)
	}
	return database(t, server, name)
}

// makeTemplate makes the template unless another process did. One that is unfinished,
// because its process was killed, is made again.
func makeTemplate(server, name string, prepare func(url string) error) error {
	db, err := connect(server)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // which holds the lock until Close
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	if _, err := db.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, preparedLock); err != nil {
		return err
	}
	var finished bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)`, name).Scan(&finished); err != nil || finished {
		return err
	}
	quoted := pq.QuoteIdentifier(name)
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + quoted + " WITH (FORCE)", "CREATE DATABASE " + quoted + " TEMPLATE template0"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	address, err := addressOf(server, name)
	if err == nil {
		err = prepare(address)
	}
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	// Nobody may be connected to a database that is copied.
	_, err = db.ExecContext(ctx, "ALTER DATABASE "+quoted+" WITH ALLOW_CONNECTIONS false IS_TEMPLATE true")
	return err
}

// addressOf returns the URL of a database on the server.
func addressOf(server, name string) (string, error) {
	address, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("$%s is not a URL", EnvURL)
	}
	address.Path = "/" + name
	return address.String(), nil
}
