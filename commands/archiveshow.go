package commands

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func archiveListCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the archives, the oldest month first",
		Flags: []cli.Flag{formatFlag(formatText, formatJSON, formatCSV)},
		Action: func(c *cli.Context) error {
			s, err := env.open(c)
			if err != nil {
				return err
			}
			defer s.close()
			return runArchiveList(c.Context, s.db, env.output(c))
		},
	}
}

func runArchiveList(ctx context.Context, db *storage.DB, out output) error {
	archives, err := db.Archives(ctx)
	if err != nil {
		return err
	}
	if out.format == formatJSON {
		return out.json(archives)
	}
	t := table{columns: []column{
		{"name", "ARCHIVE"},
		{"state", "STATE"},
		{"records", "RECORDS"},
		{"files", "FILES"},
		{"source_bytes", "CONTENT"},
		{"size_bytes", "SIZE"},
		{"created_at", "CREATED"},
		{"verified_at", "VERIFIED"},
		{"path", "PATH"},
		{"problem", "PROBLEM"},
	}}
	for _, a := range archives {
		t.rows = append(t.rows, []any{a.Name, a.State, a.Records, a.Files, size(a.SourceBytes), size(a.SizeBytes), a.CreatedAt, value(a.VerifiedAt), a.Path, value(a.Problem)})
	}
	return out.table(t)
}

func archiveShowCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show what an archive holds, or where the files of a record are",
		ArgsUsage: "NAME|TIP|INSPECTION-ID",
		Flags:     []cli.Flag{formatFlag(formatText, formatJSON)},
		Action: func(c *cli.Context) error {
			s, archiver, _, err := env.archiveSession(c, "records")
			if err != nil {
				return err
			}
			defer s.close()
			return noSuchArchive(runArchiveShow(c.Context, archiver, c.Args().First(), env.output(c)))
		},
	}
}

func runArchiveShow(ctx context.Context, a *batch.Archiver, name string, out output) error {
	archive, record, err := a.Find(ctx, name)
	switch {
	case err != nil:
		return err
	case archive != nil:
		return showArchive(ctx, a.DB, *archive, out)
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

func showArchive(ctx context.Context, db *storage.DB, archive storage.Archive, out output) error {
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
	if out.format == formatJSON {
		return out.json(struct {
			storage.Archive
			Held []heldRecord `json:"held"`
		}{archive, held})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "archive   %s, %s\npath      %s\n", archive.Name, archive.State, printable(archive.Path))
	fmt.Fprintf(&b, "holds     %s, %s, %s in %s\n", plural(archive.Records, "record"), plural(archive.Files, "file"),
		size(archive.SourceBytes).human(), size(archive.SizeBytes).human())
	fmt.Fprintf(&b, "SHA-256   %s\ncreated   %s\n", orDash(archive.SHA256), humanText(archive.CreatedAt))
	if archive.VerifiedAt != nil {
		fmt.Fprintf(&b, "verified  %s\n", humanText(*archive.VerifiedAt))
	}
	if archive.Problem != nil {
		fmt.Fprintf(&b, "problem   %s\n", printable(*archive.Problem))
	}
	if _, err := fmt.Fprintln(out, b.String()); err != nil {
		return err
	}
	t := table{columns: []column{
		{"inspection_date", "DATE"},
		{"inspection_id", "INSPECTION"},
		{"files", "FILES"},
		{"bytes", "SIZE"},
		{"tip", "TIP"},
	}}
	for _, h := range held {
		t.rows = append(t.rows, []any{h.InspectionDate, h.InspectionID, h.Files, size(h.Bytes), h.Tip})
	}
	return out.table(t)
}

// filedRecord is a record with where its files are.
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

func showRecord(ctx context.Context, db *storage.DB, r storage.FiledRecord, out output) error {
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
	if out.format == formatJSON {
		return out.json([]filedRecord{shown}) // a list, as its readers expect
	}
	if _, err := fmt.Fprintf(out, "record    %s  %s  %s\ntip       %s\narchives  %s\n\n", printable(orDash(r.InspectionID)),
		orDash(r.InspectionDate), r.Status, r.Tip, printable(orDash(strings.Join(shown.Archives, ", ")))); err != nil {
		return err
	}
	t := table{columns: []column{{"archive", "WHERE"}, {"size", "SIZE"}, {"path", "FILE"}}}
	for _, f := range shown.Files {
		where := "on disk"
		if f.Archive != nil {
			where = *f.Archive
		}
		t.rows = append(t.rows, []any{where, size(f.Size), f.Path})
	}
	return out.table(t)
}
