package commands

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func reportTipCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:      "tip",
		Usage:     "everything known about one record, by tip or inspection id",
		ArgsUsage: "TIP|INSPECTION-ID",
		Description: `TIP may be the beginning of a tip, 8 characters or more. An inspection id is found
however it is spelled: "LCD - 045289", LCD-045289, lcd045289. Where it means several
records they are listed, and the exit code is 3; it is 1 where there is none.`,
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		if c.NArg() != 1 || c.Args().First() == "" {
			return usagef("give one tip or inspection id (an id with blanks stands in quotes)")
		}
		return runReportTip(ctx, r, c.Args().First())
	})
}

// tipReport is everything known about one record.
type tipReport struct {
	storage.RecordStory
	Attachments []attachmentReport `json:"attachments"`
	Errors      []storage.ErrorRow `json:"errors"`
	ErrorCount  int64              `json:"error_count"` // of which errors has the latest 20
	ReportFile  string             `json:"report_file"` // as OnDisk
}

type attachmentReport struct {
	storage.AttachmentStory
	// OnDisk is there, missing, wrong size, archived, or unknown where the output
	// folder cannot be used; empty: it was never downloaded.
	OnDisk string `json:"on_disk"`
}

func runReportTip(ctx context.Context, r *reporter, text string) error {
	const most = 50
	tips, err := batch.FindRecords(ctx, r.db, text, most)
	switch {
	case err != nil:
		return err
	case len(tips) == 0:
		return hint(fmt.Errorf("no record is known by %s", quoted(text)),
			"a tip, or its first 8 characters or more, or an inspection id in quotes such as \"LCD - 045289\"",
			"an inspection id is known once its record was fetched, or where the import's CSV named it")
	case len(tips) > 1:
		return r.listMatches(ctx, text, tips, len(tips) == most)
	}
	return r.tip(ctx, tips[0])
}

// listMatches shows what an ambiguous text may mean.
func (r *reporter) listMatches(ctx context.Context, text string, tips []string, cut bool) error {
	t := table{columns: []column{
		{"tip", "Tip"}, {"inspection_id", "Inspection"}, {"inspection_date", "Day"}, {"object_type", "Form"}, {"processing_status", "Status"}, {"folder", "Folder"},
	}}
	for _, tip := range tips {
		story, found, err := r.db.RecordStory(ctx, tip)
		if err != nil {
			return err
		}
		if found {
			t.rows = append(t.rows, []any{story.Tip, value(story.InspectionID), value(story.InspectionDate), story.ObjectType, story.Status, value(story.Folder)})
		}
	}
	if err := r.out.table(t); err != nil {
		return err
	}
	number := plural(len(tips), "record")
	if cut {
		number += " or more"
	}
	return partialf("%s means %s: name one by its tip", quoted(text), number)
}

func (r *reporter) tip(ctx context.Context, tip string) error {
	var doc tipReport
	var err error
	var found bool
	if doc.RecordStory, found, err = r.db.RecordStory(ctx, tip); err != nil || !found {
		return err
	}
	attachments, err := r.db.AttachmentsOf(ctx, tip)
	if err != nil {
		return err
	}
	if doc.Errors, doc.ErrorCount, err = r.db.ErrorsOf(ctx, tip, 20); err != nil {
		return err
	}
	look := r.onDisk()
	doc.ReportFile = look(doc.ReportPath, doc.ReportSize, doc.ReportArchive)
	doc.Attachments = []attachmentReport{}
	for _, a := range attachments {
		doc.Attachments = append(doc.Attachments, attachmentReport{a, look(a.Path, a.Size, a.Archive)})
	}
	return r.out.report(doc, table{}, func() sheet { return r.tipSheet(doc) })
}

// onDisk returns what tells whether a file is where the database has it.
func (r *reporter) onDisk() func(path *string, bytes *int64, archive *string) string {
	output, err := batch.OpenOutput(r.cfg.batch.Paths.Output)
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
		info, err := os.Lstat(filepath.Join(r.cfg.batch.Paths.Output, filepath.FromSlash(*path)))
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

func (r *reporter) tipSheet(d tipReport) sheet {
	title := d.Tip
	if id := either(d.InspectionID, d.ExpectedID); id != "" {
		title = id
	}
	files := &table{columns: headings("#", "File", "Status", "Check", "Size", "Took", "On disk", "Tries", "Error"), spare: []string{"Took", "Tries", "Check"}}
	for _, a := range d.Attachments {
		onDisk := a.OnDisk
		if a.Archive != nil {
			onDisk = "in " + *a.Archive
		}
		files.rows = append(files.rows, []any{
			a.Sequence, either(a.Filename, &a.Field), a.Status, a.Validation, as[size](a.Size), as[duration](a.Seconds), onDisk, a.RetryCount, value(a.LastError),
		})
	}
	failures := section{title: "Errors", table: errorsTable(d.Errors, r.now, false)}
	if d.ErrorCount > int64(len(d.Errors)) {
		failures.notes = []string{fmt.Sprintf("The latest %d of %d.", len(d.Errors), d.ErrorCount)}
	}
	return sheet{title: r.heading(title), sections: []section{
		{facts: r.identity(d)},
		{title: "Inspection", facts: inspectionFacts(d.RecordStory)},
		{title: "Life", facts: r.life(d)},
		{title: fmt.Sprintf("Attachments: %d of %d complete", d.CompletedCount, d.TotalAttachments), table: files},
		failures,
	}}
}

func (r *reporter) identity(d tipReport) []fact {
	form := d.ObjectType
	if known, ok := r.types.ByCode(d.ObjectType); ok {
		form += ", " + known.Name
	}
	if d.ObjectTypeAssumed {
		form += " (assumed: no export named it)"
	}
	return []fact{{"tip", d.Tip}, {"form", form}, {"status", r.statusLine(d)}}
}

// statusLine says where the record stands and what comes next.
func (r *reporter) statusLine(d tipReport) string {
	text := d.Status
	due := ", due now"
	if d.NextRetryAt != nil && d.NextRetryAt.After(r.now) {
		due = ", due at " + clock(*d.NextRetryAt, r.now)
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
		return text + ", permanently failed: `noggin retry-failed --tip " + shortTip(d.Tip) + "…` tries again"
	case d.Status == "pending":
		return text + ", never fetched, due now"
	case d.Status == "complete" || d.Status == "skipped":
		return text
	}
	return text + due
}

func inspectionFacts(s storage.RecordStory) []fact {
	date := either(s.InspectionDate, nil)
	if date == "" && s.ExpectedDate != nil {
		date = *s.ExpectedDate + " (by the import)"
	}
	id := either(s.InspectionID, nil)
	if id == "" && s.ExpectedID != nil {
		id = *s.ExpectedID + " (by the import)"
	}
	unknown := ""
	if s.HasUnknownHashes {
		unknown = "yes: `noggin hashes export-unknown`"
	}
	facts := []fact{{"id", id}, {"date", date}}
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
		facts = append(facts, fact{f.label, either(f.value, nil)})
	}
	return append(facts, fact{"unknown names", unknown})
}

func (r *reporter) life(d tipReport) []fact {
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return clock(*t, r.now)
	}
	imported := at(d.CSVImportedAt)
	if d.SourceFilename != nil {
		imported += " from " + *d.SourceFilename
	}
	processed := at(d.ProcessedAt)
	if d.ProcessedAt != nil && d.ProcessingSeconds != nil {
		processed += " in " + duration(*d.ProcessingSeconds).human()
	}
	tries, crashes := "", ""
	if d.RetryCount > 0 {
		tries = fmt.Sprintf("%d of %d", d.RetryCount, r.cfg.batch.Retry.MaxAttempts)
	}
	if d.CrashCount > 0 {
		crashes = fmt.Sprintf("in hand when %d runs died", d.CrashCount)
	}
	report := either(d.ReportPath, nil)
	if report != "" {
		report += ": " + d.ReportFile
		if d.ReportArchive != nil {
			report += " in " + *d.ReportArchive
		}
	}
	return []fact{
		{"imported", imported},
		{"added", at(&d.CreatedAt)},
		{"on the platform", platformTimes(d.APICreatedAt, d.APIModifiedAt, r.now.Location())},
		{"status changed", at(&d.UpdatedAt)},
		{"processed", processed},
		{"counted failures", tries},
		{"crashes", crashes},
		{"last error", either(d.LastError, nil)},
		{"archived", at(d.ArchivedAt)},
		{"folder", either(d.Folder, nil)},
		{"text report", report},
	}
}

func platformTimes(created, modified *time.Time, zone *time.Location) string {
	text := ""
	if created != nil {
		text = "since " + created.In(zone).Format("2006-01-02 15:04:05")
	}
	if modified != nil && (created == nil || !modified.Equal(*created)) {
		text += ", changed " + modified.In(zone).Format("2006-01-02 15:04:05")
	}
	return text
}
