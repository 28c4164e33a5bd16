package textreport

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"noggin/batch/forms"
	"noggin/storage"
)

// recordFolder holds the files of one record, as [files.Folder] does.
type recordFolder interface {
	Replace(name string, write func(io.Writer) error) (size int64, sum string, err error)
}

// Path is the path of a stored record's text report. It never changes.
func Path(stored storage.Stored) string {
	name, _ := forms.FolderParts(stored.Folder, stored.Tip)
	name = forms.ReportName(name)
	if stored.ReportPath != nil {
		name = path.Base(*stored.ReportPath)
	}
	return stored.Folder + "/" + name
}

// WriteFile writes the text report of a stored record into its folder. The caller
// flushes the folder.
func WriteFile(folder recordFolder, form forms.ObjectType, record forms.Record, stored storage.Stored) (storage.Report, error) {
	r := report{form: form, record: record, stored: stored}
	at := Path(stored)
	size, sum, err := folder.Replace(path.Base(at), r.write)
	return storage.Report{Path: at, Size: size, SHA256: sum}, err
}

// SHA256 is that of the text report that [WriteFile] writes.
func SHA256(form forms.ObjectType, record forms.Record, stored storage.Stored) (string, error) {
	h := sha256.New()
	r := report{form: form, record: record, stored: stored}
	err := r.write(h)
	return hex.EncodeToString(h.Sum(nil)), err
}

// Write writes the text report of a version to w.
func Write(w io.Writer, form forms.ObjectType, record forms.Record, stored storage.Stored) error {
	named := map[string]bool{}
	for _, ref := range record.Attachments {
		named[ref.Tip] = true
	}
	stored.Attachments = slices.DeleteFunc(stored.Attachments, func(a storage.Attachment) bool { return !named[a.Tip] })
	r := report{form: form, record: record, stored: stored}
	return r.write(w)
}

// report is one text report. Each of its sections is a method.
type report struct {
	page
	form   forms.ObjectType
	record forms.Record
	stored storage.Stored
}

func (r *report) write(w io.Writer) error {
	r.sortAttachments()
	r.head()
	r.section("Vehicles, places and people", r.references())
	r.section("Details", r.fields())
	r.questions()
	r.section("Other fields", r.otherFields())
	r.attachments()
	r.section("Record", r.facts())
	r.versions()
	r.notes()
	if _, err := io.WriteString(w, r.out.String()); err != nil {
		return fmt.Errorf("write text report: %w", err)
	}
	return nil
}

func (r *report) head() {
	r.heading(r.form.Name, '=')
	r.pair(0, "Inspection id", cmp.Or(r.record.InspectionID, "(none)"))
	day := "(none)"
	if t, err := time.Parse(time.DateOnly, r.record.InspectionDate); err == nil {
		day = t.Format("2006-01-02, Monday")
	}
	r.pair(0, "Inspection date", day)
	r.pair(0, "Load compliance", r.record.Columns["load_compliance"])
}

// section prints rows under a heading, unless there are none.
func (r *report) section(title string, found []Row) {
	if len(found) == 0 {
		return
	}
	r.heading(title, '-')
	for _, row := range found {
		r.pair(0, row.Label, row.Text)
	}
}

func (r *report) questions() {
	questions := r.checklist()
	if len(questions) == 0 {
		return
	}
	r.heading("Checklist", '-')
	var unanswered []Answered
	for _, q := range questions {
		if q.Blank() {
			unanswered = append(unanswered, q)
			continue
		}
		r.item(questionMark(q), q.Label)
		r.pair(5, "Answer", cmp.Or(q.Answer, "(not answered)"))
		for _, detail := range q.Details {
			r.pair(5, detail.Label, detail.Text)
		}
		r.pair(5, "Photos", photoNames(q.Photos))
	}
	if len(unanswered) > 0 {
		r.line(0, "Not answered:")
		for _, q := range unanswered {
			r.item(questionMark(q), q.Label)
		}
	}
}

func questionMark(q Answered) string { return fmt.Sprintf("%3d. ", q.Number) }

func (r *report) attachments() {
	r.heading(fmt.Sprintf("Attachments (%d)", len(r.stored.Attachments)), '-')
	if len(r.stored.Attachments) == 0 {
		r.line(0, "None.")
		return
	}
	filename := func(a storage.Attachment) string { return oneLine(cmp.Or(storage.ValueOf(a.Filename), "-")) }
	width := len("File")
	for _, a := range r.stored.Attachments {
		width = max(width, min(utf8.RuneCountInString(filename(a)), 60))
	}
	r.line(0, fmt.Sprintf("%4s  %-*s  %13s  %s", "No.", width, "File", "Bytes", "Status"))
	for _, a := range r.stored.Attachments {
		size, sum := "-", storage.ValueOf(a.SHA256)
		if bytes := storage.ValueOf(a.Size); sum != "" || bytes > 0 {
			size = grouped(bytes)
		}
		r.line(0, fmt.Sprintf(" %03d  %-*s  %13s  %s", a.Sequence, width, filename(a), size, oneLine(statusText(a))))
		for _, detail := range []struct{ label, text string }{
			{"SHA-256 ", sum}, {"tip     ", a.Tip}, {"archived in ", storage.ValueOf(a.Archive)},
		} {
			if detail.text != "" {
				r.line(6, detail.label+oneLine(detail.text))
			}
		}
	}
}

// grouped writes a number with commas between its thousands.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// versions lists the versions of the record, if there are several.
func (r *report) versions() {
	if len(r.stored.Versions) < 2 {
		return
	}
	r.heading(fmt.Sprintf("Versions (%d)", len(r.stored.Versions)), '-')
	const layout = "2006-01-02 15:04:05 UTC"
	r.line(0, fmt.Sprintf("%4s  %-23s  %-23s  %s", "No.", "Modified", "Fetched", ""))
	for _, v := range r.stored.Versions {
		modified, note := "-", ""
		if v.ModifiedAt != nil {
			modified = v.ModifiedAt.UTC().Format(layout)
		}
		switch {
		case v.Version == r.stored.Version:
			note = "shown here"
		case v.Kind != "version":
			note = v.Kind + " when it came"
		}
		r.line(0, fmt.Sprintf("%4d  %-23s  %-23s  %s", v.Version, modified, v.FetchedAt.UTC().Format(layout), note))
		if sid := storage.ValueOf(v.SID); sid != "" {
			r.line(6, "sid     "+oneLine(sid))
		}
	}
}

// notes writes the warnings about the payload, and where it differs from the export.
func (r *report) notes() {
	warnings := r.noteTexts()
	if len(warnings) == 0 {
		return
	}
	r.heading("Notes", '-')
	for _, warning := range warnings {
		r.item("- ", warning)
	}
}

// Unexpected says where the record differs from what the import's CSV said of it.
func Unexpected(record forms.Record, marks storage.Marks) []string {
	var found []string
	if want := storage.ValueOf(marks.ExpectedID); want != "" && record.InspectionID != "" && forms.Component(want, "") != forms.Component(record.InspectionID, "") {
		found = append(found, fmt.Sprintf("the export said inspection id %q, the platform says %q", want, record.InspectionID))
	}
	if want := storage.ValueOf(marks.ExpectedDate); want != "" && record.InspectionDate != "" && want != record.InspectionDate {
		found = append(found, fmt.Sprintf("the export said date %s, the platform says %s", want, record.InspectionDate))
	}
	return found
}
