package textreport

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"noggin/batch/forms"
	"noggin/storage"
)

// Content is what a report shows of a record, before it is laid out. Every text of it is
// harmless, as [Clean] makes it, but not escaped for any markup.
type Content struct {
	Title       string // the form's name
	ID, Day     string // empty: the record has none
	Compliance  string // of the load; empty: the form does not ask for it
	References  []Row  // vehicles, places and people
	Details     []Row
	Questions   []Answered // the checklist
	OtherFields []Row      // fields that the form does not list
	Record      []Row      // what identifies the record at the platform and on disk
	Notes       []string   // what could not be read, and what the export said otherwise
}

// Row is a label and its text, which may have several lines.
type Row struct{ Label, Text string }

// Answered is a question of the checklist.
type Answered struct {
	Number  int
	Label   string
	Answer  string // empty: there is none
	Details []Row
	Photos  []storage.Attachment
}

// Blank tells whether nothing was said about the question.
func (a *Answered) Blank() bool { return a.Answer == "" && len(a.Details) == 0 && len(a.Photos) == 0 }

// Clean makes a text from outside harmless: see [Content].
func Clean(s string) string { return cleanText(s) }

// Read returns the content of a record's report. The photographs of questions are those
// of stored.
func Read(form forms.ObjectType, record forms.Record, stored storage.Stored) Content {
	r := report{form: form, record: record, stored: stored}
	r.sortAttachments()
	c := Content{
		Title: form.Name, ID: oneLine(record.InspectionID), Day: record.InspectionDate, Compliance: oneLine(record.Columns["load_compliance"]),
		References: r.references(), Details: r.fields(), Questions: r.checklist(), OtherFields: r.otherFields(), Record: r.facts(),
	}
	for _, note := range r.noteTexts() {
		c.Notes = append(c.Notes, oneLine(note))
	}
	return c
}

// sortAttachments sorts the attachments. Each belongs to the field in which the answer
// that is shown names it: another version may name it in another one.
func (r *report) sortAttachments() {
	r.stored.Attachments = slices.SortedStableFunc(slices.Values(r.stored.Attachments),
		func(a, b storage.Attachment) int { return cmp.Compare(a.Sequence, b.Sequence) })
	named := make(map[string]string, len(r.record.Attachments))
	for _, ref := range r.record.Attachments {
		named[ref.Tip] = ref.Field
	}
	for i, a := range r.stored.Attachments {
		r.stored.Attachments[i].Field = cmp.Or(named[a.Tip], a.Field)
	}
}

// rows collects labelled texts.
type rows []Row

// add adds a row, unless its text is empty.
func (r *rows) add(label, text string) {
	if text = strings.TrimRight(cleanText(text), " \n"); text != "" {
		*r = append(*r, Row{oneLine(label), text})
	}
}

// references names the vehicles, places and people of the inspection.
func (r *report) references() (found rows) {
	for _, def := range r.form.References {
		var names []string
		for _, value := range forms.ListOf(r.record.Values[def.Field]) {
			text := strings.TrimSpace(forms.ValueText(value))
			if _, isString := value.(string); isString {
				if hash, ok := forms.ParseTip(text); ok {
					name, known := r.stored.Names.Lookup(def.EntityType, hash)
					if !known {
						name = storage.UnknownName(hash)
					}
					text = oneLine(name)
				}
			}
			if text != "" {
				names = append(names, text)
			}
		}
		found.add(def.Label, strings.Join(names, "\n"))
	}
	return found
}

func (r *report) fields() (found rows) {
	for _, f := range r.form.Fields {
		found.add(f.Label, r.plain(f))
	}
	return found
}

// plain is the text of a plain field, empty when it has no value.
func (r *report) plain(f forms.PlainField) string {
	text := f.Text(r.record.Values)
	if f.IsHTML() {
		return htmlText(text)
	}
	return text
}

func (r *report) checklist() []Answered {
	questions := make([]Answered, len(r.form.Checklist))
	for i, q := range r.form.Checklist {
		answer, conflicting := q.Answer(r.record.Values)
		if conflicting {
			answer = "Contradictory: " + answer
		}
		var details rows
		for _, f := range q.Details {
			details.add(f.Label, r.plain(f))
		}
		questions[i] = Answered{Number: i + 1, Label: q.Label, Answer: cleanText(answer), Details: details, Photos: r.photos(q.Photos...)}
	}
	return questions
}

// photos returns the attachments of the given fields.
func (r *report) photos(fields ...string) (found []storage.Attachment) {
	for _, a := range r.stored.Attachments {
		if slices.Contains(fields, a.Field) {
			found = append(found, a)
		}
	}
	return found
}

// photoNames lists attachments, one a line.
func photoNames(attachments []storage.Attachment) string {
	var files []string
	for _, a := range attachments {
		file := cmp.Or(storage.ValueOf(a.Filename), "attachment "+strconv.Itoa(a.Sequence))
		if status := statusText(a); status != string(storage.AttachmentComplete) {
			file += " (" + status + ")"
		}
		files = append(files, file)
	}
	return strings.Join(files, "\n")
}

// otherFields are the fields of the payload that the form does not list.
func (r *report) otherFields() (found rows) {
	owned := r.form.OwnedFields()
	attachments := map[string][]storage.Attachment{} // by field
	for _, a := range r.stored.Attachments {
		attachments[a.Field] = append(attachments[a.Field], a)
	}
	for _, field := range slices.Sorted(maps.Keys(r.record.Values)) {
		if owned[field] {
			continue
		}
		text := forms.ValueText(r.record.Values[field])
		if strings.Contains(text, "</") || strings.Contains(text, "<br") {
			text = htmlText(text)
		}
		isOther := func(leaf any) bool { s, ok := leaf.(string); return !ok || !forms.IsMediaReference(s) }
		if photos := photoNames(attachments[field]); photos != "" && !slices.ContainsFunc(forms.Leaves(r.record.Values[field]), isOther) {
			text = photos
		}
		found.add(field, text)
	}
	return found
}

// statusText names the status of an attachment, and what its check found unless that
// goes without saying.
func statusText(a storage.Attachment) string {
	if a.Validation == "" || a.Validation == storage.ValidationValid || a.Validation == storage.ValidationNone {
		return string(a.Status)
	}
	return string(a.Status) + ", " + string(a.Validation)
}

// facts are what identifies the record at the platform and on disk.
func (r *report) facts() (found rows) {
	meta, _ := r.record.Values[forms.MetaField].(map[string]any)
	instant := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	found.add("Tip", r.record.Tip)
	version := forms.ValueText(meta["sid"])
	if r.stored.Version > 0 {
		version = strings.TrimSuffix(fmt.Sprintf("%d, %s", r.stored.Version, version), ", ")
	}
	found.add("Version", version)
	found.add("Form", r.form.Code+", "+r.form.APIName)
	found.add("Created", instant(r.record.CreatedAt))
	found.add("Modified", instant(r.record.ModifiedAt))
	found.add("Folder", r.stored.Folder)
	if at := r.stored.GoneAt; at != nil {
		gone := "the platform has this inspection no longer, since "
		if r.stored.GoneStatus == http.StatusForbidden {
			gone = "the platform no longer permits to read this inspection, since "
		}
		found.add("Gone", gone+instant(*at))
	}
	for _, problem := range forms.ListOf(meta["errors"]) {
		found.add("Error on the platform", forms.ValueText(problem))
	}
	return found
}

func (r *report) noteTexts() []string {
	return slices.Concat(r.record.Warnings, Unexpected(r.record, r.stored.Marks))
}
