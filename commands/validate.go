package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

// The areas of validate, in the order in which they are looked at.
const (
	areaConfig   = "config"
	areaDatabase = "database"
	areaAPI      = "api"
	areaQuick    = "quick"
	areaData     = "data"
	areaFiles    = "files"
	areaAll      = "all"
)

var allAreas = []string{areaConfig, areaDatabase, areaAPI, areaQuick, areaData, areaFiles}

type validateOptions struct {
	areas     []string
	fix       bool
	strict    bool
	once      bool
	tokenFile string
	files     batch.FileOptions
}

func (o validateOptions) has(area string) bool { return slices.Contains(o.areas, area) }

// validateResult is what validate prints.
type validateResult struct {
	OK       bool            `json:"ok"` // no error is left
	Errors   int             `json:"errors"`
	Warnings int             `json:"warnings"`
	Once     bool            `json:"once,omitempty"` // by --once
	Areas    []*batch.Area   `json:"areas"`
	Findings []batch.Finding `json:"findings"`
}

func validateCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "validate",
		Usage:     "look whether everything is as it should be",
		ArgsUsage: "[quick|config|database|api|data|files|all]…",
		Description: `quick     disk, database, queue, last runs: for an alert every hour
config    configuration, permissions, folders and their volumes
database  server, rights, schema, time zone
api       one request with the token, and what its answer means
data      whether the database agrees with itself
files     whether the files on disk are those of the database, both ways
all       all of these (the default)

Ends with 3 when an error is left; each finding names what mends it. --fix mends
what is safe: counts records and files anew, puts records whose photographs are
missing into the queue, removes old temporary files. It never touches a record that
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
			&cli.StringFlag{Name: "token-file", Usage: "test the token in `FILE` instead of the configured one (api)"},
			&cli.BoolFlag{Name: "deep", Usage: "read every file and compare its hash (files)"},
			partFlag("files", " (files)"),
			&cli.StringFlag{Name: "root", Usage: "compare the copy in `DIR`, such as a backup, instead of the output folder (files)"},
			formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			opts, err := parseValidate(c)
			if err != nil {
				return err
			}
			return runValidate(c, env, opts)
		},
	}
}

func parseValidate(c *cli.Context) (validateOptions, error) {
	opts := validateOptions{
		areas: c.Args().Slice(), fix: c.Bool("fix"), strict: c.Bool("strict"), once: c.Bool("once"), tokenFile: c.String("token-file"),
		files: batch.FileOptions{Root: c.String("root"), Deep: c.Bool("deep")},
	}
	for _, area := range opts.areas {
		if area != areaAll && !slices.Contains(allAreas, area) {
			return opts, usagef("nothing to validate is called %s: allowed are %s, %s", quoted(area), strings.Join(allAreas, ", "), areaAll)
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
			return opts, usagef("--%s goes with validate %s", need.flag, strings.Join(need.areas, " or "))
		}
	}
	if opts.fix && opts.files.Root != "" {
		return opts, usagef("--fix does not go with --root: a copy is mended by copying again")
	}
	if opts.once && (opts.fix || opts.files.Deep || opts.files.Root != "" || c.IsSet("part")) {
		return opts, usagef("--once goes with none of --fix, --deep, --part, --root: they are another work than the daily one")
	}
	var err error
	opts.files.Part, opts.files.Parts, err = partOf(c, time.Now())
	return opts, err
}

// runValidate looks at the areas and prints what was found.
func runValidate(c *cli.Context, env *environment, opts validateOptions) error {
	ctx := c.Context
	v := &validation{env: env, opts: opts}
	cfg, err := env.config(c)
	if err != nil {
		v.invalidConfig(err)
		return v.conclude(env.output(c))
	}
	database := cfg.storage
	if opts.has(areaData) || opts.has(areaFiles) {
		database.StatementTimeout = 0 // they read whole tables
	}
	types, err := cfg.batch.Forms()
	if err != nil {
		return err
	}
	db, err := storage.Open(database, "validate")
	if err != nil {
		return err
	}
	s := &session{cfg: cfg, types: types, db: db}
	defer s.close()
	run := v.begin(ctx, s)
	if opts.once && run != 0 {
		release, err := v.leaveOut(ctx, s.db)
		if err != nil {
			s.endRun(ctx, env, run, v.result, err)
			return err
		}
		defer release()
	}
	bar := env.progress(c, "records compared")
	v.validator = &batch.Validator{
		DB: db, Config: cfg.batch, Types: types, Schema: env.assets.Schema, Log: env.log, Fix: opts.fix,
		Progress: func(p batch.FilesProgress) {
			bar.update(progressState{done: int(p.Records), total: int(p.Total), bytes: p.Bytes})
		},
	}
	err = v.look(ctx, cfg)
	bar.finish(env)
	if err == nil {
		err = v.conclude(env.output(c))
	}
	if run != 0 {
		s.endRun(ctx, env, run, v.result, err)
	}
	return err
}

// validation is one call of validate.
type validation struct {
	env       *environment
	opts      validateOptions
	validator *batch.Validator
	result    validateResult
	down      bool              // the database cannot be used: told already
	earlier   map[string]string // areas that another run has looked at, and which
}

// begin records the run, where there is a database to do so; whatever is wrong with
// that is found again later.
func (v *validation) begin(ctx context.Context, s *session) int64 {
	if s.db.CheckSchema(ctx) != nil {
		return 0
	}
	run, err := s.db.StartRun(ctx, v.command(), readVersion(v.env.assets.Version).Version)
	if err != nil {
		v.env.log.Debug("the run was not recorded", "error", err)
	}
	return run
}

// command is what the run is recorded as: "validate quick", "validate all".
func (v *validation) command() string {
	if len(v.opts.areas) == len(allAreas) {
		return "validate " + areaAll
	}
	return "validate " + strings.Join(v.opts.areas, " ")
}

// look looks at the areas that were asked for.
func (v *validation) look(ctx context.Context, cfg *config) error {
	for _, name := range allAreas {
		if !v.opts.has(name) {
			continue
		}
		area, err := v.lookAt(ctx, name, cfg)
		if err != nil {
			return err
		}
		v.add(area)
	}
	return nil
}

func (v *validation) lookAt(ctx context.Context, name string, cfg *config) (*batch.Area, error) {
	switch name {
	case areaConfig:
		return v.config(cfg), nil
	case areaAPI:
		return v.api(ctx, cfg)
	}
	if by := v.earlier[name]; by != "" {
		area := batch.NewArea(name)
		area.Reason = by
		return area, nil
	}
	if v.down {
		area := batch.NewArea(name)
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

// add takes an area into the result. Nothing confidential gets into it: it is
// printed on stdout.
func (v *validation) add(area *batch.Area) {
	hide := func(s string) string { return string(v.env.err.secrets.hide([]byte(s))) }
	for _, f := range area.Findings {
		if f.Check == "reachable" || f.Check == "schema" && !area.Checked {
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
	area := batch.NewArea(areaConfig)
	area.Reason = "the configuration cannot be used"
	problems := hintsOf(err)
	if !strings.Contains(err.Error(), "invalid configuration") || len(problems) == 0 {
		problems = []string{err.Error()}
	}
	for _, p := range problems {
		area.Error("valid", p, "correct it; every key is explained in config.example.toml")
	}
	v.add(area)
	for _, name := range v.opts.areas {
		if name != areaConfig {
			area := batch.NewArea(name)
			area.Reason = "not looked at: the configuration cannot be used"
			v.add(area)
		}
	}
}

// conclude prints the result; its error says that something is left to be done.
func (v *validation) conclude(out output) error {
	r := &v.result
	for _, f := range r.Findings {
		switch {
		case !f.Open():
		case f.Severity == batch.SeverityError:
			r.Errors++
		default:
			r.Warnings++
		}
	}
	r.OK = r.Errors == 0
	if r.Findings == nil {
		r.Findings = []batch.Finding{}
	}
	var err error
	if out.format == formatJSON {
		err = out.json(r)
	} else {
		_, err = fmt.Fprint(out, describeValidation(r, out))
	}
	if err != nil {
		return err
	}
	if r.Errors > 0 || v.opts.strict && r.Warnings > 0 {
		return partialf("found %s", countFindings(r))
	}
	return nil
}

// leaveOut notes which areas a run of today with --once, on any host, has looked at:
// those that are the same from everywhere. It waits for one that is at it.
func (v *validation) leaveOut(ctx context.Context, db *storage.DB) (release func(), err error) {
	release, err = db.Turn(ctx, "validate")
	if err != nil {
		return nil, err
	}
	runs, err := db.RunsThis(ctx, "day", v.command())
	if err != nil {
		release()
		return nil, err
	}
	v.result.Once = true
	v.earlier = map[string]string{}
	for _, run := range runs {
		var earlier validateResult
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
