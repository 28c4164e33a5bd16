package forms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// FieldChange is a field that two versions of a record differ in. An empty text means
// that the version has no value.
type FieldChange struct {
	Field  string `json:"field"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// CompareVersions returns the fields that differ between two answers, by name, without
// $meta. Lists of media references are compared by what was added and removed.
func CompareVersions(before, after []byte) ([]FieldChange, error) {
	old, err := decodeFields(before)
	if err != nil {
		return nil, err
	}
	now, err := decodeFields(after)
	if err != nil {
		return nil, err
	}
	changes := []FieldChange{}
	fields := maps.Clone(old)
	maps.Copy(fields, now)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if field == MetaField {
			continue
		}
		was, is := fieldText(old[field]), fieldText(now[field])
		if !slices.Equal(was, is) {
			c := FieldChange{field, strings.Join(was, "\n"), strings.Join(is, "\n")}
			gone, come := without(was, is), without(is, was)
			if len(was)+len(is) > 2 && (gone != "" || come != "") { // only what changed of a list
				c.Before, c.After = gone, come
			}
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// without is the list without what the other one has, a text a line.
func without(list, other []string) string {
	has := make(map[string]bool, len(other))
	for _, s := range other {
		has[s] = true
	}
	return strings.Join(slices.DeleteFunc(slices.Clone(list), func(s string) bool { return has[s] }), "\n")
}

func decodeFields(raw []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	return fields, nil
}

// fieldText returns the texts of a field, media references by their tips. Those of an object
// have their keys.
func fieldText(value any) (texts []string) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			texts = append(texts, fieldText(item)...)
		}
		return texts
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			for _, text := range fieldText(v[key]) {
				texts = append(texts, key+": "+text)
			}
		}
		return texts
	}
	for _, leaf := range Leaves(value) {
		text := strings.TrimSpace(ValueText(leaf))
		if IsMediaReference(text) {
			if tip := mediaTip(text); tip != "" {
				text = "attachment " + tip
			}
		}
		texts = append(texts, WithoutNamespace(text))
	}
	return texts
}
