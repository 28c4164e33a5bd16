package forms

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// ValueText writes any value of a payload as text: booleans as Yes and No, lists with
// commas, objects with sorted keys, null and a missing value as an empty text.
func ValueText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		text, _ := plainNumber(v.String())
		return text
	case bool:
		if v {
			return "Yes"
		}
		return "No"
	case []any:
		var parts []string
		for _, item := range v {
			if text := ValueText(item); text != "" {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if text := ValueText(v[key]); text != "" {
				parts = append(parts, key+": "+text)
			}
		}
		return strings.Join(parts, "; ")
	}
	return ""
}

// ListOf returns the items of a list, or a list of the one value.
func ListOf(value any) []any {
	switch v := value.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{value}
}

// Leaves returns the texts, numbers and booleans of a value at any depth, without blank
// ones.
func Leaves(value any) []any {
	var found []any
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			found = append(found, Leaves(item)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			found = append(found, Leaves(v[key])...)
		}
	default:
		if strings.TrimSpace(ValueText(v)) != "" {
			found = []any{v}
		}
	}
	return found
}

// isTicked reads a tick box. The API sends it as a boolean, a text or a number.
func isTicked(value any) (is, known bool) {
	switch strings.ToLower(strings.TrimSpace(ValueText(value))) {
	case "true", "yes", "y", "1":
		return true, true
	case "false", "no", "n", "0", "":
		return false, true
	}
	return false, false
}

// Text is the field's value as text, empty when it has none. A tick box is Yes or No,
// whatever type its value has.
func (f PlainField) Text(values map[string]any) string {
	text := ValueText(values[f.Field])
	switch ticked, known := isTicked(values[f.Field]); {
	case f.IsHTML():
		return text
	case f.Kind == kindBool && known && text != "":
		return ValueText(ticked)
	}
	return strings.TrimSpace(text)
}

// Answer is the answer to the question, empty when there is none. It joins conflicting
// answers with "and", and shows the value of a tick box that it cannot read.
func (q *Question) Answer(values map[string]any) (answer string, conflicting bool) {
	var answers []string
	given := false
	for _, option := range q.Options {
		value := values[option.Field]
		given = given || ValueText(value) != ""
		is, known := isTicked(value)
		switch {
		case !known:
			answers = append(answers, option.Answer+": "+ValueText(value))
		case is:
			answers = append(answers, option.Answer)
		}
	}
	if len(answers) == 0 && given && len(q.Options) == 1 {
		return "No", false
	}
	return strings.Join(answers, " and "), len(answers) > 1
}
