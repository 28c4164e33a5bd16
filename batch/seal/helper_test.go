package seal

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// sealed is a mirror with a sealer.
type sealed struct {
	*batchtest.Mirror
	sealer *Sealer
}

// newSealed is a mirror of complete records, with a key.
func newSealed(t *testing.T, records int) *sealed {
	t.Helper()
	m := batchtest.NewMirror(t, apitest.Options{Records: records, Photos: apitest.Range{Min: 1, Max: 3}, MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	m.Refresh = process.DefaultRefresh()
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	dir := t.TempDir()
	s := &sealed{m, &Sealer{
		DB: m.DB, Config: Config{KeyFile: filepath.Join(dir, "seal.key")}, Checkpoints: filepath.Join(dir, "checkpoints"),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}}
	if _, made, err := Init(s.sealer.Config, s.sealer.Checkpoints, "example.com/inspections"); err != nil || !made {
		t.Fatalf("init: %v, %v", made, err)
	}
	return s
}

// seal runs the sealer once.
func (s *sealed) seal() Summary {
	s.T.Helper()
	summary, err := s.sealer.Run(s.T.Context(), 1, "")
	if err != nil {
		s.T.Fatal(err)
	}
	return summary
}

// through opens the database for a command, behind a proxy.
func (s *sealed) through(command string) (*storage.DB, *storagetest.Proxy) {
	s.T.Helper()
	proxy := storagetest.NewProxy(s.T, s.URL)
	cfg := storage.DefaultConfig()
	cfg.URL = proxy.URL(s.URL)
	db, err := storage.Open(cfg, command)
	batchtest.Must(s.T, err)
	s.T.Cleanup(func() { files.Release(db) })
	return db, proxy
}

// losing opens the database so that the reply to a COMMIT is lost, that to the next one
// arrives, and so on.
func (s *sealed) losing() *storage.DB {
	s.T.Helper()
	db, proxy := s.through("seal")
	s.T.Cleanup(func() {
		if proxy.Lost() == 0 {
			s.T.Error("no reply was lost: the test shows nothing")
		}
	})
	var commits atomic.Int64
	proxy.LoseReply(func(statement string) bool { return statement == "COMMIT" && commits.Add(1)%2 == 1 })
	return db
}

// edit edits n records at the platform and fetches them again.
func (s *sealed) edit(n int) {
	s.T.Helper()
	for r := range s.Server.Records() {
		if n--; n >= 0 {
			s.Server.Edit(r.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-77"}, Add: []string{r.Attachments[0].Field}})
		}
	}
	s.Execute(`UPDATE noggin_schema.refreshes SET due_at = now()`)
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true})
}

// sealTables are the tables that a restored backup brings back as they were.
var sealTables = []string{"seal_logs", "seal_leaves", "seal_tiles", "seal_checkpoints", "seal_due"}

// backUp keeps the tables of the log as they are; restore brings them back.
func (s *sealed) backUp() {
	s.T.Helper()
	var copies strings.Builder
	for _, table := range sealTables {
		fmt.Fprintf(&copies, `CREATE TABLE backup.%[1]s AS TABLE noggin_schema.%[1]s;`, table)
	}
	s.Execute(`DROP SCHEMA IF EXISTS backup CASCADE; CREATE SCHEMA backup;` + copies.String())
}

func (s *sealed) restore() {
	s.T.Helper()
	var copies strings.Builder
	for _, table := range sealTables {
		fmt.Fprintf(&copies, `INSERT INTO noggin_schema.%[1]s SELECT * FROM backup.%[1]s;`, table)
	}
	s.Execute(`TRUNCATE noggin_schema.` + strings.Join(sealTables, `, noggin_schema.`) + `;` + copies.String())
}

// published lists the files beside the checkpoints.
func (s *sealed) published() (names []string) {
	s.T.Helper()
	found, err := filepath.Glob(filepath.Join(s.sealer.Checkpoints, "*", "*"))
	if err != nil {
		s.T.Fatal(err)
	}
	for _, name := range found {
		names = append(names, filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name))
	}
	return names
}

// read reads a file.
func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
