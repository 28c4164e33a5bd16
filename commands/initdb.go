package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/batch/views"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

type initDBOptions struct {
	migrateLegacy bool
	repair        bool
	markOutput    bool
	views         bool
	schema        string // the text of schema.sql
}

// initDBResult is what init-db prints.
type initDBResult struct {
	storage.InitResult
	Output string `json:"output_folder"`
	*storage.ViewsMade
}

func initDBCommand(open *session.Opener, schema string) *cli.Command {
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
  noggin init-db --views             # again after a form changed
  noggin init-db --migrate-legacy    # beside what the replaced service left`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "migrate-legacy", Usage: "rename the replaced service's schema to noggin_legacy and copy its records, attachments and hashes"},
			&cli.BoolFlag{Name: "repair", Usage: "put back columns, indexes and triggers that somebody removed"},
			&cli.BoolFlag{Name: "views", Usage: "make a readable view of the database for each form, such as lcd, again: for Excel, Power BI, Metabase, psql"},
			&cli.BoolFlag{Name: "mark-output", Usage: "mark the output folder although the database has complete records and the marker is missing: its volume is mounted"},
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			s, err := open.Unbound(c) // a migration takes its time
			if err != nil {
				return err
			}
			defer s.Close()
			opts := initDBOptions{
				migrateLegacy: c.Bool("migrate-legacy"), views: c.Bool("views"), repair: c.Bool("repair"), markOutput: c.Bool("mark-output"), schema: schema,
			}
			return runInitDB(c.Context, s, opts, cmdline.Output(c))
		},
	}
}

// runInitDB completes the schema, then marks the output folder.
func runInitDB(ctx context.Context, s *session.Session, opts initDBOptions, out show.Output) error {
	folder := s.Config.Batch.Paths.Output
	result, err := s.DB.Init(ctx, opts.schema, storage.InitOptions{
		MigrateLegacy: opts.migrateLegacy, ObjectTypeCodes: legacyCodes(s.Types), Output: folder, Repair: opts.repair,
		AskAgain: s.Config.Batch.Refresh.After,
	})
	if errors.Is(err, storage.ErrBusy) {
		err = fmt.Errorf("%w: try again when it is done (`noggin report database` shows it)", err)
	}
	if err != nil {
		return err
	}
	behind, err := s.DB.SequencesBehind(ctx)
	if err != nil {
		return err
	}
	if behind.Count > 0 {
		if out.Format == show.Text { // the schema was made all the same
			_, _ = fmt.Fprint(out, describeInit(result))
		}
		return cmdline.Hint(cmdline.Partialf("the schema is ready, but %s lag behind their tables, as after the promotion of a logical replica: %s",
			health.Plural(behind.Count, "sequence"), strings.Join(behind.Examples, "; ")),
			"`noggin validate data --fix` moves them, then run `noggin init-db` again")
	}
	done := initDBResult{InitResult: result, Output: folder}
	said := describeInit(result)
	if opts.views {
		made, err := views.Create(ctx, s.DB, s.Types)
		if err != nil {
			return err
		}
		done.ViewsMade = &made
		said += describeViews(made)
	}
	if opts.repair { // says nothing about the volume
		return out.Line(strings.TrimSuffix(said, "\n"), done)
	}
	if !opts.markOutput {
		if err := checkUnmarked(ctx, s.DB, folder); err != nil {
			if out.Format == show.Text { // the schema was made all the same
				_, _ = fmt.Fprint(out, said)
			}
			return err
		}
	}
	if err := files.CreateMarker(folder); err != nil {
		return cmdline.Hint(fmt.Errorf("the schema is ready, but the output folder could not be marked: %w", err),
			"[paths] output must be a folder that noggin's user may write to, on its mounted volume; then run `noggin init-db` again")
	}
	if err := tryOutput(folder); err != nil {
		return cmdline.Hint(fmt.Errorf("the schema is ready, but the output folder cannot be used: %w", err), "then run `noggin init-db` again")
	}
	if out.Format == show.JSON {
		return out.JSON(done)
	}
	_, err = fmt.Fprint(out, said, "output folder ", show.Printable(folder), ": marked\n")
	return err
}

// describeViews tells which views were made, a line each.
func describeViews(made storage.ViewsMade) string {
	text := "views: " + strings.Join(made.Made, ", ") + "\n"
	if len(made.Removed) > 0 {
		text += "views of forms that are no more, removed: " + strings.Join(made.Removed, ", ") + "\n"
	}
	if made.Grants > 0 {
		text += health.Plural(made.Grants, "right") + " on them granted again\n"
	}
	return text
}

// tryOutput writes and names a file, as runs do.
func tryOutput(folder string) error {
	output, err := files.OpenOutput(folder)
	if err != nil {
		return err
	}
	defer files.Release(output)
	if err := output.CheckWritable(); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(folder, files.TempFolder)) // unless a run uses it
	return nil
}

// checkUnmarked refuses an output folder without its marker while the database has
// records whose files should be there: the volume is not mounted, most likely, and a
// marker on the bare mount point would let every run download onto the wrong disk.
func checkUnmarked(ctx context.Context, db *storage.DB, folder string) error {
	marked, err := files.IsMarked(folder)
	if err != nil || marked {
		return err
	}
	filed, err := db.HasFiled(ctx)
	if err != nil || !filed {
		return err
	}
	return cmdline.Hint(fmt.Errorf("the schema is ready, but %s has no marker, and the database has records whose files should be there: is its volume mounted?", show.Printable(folder)),
		"mount it, and run `noggin init-db` again",
		"`noggin init-db --mark-output` marks it all the same: the volume is new, or holds the replaced service's files")
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
	if r.Timezone != "" {
		fmt.Fprintf(&b, "time zone of the role: %s\n", r.Timezone)
	}
	for _, creator := range r.Creators {
		role, schema, _ := strings.Cut(creator, " in ")
		fmt.Fprintf(&b, "warning: %s may create functions in schema %s: as its owner, REVOKE CREATE ON SCHEMA %s FROM %s\n",
			show.Printable(role), schema, schema, show.Printable(role))
	}
	return b.String()
}

// legacyCodes maps every name that the replaced service may use for a form to the
// form's code.
func legacyCodes(forms *forms.ObjectTypes) map[string]string {
	codes := map[string]string{}
	for _, form := range forms.All() {
		for _, name := range []string{form.Code, form.APIName, form.Name} {
			codes[strings.ToLower(name)] = form.Code
		}
	}
	return codes
}
