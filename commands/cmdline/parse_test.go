package cmdline

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// parseTree is a tree with every shape that the real one may have.
func parseTree() *cli.Command {
	act := func(*cli.Context) error { return nil }
	format := func() cli.Flag { return &cli.StringFlag{Name: "format"} }
	dryRun := func() cli.Flag { return &cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}} }
	return &cli.Command{
		Name: "noggin",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config"}, &cli.BoolFlag{Name: "quiet"},
			&cli.BoolFlag{Name: "help", Aliases: []string{"h"}}, &cli.BoolFlag{Name: "version"},
		},
		Subcommands: []*cli.Command{
			{Name: "version", Flags: []cli.Flag{format()}, Action: act},
			{Name: "process", Flags: []cli.Flag{&cli.IntFlag{Name: "batch"}, &cli.StringSliceFlag{Name: "tip"}, dryRun()}, Action: act},
			{Name: "import-csv", ArgsUsage: "[FILE…]", Flags: []cli.Flag{dryRun()}, Action: act},
			{Name: "skip", Flags: []cli.Flag{&cli.StringFlag{Name: "reason", Required: true}}, Action: act},
			{Name: "report", Flags: []cli.Flag{format()}, Action: act, Subcommands: []*cli.Command{
				{Name: "status", Flags: []cli.Flag{format()}, Action: act},
			}},
			{Name: "hashes", Subcommands: []*cli.Command{
				{Name: "import", ArgsUsage: "TYPE FILE", Flags: []cli.Flag{dryRun()}, Action: act},
				{Name: "export-unknown", ArgsUsage: "TYPE [FILE]", Action: act},
			}},
			{Name: "maintain", Subcommands: []*cli.Command{
				{Name: "pause", Flags: []cli.Flag{&cli.DurationFlag{Name: "for"}}, Action: act},
			}},
		},
	}
}

func TestFlagsMayStandAnywhereAfterTheirCommand(t *testing.T) {
	for line, want := range map[string]string{
		"process --batch 5":                             "noggin process --batch=5",
		"hashes import vehicle f.csv --dry-run":         "noggin hashes import --dry-run=true -- vehicle f.csv",
		"hashes import vehicle -n f.csv":                "noggin hashes import --dry-run=true -- vehicle f.csv",
		"hashes import --dry-run=false vehicle f.csv":   "noggin hashes import --dry-run=false -- vehicle f.csv",
		"maintain pause --for 2h":                       "noggin maintain pause --for=2h",
		"import-csv a.csv --dry-run b.csv":              "noggin import-csv --dry-run=true -- a.csv b.csv",
		"import-csv -- --dry-run":                       "noggin import-csv -- --dry-run",
		"import-csv - --dry-run":                        "noggin import-csv --dry-run=true -- -",
		"process --quiet --config /c.toml":              "noggin --quiet=true --config=/c.toml process",
		"--config=/c.toml process --tip a --tip b":      "noggin --config=/c.toml process --tip=a --tip=b",
		"report --format json status":                   "noggin report status --format=json",
		"report --format json":                          "noggin report --format=json",
		"--version":                                     "noggin version",
		"--version --format json":                       "noggin version --format=json",
		"hashes import process hashes":                  "noggin hashes import -- process hashes",
		"skip --reason=--dry-run":                       "noggin skip --reason=--dry-run",
		"skip --reason -5":                              "noggin skip --reason=-5",
		"process -batch 5":                              "noggin process --batch=5",
		"hashes export-unknown vehicle":                 "noggin hashes export-unknown -- vehicle",
		"hashes export-unknown vehicle --quiet out.csv": "noggin --quiet=true hashes export-unknown -- vehicle out.csv",
	} {
		t.Run(line, func(t *testing.T) {
			call, err := Parse(parseTree(), strings.Fields(line))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(call.Args, " "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestWhatNoCommandTakesIsAUsageErrorThatNamesIt(t *testing.T) {
	for line, want := range map[string]string{
		"prcess":                          `unknown command "prcess" (did you mean process?)`,
		"process --bacth 5":               "unknown flag --bacth (did you mean --batch?)",
		"process --zzz=1":                 "unknown flag --zzz",
		"process -x":                      "unknown flag -x",
		"--batch 5 process":               "unknown flag --batch",
		"process extra":                   `unexpected argument "extra"`,
		"process -- --dry-run":            `unexpected argument "--dry-run"`,
		"process --batch":                 "flag --batch needs a value",
		"process --tip --dry-run":         "flag --tip needs a value, but --dry-run follows",
		"process --tip --dry-run=true":    "flag --tip needs a value, but --dry-run=true follows",
		"process --tip --":                "flag --tip needs a value, but -- follows",
		"hashes imprt a b":                `unknown command "imprt" (did you mean import?)`,
		"hashes import vehicle":           "missing argument: FILE",
		"hashes import a b c":             `unexpected argument "c"`,
		"report stauts":                   `unknown command "stauts" (did you mean status?)`,
		"skip":                            "flag --reason is missing",
		"hashes export-unknown a b.csv c": `unexpected argument "c"`,
		"process --=5":                    "unknown flag --",
	} {
		t.Run(line, func(t *testing.T) {
			_, err := Parse(parseTree(), strings.Fields(line))
			if err == nil || err.Error() != want {
				t.Fatalf("got  %v\nwant %s", err, want)
			}
			if code, _ := OwnCode(err); code != ExitUsage {
				t.Errorf("exit code %d, want %d", code, ExitUsage)
			}
		})
	}
}

func TestHelpWinsOverMissingArguments(t *testing.T) {
	for line, want := range map[string]string{
		"":                       "noggin",
		"--quiet":                "noggin",
		"hashes":                 "noggin hashes",
		"maintain --config x":    "noggin maintain",
		"--help":                 "noggin",
		"help":                   "noggin",
		"help hashes import":     "noggin hashes import",
		"hashes import -h":       "noggin hashes import",
		"hashes --help import":   "noggin hashes import",
		"skip --help":            "noggin skip",
		"process --batch 5 -h":   "noggin process",
		"hashes import a b c -h": "noggin hashes import",
	} {
		call, err := Parse(parseTree(), strings.Fields(line))
		if err != nil || !call.Help || call.Name() != want {
			t.Errorf("%q: got help=%v of %q, %v; want help of %q", line, call.Help, call.Name(), err, want)
		}
	}
}

func TestHelpAboutNoCommandIsRefused(t *testing.T) {
	for line, want := range map[string]string{
		"help skp":             `unknown command "skp" (did you mean skip?)`,
		"hashes improt --help": `unknown command "improt" (did you mean import?)`,
	} {
		if _, err := Parse(parseTree(), strings.Fields(line)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", line, err, want)
		}
	}
}

// FuzzPermute looks for a command line that is understood but loses or invents a
// word: every flag and argument that went in must come out.
func FuzzPermute(f *testing.F) {
	f.Add("hashes import vehicle f.csv --dry-run")
	f.Add("process --batch=5 --tip a -n")
	f.Add("import-csv -- -x --")
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Fields(line)
		call, err := Parse(parseTree(), words)
		if err != nil || call.Help {
			return
		}
		again, err := Parse(parseTree(), call.Args[1:])
		if err != nil {
			t.Fatalf("%q became %q, which is refused: %v", words, call.Args, err)
		}
		if !slices.Equal(call.Args, again.Args) {
			t.Fatalf("%q became %q, then %q", words, call.Args, again.Args)
		}
		for _, word := range words {
			value := word[strings.LastIndex(word, "=")+1:]
			if !strings.HasPrefix(value, "-") && !strings.Contains(strings.Join(call.Args, " "), value) {
				t.Fatalf("%q lost %q: %q", words, word, call.Args)
			}
		}
	})
}
