package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/commands/cmdline"
	"noggin/commands/show"
)

// writeConfig puts text into a file that only its owner can read.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// environ is an environment that has these variables only.
func environ(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// isUsage tells an error for which the exit code is that of a usage error.
func isUsage(err error) bool {
	code, ok := cmdline.OwnCode(err)
	return ok && code == cmdline.ExitUsage
}

var commentedKey = regexp.MustCompile(`^#([a-z_]+ = .*)$`)

// uncommented is the example with each commented default in force, and the keys
// that it shows.
func uncommented(t *testing.T) (text string, keys []string) {
	t.Helper()
	example, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	section := ""
	for _, line := range strings.Split(string(example), "\n") {
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
		}
		if found := commentedKey.FindStringSubmatch(line); found != nil {
			line = found[1]
			name, _, _ := strings.Cut(line, " ")
			keys = append(keys, settingKey{section, name}.String())
		}
		b.WriteString(line + "\n")
	}
	return b.String(), keys
}

func TestExampleShowsEveryKeyWithItsDefault(t *testing.T) {
	text, shown := uncommented(t)
	cfg := Default()
	for key, field := range cfg.settings() {
		if !slices.Contains(shown, key.String()) && !isTableList(field) {
			t.Errorf("config.example.toml does not show %s", key)
		}
	}
	// Decoded over other values, the example has to bring back each default.
	for _, field := range cfg.settings() {
		spoil(field)
	}
	for _, p := range cfg.settings().decode(text) {
		t.Errorf("config.example.toml: %s", p)
	}
	want := Default().settings()
	for key, field := range cfg.settings() {
		if field.Kind() == reflect.Slice && field.Len() == 0 && want[key].Len() == 0 {
			continue
		}
		if !isTableList(field) && !reflect.DeepEqual(field.Interface(), want[key].Interface()) {
			t.Errorf("%s: the example says %v, the default is %v", key, field.Interface(), want[key].Interface())
		}
	}
}

func TestExampleOfAFormIsOne(t *testing.T) {
	example, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(example), "\n#     [[object_type]]\n")
	table, _, _ = strings.Cut(table, "\n#\n")
	if !found {
		t.Fatal("there is none")
	}
	cfg := Default()
	for _, p := range cfg.settings().decode("[[object_type]]\n" + strings.ReplaceAll(table, "#     ", "")) {
		t.Error(p)
	}
	forms, err := cfg.Batch.Forms()
	if err != nil {
		t.Fatal(err)
	}
	form, ok := forms.ByCode("BRK")
	if !ok || len(form.Columns) != 1 || len(form.References) != 1 || len(form.Media) != 2 || len(form.Checklist) != 1 || len(form.Fields) != 1 {
		t.Errorf("got %+v", form)
	}
}

func TestExampleAsItStandsIsTheDefaults(t *testing.T) {
	cfg, err := Load("../../config.example.toml", true, environ("TZ", "Australia/Perth"))
	if err != nil {
		t.Fatal(err, cmdline.Hints(err))
	}
	want, err := Load(filepath.Join(t.TempDir(), "missing"), false, environ("TZ", "Australia/Perth"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Path = ""
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
}

// isTableList tells the keys that have no default to show, such as [[object_type]].
func isTableList(field reflect.Value) bool {
	return field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct
}

// spoil gives a field a value that is no default.
func spoil(field reflect.Value) {
	switch field.Kind() {
	case reflect.String:
		field.SetString("spoilt")
	case reflect.Map:
		field.Set(reflect.MakeMap(field.Type()))
	case reflect.Slice:
		field.Set(reflect.MakeSlice(field.Type(), 0, 0))
	case reflect.Bool:
		field.SetBool(!field.Bool())
	case reflect.Int, reflect.Int64:
		field.SetInt(field.Int() + 987_654_321)
	case reflect.Float64:
		field.SetFloat(field.Float() + 0.123)
	default:
	}
}

func TestEverythingWrongIsReportedAtOnceWithItsLine(t *testing.T) {
	path := writeConfig(t, `timezone = "Mars/Olympus"
timezon = "x"

[processing]
concurency = 4
concurrency = "many"
claim_lease = "soon"
max_requests_per_second = true
attachment_pause = -1

[circuit_breaker]
sample_size = 1.5
failure_threshold_percent = 250

[sirkit]
a = 1

[paths]
input = "in"
"odd\u001b[31mkey" = 1
output = 3
`)
	_, err := Load(path, true, environ())
	if err == nil {
		t.Fatal("accepted")
	}
	if got, want := err.Error(), "invalid configuration in "+path; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := []string{
		`line 2: unknown key timezon (did you mean timezone?)`,
		`line 5: unknown key [processing] concurency (did you mean concurrency?)`,
		`line 6: [processing] concurrency = "many": want a whole number`,
		`line 7: [processing] claim_lease = "soon": want a number of seconds, or a duration such as "90s", "2m", "1h30m"`,
		`line 8: [processing] max_requests_per_second = true: want a number`,
		`line 12: [circuit_breaker] sample_size = 1.5: want a whole number`,
		`line 15: unknown key sirkit`,
		`line 20: unknown key [paths] odd\x1b[31mkey`,
		`line 21: [paths] output = 3: want text in quotes`,
		`timezone = "Mars/Olympus": want an IANA name such as Australia/Perth`,
		`[processing] attachment_pause = -1s: want 0s to 1h0m0s`,
		`[circuit_breaker] failure_threshold_percent = 250: want 1 to 100`,
		`[paths] input = "in": want an absolute path`,
		`[paths] processed = "in/processed": want an absolute path`,
		`[paths] error = "in/error": want an absolute path`,
	}
	if got := cmdline.Hints(err); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if code, _ := cmdline.OwnCode(err); code != cmdline.ExitUsage {
		t.Errorf("exit code %d", code)
	}
}

func TestLinesAreFoundInEverySpellingOfTOML(t *testing.T) {
	for name, text := range map[string]string{
		"dotted key":    "\n\nretry.tips_per_batch = \"x\"\n",
		"inline table":  "\n\nretry = {tips_per_batch = \"x\"}\n",
		"quoted key":    "[\"retry\"]\n\n'tips_per_batch' = \"x\"\n",
		"behind a text": "timezone = \"\"\"\n\"\"\"\nretry.tips_per_batch = \"x\"\n",
		"CRLF":          "[retry]\r\n\r\ntips_per_batch = \"x\"\r\n",
	} {
		_, err := Load(writeConfig(t, text), true, environ())
		if hints := cmdline.Hints(err); len(hints) != 1 || !strings.HasPrefix(hints[0], "line 3: [retry] tips_per_batch = ") {
			t.Errorf("%s: %q", name, hints)
		}
	}
}

// Lines that are no TOML are told of in noggin's words, with their line, whatever the
// library says and wherever it notices.
func TestBrokenLinesAreToldOfInOurWords(t *testing.T) {
	const header, neither = "line 3: a broken header: a section begins with its name in brackets", "line 3: neither a key nor a header: want NAME = VALUE"
	for line, want := range map[string]string{
		"[api": header, "[ap i]": header, "[[import.source]": header, "[paths]extra": header, "[api]]": header, "[]": header,
		"api]": neither, "timeout": neither, "timeout: 5": neither, "= 5": "line 3: the name of a key is missing before the =",
	} {
		for _, end := range []string{"\n", "\r\n", "", "\nfoo = 1\n[retry]\n"} {
			_, err := Load(writeConfig(t, "timezone = \"UTC\"\n[api]\n"+line+end), true, environ())
			if hints := cmdline.Hints(err); len(hints) != 1 || !strings.HasPrefix(hints[0], want) || !strings.Contains(err.Error(), "config.toml") {
				t.Errorf("%q:\ngot  %q\nwant %s", line+end, hints, want)
			}
		}
	}
	for text, want := range map[string]string{
		"[api]\nbearer_token = secret-token-9\n":                 "line 2: at api.bearer_token: not TOML: a text stands in quotes",
		"[hashes]\nname_fields = [\n\"a\",\n\"b\"\n\"c\"]\n":     "line 5: at hashes.name_fields: ",
		"[hashes]\nname_fields = [\"\"\"\n[api\n\"\"\" \"c\"]\n": "line 4: at hashes.name_fields: ",
	} {
		_, err := Load(writeConfig(t, text), true, environ())
		if hints := cmdline.Hints(err); len(hints) != 1 || !strings.HasPrefix(hints[0], want) {
			t.Errorf("%q:\ngot  %q\nwant %s", text, hints, want)
		}
	}
}

func TestMistakesInAFormAreFound(t *testing.T) {
	for text, want := range map[string]string{
		"[[object_type]]\ncode = 3":                                        `line 2: at object_type.code: want text in quotes`,
		"[[object_type]]\ncode = \"LCD\"\nlabell = \"x\"":                  `line 3: unknown key [[object_type]] labell`,
		"[[object_type]]\ncode = \"LCD\"\n[[object_type.media]]\nstab = 1": `line 4: unknown key [[object_type]] media.stab`,
		"[object_type]\ncode = \"LCD\"":                                    `line 1: at object_type: want a list: ["a", "b"], or of tables, each with a header [[NAME]]`,
		"[[object_type]]\ncode = \"no code\"":                              `object_type NO CODE: code = "NO CODE": must be 1 to 16 letters`,
		"[import]\ndefault_object_type = \"XYZ\"":                          `[import] default_object_type = "XYZ": want one of LCD, LCS, CCC, TA, SO, FPI`,
	} {
		_, err := Load(writeConfig(t, text), true, environ())
		if hints := cmdline.Hints(err); len(hints) == 0 || !strings.HasPrefix(hints[0], want) {
			t.Errorf("%s:\ngot  %q\nwant %s", text, hints, want)
		}
	}
	cfg, err := Load(writeConfig(t, "[[object_type]]\ncode = \"LCD\"\nname = \"Renamed\""), true, environ())
	if err != nil || len(cfg.Batch.ObjectTypes) != 1 || cfg.Batch.ObjectTypes[0].Name != "Renamed" {
		t.Errorf("got %v, %v", cfg, err)
	}
}

func TestMistakesInASourceAreFound(t *testing.T) {
	source := func(lines ...string) string {
		return "[import]\nsettle = 5\n[[import.source]]\n" + strings.Join(lines, "\n")
	}
	const name, url, known = `name = "outbox"`, `url = "sftp://me@host:18765/outbox"`, `known_hosts = "/etc/noggin/known_hosts"`
	for text, want := range map[string]string{
		source(name, url, known, `patern = "*"`):                 `line 7: unknown key [[import.source]] patern`,
		source(name, url):                                        `[[import.source]] "outbox" known_hosts is missing`,
		source(url, known):                                       `[[import.source]] number 1 name = "": want`,
		source(name, known, `url = "https://host/x"`):            `[[import.source]] "outbox" url: want sftp://USER@HOST:PORT/FOLDER`,
		source(name, known, `url = "sftp://me:secret99@host/x"`): `[[import.source]] "outbox" url: it holds a password`,
		source(name, known, `url = "sftp://host/x"`):             `[[import.source]] "outbox" url: it has no user`,
		source(name, url, known, `after = "move"`):               `[[import.source]] "outbox" after = "move": want keep or delete`,
		source(name, url, known, `kind = "car"`):                 `[[import.source]] "outbox" kind = "car": want one of tips, asset, site, `,
		source(name, url, known, `pattern = "[a"`):               `[[import.source]] "outbox" pattern = "[a"`,
		source(name, url, known, `key_file = "keys/outbox"`):     `[[import.source]] "outbox" key_file = "keys/outbox": want an absolute path`,
	} {
		_, err := Load(writeConfig(t, text), true, environ())
		hints := cmdline.Hints(err)
		if len(hints) == 0 || !strings.HasPrefix(hints[0], want) || strings.Contains(strings.Join(hints, ""), "secret99") {
			t.Errorf("%s:\ngot  %q\nwant %s", text, hints, want)
		}
	}
	twice := source(name, url, known) + "\n[[import.source]]\n" + strings.Join([]string{name, url, known}, "\n")
	if _, err := Load(writeConfig(t, twice), true, environ()); !strings.Contains(strings.Join(cmdline.Hints(err), ""), "stands twice") {
		t.Errorf("twice: %v", err)
	}
}

func TestTheKeyOfASourceIsAFileOrACredential(t *testing.T) {
	const rest = "\nurl = \"sftp://me@host/outbox\"\nknown_hosts = \"/known\"\n"
	cfg, err := Load(writeConfig(t, `[[import.source]]
name = "outbox"`+rest+`[[import.source]]
name = "other"
key_file = "platform"`+rest+`[[import.source]]
name = "third"
key_file = "/etc/key"`+rest), true, environ("CREDENTIALS_DIRECTORY", "/run/credentials/x"))
	if err != nil {
		t.Fatal(err, cmdline.Hints(err))
	}
	var keys []string
	for _, s := range cfg.Sources() {
		keys = append(keys, s.KeyFile)
		if s.Pattern != "*.csv" || s.After != "keep" || s.Kind != "tips" {
			t.Errorf("%+v", s)
		}
	}
	if want := []string{"/run/credentials/x/outbox", "/run/credentials/x/platform", "/etc/key"}; !slices.Equal(keys, want) {
		t.Errorf("got %q, want %q", keys, want)
	}
}

func TestTheExampleOfASourceIsOne(t *testing.T) {
	example, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(example), "\n#     [[import.source]]\n")
	table, _, _ = strings.Cut(table, "\n#\n")
	if !found {
		t.Fatal("there is none")
	}
	cfg, err := Load(writeConfig(t, "[[import.source]]\n"+strings.ReplaceAll(table, "#     ", "")), true, environ())
	if err != nil || len(cfg.Batch.Sources.Sources) != 1 {
		t.Fatal(err, cmdline.Hints(err))
	}
}

func TestDurationsAreSecondsOrTexts(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "0.5": 500 * time.Millisecond, `"90s"`: 90 * time.Second, `"1h30m"`: 90 * time.Minute, "0": 0, `"2d"`: 48 * time.Hour,
	} {
		cfg := Default()
		if p := cfg.settings().decode("[processing]\nclaim_lease = " + text); len(p) != 0 || cfg.Batch.Processing.ClaimLease != want {
			t.Errorf("%s: got %v, %v; want %v", text, cfg.Batch.Processing.ClaimLease, p, want)
		}
	}
	for _, text := range []string{`"90"`, `"d"`, `"-1d"`, `"1.5d"`, "true", "nan", "inf", "1e300", "9223372036854775807", "[]", "2025-01-01"} {
		if p := Default().settings().decode("[processing]\nclaim_lease = " + text); len(p) != 1 {
			t.Errorf("%s: got %v, want one complaint", text, p)
		}
	}
}

func TestNoSecretIsRepeatedWhenTheFileIsWrong(t *testing.T) {
	const token = "s3cr3tT0kenValue"
	for name, text := range map[string]string{
		"not quoted":       "[api]\nbearer_token = " + token,
		"misspelt key":     "[api]\nbearer_tokn = " + token,
		"cut":              "[api]\nbearer_token = \"" + token,
		"on two lines":     "[api]\nbearer_token = \"" + token + "\n" + token + "\"",
		"a number":         "[api]\nbearer_token = 12345678901",
		"a list":           "[api]\nbearer_token = [\"" + token + "\"]",
		"in the base URL":  "[api]\nbase_url = \"https://u:" + token + "@h/\"",
		"namespace":        "[api]\nnamespace = \"" + token + " x\"",
		"no namespace":     "[api]\nnamespace = [\"" + token + "\"]",
		"no key":           "[api]\n" + token,
		"no equals sign":   "[api]\nbearer_token \"" + token + "\"",
		"given twice":      "[api]\nbearer_token = \"a\"\nbearer_token = \"" + token + "\"",
		"trailing":         "[api]\nbearer_token = \"a\" " + token,
		"url not quoted":   "[database]\nurl = postgres://u:" + token + "@h/d",
		"url broken":       "[database]\nurl = \"postgres://u:" + token + "@h:port/d\"",
		"url no url":       "[database]\nurl = \"user=x password=" + token + " nonsense\"",
		"escape":           "[api]\nbearer_token = \"\\q" + token + "\"",
		"control":          "[api]\nbearer_token = \"\x01" + token + "\"",
		"misspelt section": "[apy]\nbearer_token = \"" + token + "\"",
	} {
		_, err := Load(writeConfig(t, text), true, environ())
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		said := fmt.Sprint(err, cmdline.Hints(err))
		if strings.Contains(said, token[:4]) || strings.Contains(said, "12345678901") {
			t.Errorf("%s: the secret is repeated: %s", name, said)
		}
	}
}

func TestAFileThatHoldsASecretMustNotBeOpenToOthers(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		mode    os.FileMode
		refused bool
	}{
		"token, world":         {"[api]\nbearer_token = \"abcdefgh\"", 0o644, true},
		"token, group":         {"[api]\nbearer_token = \"abcdefgh\"", 0o640, false},
		"password, world":      {"[database]\nurl = \"postgres://u:pw@h/d\"", 0o604, true},
		"keyword, world":       {"[database]\nurl = \"host=h password='p w'\"", 0o644, true},
		"no password, world":   {"[database]\nurl = \"postgres://u@h/d\"", 0o644, false},
		"verify_url, world":    {"[maintain]\nverify_url = \"postgres://trial:pw@h/d\"", 0o644, true},
		"heartbeat, world":     {"[notify]\nheartbeat_url = \"https://example.com/ping/x\"", 0o644, true},
		"web hook, world":      {"[notify]\nwebhook_url = \"https://example.com/hooks/x\"", 0o644, true},
		"token file, world":    {"[api]\nbearer_token_file = \"/etc/noggin/token\"", 0o644, false},
		"after_create, world":  {"[archive]\nafter_create = \"RSYNC_PASSWORD=pw rsync $1 nas::x\"", 0o644, true},
		"publish, world":       {"[seal]\npublish = \"curl -u u:pw -T $1 https://h\"", 0o604, true},
		"publish, group":       {"[seal]\npublish = \"curl -u u:pw -T $1 https://h\"", 0o640, false},
		"password, owner only": {"[database]\nurl = \"postgres://u:pw@h/d\"", 0o600, false},
	} {
		path := writeConfig(t, c.text)
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		// A secret in the environment is no excuse for the file's.
		_, err := Load(path, true, environ("NOGGIN_DATABASE_URL", "postgres:///x"))
		if refused := err != nil; refused != c.refused {
			t.Errorf("%s: %v %v", name, err, cmdline.Hints(err))
		}
		if c.refused && !strings.Contains(fmt.Sprint(cmdline.Hints(err)), "chmod o-rwx "+path) {
			t.Errorf("%s: no remedy in %q", name, cmdline.Hints(err))
		}
	}
}

func TestEnvironmentGoesBeforeTheFile(t *testing.T) {
	path := writeConfig(t, "timezone = \"Australia/Sydney\"\n[database]\nurl = \"postgres:///file\"\n[paths]\ninput = \"/in\"")
	cfg, err := Load(path, true, environ("NOGGIN_DATABASE_URL", "postgres:///environment"))
	if err != nil {
		t.Fatal(err, cmdline.Hints(err))
	}
	if cfg.Storage.URL != "postgres:///environment" || cfg.Storage.Timezone != "Australia/Sydney" {
		t.Errorf("got %+v", cfg.Storage)
	}
	if cfg.API.TooManyRequestsSleep != cfg.Batch.Processing.TooManyRequestsSleep {
		t.Errorf("two waits after a 429: %v, %v", cfg.API.TooManyRequestsSleep, cfg.Batch.Processing.TooManyRequestsSleep)
	}
	if cfg.Batch.Paths.Processed != "/in/processed" || cfg.Batch.Paths.Error != "/in/error" {
		t.Errorf("paths that follow from the input folder: %+v", cfg.Batch.Paths)
	}
}

func TestAFileThatWasNamedMustBeThere(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.toml")
	if _, err := Load(missing, false, environ()); err != nil {
		t.Errorf("default file: %v", err)
	}
	for _, path := range []string{missing, t.TempDir()} {
		if _, err := Load(path, true, environ()); !isUsage(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestHostZoneIsAnIANAName(t *testing.T) {
	link := filepath.Join(t.TempDir(), "localtime")
	target := filepath.Join(t.TempDir(), "zoneinfo", "Australia", "Perth")
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ tz, localtime, want string }{
		{"", link, "Australia/Perth"},
		{"Australia/Sydney", link, "Australia/Sydney"},
		{":Australia/Sydney", link, "Australia/Sydney"},
		{"<+08>-8", link, "UTC"},
		{"", filepath.Join(t.TempDir(), "none"), "UTC"},
	} {
		if got := hostZone(c.tz, c.localtime); got != c.want {
			t.Errorf("TZ=%q %s: got %s, want %s", c.tz, c.localtime, got, c.want)
		}
	}
}

func TestACommandThatNeedsTheAPISaysAllThatIsMissing(t *testing.T) {
	var b bytes.Buffer
	hidden := new(Secrets)
	cfg := Default()
	cfg.Credentials.environment = "tok-en-value"
	_, err := cfg.Client(hidden, "1.2.3")
	if hints := cmdline.Hints(err); !isUsage(err) || len(hints) != 2 ||
		!strings.HasPrefix(hints[0], "[api] base_url is not set") || !strings.HasPrefix(hints[1], "[api] namespace is not set") {
		t.Errorf("got %v, %q", err, hints)
	}
	cfg.API.BaseURL, cfg.API.Namespace = "https://api.example.com", strings.Repeat("ab", 32)
	got, err := cfg.Client(hidden, "1.2.3")
	if err != nil || got.BearerToken != "tok-en-value" || got.UserAgent != "noggin/1.2.3" {
		t.Errorf("got %v, %v", got.UserAgent, err)
	}
	if _, err := hidden.Guard(&b).Write([]byte("tok-en-value")); err != nil || b.String() != redacted {
		t.Errorf("the token is not hidden: %q", b.String())
	}
}

// FuzzConfig looks for a text that makes the reader panic, or complain of a line
// that is not there or with something that steers a terminal. (The decoder does
// not know the line of every broken escape.)
func FuzzConfig(f *testing.F) {
	f.Add("[processing]\nconcurrency = 4\n")
	f.Add("[[object_type]]\ncode = \"X\"\nmedia = [{field = 1}]\n")
	f.Add("retry = {tips_per_batch = \"x\"}\n[api.x]\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg := Default()
		for _, p := range cfg.settings().decode(text) {
			if p.line < 0 || p.line > strings.Count(text, "\n")+1 {
				t.Errorf("line %d: %s", p.line, p.text)
			}
			if show.Printable(p.text) != p.text {
				t.Errorf("unprintable: %q", p.text)
			}
		}
		_ = cfg.validate()
	})
}
