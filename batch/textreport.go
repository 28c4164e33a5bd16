package batch

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ReportInput is all that a text report is made of. The same input gives the
// same bytes.
type ReportInput struct {
	ObjectType ObjectType
	Record     Record
	// Names finds the name of an object; nil knows none.
	Names func(entityType, hash string) (name string, ok bool)
	// Attachments are the record's rows, in any order.
	Attachments []ReportAttachment
	// Folder is relative to the output folder.
	Folder string
}

// ReportAttachment is an attachment as the report lists it.
type ReportAttachment struct {
	Tip      string
	Sequence int
	Field    string
	Filename string // empty until there is one
	Size     int64  // in bytes
	SHA256   string // in hexadecimal digits, empty until it is known
	Status   string // attachment_status
	// Validation is attachment_validation_status; "valid" goes without saying.
	Validation string
	// Archive is the name of the archive that holds the file, empty when it is
	// in the folder.
	Archive string
}

// WriteTextReport writes a readable page of the whole inspection.
func WriteTextReport(w io.Writer, in ReportInput) error {
	fillDefaults(&in.ObjectType)
	in.Attachments = slices.Clone(in.Attachments)
	slices.SortStableFunc(in.Attachments, func(a, b ReportAttachment) int { return cmp.Compare(a.Sequence, b.Sequence) })
	r := report{ReportInput: &in, values: in.Record.values}
	r.head()
	r.references()
	r.fields()
	r.checklist()
	r.otherFields()
	r.attachments()
	r.facts()
	r.notes()
	if _, err := io.WriteString(w, r.out.String()); err != nil {
		return fmt.Errorf("write text report: %w", err)
	}
	return nil
}

// ResolvedName is how the name of a referenced object is written in columns
// and reports: the name, or "Unknown (hash)".
func ResolvedName(names func(entityType, hash string) (string, bool), entityType, hash string) string {
	if names != nil {
		if name, ok := names(entityType, hash); ok {
			return name
		}
	}
	return "Unknown (" + hash + ")"
}

type report struct {
	page
	*ReportInput
	values map[string]any
}

func (r *report) head() {
	r.heading(r.ObjectType.Name, '=')
	r.pair(0, "Inspection id", orElse(r.Record.InspectionID, "(none)"))
	day := "(none)"
	if t, err := time.Parse(time.DateOnly, r.Record.InspectionDate); err == nil {
		day = t.Format("2006-01-02, Monday")
	}
	r.pair(0, "Inspection date", day)
	r.pair(0, "Load compliance", r.Record.Columns["load_compliance"])
}

// references writes who and what the inspection was about, by name.
func (r *report) references() {
	type pair struct{ label, text string }
	var pairs []pair
	for _, def := range r.ObjectType.References {
		var names []string
		for _, value := range listOf(r.values[def.Field]) {
			text := strings.TrimSpace(valueText(value))
			if _, isString := value.(string); isString {
				if hash, ok := ParseTip(text); ok {
					text = oneLine(ResolvedName(r.Names, def.EntityType, hash))
				}
			}
			if text != "" {
				names = append(names, text)
			}
		}
		if len(names) > 0 {
			pairs = append(pairs, pair{def.Label, strings.Join(names, "\n")})
		}
	}
	if len(pairs) == 0 {
		return
	}
	r.heading("Vehicles, places and people", '-')
	for _, p := range pairs {
		r.pair(0, p.label, p.text)
	}
}

func (r *report) fields() {
	if !slices.ContainsFunc(r.ObjectType.Fields, func(f PlainField) bool { return r.plain(f) != "" }) {
		return
	}
	r.heading("Details", '-')
	for _, f := range r.ObjectType.Fields {
		r.pair(0, f.Label, r.plain(f))
	}
}

// plain is the text of a plain field, empty when it has no value.
func (r *report) plain(f PlainField) string {
	text := valueText(r.values[f.Field])
	switch f.Kind {
	case KindHTML:
		return HTMLText(text)
	case KindBool:
		if is, known := isTicked(r.values[f.Field]); known && text != "" {
			return valueText(is)
		}
	}
	return strings.TrimSpace(text)
}

func (r *report) checklist() {
	if len(r.ObjectType.Checklist) == 0 {
		return
	}
	r.heading("Checklist", '-')
	var unanswered []int
	for i, q := range r.ObjectType.Checklist {
		answer, conflicting := q.answer(r.values)
		if conflicting {
			answer = "Contradictory: " + answer
		}
		photos := r.photos(q.Photos...)
		hasDetails := slices.ContainsFunc(q.Details, func(f PlainField) bool { return r.plain(f) != "" })
		if answer == "" && photos == "" && !hasDetails {
			unanswered = append(unanswered, i)
			continue
		}
		r.item(questionMark(i), q.Label)
		r.pair(5, "Answer", orElse(answer, "(not answered)"))
		for _, f := range q.Details {
			r.pair(5, f.Label, r.plain(f))
		}
		r.pair(5, "Photos", photos)
	}
	if len(unanswered) > 0 {
		r.line(0, "Not answered:")
		for _, i := range unanswered {
			r.item(questionMark(i), r.ObjectType.Checklist[i].Label)
		}
	}
}

func questionMark(i int) string { return fmt.Sprintf("%3d. ", i+1) }

// photos lists the files of fields, one a line.
func (r *report) photos(fields ...string) string {
	var files []string
	for _, a := range r.Attachments {
		if slices.Contains(fields, a.Field) {
			file := orElse(a.Filename, "attachment "+strconv.Itoa(a.Sequence))
			if status := a.statusText(); status != "complete" {
				file += " (" + status + ")"
			}
			files = append(files, file)
		}
	}
	return strings.Join(files, "\n")
}

// otherFields prints what the payload holds beyond the form's definition.
func (r *report) otherFields() {
	owned := r.ObjectType.ownedFields()
	headed := false
	for _, field := range slices.Sorted(maps.Keys(r.values)) {
		if owned[field] {
			continue
		}
		text := valueText(r.values[field])
		if strings.Contains(text, "</") || strings.Contains(text, "<br") {
			text = HTMLText(text)
		}
		isOther := func(leaf any) bool { s, ok := leaf.(string); return !ok || !isMediaReference(s) }
		if photos := r.photos(field); photos != "" && !slices.ContainsFunc(leaves(r.values[field]), isOther) {
			text = photos
		}
		if text == "" {
			continue
		}
		if !headed {
			r.heading("Other fields", '-')
			headed = true
		}
		r.pair(0, field, text)
	}
}

func (a *ReportAttachment) statusText() string {
	if a.Validation == "" || a.Validation == "valid" || a.Validation == "not_validated" {
		return a.Status
	}
	return a.Status + ", " + a.Validation
}

func (r *report) attachments() {
	r.heading(fmt.Sprintf("Attachments (%d)", len(r.Attachments)), '-')
	if len(r.Attachments) == 0 {
		r.line(0, "None.")
		return
	}
	width := len("File")
	for _, a := range r.Attachments {
		width = max(width, min(len([]rune(oneLine(a.Filename))), 60))
	}
	r.line(0, fmt.Sprintf("%4s  %-*s  %13s  %s", "No.", width, "File", "Bytes", "Status"))
	for _, a := range r.Attachments {
		size := "-"
		if a.SHA256 != "" || a.Size > 0 {
			size = grouped(a.Size)
		}
		r.line(0, fmt.Sprintf(" %03d  %-*s  %13s  %s", a.Sequence, width, oneLine(orElse(a.Filename, "-")), size, oneLine(a.statusText())))
		if a.SHA256 != "" {
			r.line(6, "SHA-256 "+oneLine(a.SHA256))
		}
		if a.Tip != "" {
			r.line(6, "tip     "+oneLine(a.Tip))
		}
		if a.Archive != "" {
			r.line(6, "archived in "+oneLine(a.Archive))
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

// facts writes what identifies the record in the platform and on disk.
func (r *report) facts() {
	r.heading("Record", '-')
	meta, _ := r.values[metaField].(map[string]any)
	instant := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	r.pair(0, "Tip", r.Record.Tip)
	r.pair(0, "Version", valueText(meta["sid"]))
	r.pair(0, "Form", r.ObjectType.Code+", "+r.ObjectType.APIName)
	r.pair(0, "Created", instant(r.Record.CreatedAt))
	r.pair(0, "Modified", instant(r.Record.ModifiedAt))
	r.pair(0, "Folder", r.Folder)
	for _, problem := range listOf(meta["errors"]) {
		r.pair(0, "Error on the platform", valueText(problem))
	}
}

// notes say what could not be read.
func (r *report) notes() {
	if len(r.Record.Warnings) == 0 {
		return
	}
	r.heading("Notes", '-')
	for _, warning := range r.Record.Warnings {
		r.item("- ", warning)
	}
}
