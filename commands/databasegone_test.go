package commands

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"noggin/api/apitest"
	"noggin/commands/cmdline"
	"noggin/storage/storagetest"
)

// gone is a mirror with everything that commands look at, behind a proxy that can break.
type gone struct {
	*installation
	proxy *storagetest.Proxy
}

func newGone(t *testing.T) *gone {
	t.Helper()
	world := apitest.Start(t, apitest.Options{
		Records: 4, Forms: []string{"LCD"}, Photos: apitest.Fixed(1), MediaBytes: apitest.Range{Min: 500, Max: 900}, Unnamed: 0.5,
	})
	folder := t.TempDir()
	g := &gone{installation: newInstallation(t, fmt.Sprintf(`
[api]
base_url = "%[1]s"
media_service_url = "%[1]s/media"
namespace = "%[2]s"
bearer_token = "%[3]s"
[copy]
to = "%[4]s"
[seal]
key_file = "%[4]s.key"
[import]
settle = 0
`, world.URL(), world.Namespace(), world.Token(), folder))}
	tips := []string{"tip"}
	for record := range world.Records() {
		tips = append(tips, record.Tip)
	}
	g.file("input/tips.csv", strings.Join(tips, "\n"))
	for _, args := range [][]string{
		{"import-csv"},
		{"process", "--until-empty"},
		{"copy", "run"},
		{"maintain", "backup"},
		{"seal", "init", "--name", "example.com/log"},
		{"archive", "create", "--older-than", "1d"},
	} {
		g.run(0, args...)
	}
	g.proxy = storagetest.NewProxy(t, g.url)
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	g.config = filepath.Join(g.dir, "proxied.toml")
	proxied := strings.Replace(string(text), "[database]\nurl = \""+g.url+"\"", "[database]\nretry_for = 0\nurl = \""+g.proxy.URL(g.url)+"\"", 1)
	if err := os.WriteFile(g.config, []byte(proxied), 0o600); err != nil {
		t.Fatal(err)
	}
	return g
}

// file writes a file below the folder of the installation.
func (g *gone) file(name, content string) {
	g.t.Helper()
	name = filepath.Join(g.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// until runs a command whose database goes away at its nth statement. reached tells
// whether it came so far.
func (g *gone) until(n int64, args ...string) (code int, reached bool, said, at string) {
	g.t.Helper()
	var statements atomic.Int64
	g.proxy.LoseReply(func(statement string) bool {
		if statements.Add(1) == n {
			at = statement
			g.proxy.Refuse()
		}
		return false
	})
	defer g.proxy.Resume()
	defer g.proxy.LoseReply(nil)
	var out, errs bytes.Buffer
	code = Run(context.WithoutCancel(g.t.Context()), append([]string{"noggin", "--config", g.config}, args...),
		Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Assets{Schema: g.schema()})
	return code, statements.Load() >= n, errs.String(), at
}

func (g *gone) schema() string {
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		g.t.Fatal(err)
	}
	return string(schema)
}

func TestADatabaseThatGoesAwayIsToldByTheExitCode(t *testing.T) {
	t.Parallel()
	g := newGone(t)
	for _, command := range []string{"maintain backup", "maintain verify-backup", "copy verify", "report status"} {
		args := strings.Fields(command)
		for n := int64(1); ; n += n/2 + 1 {
			code, reached, said, at := g.until(n, args...)
			if !reached {
				if code != cmdline.ExitDone || n == 1 {
					t.Errorf("%s, with fewer than %d statements: exit code %d\n%s", command, n, code, said)
				}
				break
			}
			if code != cmdline.ExitDatabase {
				t.Errorf("%s, gone at statement %d: exit code %d\n%s\n%s", command, n, code, at, said)
			}
		}
	}
}
