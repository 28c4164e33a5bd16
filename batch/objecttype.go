package batch

import (
	"slices"
	"strings"
)

// ObjectType describes one inspection form: where its fields go and what they
// are called. The built-in forms are in [DefaultObjectTypes]; an
// [[object_type]] table of the configuration file adds a form, or changes one
// by its code.
//
// A payload field has one owner: the id, the date, a reference, a media field,
// a checklist option or detail, or a plain field. Fields that a payload holds
// beyond these are still stored and printed.
type ObjectType struct {
	// Code is the short name in columns, flags and reports, such as LCD.
	Code string `toml:"code"`
	// Name is the form's full name.
	Name string `toml:"name"`
	// APIName is the path segment of the platform's API.
	APIName string `toml:"api_name"`
	// IDField holds the inspection id; as a CSV header it tells the form.
	IDField string `toml:"id_field"`
	// DateField holds the inspection's calendar day; "date" when empty.
	DateField string `toml:"date_field"`
	// Columns maps text columns of noggin_data to the payload fields that fill
	// them.
	Columns map[string]string `toml:"columns"`
	// References are the fields that hold the tips of other objects.
	References []ReferenceField `toml:"references"`
	// Media are the fields with photographs and other files, in the order in
	// which the files are numbered.
	Media []MediaField `toml:"media"`
	// Checklist are the questions, in the order of the page.
	Checklist []Question `toml:"checklist"`
	// Fields are the other fields, in the order of the page.
	Fields []PlainField `toml:"fields"`
}

// ReferenceField is a field that holds the tip of another object, or a list of
// them.
type ReferenceField struct {
	Field string `toml:"field"`
	Label string `toml:"label"`
	// EntityType is the kind of object referred to, as in entity_hashes.
	EntityType string `toml:"entity_type"`
	// Column is the column of noggin_data that takes the resolved name, or
	// empty.
	Column string `toml:"column"`
}

// MediaField is a field that holds media references.
type MediaField struct {
	Field string `toml:"field"`
	// Stub names the field in the file names of its attachments.
	Stub string `toml:"stub"`
}

// Question is a checklist question with what belongs to it.
type Question struct {
	Label string `toml:"label"`
	// Column is the column of noggin_data that takes the answer, or empty.
	Column string `toml:"column"`
	// Options are the tick boxes. A question with a single one is answered
	// "No" where the box is there and not ticked.
	Options []Option `toml:"options"`
	// Details are the comments and counts that go with the answer.
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
	KindText   = "text"
	KindHTML   = "html"
	KindNumber = "number"
	KindBool   = "bool"
)

// metaField holds the platform's own facts about a record.
const metaField = "$meta"

// ObjectTypes is the set of forms that an installation knows. It is read-only
// once made and safe for concurrent use.
type ObjectTypes struct {
	forms []ObjectType
}

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

// EntityTypes returns the kinds of objects that the forms refer to, each once,
// in the order of the forms.
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

// ByIDField finds a form by the header of its inspection id in a CSV export,
// in any case.
func (t *ObjectTypes) ByIDField(header string) (ObjectType, bool) {
	return t.find(func(o *ObjectType) bool { return strings.EqualFold(o.IDField, strings.TrimSpace(header)) })
}

// ByAPIName finds a form by its exact name in the API.
func (t *ObjectTypes) ByAPIName(name string) (ObjectType, bool) {
	return t.find(func(o *ObjectType) bool { return o.APIName == name })
}

func (t *ObjectTypes) find(match func(*ObjectType) bool) (ObjectType, bool) {
	for i := range t.forms {
		if match(&t.forms[i]) {
			return t.forms[i], true
		}
	}
	return ObjectType{}, false
}

// owned calls yield for every payload field that the form owns, with the key
// of the definition that names it.
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

// ownedFields is the set of payload fields that the form accounts for.
func (o *ObjectType) ownedFields() map[string]bool {
	fields := map[string]bool{metaField: true}
	o.owned(func(_, field string) { fields[field] = true })
	for _, q := range o.Checklist {
		for _, photo := range q.Photos {
			fields[photo] = true
		}
	}
	return fields
}
