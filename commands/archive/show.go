package archive

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/batch/archive/watch"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func showCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show what an archive holds, or where the files of a record are",
		ArgsUsage: "NAME|TIP|INSPECTION-ID",
		Flags:     []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON)},
		Action: func(c *cli.Context) error {
			s, archiver, _, err := newArchiver(open, c, "records")
			if err != nil {
				return err
			}
			defer s.Close()
			return noSuchArchive(runShow(c.Context, archiver, c.Args().First(), s.Output(c)))
		},
	}
}

func runShow(ctx context.Context, a *archive.Archiver, name string, out show.Output) error {
	archive, record, err := a.Find(ctx, name)
	switch {
	case err != nil:
		return err
	case archive != nil:
		return showArchive(ctx, a.DB, watch.Look(ctx, []storage.Archive{*archive}, a.Paths.Archive, a.DB.Host(), time.Now())[0], out)
	default:
		return showRecord(ctx, a.DB, *record, out)
	}
}

// heldRecord is a record as an archive's page lists it.
type heldRecord struct {
	Tip            string `json:"tip"`
	InspectionID   string `json:"inspection_id"`
	InspectionDate string `json:"inspection_date"`
	Files          int    `json:"files"` // that only this archive has
	Bytes          int64  `json:"bytes"`
}

func showArchive(ctx context.Context, db *storage.DB, archive watch.Archive, out show.Output) error {
	held := []heldRecord{}
	for after := ""; ; {
		page, err := db.RecordsIn(ctx, archive.ID, after, 1000)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			h := heldRecord{Tip: r.Tip, InspectionID: r.InspectionID, InspectionDate: r.InspectionDate}
			for _, f := range r.Files {
				if f.ArchiveID != nil && *f.ArchiveID == archive.ID {
					h.Files++
					h.Bytes += f.Size
				}
			}
			held = append(held, h)
			after = max(after, r.Tip)
		}
	}
	if out.Format == show.JSON {
		return out.JSON(struct {
			watch.Archive
			Held []heldRecord `json:"held"`
		}{archive, held})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "archive   %s, %s\npath      %s\nfile      %s\n", archive.Name, archive.State, show.Printable(archive.Path), archive.Sight)
	fmt.Fprintf(&b, "holds     %s, %s, %s in %s\n", health.Plural(archive.Records, "record"), health.Plural(archive.Files, "file"),
		show.Size(archive.SourceBytes).Human(), show.Size(archive.SizeBytes).Human())
	fmt.Fprintf(&b, "SHA-256   %s\ncreated   %s\n", show.OrDash(archive.SHA256), show.HumanText(archive.CreatedAt))
	if archive.VerifiedAt != nil {
		fmt.Fprintf(&b, "verified  %s\n", show.HumanText(*archive.VerifiedAt))
	}
	if archive.Problem != nil {
		fmt.Fprintf(&b, "problem   %s\n", show.Printable(*archive.Problem))
	}
	if _, err := fmt.Fprintln(out, b.String()); err != nil {
		return err
	}
	t := show.Table{Columns: []show.Column{
		{"inspection_date", "Date"},
		{"inspection_id", "Inspection"},
		{"files", "Files"},
		{"bytes", "Size"},
		{"tip", "Tip"},
	}}
	for _, h := range held {
		t.Rows = append(t.Rows, []any{h.InspectionDate, show.ID(h.InspectionID), h.Files, show.Size(h.Bytes), show.Tip(h.Tip)})
	}
	return out.Table(t)
}

// filedRecord is a record and the places of its files.
type filedRecord struct {
	storage.FiledRecord
	Archives []string    `json:"archives"` // that hold anything of it
	Files    []filedFile `json:"files"`
}

type filedFile struct {
	Path    string  `json:"path"`
	Size    int64   `json:"size"`
	SHA256  string  `json:"sha256"`
	Archive *string `json:"archive"` // null: it is in the output folder
}

func showRecord(ctx context.Context, db *storage.DB, r storage.FiledRecord, out show.Output) error {
	archives, err := db.ArchivesOf(ctx, r.Tip)
	if err != nil {
		return err
	}
	shown := filedRecord{FiledRecord: r, Archives: []string{}, Files: []filedFile{}}
	for _, a := range archives {
		shown.Archives = append(shown.Archives, a.Name)
	}
	for _, f := range r.Files {
		shown.Files = append(shown.Files, filedFile{f.Path, f.Size, f.SHA256, f.ArchiveName})
	}
	if out.Format == show.JSON {
		return out.JSON([]filedRecord{shown}) // a list, as its readers expect
	}
	if _, err := fmt.Fprintf(out, "record    %s  %s  %s\ntip       %s\narchives  %s\n\n", show.Printable(show.OrDash(r.InspectionID)),
		show.OrDash(r.InspectionDate), r.Status, r.Tip, show.Printable(show.OrDash(strings.Join(shown.Archives, ", ")))); err != nil {
		return err
	}
	t := show.Table{Columns: []show.Column{{"archive", "Where"}, {"size", "Size"}, {"path", "File"}}}
	for _, f := range shown.Files {
		where := "on disk"
		if f.Archive != nil {
			where = *f.Archive
		}
		t.Rows = append(t.Rows, []any{show.ID(where), show.Size(f.Size), f.Path})
	}
	return out.Table(t)
}
