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

// demo is the installation that the scenes use.
type demo struct {
	noggin   string
	folder   string
	database string
	env      []string
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
	d := &demo{noggin: binary, folder: folder, database: server.URL("noggin_db")}
	if err := d.configure(simulated); err != nil {
		return err
	}
	return d.play(ctx, simulated)
}

// configure writes the configuration file and sets the environment, as an administrator
// and a systemd unit would.
func (d *demo) configure(simulated *apitest.Server) error {
	config := fmt.Sprintf(`timezone = "Australia/Perth"

[api]
base_url = "%[1]s/rest/object/"
media_service_url = "%[1]s/media"
namespace = "%[2]s"

[import]
settle = 0

[copy]
to = "%[3]s/second-place"

[paths]
input = "%[3]s/input"
output = "%[3]s/output"
archive = "%[3]s/archive"
backups = "%[3]s/backups"
reports = "%[3]s/reports"
`, simulated.URL(), simulated.Namespace(), d.folder)
	path := filepath.Join(d.folder, "config.toml")
	d.env = append(os.Environ(), "NOGGIN_CONFIG="+path, "NOGGIN_DATABASE_URL="+d.database, "NOGGIN_BEARER_TOKEN="+simulated.Token())
	for _, name := range []string{"input", "second-place"} { // a real second place is on another volume
		if err := os.Mkdir(filepath.Join(d.folder, name), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(config), 0o600)
}

// scene is a command, and a title that says what it does.
type scene struct {
	title string
	args  []string
}

// play runs the commands as an operator would type them.
func (d *demo) play(ctx context.Context, simulated *apitest.Server) error {
	exports := filepath.Join(d.folder, "exports")
	if err := simulated.WriteFiles(exports); err != nil {
		return err
	}
	// The exports of records go into the input folder; those of names stay.
	for code := range forms(simulated) {
		if err := os.Rename(filepath.Join(exports, code+".csv"), filepath.Join(d.folder, "input", code+".csv")); err != nil {
			return err
		}
	}
	for _, s := range []scene{
		{"Create the schema and mark the output folder", []string{"init-db"}},
		{"Import the names of vehicles and trailers, teams and departments from the platform's exports", []string{"hashes", "import", "auto", "exports/assets.csv"}},
		{"", []string{"hashes", "import", "auto", "exports/sites.csv"}},
		{"CSV exports with the tips of inspections are in the input folder", []string{"import-csv"}},
		{"Fetch the records with their photographs", []string{"process", "--until-empty"}},
		{"Another run finds nothing to do", []string{"process", "--until-empty"}},
	} {
		if s.title != "" {
			fmt.Printf("\n# %s\n", s.title)
		}
		if err := d.command(ctx, s.args...); err != nil {
			return err
		}
	}
	fmt.Print("\n# What is in the database now\n")
	if err := d.query(ctx, `SELECT inspection_id, inspection_date AS day, vehicle, team, load_compliance AS load,
		total_attachments AS photos, processing_status AS status FROM noggin_data WHERE object_type = 'LCD' ORDER BY inspection_id LIMIT 5`); err != nil {
		return err
	}
	if err := d.showFiles(); err != nil {
		return err
	}
	if err := d.showEdit(ctx, simulated); err != nil {
		return err
	}
	return d.showCopy(ctx)
}

// showCopy copies every file to a second place, loses the output folder, and brings it
// back.
func (d *demo) showCopy(ctx context.Context) error {
	fmt.Print("\n# Every file gets a copy in a second place, which is verified\n")
	for _, args := range [][]string{{"copy", "run"}, {"copy", "verify", "--deep"}} {
		if err := d.command(ctx, args...); err != nil {
			return err
		}
	}
	fmt.Print("\n# The photographs of a year are lost, and come back\n")
	years, err := filepath.Glob(filepath.Join(d.folder, "output", "2*"))
	if err != nil || len(years) == 0 {
		return errors.Join(err, errors.New("the output folder has no year"))
	}
	fmt.Printf("$ rm -r output/%s\n", filepath.Base(years[0]))
	if err := os.RemoveAll(years[0]); err != nil {
		return err
	}
	for _, args := range [][]string{{"copy", "restore"}, {"validate", "files", "--deep"}} {
		if err := d.command(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// showEdit edits a record at the simulated platform and shows how the edit arrives.
func (d *demo) showEdit(ctx context.Context, simulated *apitest.Server) error {
	var edited apitest.Record
	for record := range simulated.Records() {
		if record.Code == "LCD" {
			edited = record
			break
		}
	}
	if edited.Tip == "" {
		return nil
	}
	simulated.Edit(edited.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "4711"}, Add: []string{"attachments"}})
	for _, s := range []scene{
		{"Somebody edits an inspection at the platform and adds a photograph. Complete records are asked for again after 1, 7 and 30 days, or now", []string{"process", "--refresh", "--tip", edited.Tip}},
		{"What changed at the platform", []string{"report", "changes"}},
		{"The record's versions, and the files of the former one", []string{"report", "tip", edited.Tip}},
		{"Hand an inspection over: open index.html in any browser. Whoever gets it checks it without a database", []string{"export", "--tip", edited.Tip, "handover"}},
		{"", []string{"validate", "bag", "handover"}},
	} {
		if s.title != "" {
			fmt.Printf("\n# %s\n", s.title)
		}
		if err := d.command(ctx, s.args...); err != nil {
			return err
		}
	}
	return nil
}

// forms returns the codes of the simulated API's forms.
func forms(simulated *apitest.Server) map[string]bool {
	codes := map[string]bool{}
	for record := range simulated.Records() {
		codes[record.Code] = true
	}
	return codes
}

// query shows rows as an operator sees them in psql.
func (d *demo) query(ctx context.Context, query string) error {
	fmt.Printf("$ psql noggin_db -c \"%s …\"\n", strings.SplitN(query, "\n", 2)[0])
	cmd := exec.CommandContext(ctx, "psql", d.database, "--no-psqlrc", "--pset", "footer=off", "-c", query)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
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

// errShown ends a walk early.
var errShown = errors.New("shown")

// showFiles prints the beginning of the folder tree, and one text report.
func (d *demo) showFiles() error {
	fmt.Print("\n# What is on disk now\n")
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
