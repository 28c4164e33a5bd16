package batch

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// valueText writes any value of a payload as text: booleans as Yes and No,
// lists with commas, objects with sorted keys. A missing value and null give
// an empty text.
func valueText(value any) string {
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
			if text := valueText(item); text != "" {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if text := valueText(v[key]); text != "" {
				parts = append(parts, key+": "+text)
			}
		}
		return strings.Join(parts, "; ")
	}
	return ""
}

// listOf is a list's items, or the one value that stands in its place.
func listOf(value any) []any {
	switch v := value.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{value}
}

// leaves are the texts, numbers and booleans that a value holds at any depth,
// blank ones left out.
func leaves(value any) []any {
	var found []any
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			found = append(found, leaves(item)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			found = append(found, leaves(v[key])...)
		}
	default:
		if strings.TrimSpace(valueText(v)) != "" {
			found = []any{v}
		}
	}
	return found
}

// isTicked reads a tick box, which may arrive as a boolean, a text or a number.
func isTicked(value any) (is, known bool) {
	switch strings.ToLower(strings.TrimSpace(valueText(value))) {
	case "true", "yes", "y", "1":
		return true, true
	case "false", "no", "n", "0", "":
		return false, true
	}
	return false, false
}

// answer is how a question was answered, empty when it was not. Conflicting
// answers are all given, joined with "and". What is in a tick box and cannot
// be read is part of the answer, so that it is seen.
func (q *Question) answer(values map[string]any) (answer string, conflicting bool) {
	var answers []string
	given := false
	for _, option := range q.Options {
		value := values[option.Field]
		given = given || valueText(value) != ""
		is, known := isTicked(value)
		switch {
		case !known:
			answers = append(answers, option.Answer+": "+valueText(value))
		case is:
			answers = append(answers, option.Answer)
		}
	}
	if len(answers) == 0 && given && len(q.Options) == 1 {
		return "No", false
	}
	return strings.Join(answers, " and "), len(answers) > 1
}
