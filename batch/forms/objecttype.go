package forms

import (
	"slices"
	"strings"
)

// ObjectType defines one form: where its fields go and what they are called. An
// [[object_type]] table of the configuration file adds a form to the built-in ones, or
// changes one by its code.
//
// A payload field has one owner: the id, the date, a reference, a media field, a
// checklist option or detail, or a plain field.
type ObjectType struct {
	// Code is the short name in columns, flags and reports, such as LCD.
	Code string `toml:"code"`
	// Name is the form's full name.
	Name string `toml:"name"`
	// APIName is the path segment of the platform's API.
	APIName string `toml:"api_name"`
	// IDField holds the inspection id. Its name as a CSV header tells the form.
	IDField string `toml:"id_field"`
	// DateField holds the inspection's calendar day; "date" when empty.
	DateField string `toml:"date_field"`
	// Columns maps text columns of noggin_data to the payload fields that fill them.
	Columns map[string]string `toml:"columns"`
	// References are the fields that hold hashes.
	References []ReferenceField `toml:"references"`
	// Media are the fields that hold attachments, in the order of their numbers.
	Media []MediaField `toml:"media"`
	// Checklist are the questions, in the order of the page.
	Checklist []Question `toml:"checklist"`
	// Fields are the other fields, in the order of the page.
	Fields []PlainField `toml:"fields"`
}

// ReferenceField is a field that holds one hash or a list of them.
type ReferenceField struct {
	Field string `toml:"field"`
	Label string `toml:"label"`
	// EntityType is the kind of entity, as in entity_hashes.
	EntityType string `toml:"entity_type"`
	// Column is the column of noggin_data that takes the name, or empty.
	Column string `toml:"column"`
}

// MediaField is a field that holds media references.
type MediaField struct {
	Field string `toml:"field"`
	// Stub names the field in the file names of its attachments.
	Stub string `toml:"stub"`
	// Kind is picture or document; picture when empty. Text, XML and JSON files are taken
	// only as documents: elsewhere they are pages of a server.
	Kind string `toml:"kind"`
}

// The kinds of media fields.
const (
	kindPicture  = "picture"
	kindDocument = "document"
)

// Question is one question of the checklist.
type Question struct {
	Label string `toml:"label"`
	// Column is the column of noggin_data that takes the answer, or empty.
	Column string `toml:"column"`
	// Options are the tick boxes. A single box that is not ticked means "No".
	Options []Option `toml:"options"`
	// Details are the comments and counts beside the answer.
	Details []PlainField `toml:"details"`
	// Photos are the media fields that belong to the question.
	Photos []string `toml:"photos"`
}

// Option is one tick box of a question and the answer that it stands for.
type Option struct {
	Field  string `toml:"field"`
	Answer string `toml:"answer"`
}

// PlainField is a field that is printed under a label.
type PlainField struct {
	Field string `toml:"field"`
	Label string `toml:"label"`
	// Kind is text, html, number or bool; text when empty.
	Kind string `toml:"kind"`
}

// The kinds of plain fields.
const (
	kindText   = "text"
	kindHTML   = "html"
	kindNumber = "number"
	kindBool   = "bool"
)

// IsHTML tells whether the field holds rich text.
func (f PlainField) IsHTML() bool { return f.Kind == kindHTML }

// IsNumber tells whether the field holds a number.
func (f PlainField) IsNumber() bool { return f.Kind == kindNumber }

// IsBool tells whether the field is a tick box.
func (f PlainField) IsBool() bool { return f.Kind == kindBool }

// MetaField is the payload field with the platform's own facts about a record.
const MetaField = "$meta"

// ObjectTypes is the set of forms that an installation knows. It never changes, and is
// safe for concurrent use.
type ObjectTypes struct{ forms []ObjectType }

// All returns the forms in order: the built-in ones, then those added.
func (t *ObjectTypes) All() []ObjectType { return slices.Clone(t.forms) }

// Codes returns the codes of the forms in order.
func (t *ObjectTypes) Codes() []string {
	codes := make([]string, len(t.forms))
	for i := range t.forms {
		codes[i] = t.forms[i].Code
	}
	return codes
}

// DocumentFields are the media fields that hold documents, each as the code of its form,
// a blank and its name.
func (t *ObjectTypes) DocumentFields() (fields []string) {
	for i := range t.forms {
		for _, m := range t.forms[i].Media {
			if m.Kind == kindDocument {
				fields = append(fields, t.forms[i].Code+" "+m.Field)
			}
		}
	}
	return fields
}

// EntityTypes returns the kinds of entities to which the forms refer, each once, in the
// order of the forms.
func (t *ObjectTypes) EntityTypes() []string {
	var kinds []string
	for i := range t.forms {
		for _, r := range t.forms[i].References {
			if !slices.Contains(kinds, r.EntityType) {
				kinds = append(kinds, r.EntityType)
			}
		}
	}
	return kinds
}

// ByCode finds a form by its code, in any case.
func (t *ObjectTypes) ByCode(code string) (ObjectType, bool) {
	return t.find(func(o *ObjectType) bool { return strings.EqualFold(o.Code, strings.TrimSpace(code)) })
}

// ByIDField finds a form by the header of its inspection id in a CSV export, in any case.
func (t *ObjectTypes) ByIDField(header string) (ObjectType, bool) {
	return t.find(func(o *ObjectType) bool { return strings.EqualFold(o.IDField, strings.TrimSpace(header)) })
}

func (t *ObjectTypes) find(match func(*ObjectType) bool) (ObjectType, bool) {
	for i := range t.forms {
		if match(&t.forms[i]) {
			return t.forms[i], true
		}
	}
	return ObjectType{}, false
}

// owned calls yield for every payload field that the form owns, with the key of the
// definition that names it.
func (o *ObjectType) owned(yield func(key, field string)) {
	yield("id_field", o.IDField)
	yield("date_field", o.DateField)
	for i, r := range o.References {
		yield(indexed("references", i)+".field", r.Field)
	}
	for i, m := range o.Media {
		yield(indexed("media", i)+".field", m.Field)
	}
	for i, q := range o.Checklist {
		for j, opt := range q.Options {
			yield(indexed("checklist", i)+"."+indexed("options", j)+".field", opt.Field)
		}
		for j, d := range q.Details {
			yield(indexed("checklist", i)+"."+indexed("details", j)+".field", d.Field)
		}
	}
	for i, f := range o.Fields {
		yield(indexed("fields", i)+".field", f.Field)
	}
}

// OwnedFields is the set of payload fields that the form knows.
func (o *ObjectType) OwnedFields() map[string]bool {
	fields := map[string]bool{MetaField: true}
	o.owned(func(_, field string) { fields[field] = true })
	for _, q := range o.Checklist {
		for _, photo := range q.Photos {
			fields[photo] = true
		}
	}
	return fields
}

// Answers returns the answers that a column may hold of the checklists of all forms, each
// once, in the order of the forms, and what stands for contradictory ones. free tells that
// a form fills the column from a text field, so that it may hold any text.
func (t *ObjectTypes) Answers(column string) (answers []string, free bool) {
	add := func(answer string) {
		if !slices.Contains(answers, answer) {
			answers = append(answers, answer)
		}
	}
	for i := range t.forms {
		free = free || t.forms[i].Columns[column] != ""
		for _, q := range t.forms[i].Checklist {
			if q.Column != column {
				continue
			}
			for _, option := range q.Options {
				add(option.Answer)
			}
			if len(q.Options) == 1 {
				add("No")
			}
		}
	}
	add(contradictory)
	return answers, free
}
