package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

// allTypes stands for every entity type.
const allTypes = "all"

// exported is one file that `noggin hashes export-unknown` wrote.
type exported struct {
	Type string `json:"entity_type"`
	File string `json:"file"`
	Rows int    `json:"rows"`
	Kept int    `json:"names_kept"` // filled in before in the file, and not imported yet
}

func hashesExportCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "export-unknown",
		Usage:     "write the hashes without a name to a CSV file, to be filled in and imported",
		ArgsUsage: "TYPE|all [FILE]",
		Description: `TYPE may be all: then FILE may be a folder, which gets one file a type
(unknown_vehicles.csv, …). Without FILE the CSV goes to stdout. The most frequent
come first. Names that are filled in in the file already, but not imported yet, are
kept.`,
		Flags: []cli.Flag{formatFlag(formatText, formatJSON)},
		Action: env.withHashes(func(c *cli.Context, s *session) error {
			kind, err := typeOrAll(s.types, c.Args().Get(0))
			if err != nil {
				return err
			}
			return runHashesExport(c.Context, env, s, kind, c.Args().Get(1), env.output(c))
		}),
	}
}

// runHashesExport writes the unknown hashes of a type, or of all for "".
func runHashesExport(ctx context.Context, env *environment, s *session, kind, name string, out output) error {
	if name == "" || name == "-" {
		count, _, err := batch.WriteUnknown(ctx, s.db, env.out, batch.UnknownExport{EntityType: kind})
		if err == nil && count == 0 {
			env.log.Info(exported{Type: kind}.describe())
		}
		return err
	}
	files := []exported{{Type: kind, File: name}}
	if kind == "" && isFolder(name) {
		if err := os.MkdirAll(name, 0o777); err != nil {
			return fmt.Errorf("make the folder for the files: %w", err)
		}
		files = files[:0]
		for _, t := range s.types.EntityTypes() {
			files = append(files, exported{Type: t, File: filepath.Join(name, batch.UnknownFileName(t))})
		}
	}
	var lines strings.Builder
	for i := range files {
		if err := exportFile(ctx, s.db, &files[i]); err != nil {
			return err
		}
		lines.WriteString(files[i].describe() + "\n")
	}
	return out.line(strings.TrimSuffix(lines.String(), "\n"), map[string]any{"files": files})
}

// isFolder tells whether a name means a folder, which need not be there yet.
func isFolder(name string) bool {
	info, err := os.Stat(name)
	if err != nil {
		return strings.HasSuffix(name, "/") || filepath.Ext(name) == ""
	}
	return info.IsDir()
}

func (e exported) describe() string {
	kind := e.Type
	if kind == "" {
		kind = "entity"
	}
	text := "no unknown " + kind + " hashes"
	if e.Rows > 0 {
		text = strconv.Itoa(e.Rows) + text[len("no"):]
	}
	if e.File != "" {
		text = printable(e.File) + ": " + text
	}
	if e.Kept > 0 {
		text += fmt.Sprintf(", %d of them with a name that is not imported yet", e.Kept)
	}
	return text
}

// exportFile writes one file, whole or not at all.
func exportFile(ctx context.Context, db *storage.DB, e *exported) error {
	export := batch.UnknownExport{EntityType: e.Type}
	before, err := os.ReadFile(e.File)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(bytes.TrimSpace(before)) == 0:
	case err != nil:
		return fmt.Errorf("look at what is there already: %w", err)
	default:
		if export.Filled, err = batch.ReadFilled(bytes.NewReader(before), e.Type); err != nil {
			return hint(fmt.Errorf("%s is there already, and is no export of unknown hashes: %w", e.File, err), "name another file")
		}
	}
	return replaceFile(e.File, func(w io.Writer) (err error) {
		e.Rows, e.Kept, err = batch.WriteUnknown(ctx, db, w, export)
		return err
	})
}

// replaceFile writes a file beside its place and moves it there.
func replaceFile(name string, write func(io.Writer) error) error {
	part := fmt.Sprintf("%s.%d.part", name, os.Getpid())
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		_ = os.Remove(part) // it is of no use to anybody
	}
	return err
}
