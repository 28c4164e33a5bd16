package commands

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/lib/pq"
	"github.com/urfave/cli/v2"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
)

// hostile is a text that a person at the platform, or who uploads a file, may choose: a
// formula, sequences for a terminal (ESC and C1), text that turns the reading direction,
// and a line that looks like one of ours.
const hostile = "=cmd|' /C calc'!A1\x1b[5;31mEVIL\x1b]0;EVIL\x07\u009b5m\u202eEVIL\u2066\u200f\r\nFORGED line\b\x7f\u2028"

// hostileWalk is a mirror whose names, ids, fields, messages and file names are hostile.
type hostileWalk struct {
	t      *testing.T
	assets Assets
	config string
	folder string
	url    string
	server *apitest.Server
}

func newHostileWalk(t *testing.T) *hostileWalk {
	w := &hostileWalk{t: t, folder: t.TempDir(), url: batchtest.Database(t)}
	w.config = filepath.Join(w.folder, "config.toml")
	for name, text := range map[string]*string{"schema.sql": &w.assets.Schema, "config.example.toml": &w.assets.ExampleConfig} {
		content, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		*text = string(content)
	}
	w.server = apitest.Start(t, apitest.Options{Records: 12, Photos: apitest.Fixed(1), MediaBytes: apitest.Fixed(600), Unnamed: 0.5})
	config := scriptConfig(w.folder) + fmt.Sprintf("[import]\nsettle = 0\n[database]\nurl = %q\n[refresh]\nafter = []\n"+
		"[api]\nbase_url = %q\nmedia_service_url = %q\nnamespace = %q\nbearer_token = %q\ntimeout = 30\n[processing]\nmax_api_retries = 0\n[circuit_breaker]\nsample_size = 1000\n"+
		"[seal]\nkey_file = %q\n",
		w.url, w.server.URL(), w.server.URL()+"/media", w.server.Namespace(), w.server.Token(), filepath.Join(w.folder, "seal.key"))
	if err := os.WriteFile(w.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs a command with its output in out and err.
func (w *hostileWalk) run(out, err io.Writer, args ...string) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	return Run(ctx, append([]string{"noggin", "--config", w.config}, args...), Streams{In: strings.NewReader(""), Out: out, Err: err}, w.assets)
}

// fill makes records, failures, versions, archives, imports and runs with hostile content,
// by the ways on which it comes.
func (w *hostileWalk) fill() {
	t := w.t
	must := func(code int, args ...string) {
		t.Helper()
		var out, err bytes.Buffer
		if got := w.run(&out, &err, args...); got != code {
			t.Fatalf("noggin %q: exit code %d, want %d\n%s%s", args, got, code, out.String(), err.String())
		}
		w.look(strings.Join(args, " "), "text", out.String(), err.String())
	}
	must(0, "init-db")
	if err := w.server.WriteFiles(filepath.Join(w.folder, "exports")); err != nil {
		t.Fatal(err)
	}
	tips := make([]string, 0, 12)
	for r := range w.server.Records() {
		tips = append(tips, r.Tip)
	}
	w.server.SetFaults(
		apitest.Fault{Kind: "hostile-id", Value: hostile, Tips: tips[0:2], On: apitest.OnRecord},
		apitest.Fault{Kind: "hostile-names", Value: hostile, Tips: tips[2:6], On: apitest.OnRecord},
		apitest.Fault{Kind: "hostile-field", Value: hostile, Tips: tips[6:8], On: apitest.OnRecord},
		apitest.Fault{Kind: "body", Value: hostile, Tips: tips[8:9], On: apitest.OnRecord},
		apitest.Fault{Kind: "body", Value: hostile, Tips: tips[9:10], On: apitest.OnMedia},
		apitest.Fault{Status: 404, Tips: tips[10:11]},
	)
	input := filepath.Join(w.folder, "input")
	if err := os.Mkdir(input, 0o700); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	rows.WriteString("nogginId,lcdInspectionId,date\n")
	for _, tip := range tips {
		fmt.Fprintf(&rows, "%s,%s,2025-01-0x\n", tip, strconv.Quote(strings.NewReplacer("\r\n", " ", `"`, "").Replace(hostile)))
	}
	fmt.Fprintf(&rows, "%q,1,\n", hostile)
	name := strings.NewReplacer("/", "", "\x00", "").Replace(hostile)
	for file, text := range map[string]string{name + ".csv": rows.String(), name + "-bad.csv": "nogginId,lcdInspectionId\n" + strconv.Quote(hostile) + ",1\n"} {
		if err := os.WriteFile(filepath.Join(input, file), []byte(text), 0o600); err != nil {
			t.Fatalf("%q", err)
		}
	}
	must(3, "import-csv")
	must(3, "process", "--until-empty")
	names := filepath.Join(w.folder, "names.csv")
	var lines strings.Builder
	c := csv.NewWriter(&lines)
	_ = c.Write([]string{"hash", "name"})
	for _, hash := range w.texts(`SELECT DISTINCT hash_value FROM noggin_schema.record_hashes WHERE entity_type = 'vehicle'`) {
		_ = c.Write([]string{hash, hostile})
	}
	c.Flush()
	if err := os.WriteFile(names, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	must(0, "hashes", "import", "vehicle", names, "--yes")
	must(0, "hashes", "resolve")
	w.server.ClearFaults()
	w.server.Edit(tips[6], apitest.Edit{Set: map[string]any{"jobNumber": hostile}, Add: []string{"attachments"}})
	must(0, "process", "--refresh", "--tip", tips[6])
	must(0, "maintain", "backup")
	// Which records are complete depends on the order of the requests.
	oldest := w.texts(`SELECT min(inspection_date)::text FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`)[0]
	must(0, "archive", "create", "--until", oldest, "--before", "2030-01-01")
	w.poison()
}

// texts returns the first column of a query.
func (w *hostileWalk) texts(query string) (all []string) {
	w.t.Helper()
	db, err := sql.Open("postgres", w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT array_agg(t) FROM (" + query + ") AS q (t)").Scan(pq.Array(&all)); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return all
}

// structural are columns of text by which the program finds rows and files. A person who
// may write them has the database.
var structural = regexp.MustCompile(`tip$|hash|sha256|status$|^kind$|path$|^folder$|type$|^state$|^name$|^sid$|parent|^host$|^command$|retry_requested|^subject$|^sum$|^storage|^key$|^target`)

// poison writes the hostile text into every other column of text.
func (w *hostileWalk) poison() {
	t := w.t
	db, err := sql.Open("postgres", w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var poisoned []string
	for _, name := range w.texts(`SELECT c.table_name || '.' || c.column_name FROM information_schema.columns c JOIN information_schema.tables b USING (table_schema, table_name)
		WHERE c.table_schema = 'noggin_schema' AND b.table_type = 'BASE TABLE' AND c.data_type = 'text' AND c.is_generated = 'NEVER'`) {
		table, column, _ := strings.Cut(name, ".")
		if structural.MatchString(column) {
			continue
		}
		_, err := db.Exec(fmt.Sprintf(`SET noggin.client = on; UPDATE noggin_schema.%s SET %s = %s`, pq.QuoteIdentifier(table), pq.QuoteIdentifier(column), pq.QuoteLiteral(hostile)))
		refused, constraint := errors.AsType[*pq.Error](err)
		switch {
		case err == nil:
			poisoned = append(poisoned, name)
		case !constraint || refused.Code.Class() != "23":
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, want := range []string{"noggin_data.inspection_id", "noggin_data.last_error_message", "attachments.filename", "entity_hashes.entity_name", "processing_errors.error_message", "runs.message"} {
		if !slices.Contains(poisoned, want) {
			t.Errorf("%s is not hostile; only %v", want, poisoned)
		}
	}
}

// look looks for what the text of an output does to a terminal, a spreadsheet or a reader.
func (w *hostileWalk) look(what, format, out, err string) {
	w.t.Helper()
	w.safe(what+": stderr", err)
	switch format {
	case "json":
		if w.safe(what, out); !json.Valid([]byte(out)) && out != "" {
			w.t.Errorf("%q prints no JSON: %.300q", what, out)
		}
	case "csv":
		w.safe(what, strings.NewReplacer("\t", "", "\r\n", "").Replace(out)) // they may stand within a text
		table, parseErr := csv.NewReader(strings.NewReader(out)).ReadAll()
		if parseErr != nil {
			w.t.Errorf("%q prints no CSV: %v", what, parseErr)
		}
		for _, cell := range slices.Concat(table...) {
			_, notANumber := strconv.ParseFloat(cell, 64)
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) && notANumber != nil && cell != "-" {
				w.t.Errorf("%q: a formula: %.100q", what, cell)
			}
		}
	default:
		w.safe(what, out)
	}
}

func (w *hostileWalk) safe(what, text string) {
	w.t.Helper()
	for i, r := range text {
		steers := unicode.IsControl(r) && r != '\n' || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) && r != '\u200d'
		if steers || r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") {
			w.t.Errorf("%q prints %U: %.200q", what, r, text[max(0, i-80):])
			return
		}
	}
	if i := strings.Index("\n"+text, "\nFORGED"); i >= 0 && !strings.HasPrefix(what, terminal) { // whose lines wrap
		w.t.Errorf("%q prints a line that is not its own: %.200q", what, text[max(0, i-80):])
	}
}

// ourSequences are what the program itself says to a terminal: colours and the bar.
var ourSequences = regexp.MustCompile(`\x1b\[(?:[0-4]?|[39][0-7]|38;5;[0-9]+|22|39)(?:;[0-4]|;[39][0-7])?m|\x1b\[[02]?K|\x1b\[\?25[lh]|\r`)

const terminal = "on a terminal: "

// onTerminal runs a command with stdout and stderr on a terminal.
func (w *hostileWalk) onTerminal(args ...string) {
	w.t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
	if err := pty.Setsize(slave, &pty.Winsize{Rows: 40, Cols: 100}); err != nil {
		w.t.Fatal(err)
	}
	shown := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // it ends with an error when the terminal is closed
		shown <- string(text)
	}()
	w.run(slave, slave, args...)
	_ = slave.Close()
	w.safe(terminal+strings.Join(args, " "), ourSequences.ReplaceAllString(<-shown, ""))
}

// leaves calls do with every command that runs, and the formats that it has.
func leaves(commands []*cli.Command, above []string, do func(path, formats []string)) {
	for _, c := range commands {
		path := append(slices.Clip(above), c.Name)
		formats := []string{}
		for _, flag := range c.Flags {
			if format, ok := flag.(*cli.StringFlag); ok && format.Name == "format" {
				formats = strings.Split(strings.Trim(regexp.MustCompile("`.*`").FindString(format.Usage), "`"), "|")
			}
		}
		if c.Action != nil || len(c.Subcommands) == 0 {
			do(path, formats)
		}
		leaves(c.Subcommands, path, do)
	}
}

// Every command, in every format, prints names, ids, fields and file names that others
// choose without their effects. A command that the table lacks runs without arguments.
func TestEveryCommandPrintsHostileTextWithoutItsEffects(t *testing.T) {
	t.Parallel()
	w := newHostileWalk(t)
	w.fill()
	tip := w.server.Record(6).Tip
	vehicle := w.texts(`SELECT hash_value FROM noggin_schema.record_hashes WHERE entity_type = 'vehicle' AND record_tip = '` + tip + `'`)[0]
	archives, err := filepath.Glob(filepath.Join(w.folder, "archive", "*.zst"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archive was made of %v: %v", w.texts(`SELECT concat_ws(' ', inspection_date, processing_status, archived) FROM noggin_schema.noggin_data`), err)
	}
	name := filepath.Base(archives[0])
	arguments := map[string][][]string{
		"import-csv":             {{"--dry-run", filepath.Join(w.folder, hostile)}},
		"process":                {{"--tip", tip}},
		"retry-failed":           {{"--dry-run", "--permanent"}, {"--dry-run"}},
		"hashes import":          {{"vehicle", filepath.Join(w.folder, hostile)}},
		"hashes set":             {{"vehicle", vehicle, hostile}, {"vehicle", hostile, hostile}},
		"hashes forget":          {{"all", "--dry-run"}, {"all", hostile}},
		"hashes export-unknown":  {{"all", filepath.Join(w.folder, "unknown.csv")}},
		"hashes list":            {{"all"}, {"all", "--unused"}, {"all", "--unknown"}, {hostile}},
		"hashes search":          {{"EVIL"}, {hostile}},
		"hashes show":            {{vehicle}, {hostile}},
		"report tip":             {{tip}, {tip, "--version", "1"}, {hostile}},
		"report errors":          {{"--latest"}, {"--details"}, {"--latest", "--details"}},
		"report inspections":     {{}, {"--attachments"}, {"--vehicle", hostile}, {"--tip", hostile}},
		"report runs":            {{}, {"--failed"}, {"--command", hostile}},
		"report html":            {{"--output", filepath.Join(w.folder, "page.html")}},
		"report metrics":         {{"--output", "-"}},
		"validate":               {{"quick"}, {"data"}, {"files"}, {"config"}},
		"skip":                   {{"--dry-run", "--reason", hostile}, {"--undo", "--dry-run"}},
		"archive create":         {{"--before", "2030-01-01", "--dry-run"}},
		"archive show":           {{name}, {tip}, {hostile}},
		"archive restore":        {{name, "--to", filepath.Join(w.folder, hostile)}, {hostile, "--in-place"}},
		"archive register":       {{archives[0]}, {filepath.Join(w.folder, hostile)}},
		"archive forget":         {{hostile}},
		"export":                 {{"--tip", tip, filepath.Join(w.folder, "bag")}, {"--all", filepath.Join(w.folder, "bags.zip")}, {"--team", hostile, filepath.Join(w.folder, hostile)}},
		"validate bag":           {{filepath.Join(w.folder, "bag")}, {filepath.Join(w.folder, hostile)}},
		"maintain verify-backup": {{filepath.Join(w.folder, hostile)}},
		"maintain restore-plan":  {{filepath.Join(w.folder, hostile)}},
		"maintain pause":         {{"--for", "1ms", "--reason", hostile}},
		"maintain backup":        {}, "maintain vacuum": {}, "maintain reindex": {}, "maintain weekly": {}, "maintain monthly": {}, // the database's own work
		"complete": {{"report", "tip", ""}, {"hashes", "show", ""}, {"archive", "show", ""}, {"report", "inspections", "--vehicle", ""}},
	}
	leaves(quietApp().Commands, nil, func(path, formats []string) {
		variants, known := arguments[strings.Join(path, " ")]
		if !known {
			variants = [][]string{{}}
		}
		for _, variant := range variants {
			args := append(slices.Clone(path), variant...)
			if slices.Contains(args, hostile) {
				formats = formats[:min(1, len(formats))] // the error is the same in each
			}
			for _, format := range formats {
				var out, err bytes.Buffer
				w.run(&out, &err, append(slices.Clone(args), "--format", format)...)
				w.look(strings.Join(args, " "), format, out.String(), err.String())
			}
			w.onTerminal(args...)
		}
	})
	var out, log bytes.Buffer
	w.run(&out, &log, "process", "--refresh", "--until-empty", "--log-format", "json", "--log-level", "debug")
	w.onTerminal("validate", "database") // it takes a second
	w.look("process with JSON logs", "text", out.String(), log.String())
}
