package report

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/batch/queue"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func tipCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:      "tip",
		Usage:     "everything known about one record, by tip or inspection id",
		ArgsUsage: "TIP|INSPECTION-ID",
		Flags:     []cli.Flag{cmdline.NumberFlag("version", "print the text report of version `N` instead", 1, 0, "")},
		Description: `TIP may be the beginning of a tip, 8 characters or more. An inspection id is found
however it is spelled: "LCD - 045289", LCD-045289, lcd045289. Where it means several
records they are listed, and the exit code is 3; it is 2 where there is none.

An edited record has several versions: each is listed with the fields that changed.`,
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		if c.NArg() != 1 || c.Args().First() == "" {
			return cmdline.Usagef("give one tip or inspection id (an id with blanks stands in quotes)")
		}
		return runTip(ctx, r, c.Args().First(), c.Int("version"))
	})
}

// tipReport is everything known about one record.
type tipReport struct {
	storage.RecordStory
	Attachments []attachmentReport `json:"attachments"`
	Errors      []storage.ErrorRow `json:"errors"`
	ErrorCount  int64              `json:"error_count"` // of which errors has the latest 20
	ReportFile  string             `json:"report_file"` // as OnDisk
	Versions    []versionReport    `json:"versions"`
	FormerFiles []formerReport     `json:"former_files"` // of former versions
}

type attachmentReport struct {
	storage.AttachmentStory
	// OnDisk is there, missing, wrong size, archived, or unknown where the output
	// folder cannot be used; empty: it was never downloaded.
	OnDisk string `json:"on_disk"`
}

func runTip(ctx context.Context, r *reporter, text string, version int) error {
	const most = 50
	tips, err := queue.FindRecords(ctx, r.DB, text, most)
	switch {
	case err != nil:
		return err
	case len(tips) == 0:
		near, err := queue.NearRecords(ctx, r.DB, text)
		if err != nil {
			return err
		}
		return cmdline.Hint(cmdline.Near(cmdline.Usagef("no record is known by %s", show.Quoted(text)), near),
			"a tip, or its first 8 characters or more, or an inspection id in quotes such as \"LCD - 045289\"",
			"an inspection id is known once its record was fetched, or where the import's CSV named it")
	case len(tips) > 1:
		return r.listMatches(ctx, text, tips, len(tips) == most)
	}
	if version > 0 && r.out.Format == show.CSV {
		return cmdline.Usagef("--version prints a text report: want --format text or json")
	}
	if version > 0 {
		return r.version(ctx, tips[0], version)
	}
	return r.tip(ctx, tips[0])
}

// listMatches shows what an ambiguous text may mean.
func (r *reporter) listMatches(ctx context.Context, text string, tips []string, cut bool) error {
	t := show.Table{Columns: []show.Column{
		{"tip", "Tip"}, {"inspection_id", "Inspection"}, {"inspection_date", "Day"}, {"object_type", "Form"}, {"processing_status", "Status"}, {"folder", "Folder"},
	}, Spare: []string{"Folder", "Form", "Day"}}
	for _, tip := range tips {
		story, found, err := r.DB.RecordStory(ctx, tip)
		if err != nil {
			return err
		}
		if found {
			t.Rows = append(t.Rows, []any{show.Tip(story.Tip), show.Name[show.ID](story.InspectionID), show.Value(story.InspectionDate), story.ObjectType, show.State(story.Status), show.Value(r.absolute(story.Folder))})
		}
	}
	if err := r.out.Table(t); err != nil {
		return err
	}
	number := health.Plural(len(tips), "record")
	if cut {
		number += " or more"
	}
	return cmdline.Partialf("%s means %s: name one by its tip", show.Quoted(text), number)
}

// absolute is where a record's folder is on this host; nil: it has none.
func (r *reporter) absolute(folder *string) *string {
	if folder == nil {
		return nil
	}
	return new(filepath.Join(r.Config.Batch.Paths.Output, filepath.FromSlash(*folder)))
}

func (r *reporter) tip(ctx context.Context, tip string) error {
	var doc tipReport
	var err error
	var found bool
	if doc.RecordStory, found, err = r.DB.RecordStory(ctx, tip); err != nil || !found {
		return err
	}
	doc.Folder = r.absolute(doc.Folder)
	attachments, err := r.DB.AttachmentsOf(ctx, tip)
	if err != nil {
		return err
	}
	if doc.Errors, doc.ErrorCount, err = r.DB.ErrorsOf(ctx, tip, 20); err != nil {
		return err
	}
	look := r.onDisk()
	doc.ReportFile = look(doc.ReportPath, doc.ReportSize, doc.ReportArchive)
	doc.Attachments = []attachmentReport{}
	for _, a := range attachments {
		doc.Attachments = append(doc.Attachments, attachmentReport{a, look(a.Path, a.Size, a.Archive)})
	}
	if doc.Versions, err = r.versions(ctx, tip); err != nil {
		return err
	}
	former, err := r.DB.FormerFiles(ctx, tip)
	if err != nil {
		return err
	}
	doc.FormerFiles = []formerReport{}
	for _, f := range former {
		doc.FormerFiles = append(doc.FormerFiles, formerReport{f, look(&f.Path, &f.Size, f.Archive)})
	}
	return r.out.Report(doc, show.Table{}, func() show.Sheet { return r.tipSheet(doc) })
}

// onDisk returns a function that tells whether a file is where the database says.
func (r *reporter) onDisk() func(path *string, bytes *int64, archive *string) string {
	output, err := files.OpenOutput(r.Config.Batch.Paths.Output)
	if err == nil {
		_ = output.Close() // only its marker was wanted
	}
	return func(path *string, bytes *int64, archive *string) string {
		switch {
		case path == nil:
			return ""
		case archive != nil:
			return "archived"
		case err != nil:
			return "unknown"
		}
		info, err := os.Lstat(filepath.Join(r.Config.Batch.Paths.Output, filepath.FromSlash(*path)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "missing"
		case err != nil:
			return "unknown"
		case !info.Mode().IsRegular() || bytes != nil && info.Size() != *bytes:
			return "wrong size"
		}
		return "there"
	}
}

func (r *reporter) tipSheet(d tipReport) show.Sheet {
	title := d.Tip
	if id := show.Either(d.InspectionID, d.ExpectedID); id != "" {
		title = id
	}
	files := &show.Table{Columns: show.Headings("#", "File", "Status", "Check", "Size", "Took", "On disk", "Tries", "Error"), Spare: []string{"Took", "Tries", "Check", "Size", "On disk"}}
	for _, a := range d.Attachments {
		onDisk := a.OnDisk
		if a.Archive != nil {
			onDisk = "in " + *a.Archive
		}
		files.Rows = append(files.Rows, []any{
			a.Sequence, show.ID(show.Either(a.Filename, &a.Field)), show.State(a.Status), show.State(a.Validation), show.As[show.Size](a.Size), show.As[show.Duration](a.Seconds), show.State(onDisk), a.RetryCount, show.Value(a.LastError),
		})
	}
	failures := show.Section{Title: "Errors", Table: errorsTable(d.Errors, r.now, false)}
	if d.ErrorCount > int64(len(d.Errors)) {
		failures.Notes = []string{"The latest " + show.HumanText(len(d.Errors)) + " of " + show.HumanText(d.ErrorCount) + "."}
	}
	sections := []show.Section{
		{Facts: r.identity(d)},
		{Title: "Inspection", Facts: inspectionFacts(d.RecordStory)},
		{Title: "Life", Facts: r.life(d)},
		{Title: fmt.Sprintf("Attachments: %d of %d complete", d.CompletedCount, d.TotalAttachments), Table: files},
	}
	if len(d.Versions) > 1 {
		sections = append(sections, r.versionsSection(d))
	}
	if len(d.FormerFiles) > 0 {
		sections = append(sections, formerSection(d.FormerFiles))
	}
	return show.Sheet{Title: r.heading(title), Sections: append(sections, failures, excerpts(d.Errors, r.now))}
}

func (r *reporter) identity(d tipReport) []show.Fact {
	form := d.ObjectType
	if known, ok := r.Types.ByCode(d.ObjectType); ok {
		form += ", " + known.Name
	}
	if d.ObjectTypeAssumed {
		form += " (assumed: no export named it)"
	}
	return []show.Fact{{"tip", d.Tip}, {"form", form}, {"status", r.statusLine(d)}}
}

// statusLine says where the record stands and what comes next.
func (r *reporter) statusLine(d tipReport) string {
	text := string(d.Status)
	due := ", due now"
	if d.NextRetryAt != nil && d.NextRetryAt.After(r.now) {
		due = ", due at " + show.Clock(*d.NextRetryAt, r.now)
	}
	switch {
	case d.ClaimedBy != nil && d.ClaimExpiresAt != nil && d.ClaimExpiresAt.After(r.now):
		by := fmt.Sprintf(", in the hands of run %d", *d.ClaimedBy)
		if d.ClaimHost != nil {
			by += " (" + *d.ClaimHost + ")"
		}
		return text + by
	case d.Archived:
		return text + ", archived"
	case d.PermanentlyFailed:
		return text + ", permanently failed: `noggin retry-failed --tip " + files.ShellQuoted(d.Tip) + "` tries again"
	case d.Status == storage.StatusPending:
		return text + ", never fetched, due now"
	case d.Status.IsFinal():
		return text
	}
	return text + due
}

func inspectionFacts(s storage.RecordStory) []show.Fact {
	date := show.Either(s.InspectionDate, nil)
	if date == "" && s.ExpectedDate != nil {
		date = *s.ExpectedDate + " (by the import)"
	}
	id := show.Either(s.InspectionID, nil)
	if id == "" && s.ExpectedID != nil {
		id = *s.ExpectedID + " (by the import)"
	}
	unknown := ""
	if s.HasUnknownHashes {
		unknown = "yes: `noggin hashes export-unknown all`"
	}
	facts := []show.Fact{{"id", id}, {"date", date}}
	for _, f := range []struct {
		label string
		value *string
	}{
		{"vehicle", s.Vehicle},
		{"trailer", s.Trailer},
		{"trailer 2", s.Trailer2},
		{"trailer 3", s.Trailer3},
		{"department", s.Department},
		{"team", s.Team},
		{"inspected by", s.InspectedBy},
		{"driver/loader", s.DriverLoader},
		{"job", s.JobNumber},
		{"run", s.RunNumber},
		{"load compliance", s.LoadCompliance},
	} {
		facts = append(facts, show.Fact{f.label, show.Either(f.value, nil)})
	}
	return append(facts, show.Fact{"unknown names", unknown})
}

func (r *reporter) life(d tipReport) []show.Fact {
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return show.Clock(*t, r.now)
	}
	imported := at(d.CSVImportedAt)
	if d.SourceFilename != nil {
		imported += " from " + *d.SourceFilename
	}
	processed := at(d.ProcessedAt)
	if d.ProcessedAt != nil && d.ProcessingSeconds != nil {
		processed += " in " + show.Duration(*d.ProcessingSeconds).Human()
	}
	tries, crashes := "", ""
	if d.RetryCount > 0 {
		tries = fmt.Sprintf("%d of %d", d.RetryCount, r.Config.Batch.Retry.MaxAttempts)
	}
	if d.CrashCount > 0 {
		crashes = fmt.Sprintf("in hand when %d runs died", d.CrashCount)
	}
	report := show.Either(d.ReportPath, nil)
	if report != "" {
		report += ": " + d.ReportFile
		if d.ReportArchive != nil {
			report += " in " + *d.ReportArchive
		}
	}
	return []show.Fact{
		{"imported", imported},
		{"added", at(&d.CreatedAt)},
		{"on the platform", platformTimes(d.APICreatedAt, d.APIModifiedAt, r.now.Location())},
		{"status changed", at(&d.UpdatedAt)},
		{"processed", processed},
		{"counted failures", tries},
		{"crashes", crashes},
		{"last error", show.Either(d.LastError, nil)},
		{"archived", at(d.ArchivedAt)},
		{"asked again", r.askedAgain(d.RecordStory)},
		{"folder", show.Either(d.Folder, nil)},
		{"text report", report},
	}
}

func platformTimes(created, modified *time.Time, zone *time.Location) string {
	text := ""
	if created != nil {
		text = "since " + show.Time(created.In(zone))
	}
	if modified != nil && (created == nil || !modified.Equal(*created)) {
		text += ", changed " + show.Time(modified.In(zone))
	}
	return text
}
