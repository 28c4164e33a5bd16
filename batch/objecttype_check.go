package batch

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What a form may fill in noggin_data: textColumns from a plain field or an
// answer, referenceColumns (and inspected_by) from a resolved name.
var (
	textColumns      = []string{"inspected_by", "driver_loader_name", "job_number", "run_number", "load_compliance"}
	referenceColumns = []string{"vehicle", "trailer", "trailer2", "trailer3", "department", "team", "inspected_by"}
	fieldKinds       = []string{KindText, KindHTML, KindNumber, KindBool}
)

var (
	codeForm       = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,15}$`)
	apiNameForm    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,99}$`)
	entityTypeForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	stubForm       = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
)

// NewObjectTypes makes the set of forms from the built-in ones and the
// configuration's. An override whose code is known changes only what it gives:
// a key replaces the key, an entry of a list the entry for the same field (or
// the question with the same label), and entries that are new are added. A
// field that an override names is taken from wherever the built-in form had
// it.
//
// The error lists every mistake with its key and value.
func NewObjectTypes(defaults, overrides []ObjectType) (*ObjectTypes, error) {
	t := &ObjectTypes{}
	var mistakes []error
	for i := range defaults {
		t.forms = append(t.forms, normalised(defaults[i]))
	}
	given := map[string]bool{}
	for i := range overrides {
		over := normalised(overrides[i])
		if given[over.Code] {
			mistakes = append(mistakes, fmt.Errorf("object_type[%d].code = %q: this code has a table already", i, over.Code))
			continue
		}
		given[over.Code] = true
		if at := slices.IndexFunc(t.forms, func(o ObjectType) bool { return o.Code == over.Code }); at >= 0 {
			t.forms[at] = overridden(t.forms[at], over)
		} else {
			t.forms = append(t.forms, over)
		}
	}
	for i := range t.forms {
		o := &t.forms[i]
		fillDefaults(o)
		c := checker{form: o.Code}
		if o.Code == "" {
			c.form = "number " + strconv.Itoa(i+1)
		}
		c.check(o)
		c.checkAgainst(o, t.forms[:i])
		mistakes = append(mistakes, c.mistakes...)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return t, nil
}

func normalised(o ObjectType) ObjectType {
	o.Code = strings.ToUpper(strings.TrimSpace(o.Code))
	return o
}

func fillDefaults(o *ObjectType) {
	if o.DateField == "" {
		o.DateField = "date"
	}
	o.References = slices.Clone(o.References)
	for i := range o.References {
		o.References[i].Label = labelOr(o.References[i].Label, o.References[i].Field)
	}
	o.Fields = labelled(o.Fields)
	o.Checklist = slices.Clone(o.Checklist)
	for i := range o.Checklist {
		o.Checklist[i].Details = labelled(o.Checklist[i].Details)
	}
}

func labelled(fields []PlainField) []PlainField {
	fields = slices.Clone(fields)
	for i := range fields {
		fields[i].Label = labelOr(fields[i].Label, fields[i].Field)
		if fields[i].Kind == "" {
			fields[i].Kind = KindText
		}
	}
	return fields
}

// labelOr returns the label, or one made of the field's name: jobNumber is
// "Job number".
func labelOr(label, field string) string {
	if label != "" {
		return label
	}
	words := strings.ReplaceAll(snakeCase(field), "_", " ")
	if words == "" {
		return field
	}
	return strings.ToUpper(words[:1]) + words[1:]
}

// checker gathers the mistakes of one form.
type checker struct {
	form     string
	mistakes []error
}

func (c *checker) add(key, value, allowed string) {
	c.mistakes = append(c.mistakes, fmt.Errorf("object_type %s: %s = %q: %s", c.form, key, value, allowed))
}

func (c *checker) required(key, value string) {
	if strings.TrimSpace(value) == "" {
		c.add(key, value, "must not be empty")
	}
}

func (c *checker) matches(key, value string, form *regexp.Regexp, allowed string) {
	if !form.MatchString(value) {
		c.add(key, value, "must be "+allowed)
	}
}

func (c *checker) oneOf(key, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		c.add(key, value, "must be one of "+strings.Join(allowed, ", "))
	}
}

func (c *checker) check(o *ObjectType) {
	c.matches("code", o.Code, codeForm, "1 to 16 letters, digits or _, beginning with a letter")
	c.required("name", o.Name)
	c.matches("api_name", o.APIName, apiNameForm, "1 to 100 letters and digits, as in the API's path")
	for i, r := range o.References {
		c.matches(indexed("references", i)+".entity_type", r.EntityType, entityTypeForm,
			"1 to 32 small letters, digits or _, beginning with a letter")
		if r.Column != "" {
			c.oneOf(indexed("references", i)+".column", r.Column, referenceColumns)
		}
	}
	for i, m := range o.Media {
		c.matches(indexed("media", i)+".stub", m.Stub, stubForm, "1 to 32 small letters, digits, - or _")
	}
	labels := map[string]bool{}
	for i, q := range o.Checklist {
		key := indexed("checklist", i)
		c.required(key+".label", q.Label)
		if labels[strings.ToLower(q.Label)] {
			c.add(key+".label", q.Label, "this label is another question's already")
		}
		labels[strings.ToLower(q.Label)] = true
		if q.Column != "" {
			c.oneOf(key+".column", q.Column, textColumns)
		}
		if len(q.Options) == 0 {
			c.add(key+".options", "", "must have at least one")
		}
		for j, opt := range q.Options {
			c.required(key+"."+indexed("options", j)+".answer", opt.Answer)
		}
		c.checkKinds(key+".details", q.Details)
	}
	c.checkKinds("fields", o.Fields)
	c.checkOwners(o)
	c.checkColumns(o)
}

func (c *checker) checkKinds(key string, fields []PlainField) {
	for i, f := range fields {
		c.oneOf(indexed(key, i)+".kind", f.Kind, fieldKinds)
	}
}

// checkOwners sees to it that each field is named, and named once.
func (c *checker) checkOwners(o *ObjectType) {
	owner := map[string]string{metaField: "the platform's own facts"}
	o.owned(func(key, field string) {
		c.required(key, field)
		if first, taken := owner[field]; taken && field != "" {
			c.add(key, field, "this field belongs to "+first+" already")
			return
		}
		owner[field] = key
	})
}

// checkColumns sees to it that each column is filled from one place.
func (c *checker) checkColumns(o *ObjectType) {
	source := map[string]string{}
	for _, column := range slices.Sorted(maps.Keys(o.Columns)) {
		c.oneOf("columns", column, textColumns)
		c.required("columns."+column, o.Columns[column])
		source[column] = "columns." + column
	}
	claim := func(key, column string) {
		if first, taken := source[column]; taken && column != "" {
			c.add(key, column, "this column is filled by "+first+" already")
			return
		}
		source[column] = key
	}
	for i, r := range o.References {
		claim(indexed("references", i)+".column", r.Column)
	}
	for i, q := range o.Checklist {
		claim(indexed("checklist", i)+".column", q.Column)
	}
}

// checkAgainst sees to it that nothing by which a form is found is another's.
func (c *checker) checkAgainst(o *ObjectType, others []ObjectType) {
	for i := range others {
		other := &others[i]
		if o.Code == other.Code {
			c.add("code", o.Code, "this code is another form's already")
		}
		if o.APIName == other.APIName {
			c.add("api_name", o.APIName, "this name is "+other.Code+"'s already")
		}
		if strings.EqualFold(o.IDField, other.IDField) {
			c.add("id_field", o.IDField, "this field is "+other.Code+"'s already; it must tell the forms apart")
		}
	}
}

func indexed(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// overridden is the base form with what the override gives.
func overridden(base, over ObjectType) ObjectType {
	claimed := map[string]bool{}
	over.owned(func(_, field string) { claimed[field] = field != "" })
	columns := map[string]bool{}
	for column := range over.Columns {
		columns[column] = true
	}
	for _, r := range over.References {
		columns[r.Column] = true
	}
	for _, q := range over.Checklist {
		columns[q.Column] = true
	}
	release := func(column string) string {
		if columns[column] {
			return ""
		}
		return column
	}

	out := base
	out.Name = orElse(over.Name, base.Name)
	out.APIName = orElse(over.APIName, base.APIName)
	out.IDField = orElse(over.IDField, base.IDField)
	out.DateField = orElse(over.DateField, base.DateField)
	out.Columns = maps.Clone(base.Columns)
	maps.DeleteFunc(out.Columns, func(column, _ string) bool { return columns[column] })
	if out.Columns == nil {
		out.Columns = map[string]string{}
	}
	maps.Copy(out.Columns, over.Columns)

	out.References = merged(base.References, over.References,
		func(r ReferenceField) string { return r.Field },
		func(r *ReferenceField) bool { r.Column = release(r.Column); return !claimed[r.Field] })
	out.Media = merged(base.Media, over.Media,
		func(m MediaField) string { return m.Field },
		func(m *MediaField) bool { return !claimed[m.Field] })
	out.Checklist = merged(base.Checklist, over.Checklist,
		func(q Question) string { return strings.ToLower(q.Label) },
		func(q *Question) bool {
			q.Column = release(q.Column)
			q.Details = slices.DeleteFunc(slices.Clone(q.Details), func(d PlainField) bool { return claimed[d.Field] })
			return !slices.ContainsFunc(q.Options, func(o Option) bool { return claimed[o.Field] })
		})
	out.Fields = merged(base.Fields, over.Fields,
		func(f PlainField) string { return f.Field },
		func(f *PlainField) bool { return !claimed[f.Field] })
	return out
}

// merged puts each entry of over in the place of base's entry with the same
// key, keeps the other entries of base as keep leaves them, and appends what
// is new.
func merged[T any](base, over []T, key func(T) string, keep func(*T) bool) []T {
	var out []T
	used := map[string]bool{}
	for _, b := range base {
		at := slices.IndexFunc(over, func(o T) bool { return key(o) == key(b) })
		switch {
		case at >= 0:
			out = append(out, over[at])
			used[key(b)] = true
		case keep(&b):
			out = append(out, b)
		}
	}
	for _, o := range over {
		if !used[key(o)] {
			out = append(out, o)
		}
	}
	return out
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}
