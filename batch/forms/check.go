package forms

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The columns of noggin_data that a form may fill: textColumns from a plain field or an
// answer, referenceColumns from the name of a reference.
var (
	textColumns      = []string{"inspected_by", "driver_loader_name", "job_number", "run_number", "load_compliance"}
	referenceColumns = []string{"vehicle", "trailer", "trailer2", "trailer3", "department", "team", "inspected_by"}
	mediaKinds       = []string{kindPicture, kindDocument}
	fieldKinds       = []string{kindText, kindHTML, kindNumber, kindBool}
)

var (
	codeForm       = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,15}$`)
	apiNameForm    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,99}$`)
	entityTypeForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	stubForm       = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
)

// New makes the set of forms from the built-in ones and those of the configuration. An
// override with a known code changes only what it gives. A key replaces the same key. An
// entry of a list replaces the entry for the same field, or the question with the same
// label; other entries are added. A field that an override names leaves its place in the
// built-in form.
//
// The error lists every mistake with its key and value.
func New(overrides []ObjectType) (*ObjectTypes, error) {
	t := &ObjectTypes{forms: builtIn()}
	var mistakes []error
	given := map[string]bool{}
	for i, over := range overrides {
		over.Code = strings.ToUpper(strings.TrimSpace(over.Code))
		if given[over.Code] {
			mistakes = append(mistakes, fmt.Errorf("object_type[%d].code = %q: another [[object_type]] table has this code", i, over.Code))
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
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	return t, nil
}

// fillDefaults sets what the definition of a form leaves out.
func fillDefaults(o *ObjectType) {
	if o.DateField == "" {
		o.DateField = "date"
	}
	o.References = slices.Clone(o.References)
	for i := range o.References {
		o.References[i].Label = labelOr(o.References[i].Label, o.References[i].Field)
	}
	o.Media = slices.Clone(o.Media)
	for i := range o.Media {
		o.Media[i].Kind = cmp.Or(o.Media[i].Kind, kindPicture)
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
			fields[i].Kind = kindText
		}
	}
	return fields
}

// labelOr returns the label, or makes one of the field's name: "Job number" of
// jobNumber.
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
		c.oneOf(indexed("media", i)+".kind", m.Kind, mediaKinds)
	}
	labels := map[string]bool{}
	for i, q := range o.Checklist {
		key := indexed("checklist", i)
		c.required(key+".label", q.Label)
		if labels[strings.ToLower(q.Label)] {
			c.add(key+".label", q.Label, "another question has this label")
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

// checkOwners checks that each entry names a field, and that no two name the same.
func (c *checker) checkOwners(o *ObjectType) {
	owner := map[string]string{MetaField: "the platform's own facts"}
	o.owned(func(key, field string) {
		c.required(key, field)
		if first, taken := owner[field]; taken && field != "" {
			c.add(key, field, "this field belongs to "+first)
			return
		}
		owner[field] = key
	})
}

// checkColumns checks that one place fills each column.
func (c *checker) checkColumns(o *ObjectType) {
	source := map[string]string{}
	for _, column := range slices.Sorted(maps.Keys(o.Columns)) {
		c.oneOf("columns", column, textColumns)
		c.required("columns."+column, o.Columns[column])
		source[column] = "columns." + column
	}
	claim := func(key, column string) {
		if first, taken := source[column]; taken && column != "" {
			c.add(key, column, first+" fills this column")
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

// checkAgainst checks that no other form has the keys by which this one is found.
func (c *checker) checkAgainst(o *ObjectType, others []ObjectType) {
	for i := range others {
		other := &others[i]
		if o.Code == other.Code {
			c.add("code", o.Code, "another form has this code")
		}
		if o.APIName == other.APIName {
			c.add("api_name", o.APIName, "form "+other.Code+" has this name")
		}
		if strings.EqualFold(o.IDField, other.IDField) {
			c.add("id_field", o.IDField, "form "+other.Code+" has this field; it must tell the forms apart")
		}
	}
}

func indexed(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// overridden returns the base form with the changes of the override.
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
	out.Name = cmp.Or(over.Name, base.Name)
	out.APIName = cmp.Or(over.APIName, base.APIName)
	out.IDField = cmp.Or(over.IDField, base.IDField)
	out.DateField = cmp.Or(over.DateField, base.DateField)
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

// merged replaces the entries of base by those of over with the same key, and appends
// the other entries of over. keep may change the entries that stay, or drop one by
// returning false.
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
