package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/batch/textreport"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// versionReport is a version, and what it changed of the one before it.
type versionReport struct {
	storage.VersionMark
	Changes []forms.FieldChange `json:"changes"`
}

type formerReport struct {
	storage.FormerFile
	OnDisk string `json:"on_disk"` // as of an attachment
}

// versions returns the versions of a record with what each changed.
func (r *reporter) versions(ctx context.Context, tip string) ([]versionReport, error) {
	marks, err := r.DB.Versions(ctx, tip)
	if err != nil {
		return nil, err
	}
	versions := []versionReport{}
	var before []byte
	for _, mark := range marks {
		v := versionReport{mark, []forms.FieldChange{}}
		if len(marks) > 1 {
			body, _, err := r.DB.VersionBody(ctx, tip, mark.Version)
			if err != nil {
				return nil, err
			}
			if before != nil {
				if v.Changes, err = forms.CompareVersions(before, body); err != nil {
					return nil, err
				}
			}
			if mark.Kind == "version" {
				before = body
			}
		}
		versions = append(versions, v)
	}
	return versions, nil
}

// version prints the text report of one version.
func (r *reporter) version(ctx context.Context, tip string, version int) error {
	body, found, err := r.DB.VersionBody(ctx, tip, version)
	if err != nil {
		return err
	}
	if !found {
		return cmdline.Hint(cmdline.Usagef("the record has no version %d", version), "`noggin report tip "+files.ShellQuoted(tip)+"` lists its versions")
	}
	story, _, err := r.DB.RecordStory(ctx, tip)
	if err != nil {
		return err
	}
	form, ok := r.Types.ByCode(story.ObjectType)
	if !ok {
		return fmt.Errorf("object type %q is not configured: add an [[object_type]] table for it", story.ObjectType)
	}
	record, err := forms.ParseRecord(form, body)
	if err != nil {
		return err
	}
	references := make([]storage.Reference, len(record.References))
	for i, reference := range record.References {
		references[i] = storage.Reference(reference)
	}
	stored, err := r.DB.StoredVersion(ctx, tip, version, references)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := textreport.Write(&text, form, record, stored); err != nil {
		return err
	}
	if r.out.Format == show.JSON {
		return r.out.JSON(struct {
			Tip     string          `json:"tip"`
			Version int             `json:"version"`
			Report  string          `json:"report"`
			Answer  json.RawMessage `json:"answer"` // as the API gave it
		}{tip, version, text.String(), body})
	}
	_, err = r.out.Write(text.Bytes())
	return err
}

func (r *reporter) versionsSection(d tipReport) show.Section {
	t := &show.Table{Columns: show.Headings("#", "Modified", "Fetched", "Field", "Before", "After"), Spare: []string{"Fetched", "Modified"}}
	for _, v := range d.Versions {
		number := strconv.Itoa(v.Version)
		switch {
		case d.Version != nil && v.Version == *d.Version:
			number += " current"
		case v.Kind != "version":
			number += " " + v.Kind
		}
		row := []any{number, r.at(v.ModifiedAt), v.FetchedAt.In(r.now.Location()), "", "", ""}
		for i, c := range v.Changes {
			if i > 0 {
				row = []any{"", "", "", "", "", ""}
			}
			row[3], row[4], row[5] = c.Field, shortened(c.Before), shortened(c.After)
			t.Rows = append(t.Rows, row)
		}
		if len(v.Changes) == 0 {
			t.Rows = append(t.Rows, row)
		}
	}
	return show.Section{Title: fmt.Sprintf("Versions: %d", len(d.Versions)), Table: t, Notes: []string{"`--version N` prints the report of one."}}
}

// shortened is the beginning of a text, for a table.
func shortened(text string) string {
	const most = 60
	if cut := forms.FirstOf(text, most); cut != text {
		return cut + "…"
	}
	return text
}

func formerSection(former []formerReport) show.Section {
	t := &show.Table{Columns: show.Headings("File", "Kind", "Versions", "Size", "On disk"), Spare: []string{"Size", "Kind"}}
	for _, f := range former {
		versions := strconv.Itoa(f.FirstVersion)
		if f.LastVersion > f.FirstVersion {
			versions += " to " + strconv.Itoa(f.LastVersion)
		}
		onDisk := f.OnDisk
		if f.Archive != nil {
			onDisk = "in " + *f.Archive
		}
		t.Rows = append(t.Rows, []any{f.Path, f.Kind, versions, show.Size(f.Size), onDisk})
	}
	return show.Section{Title: "Files of former versions", Table: t}
}

// askedAgain says when the record was and will be asked for again, and whether the
// platform still has it.
func (r *reporter) askedAgain(s storage.RecordStory) string {
	at := func(t *time.Time) string { return show.Clock(*t, r.now) }
	text := ""
	if s.AskedAgainAt != nil && s.CompletedAt != nil {
		text = "last at " + at(s.AskedAgainAt)
	}
	if s.AskAgainAt != nil {
		if text != "" {
			text += ", "
		}
		text += "next at " + at(s.AskAgainAt)
	}
	switch {
	case s.GoneAt != nil && s.ReturnedAt == nil && storage.ValueOf(s.GoneStatus) == http.StatusForbidden:
		text += "; no longer permitted since " + at(s.GoneAt)
	case s.GoneAt != nil && s.ReturnedAt == nil:
		text += "; gone at the platform since " + at(s.GoneAt)
	case s.GoneAt != nil:
		text += "; gone at " + at(s.GoneAt) + ", back since " + at(s.ReturnedAt)
	case s.MissingSince != nil:
		text += "; missing at the platform since " + at(s.MissingSince)
	}
	return text
}

func changesCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "changes",
		Usage: "records that were edited, reduced or deleted at the platform, and came back",
		Description: `The latest first. "edited" is a new version; "older" and "reduced" are answers that
did not become current; "gone" is a record that was not found on two days.
"report tip" shows the fields that changed.`,
		Flags: []cli.Flag{sinceFlag("7d"), limitFlag(50)},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		since, err := r.since(c)
		if err != nil {
			return err
		}
		return runChanges(ctx, r, since, limitOf(c, r.out))
	})
}

type changesReport struct {
	At      time.Time        `json:"at"`
	Since   time.Time        `json:"since"`
	Gone    int64            `json:"gone"` // records that are gone now, whenever they went
	Changes []storage.Change `json:"changes"`
}

func runChanges(ctx context.Context, r *reporter, since time.Time, limit int) error {
	doc := changesReport{At: r.now, Since: since, Changes: []storage.Change{}}
	var err error
	if doc.Gone, err = r.DB.CountGone(ctx); err != nil {
		return err
	}
	t := show.Table{Columns: []show.Column{
		{"at", "At"}, {"change", "Change"}, {"version", "Version"}, {"inspection_id", "Inspection"}, {"object_type", "Form"}, {"tip", "Tip"},
	}, Spare: []string{"Form", "Version"}}
	err = r.DB.EachChange(ctx, since, limit, func(c storage.Change) error {
		doc.Changes = append(doc.Changes, c)
		t.Rows = append(t.Rows, []any{
			c.At.In(r.now.Location()), show.State(c.Change), show.Value(storage.Optional(c.Version)), show.Name[show.ID](c.InspectionID), c.ObjectType, show.Tip(c.Tip),
		})
		return nil
	})
	if err != nil {
		return err
	}
	return r.out.Report(doc, t, func() show.Sheet {
		section := show.Section{Title: "Changes since " + show.Time(since.In(r.now.Location())), Table: &t}
		if len(t.Rows) == 0 {
			section.Table, section.Lines = nil, []string{"None."}
		}
		if doc.Gone > 0 {
			section.Notes = []string{health.Plural(doc.Gone, "record") + " gone at the platform; what was mirrored stays."}
		}
		return show.Sheet{Title: r.heading("Changes"), Sections: []show.Section{section}}
	})
}
