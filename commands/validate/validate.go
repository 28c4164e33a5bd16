package validate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/batch/files"
	"noggin/batch/validate"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// The areas of validate, in the order in which they are looked at.
const (
	areaConfig   = "config"
	areaDatabase = "database"
	areaAPI      = "api"
	areaSources  = "sources"
	areaCopy     = "copy"
	areaQuick    = "quick"
	areaData     = "data"
	areaFiles    = "files"
	areaAll      = "all"
)

var allAreas = []string{areaConfig, areaDatabase, areaAPI, areaSources, areaCopy, areaQuick, areaData, areaFiles}

type options struct {
	areas     []string
	fix       bool
	strict    bool
	once      bool
	tokenFile string
	files     validate.FileOptions
}

func (o options) has(area string) bool { return slices.Contains(o.areas, area) }

// result is what validate prints.
type result struct {
	OK       bool               `json:"ok"` // no error is left
	Errors   int                `json:"errors"`
	Warnings int                `json:"warnings"`
	Once     bool               `json:"once,omitempty"` // by --once
	Areas    []*validate.Area   `json:"areas"`
	Findings []validate.Finding `json:"findings"`
}

// Command is noggin validate.
func Command(open *session.Opener, schema string) *cli.Command {
	return &cli.Command{
		Name:      "validate",
		Usage:     "look whether everything is as it should be",
		ArgsUsage: "[quick|config|database|api|sources|copy|data|files|all]…",
		Description: `quick     disk, database, queue, last runs: for an alert every hour
config    configuration, permissions, folders and their volumes
database  server, rights, schema, time zone
api       one request with the token, and what its answer means
sources   logs in to each SFTP server of [[import.source]], and lists it
copy      tries [copy] to: a second object and a deletion must be refused
data      whether the database agrees with itself
files     whether the files on disk are those of the database, both ways
all       all of these (the default)

Ends with 3 when an error is left; each finding names what mends it. --fix mends
what is safe: counts records and files anew, puts records whose attachments are
missing into the queue, registers archives that hold missing files, removes old
temporary files. It never touches a record that
a run is at work on.

Examples:
  noggin validate quick
  noggin validate api --token-file new    # a token, before it is put in place
  noggin validate files --deep --part 3/12
  noggin validate all --fix`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "fix", Usage: "mend what can be mended safely (data, files)"},
			&cli.BoolFlag{Name: "strict", Usage: "end with 3 for warnings too"},
			&cli.BoolFlag{Name: "once", Usage: "leave out data and files where a run of today with --once, on any host, has looked at them"},
			cmdline.NotEmpty(&cli.StringFlag{Name: "token-file", Usage: "test the token in `FILE` instead of the configured one (api)"}),
			&cli.BoolFlag{Name: "deep", Usage: "read every file and compare its hash (files)"},
			cmdline.PartFlag("files", " (files)"),
			cmdline.NotEmpty(&cli.StringFlag{Name: "root", Usage: "compare the copy in `DIR`, such as a backup, instead of the output folder (files)"}),
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Subcommands: []*cli.Command{bagCommand(open), evidenceCommand(open)},
		Action: func(c *cli.Context) error {
			opts, err := parseOptions(c)
			if err != nil {
				return err
			}
			return run(c, open, schema, opts)
		},
	}
}

func parseOptions(c *cli.Context) (options, error) {
	opts := options{
		areas: c.Args().Slice(), fix: c.Bool("fix"), strict: c.Bool("strict"), once: c.Bool("once"), tokenFile: c.String("token-file"),
		files: validate.FileOptions{Root: c.String("root"), Deep: c.Bool("deep")},
	}
	for _, area := range opts.areas {
		if area != areaAll && !slices.Contains(allAreas, area) {
			return opts, cmdline.Usagef("unknown area %s: allowed are %s, %s", show.Quoted(area), strings.Join(allAreas, ", "), areaAll)
		}
	}
	if len(opts.areas) == 0 || opts.has(areaAll) {
		opts.areas = allAreas
	}
	for _, need := range []struct {
		flag  string
		areas []string
	}{
		{"fix", []string{areaData, areaFiles}},
		{"token-file", []string{areaAPI}},
		{"deep", []string{areaFiles}},
		{"part", []string{areaFiles}},
		{"root", []string{areaFiles}},
	} {
		if c.IsSet(need.flag) && !slices.ContainsFunc(need.areas, opts.has) {
			return opts, cmdline.Usagef("--%s applies only to validate %s", need.flag, strings.Join(need.areas, " or "))
		}
	}
	if opts.fix && opts.files.Root != "" {
		return opts, cmdline.Usagef("--fix cannot be combined with --root: to mend a copy, copy again")
	}
	if opts.once && (opts.fix || opts.files.Deep || opts.files.Root != "" || c.IsSet("part")) {
		return opts, cmdline.Usagef("--once cannot be combined with --fix, --deep, --part or --root")
	}
	var err error
	opts.files.Part, opts.files.Parts, err = cmdline.Part(c, time.Now())
	return opts, err
}

// run looks at the areas and prints what was found.
func run(c *cli.Context, open *session.Opener, schema string, opts options) error {
	v := &validation{opts: opts, hide: open.Secrets.Hide}
	cfg, err := open.Config(c)
	if c.Err() != nil {
		return context.Cause(c.Context)
	}
	if err != nil {
		v.invalidConfig(err)
		return v.conclude(cmdline.Output(c))
	}
	if opts.has(areaData) || opts.has(areaFiles) {
		cfg.Storage.StatementTimeout = 0 // they read whole tables
	}
	zone, err := cfg.Batch.Location()
	if err != nil {
		return err
	}
	s, err := open.Configured(cfg, "validate")
	if err != nil {
		return err
	}
	defer s.Close()
	v.session = s
	bar := s.Console.Progress(c, "records compared")
	v.validator = &validate.Validator{
		DB: s.DB, Paths: cfg.Batch.Paths, Location: zone, DefaultObjectType: cfg.Batch.Import.DefaultObjectType, Types: s.Types, Schema: schema,
		Log: s.Log, Fix: opts.fix,
		Register: registering(s),
		Progress: func(p validate.FilesProgress) {
			bar.Update(session.State{Done: int(p.Records), Total: int(p.Total), Bytes: p.Bytes})
		},
	}
	release := func() {}
	defer func() { release() }() // after the run's end is recorded: the next one looks at it
	return v.recorded(c.Context, func(run int64) (any, error) {
		if opts.once && run != 0 {
			turn, err := v.leaveOut(c.Context, s.DB)
			if err != nil {
				return v.result, err
			}
			release = turn
		}
		err := v.look(c.Context)
		bar.Finish()
		if err == nil {
			err = v.conclude(cmdline.Output(c))
		}
		return v.result, err
	})
}

// registering returns what registers an archive, as `archive register` does.
func registering(s *session.Session) func(context.Context, string) (archive.RegisterSummary, error) {
	archiver := archive.Archiver{DB: s.DB, Paths: s.Config.Batch.Paths, ClaimLease: s.Config.Batch.Processing.ClaimLease, Log: s.Log, Version: s.Version}
	return func(ctx context.Context, at string) (archive.RegisterSummary, error) {
		summary, err := archiver.Register(ctx, archive.RegisterOptions{File: at})
		if summary.RunID != 0 {
			s.Ended(ctx, summary.RunID, summary, err)
		}
		return summary, err
	}
}

// validation is one call of validate.
type validation struct {
	session   *session.Session // nil: the configuration cannot be used
	opts      options
	hide      func([]byte) []byte
	validator *validate.Validator
	result    result
	down      bool              // the database cannot be used: told already
	earlier   map[string]string // areas that another run has looked at, and which
}

// recorded does the work as a run when the database can record one, else without a
// run: the work itself finds what is wrong with the database.
func (v *validation) recorded(ctx context.Context, work func(run int64) (any, error)) error {
	began := false
	if err := v.session.DB.CheckSchema(ctx); err == nil {
		err = v.session.Recorded(ctx, v.session.Command, func(run int64) (any, error) {
			began = true
			return work(run)
		})
		if began {
			return err
		}
		v.session.Log.Debug("the run was not recorded", "error", err)
	}
	_, err := work(0)
	return err
}

// look looks at the areas that were asked for.
func (v *validation) look(ctx context.Context) error {
	for _, name := range allAreas {
		if !v.opts.has(name) ||
			len(v.opts.areas) > 1 && (name == areaSources && len(v.session.Config.Batch.Sources.Sources) == 0 || name == areaCopy && v.session.Config.Batch.Copy.To == "") {
			continue
		}
		area, err := v.lookAt(ctx, name)
		if err != nil {
			return err
		}
		v.add(area)
	}
	return nil
}

func (v *validation) lookAt(ctx context.Context, name string) (*validate.Area, error) {
	switch name {
	case areaConfig:
		return v.config(), nil
	case areaAPI:
		return v.api(ctx)
	case areaSources:
		return v.sources(ctx)
	case areaCopy:
		return v.copy(ctx)
	}
	if by := v.earlier[name]; by != "" {
		area := validate.NewArea(name)
		area.Reason = by
		return area, nil
	}
	if v.down {
		area := validate.NewArea(name)
		area.Reason = "the database cannot be used: see above"
		return area, nil
	}
	switch name {
	case areaDatabase:
		return v.validator.Database(ctx)
	case areaQuick:
		return v.validator.Quick(ctx, !v.opts.has(areaConfig))
	case areaData:
		return v.validator.Data(ctx)
	default:
		return v.validator.Files(ctx, v.opts.files)
	}
}

// add adds an area to the result, without anything confidential: the result is printed
// on stdout.
func (v *validation) add(area *validate.Area) {
	hide := func(s string) string { return string(v.hide([]byte(s))) }
	for _, f := range area.Findings {
		if f.Check == "reachable" || f.Check == "pooler" || f.Check == "schema" && !area.Checked {
			v.down = true
		}
		f.Message, f.Remedy = hide(f.Message), hide(f.Remedy)
		for i := range f.Examples {
			f.Examples[i] = hide(f.Examples[i])
		}
		v.result.Findings = append(v.result.Findings, f)
	}
	v.result.Areas = append(v.result.Areas, area)
}

// invalidConfig makes every problem of the configuration a finding.
func (v *validation) invalidConfig(err error) {
	area := validate.NewArea(areaConfig)
	area.Reason = "the configuration cannot be used"
	problems := cmdline.Hints(err)
	if !strings.Contains(err.Error(), "invalid configuration") || len(problems) == 0 {
		problems = []string{err.Error()}
	}
	remedy := "correct it; every key is explained in config.example.toml"
	if errors.Is(err, fs.ErrPermission) {
		remedy = "commands run as the user " + session.ServiceUser + ", who must be allowed to read it: `" + files.SudoLine(session.ServiceUser, os.Args) + "`"
	}
	for _, p := range problems {
		area.Error("valid", p, remedy)
	}
	v.add(area)
	for _, name := range v.opts.areas {
		if name != areaConfig {
			area := validate.NewArea(name)
			area.Reason = "not looked at: the configuration cannot be used"
			v.add(area)
		}
	}
}

// conclude prints the result and returns an error when something is left to do.
func (v *validation) conclude(out show.Output) error {
	r := &v.result
	for _, f := range r.Findings {
		switch {
		case !f.Open():
		case f.Severity == validate.SeverityError:
			r.Errors++
		default:
			r.Warnings++
		}
	}
	r.OK = r.Errors == 0
	if r.Findings == nil {
		r.Findings = []validate.Finding{}
	}
	var err error
	if out.Format == show.JSON {
		err = out.JSON(r)
	} else {
		_, err = fmt.Fprint(out, describe(r, out))
	}
	if err != nil {
		return err
	}
	if r.Errors > 0 || v.opts.strict && r.Warnings > 0 {
		return cmdline.Partialf("found %s", countFindings(r))
	}
	return nil
}

// leaveOut notes which areas a run with --once has looked at today, on any host. Only
// data and files count: they are the same from every host. It waits for a run that
// looks at them now.
func (v *validation) leaveOut(ctx context.Context, db *storage.DB) (release func(), err error) {
	release, err = db.Turn(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := db.RunsThis(ctx, "day", v.session.Command)
	if err != nil {
		release()
		return nil, err
	}
	v.result.Once = true
	v.earlier = map[string]string{}
	for _, run := range runs {
		var earlier result
		if json.Unmarshal(run.Summary, &earlier) != nil || !earlier.Once {
			continue
		}
		for _, area := range earlier.Areas {
			if area.Checked && (area.Name == areaData || area.Name == areaFiles) {
				v.earlier[area.Name] = "looked at by " + run.Host + " at " + run.Finished.Format("15:04") + " already"
			}
		}
	}
	return release, nil
}
