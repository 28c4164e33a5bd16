package views

import (
	"context"
	"strconv"
	"strings"

	"noggin/batch/forms"
	"noggin/storage"
)

// maxName is the length of the longest name of a column that PostgreSQL keeps whole.
const maxName = 63

// Create drops the views of earlier forms and makes those of the forms as they are now.
func Create(ctx context.Context, db *storage.DB, types *forms.ObjectTypes) (storage.ViewsMade, error) {
	var all []storage.FormView
	for _, form := range types.All() {
		all = append(all, Of(form))
	}
	return db.MakeViews(ctx, all)
}

// Of returns the view of a form.
func Of(form forms.ObjectType) storage.FormView {
	v := storage.FormView{Name: strings.ToLower(form.Code), ObjectType: form.Code, Title: form.Name}
	taken := map[string]bool{"other_fields": true}
	for _, name := range storage.ViewBaseColumns() {
		taken[name] = true
	}
	add := func(c storage.ViewColumn, stem, end string) {
		c.Name = cut(stem, maxName-len(end)) + end
		for n := 2; taken[c.Name]; n++ {
			number := "_" + strconv.Itoa(n) + end
			c.Name = cut(stem, maxName-len(number)) + number
		}
		taken[c.Name] = true
		v.Columns = append(v.Columns, c)
	}
	for _, r := range form.References {
		add(storage.ViewColumn{Kind: storage.ViewReference, Field: r.Field}, nameOf(r.Label, r.Field), "")
	}
	for _, f := range form.Fields {
		add(storage.ViewColumn{Kind: kindOf(f), Field: f.Field}, nameOf(f.Label, f.Field), "")
	}
	for _, q := range form.Checklist {
		stem := nameOf(q.Label, "question")
		answer := storage.ViewColumn{Kind: storage.ViewAnswer}
		for _, o := range q.Options {
			answer.Options = append(answer.Options, storage.ViewOption(o))
		}
		add(answer, stem, "")
		for _, d := range q.Details {
			add(storage.ViewColumn{Kind: kindOf(d), Field: d.Field}, stem, "_"+cut(nameOf(d.Label, "detail"), maxName/2))
		}
	}
	for _, m := range form.Media {
		add(storage.ViewColumn{Kind: storage.ViewMedia, Field: m.Field}, nameOf(m.Stub, m.Field), "_files")
	}
	for field := range form.OwnedFields() {
		v.Known = append(v.Known, field)
	}
	return v
}

func kindOf(f forms.PlainField) storage.ViewKind {
	switch {
	case f.IsHTML():
		return storage.ViewHTML
	case f.IsNumber():
		return storage.ViewNumber
	case f.IsBool():
		return storage.ViewBool
	}
	return storage.ViewText
}

// nameOf makes a name that needs no quotes: small letters, digits and underscores. instead
// serves for a label without letters, and with one that begins with a digit.
func nameOf(label, instead string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(label) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	switch name := cut(b.String(), maxName); {
	case name == "" && instead == label:
		return "field"
	case name == "":
		return nameOf(instead, instead)
	case name[0] <= '9':
		return cut("no_"+name, maxName)
	default:
		return name
	}
}

// cut cuts a name without leaving an underscore at its end.
func cut(name string, most int) string { return strings.TrimRight(name[:min(len(name), most)], "_") }
