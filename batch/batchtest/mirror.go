package batchtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"noggin/api"
	"noggin/api/apitest"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/batch/names"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// Mirror is a processor with its own database, simulated API and output folder.
type Mirror struct {
	*process.Processor
	T      testing.TB
	Server *apitest.Server
	Logged *strings.Builder
	URL    string // of the database
}

// NewMirror returns a mirror on a database of the test's own.
func NewMirror(t testing.TB, o apitest.Options) *Mirror {
	t.Helper()
	return NewMirrorOn(t, Database(t), o)
}

// NewMirrorOn is NewMirror on the database at url, which is empty or one of Database.
func NewMirrorOn(t testing.TB, url string, o apitest.Options) *Mirror {
	t.Helper()
	server := apitest.Start(t, o)
	cfg := storage.DefaultConfig()
	cfg.URL = url
	db := InitDatabase(t, cfg.ForRuns(), "process")
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &Mirror{T: t, Server: server, Logged: &strings.Builder{}, URL: cfg.URL}
	output := t.TempDir()
	if err := files.CreateMarker(output); err != nil {
		t.Fatal(err)
	}
	client := api.DefaultConfig()
	client.BaseURL, client.MediaServiceURL = server.URL(), server.URL()+"/media"
	client.Namespace, client.BearerToken = server.Namespace(), server.Token()
	client.MaxRetries = 1
	m.Processor = &process.Processor{
		DB: db, API: client, Processing: process.DefaultConfig(), Retry: process.DefaultRetry(), Circuit: gate.DefaultCircuit(), Output: output,
		Types: types, Names: names.DefaultConfig(), Log: slog.New(slog.NewTextHandler(m.Logged, nil)), Command: "process", DefaultObjectType: "LCD",
	}
	return m
}

// Database returns the URL of a database that has noggin's schema and nothing in it, for
// the duration of the test.
func Database(t testing.TB) string {
	t.Helper()
	schema := Schema(t)
	return storagetest.Prepared(t, schema, func(url string) error {
		cfg := storage.DefaultConfig()
		cfg.URL = url
		db, err := storage.Open(cfg, "test")
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		_, err = db.Init(context.Background(), schema, storage.InitOptions{})
		return err
	})
}

// InitDatabase makes noggin's schema in an empty database. In one of Database it sets the
// search_path of the role, which no copy has.
func InitDatabase(t testing.TB, cfg storage.Config, command string) *storage.DB {
	t.Helper()
	db, err := storage.Open(cfg, command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Init(t.Context(), Schema(t), storage.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	return db
}

// Schema reads noggin's schema.sql from the test's folder or one above it.
func Schema(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		schema, err := os.ReadFile(filepath.Join(folder, "schema.sql"))
		if err == nil {
			return string(schema)
		}
		if above := filepath.Dir(folder); above != folder {
			folder = above
			continue
		}
		t.Fatal("no schema.sql above the working folder")
	}
}

// ImportAll makes every record of the simulated world pending.
func (m *Mirror) ImportAll() {
	m.T.Helper()
	for record := range m.Server.Records() {
		if _, err := m.DB.EnsureRecords(m.T.Context(), []string{record.Tip}, record.Code, false); err != nil {
			m.T.Fatal(err)
		}
	}
}

// TryRun runs the processor once.
func (m *Mirror) TryRun(opts process.Options) (process.Summary, error) {
	m.T.Helper()
	return m.Run(m.T.Context(), opts)
}

// MustRun is TryRun, and an error ends the test.
func (m *Mirror) MustRun(opts process.Options) process.Summary {
	m.T.Helper()
	summary, err := m.TryRun(opts)
	if err != nil {
		m.T.Fatalf("run: %v\n%s", err, m.Logged)
	}
	return summary
}

// CheckFiles compares every file on disk with what the simulated API serves.
func (m *Mirror) CheckFiles() {
	m.T.Helper()
	want := map[string]int{}
	for record := range m.Server.Records() {
		for _, a := range record.Attachments {
			want[m.Server.MediaSHA256(a.Tip)]++
		}
	}
	err := filepath.WalkDir(m.Output, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || strings.HasSuffix(path, ".txt") {
			return err
		}
		content, err := os.ReadFile(path)
		sum := sha256.Sum256(content)
		if want[hex.EncodeToString(sum[:])]--; want[hex.EncodeToString(sum[:])] < 0 {
			m.T.Errorf("%s was never served, or is on disk twice", path)
		}
		return err
	})
	if err != nil {
		m.T.Fatal(err)
	}
	for sum, n := range want {
		if n > 0 {
			m.T.Errorf("an attachment with SHA-256 %s is missing", sum)
		}
	}
}

// Execute runs SQL as noggin itself does, so it breaks no claim.
func (m *Mirror) Execute(statement string) {
	m.T.Helper()
	m.Query(fmt.Sprintf("SET noggin.client = on; SET noggin.schema = %d; %s", storage.SchemaVersion, statement), nil)
}

// Value reads one value.
func (m *Mirror) Value(query string) string {
	m.T.Helper()
	var v string
	m.Query(query, &v)
	return v
}

// Query runs a statement and reads its one value into dest, if dest is not nil.
func (m *Mirror) Query(statement string, dest *string) {
	m.T.Helper()
	db, err := sql.Open("postgres", m.URL)
	if err != nil {
		m.T.Fatal(err)
	}
	defer db.Close()
	if dest == nil {
		_, err = db.ExecContext(context.Background(), statement)
	} else {
		err = db.QueryRowContext(context.Background(), statement).Scan(dest)
	}
	if err != nil {
		m.T.Fatalf("%s: %v", statement, err)
	}
}

// Must ends the test if any of errs is not nil.
func Must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
