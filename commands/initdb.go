package commands

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

type initDBOptions struct {
	migrateLegacy bool
	repair        bool
	markOutput    bool
	schema        string // the text of schema.sql
}

// initDBResult is what init-db prints.
type initDBResult struct {
	storage.InitResult
	Output string `json:"output_folder"`
}

func initDBCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "init-db",
		Usage: "create or complete the database schema, and mark the output folder",
		Description: `Does nothing where the schema is current: run it after every upgrade. The
output folder gets a marker file, without which no command writes there: run
this with its volume mounted.

Where the database has records that are complete already, their files should be
in the output folder, and its marker with them. If that is missing, its volume
may not be mounted: only --mark-output makes a new one then.

Examples:
  noggin init-db
  noggin init-db --migrate-legacy    # beside what the replaced service left`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "migrate-legacy", Usage: "rename the replaced service's schema to noggin_legacy and copy its records, attachments and hashes"},
			&cli.BoolFlag{Name: "repair", Usage: "put back what somebody removed from the schema or changed in it: noggin validate database names it"},
			&cli.BoolFlag{Name: "mark-output", Usage: "mark the output folder although the database has complete records and the marker is missing: its volume is mounted"},
			formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			cfg, err := env.config(c)
			if err != nil {
				return err
			}
			cfg.storage.StatementTimeout = 0 // a migration takes its time
			db, err := storage.Open(cfg.storage, commandName(c))
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }() // nothing is left to be lost
			opts := initDBOptions{
				migrateLegacy: c.Bool("migrate-legacy"), repair: c.Bool("repair"), markOutput: c.Bool("mark-output"), schema: env.assets.Schema,
			}
			return runInitDB(c.Context, db, cfg.batch, opts, env.output(c))
		},
	}
}

// runInitDB completes the schema, then marks the output folder.
func runInitDB(ctx context.Context, db *storage.DB, cfg batch.Config, opts initDBOptions, out output) error {
	forms, err := cfg.Forms()
	if err != nil {
		return err
	}
	result, err := db.Init(ctx, opts.schema, storage.InitOptions{
		MigrateLegacy: opts.migrateLegacy, ObjectTypeCodes: legacyCodes(forms), Output: cfg.Paths.Output, Repair: opts.repair,
	})
	if err != nil {
		return err
	}
	if opts.repair { // says nothing about the volume
		return out.line(strings.TrimSuffix(describeInit(result), "\n"), initDBResult{result, cfg.Paths.Output})
	}
	if !opts.markOutput {
		if err := checkUnmarked(ctx, db, cfg.Paths.Output); err != nil {
			if out.format == formatText { // the schema was made all the same
				_, _ = fmt.Fprint(out, describeInit(result))
			}
			return err
		}
	}
	if err := batch.CreateMarker(cfg.Paths.Output); err != nil {
		return hint(fmt.Errorf("the schema is ready, but the output folder could not be marked: %w", err),
			"[paths] output must be a folder that noggin's user may write to, on its mounted volume; then run noggin init-db again")
	}
	if out.format == formatJSON {
		return out.json(initDBResult{result, cfg.Paths.Output})
	}
	_, err = fmt.Fprint(out, describeInit(result), "output folder ", printable(cfg.Paths.Output), ": marked\n")
	return err
}

// checkUnmarked refuses an output folder without its marker while the database has
// records whose files should be there: the volume is not mounted, most likely, and a
// marker on the bare mount point would let every run download onto the wrong disk.
func checkUnmarked(ctx context.Context, db *storage.DB, folder string) error {
	marked, err := batch.IsMarked(folder)
	if err != nil || marked {
		return err
	}
	filed, err := db.HasFiled(ctx)
	if err != nil || !filed {
		return err
	}
	return hint(fmt.Errorf("the schema is ready, but %s has no marker, and the database has records whose files should be there: is its volume mounted?", printable(folder)),
		"mount it, and run noggin init-db again",
		"noggin init-db --mark-output marks it all the same: the volume is new, or holds the replaced service's files")
}

// describeInit tells what was done, a line each.
func describeInit(r storage.InitResult) string {
	var b strings.Builder
	switch {
	case len(r.Repaired)+len(r.Remaining) > 0:
		fmt.Fprintf(&b, "schema %s: %d repaired, %d remain\n", r.Schema, len(r.Repaired), len(r.Remaining))
	case r.FromVersion == r.ToVersion:
		fmt.Fprintf(&b, "schema %s: version %d is current, nothing to do\n", r.Schema, r.ToVersion)
	case r.FromVersion == 0:
		fmt.Fprintf(&b, "schema %s: created, version %d\n", r.Schema, r.ToVersion)
	default:
		fmt.Fprintf(&b, "schema %s: version %d became %d\n", r.Schema, r.FromVersion, r.ToVersion)
	}
	for _, object := range r.Repaired {
		fmt.Fprintf(&b, "  repaired: %s\n", object)
	}
	for _, object := range r.Remaining {
		fmt.Fprintf(&b, "  remains:  %s\n", object)
	}
	for _, column := range r.AddedColumns {
		fmt.Fprintf(&b, "  added %s\n", column)
	}
	for _, t := range r.Legacy {
		fmt.Fprintf(&b, "  copied %d of %d rows of noggin_legacy.%s\n", t.Copied, t.Rows, t.Table)
	}
	if r.SearchPath {
		b.WriteString("search_path of the role: set\n")
	}
	return b.String()
}

// legacyCodes maps whatever the replaced service may have called a form to its
// code.
func legacyCodes(forms *batch.ObjectTypes) map[string]string {
	codes := map[string]string{}
	for _, form := range forms.All() {
		for _, name := range []string{form.Code, form.APIName, form.Name} {
			codes[strings.ToLower(name)] = form.Code
		}
	}
	return codes
}
