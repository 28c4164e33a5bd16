package batch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/api"
	"noggin/api/apitest"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// mirror is a processor with all it needs: a database of its own, a simulated API
// and an output folder.
type mirror struct {
	*Processor
	t      testing.TB
	server *apitest.Server
	log    *strings.Builder
	url    string // of the database
}

func newMirror(t testing.TB, o apitest.Options) *mirror {
	t.Helper()
	return newMirrorOn(t, storagetest.Database(t), o)
}

// newMirrorOn is newMirror on an empty database of the test's own.
func newMirrorOn(t testing.TB, url string, o apitest.Options) *mirror {
	t.Helper()
	server := apitest.Start(t, o)
	cfg := storage.DefaultConfig()
	cfg.URL = url
	db := initDatabase(t, cfg, "process")
	types, err := NewObjectTypes(DefaultObjectTypes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{t: t, server: server, log: &strings.Builder{}, url: cfg.URL}
	config := DefaultConfig()
	config.Paths.Output = t.TempDir()
	if err := CreateMarker(config.Paths.Output); err != nil {
		t.Fatal(err)
	}
	client := api.DefaultConfig()
	client.BaseURL, client.MediaServiceURL = server.URL(), server.URL()+"/media"
	client.Namespace, client.BearerToken = server.Namespace(), server.Token()
	client.MaxRetries, client.Timeout = 1, 2*time.Second
	m.Processor = &Processor{DB: db, API: client, Config: config, Types: types, Log: slog.New(slog.NewTextHandler(m.log, nil)), Command: "process"}
	return m
}

// initDatabase makes noggin's schema in an empty database.
func initDatabase(t testing.TB, cfg storage.Config, command string) *storage.DB {
	t.Helper()
	db, err := storage.Open(cfg, command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Init(t.Context(), string(schema), storage.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	return db
}

// importAll makes every record of the simulated world pending.
func (m *mirror) importAll() {
	m.t.Helper()
	for record := range m.server.Records() {
		if _, err := m.DB.EnsureRecords(m.t.Context(), []string{record.Tip}, record.Code, false); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *mirror) run(opts ProcessOptions) (Summary, error) {
	m.t.Helper()
	standing, err := m.DB.Standing(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return m.Run(m.t.Context(), opts, standing)
}

func (m *mirror) mustRun(opts ProcessOptions) Summary {
	m.t.Helper()
	summary, err := m.run(opts)
	if err != nil {
		m.t.Fatalf("run: %v\n%s", err, m.log)
	}
	return summary
}

// checkFiles compares every file on disk with what the simulated API serves.
func (m *mirror) checkFiles() {
	m.t.Helper()
	want := map[string]int{}
	for record := range m.server.Records() {
		for _, a := range record.Attachments {
			want[m.server.MediaSHA256(a.Tip)]++
		}
	}
	err := filepath.WalkDir(m.Config.Paths.Output, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || strings.HasSuffix(path, ".txt") {
			return err
		}
		content, err := os.ReadFile(path)
		sum := sha256.Sum256(content)
		if want[hex.EncodeToString(sum[:])]--; want[hex.EncodeToString(sum[:])] < 0 {
			m.t.Errorf("%s is no file that was served, or is there twice", path)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	for sum, n := range want {
		if n > 0 {
			m.t.Errorf("a photograph with hash %s is missing", sum)
		}
	}
}

func TestADrainMirrorsEveryRecordOfEveryForm(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 40, MediaBytes: apitest.Range{Min: 2000, Max: 9000}})
	m.importAll()
	s := m.mustRun(ProcessOptions{UntilEmpty: true})
	if s.Complete != 40 || s.Unsuccessful() != 0 {
		t.Fatalf("summary %+v\n%s", s, m.log)
	}
	m.checkFiles()
	if again := m.mustRun(ProcessOptions{UntilEmpty: true}); again.Claimed != 0 {
		t.Errorf("a second run claimed %d records", again.Claimed)
	}
}

func TestABadRecordAmongGoodOnesIsGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 5, Forms: []string{"LCD"}, Photos: apitest.None})
	m.importAll()
	if _, err := m.DB.EnsureRecords(t.Context(), []string{strings.Repeat("ab", 32)}, "LCD", false); err != nil {
		t.Fatal(err)
	}
	s := m.mustRun(ProcessOptions{UntilEmpty: true})
	if s.Complete != 5 || s.APIFailed != 1 || s.PermanentlyFailed != 1 {
		t.Errorf("summary %+v", s)
	}
}

func TestAWrongAddressBurnsNoQueue(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 20, Forms: []string{"LCD"}})
	m.importAll()
	m.server.AddFault(apitest.Fault{Kind: "status", Status: 404})
	s := m.mustRun(ProcessOptions{UntilEmpty: true})
	if s.APIFailed != 20 || s.PermanentlyFailed != 0 {
		t.Errorf("summary %+v", s)
	}
}

func TestRejectedCredentialsEndTheRunUncounted(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 20, Forms: []string{"LCD"}})
	m.importAll()
	m.API.BearerToken = "wrong"
	s, err := m.run(ProcessOptions{UntilEmpty: true})
	if !errors.Is(err, ErrCredentials) || s.PermanentlyFailed != 0 {
		t.Errorf("summary %+v, error %v", s, err)
	}
	if n := m.server.Stats(); n.Requests > int64(m.Config.Processing.Concurrency) {
		t.Errorf("%d requests were sent", n.Requests)
	}
}

func TestAnOutageOpensTheCircuitAndTheQueueSurvives(t *testing.T) {
	t.Parallel()
	m := newMirror(t, apitest.Options{Records: 60, Forms: []string{"LCD"}, Photos: apitest.None})
	m.importAll()
	m.API.MaxRetries = 0
	m.server.AddFault(apitest.Fault{Kind: "status", Status: 503})
	_, err := m.run(ProcessOptions{UntilEmpty: true})
	if !errors.Is(err, ErrAPIUnavailable) {
		t.Fatalf("error %v\n%s", err, m.log)
	}
	standing, err := m.DB.Standing(t.Context())
	if err != nil || standing.State != "open" {
		t.Errorf("circuit %q, %v", standing.State, err)
	}
}
