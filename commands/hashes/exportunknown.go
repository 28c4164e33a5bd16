package hashes

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

	"noggin/batch/files"
	"noggin/batch/names"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
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

func exportUnknownCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "export-unknown",
		Usage:     "write the hashes without a name to a CSV file, to be filled in and imported",
		ArgsUsage: "TYPE|all [FILE]",
		Description: `TYPE may be all: then FILE may be a folder, which gets one file a type
(unknown_vehicles.csv, …). Without FILE the CSV goes to stdout. The most frequent
come first. Names that are filled in in the file already, but not imported yet, are
kept. A file of which not every name could be kept is not replaced: an export of other
types, another list, a file with rows that an import would refuse, or with another name
for a hash that got one meanwhile.`,
		Flags: []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON)},
		Action: withSession(open, func(c *cli.Context, s *session.Session) error {
			kind, err := typeOrAll(s.Types, c.Args().Get(0))
			if err != nil {
				return err
			}
			return runExportUnknown(c.Context, s, kind, c.Args().Get(1), cmdline.Output(c))
		}),
	}
}

// runExportUnknown writes the unknown hashes of a type, or of all for "".
func runExportUnknown(ctx context.Context, s *session.Session, kind, name string, out show.Output) error {
	if name == "" || name == "-" {
		count, _, err := names.WriteUnknown(ctx, s.DB, out, names.UnknownExport{EntityType: kind})
		if err == nil && count == 0 {
			s.Log.Info(exported{Type: kind}.describe())
		}
		return err
	}
	files := []exported{{Type: kind, File: name}}
	if kind == "" && isFolder(name) {
		if err := os.MkdirAll(name, 0o777); err != nil {
			return fmt.Errorf("make the folder for the files: %w", err)
		}
		files = files[:0]
		for _, t := range s.Types.EntityTypes() {
			files = append(files, exported{Type: t, File: filepath.Join(name, names.UnknownFileName(t))})
		}
	}
	var lines strings.Builder
	for i := range files {
		if err := exportFile(ctx, s, &files[i]); err != nil {
			return err
		}
		lines.WriteString(files[i].describe() + "\n")
	}
	return out.Line(strings.TrimSuffix(lines.String(), "\n"), map[string]any{"files": files})
}

// isFolder reports whether name means a folder, which may not exist yet.
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
		text = show.Printable(e.File) + ": " + text
	}
	if e.Kept > 0 {
		text += fmt.Sprintf(", %d of them with a name that is not imported yet", e.Kept)
	}
	return text
}

// exportFile writes one file, whole or not at all. It keeps the names that are filled in in
// the file that is there, or refuses to replace it.
func exportFile(ctx context.Context, s *session.Session, e *exported) error {
	export := names.UnknownExport{EntityType: e.Type}
	before, err := os.ReadFile(e.File)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(bytes.TrimSpace(before)) == 0:
	case err != nil:
		return fmt.Errorf("read the file that exists: %w", err)
	default:
		if export.Filled, err = names.ReadFilled(bytes.NewReader(before), e.Type, s.Types.EntityTypes()); err != nil {
			return notReplaced(e.File, err)
		}
	}
	err = files.WriteReplacing(e.File, 0o666, func(w io.Writer) (err error) {
		e.Rows, e.Kept, err = names.WriteUnknown(ctx, s.DB, w, export)
		return err
	})
	if errors.Is(err, names.ErrNameNotKept) {
		return notReplaced(e.File, err)
	}
	return err
}

// notReplaced is the error of a file whose names the export cannot keep.
func notReplaced(name string, why error) error {
	return cmdline.Hint(cmdline.Usagef("%s is there already, and is not replaced: %w", name, why), "correct and import it first, or name another file")
}
