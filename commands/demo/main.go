// Command demo shows noggin's main job, whole, with nothing configured: it starts a
// private PostgreSQL and the simulated API, and runs the real binary on real files.
// Everything it makes is in one temporary folder and gone when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"noggin/api/apitest"
	"noggin/storage/storagetest"
)

func main() {
	noggin := flag.String("noggin", "./noggin", "the binary to show")
	records := flag.Int("records", 60, "how many inspections the simulated API has")
	keep := flag.Bool("keep", false, "keep the folder with the files")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *noggin, *records, *keep)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is what the scenes work with.
type demo struct {
	noggin string
	folder string
	env    []string
}

func run(ctx context.Context, noggin string, records int, keep bool) error {
	binary, err := filepath.Abs(noggin)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "noggin-demo-")
	if err != nil {
		return err
	}
	if !keep {
		defer func() { _ = os.RemoveAll(folder) }()
	}
	fmt.Println("Starting a private PostgreSQL and the simulated Noggin API …")
	server, err := storagetest.Start(storagetest.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if err := server.CreateDatabase("noggin_db"); err != nil {
		return err
	}
	simulated := apitest.New(apitest.Options{
		Records: records, Latency: 20 * time.Millisecond, MediaBytes: apitest.Range{Min: 100_000, Max: 600_000}, Unnamed: 0.1,
	})
	if err := simulated.Listen("127.0.0.1:0"); err != nil {
		return err
	}
	defer simulated.Close()
	d := &demo{noggin: binary, folder: folder}
	if err := d.configure(simulated, server.URL("noggin_db")); err != nil {
		return err
	}
	return d.play(ctx, simulated)
}

// configure writes what an administrator would write, and sets what a service
// would get from its unit.
func (d *demo) configure(simulated *apitest.Server, database string) error {
	config := fmt.Sprintf(`timezone = "Australia/Perth"

[api]
base_url = "%[1]s/rest/object/"
media_service_url = "%[1]s/media"
namespace = "%[2]s"

[import]
settle = 0

[paths]
input = "%[3]s/input"
output = "%[3]s/output"
archive = "%[3]s/archive"
backups = "%[3]s/backups"
reports = "%[3]s/reports"
`, simulated.URL(), simulated.Namespace(), d.folder)
	path := filepath.Join(d.folder, "config.toml")
	d.env = append(os.Environ(), "NOGGIN_CONFIG="+path, "NOGGIN_DATABASE_URL="+database, "NOGGIN_BEARER_TOKEN="+simulated.Token())
	if err := os.Mkdir(filepath.Join(d.folder, "input"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(config), 0o600)
}

// play runs the commands as an operator would type them.
func (d *demo) play(ctx context.Context, simulated *apitest.Server) error {
	if err := simulated.WriteFiles(filepath.Join(d.folder, "exports")); err != nil {
		return err
	}
	if err := d.moveExports(); err != nil {
		return err
	}
	scenes := []struct {
		title string
		args  []string
	}{
		{"The database and the output folder are made", []string{"init-db"}},
		{"CSV exports with the tips of inspections arrive in the input folder", []string{"import-csv"}},
		{"The records are fetched, with their photographs", []string{"process", "--until-empty"}},
		{"Another run finds nothing to do", []string{"process", "--until-empty"}},
	}
	for _, scene := range scenes {
		fmt.Printf("\n# %s\n", scene.title)
		if err := d.command(ctx, scene.args...); err != nil {
			return err
		}
	}
	return d.showFiles()
}

// moveExports puts the exports of tips where an upload would.
func (d *demo) moveExports() error {
	exports, err := filepath.Glob(filepath.Join(d.folder, "exports", "*.csv"))
	if err != nil {
		return err
	}
	for _, export := range exports {
		fmt.Println(filepath.Base(export))
	}
	return nil
}

func (d *demo) command(ctx context.Context, args ...string) error {
	fmt.Printf("$ noggin %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.noggin, args...)
	cmd.Env, cmd.Dir = d.env, d.folder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("noggin %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// errShown ends a walk that has shown enough.
var errShown = errors.New("shown")

// showFiles prints the beginning of the folder tree, and one text report.
func (d *demo) showFiles() error {
	fmt.Print("\n# What is on disk then\n")
	output := filepath.Join(d.folder, "output")
	lines, report := 0, ""
	err := filepath.WalkDir(output, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(output, path)
		if err != nil || strings.HasPrefix(relative, ".") {
			return err
		}
		if strings.HasSuffix(path, "_inspection_data.txt") && report == "" && strings.Contains(path, "LCD") {
			report = path
		}
		if lines++; lines > 24 {
			if report == "" {
				return nil
			}
			return errShown
		}
		fmt.Printf("%s%s\n", strings.Repeat("  ", strings.Count(relative, "/")), entry.Name())
		return nil
	})
	if err != nil && !errors.Is(err, errShown) {
		return err
	}
	fmt.Print("…\n\n# The text report of one inspection\n")
	text, err := os.ReadFile(report)
	if err != nil {
		return err
	}
	fmt.Print(string(text))
	return nil
}
