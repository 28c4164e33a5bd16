package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/lib/pq" // the driver

	"noggin/api/apitest"
)

// mirror is an installation of noggin: a database, folders and a configuration.
type mirror struct {
	*bench
	folder   string
	database string
	db       *sql.DB
	env      []string
}

// newMirror makes an empty installation with the schema applied. simulated may be
// nil where no request is made.
func (b *bench) newMirror(ctx context.Context, simulated *apitest.Server, processing string) (*mirror, error) {
	b.made++
	name := fmt.Sprintf("bench%d", b.made)
	if err := b.server.CreateDatabase(name); err != nil {
		return nil, err
	}
	m := &mirror{bench: b, folder: filepath.Join(b.folder, name), database: b.server.URL(name)}
	if err := os.MkdirAll(filepath.Join(m.folder, "input"), 0o755); err != nil {
		return nil, err
	}
	api, token := "", "token"
	if simulated != nil {
		api = fmt.Sprintf("[api]\nbase_url = %q\nmedia_service_url = %q\nnamespace = %q\n", simulated.URL(), simulated.URL()+"/media", simulated.Namespace())
		token = simulated.Token()
	}
	var config strings.Builder
	fmt.Fprintf(&config, "%s[processing]\n%s\n[import]\nsettle = 0\n[paths]\n", api, processing)
	for _, key := range []string{"input", "output", "archive", "backups", "reports"} {
		fmt.Fprintf(&config, "%s = %q\n", key, filepath.Join(m.folder, key))
	}
	path := filepath.Join(m.folder, "config.toml")
	if err := os.WriteFile(path, []byte(config.String()), 0o600); err != nil {
		return nil, err
	}
	m.env = []string{"NOGGIN_CONFIG=" + path, "NOGGIN_DATABASE_URL=" + m.database, "NOGGIN_BEARER_TOKEN=" + token}
	if _, err := m.run(ctx, "init-db"); err != nil {
		return nil, err
	}
	var err error
	m.db, err = sql.Open("postgres", m.database)
	return m, err
}

// close closes the database. The files stay until the benchmark ends: after a removal
// ext4 creates files slowly for some minutes, which would spoil the next measurement.
func (m *mirror) close() { _ = m.db.Close() }

func (m *mirror) run(ctx context.Context, args ...string) (cost, error) {
	return measure(ctx, m.env, m.noggin, args...)
}

func (m *mirror) exec(ctx context.Context, statement string, args ...any) error {
	_, err := m.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("%.60s…: %w", statement, err)
	}
	return nil
}

// enqueue makes every record of the simulated API pending.
func (m *mirror) enqueue(ctx context.Context, simulated *apitest.Server) error {
	for record := range simulated.Records() {
		if err := m.exec(ctx, `INSERT INTO noggin_schema.noggin_data (tip, object_type) VALUES ($1, $2)`, record.Tip, record.Code); err != nil {
			return err
		}
	}
	return nil
}
