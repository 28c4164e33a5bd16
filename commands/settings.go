package commands

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// settingKey is where a value stands in the configuration file; the section is
// empty for a top-level key.
type settingKey struct{ section, name string }

func (k settingKey) String() string {
	if k.section == "" {
		return k.name
	}
	return "[" + k.section + "] " + k.name
}

// settings are all keys that the file may have, each with the field it sets.
type settings map[settingKey]reflect.Value

// add takes every field of the struct behind config that has a toml tag as a key
// of section. A tag "other.key" names its section itself.
func (s settings) add(section string, config any) {
	value := reflect.ValueOf(config).Elem()
	for i := range value.NumField() {
		tag := value.Type().Field(i).Tag.Get("toml")
		if tag == "" || tag == "-" {
			continue
		}
		key := settingKey{section, tag}
		if other, name, ok := strings.Cut(tag, "."); ok {
			key = settingKey{other, name}
		}
		s[key] = value.Field(i)
	}
}

// problem is one thing wrong in the file.
type problem struct {
	line int
	text string
}

// fileReader sets settings from a TOML text and collects what is wrong with it.
type fileReader struct {
	settings settings
	meta     toml.MetaData
	problems []problem
}

// decode reads text over the values that the settings have. It goes on after an
// error and returns all of them, in the order of the lines.
func (s settings) decode(text string) []problem {
	var tables map[string]toml.Primitive
	meta, err := toml.Decode(text, &tables)
	if err != nil {
		return []problem{syntaxProblem(err)}
	}
	r := &fileReader{settings: s, meta: meta}
	for name, value := range tables {
		_, isKey := s[settingKey{"", name}]
		switch {
		case isKey:
			r.set(settingKey{"", name}, value)
		case s.hasSection(name):
			r.section(name, value)
		default:
			r.unknown(settingKey{"", name}, value)
		}
	}
	slices.SortFunc(r.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.text, b.text))
	})
	return r.problems
}

func (s settings) hasSection(name string) bool {
	for key := range s {
		if key.section == name && name != "" {
			return true
		}
	}
	return false
}

func (r *fileReader) section(name string, table toml.Primitive) {
	var values map[string]toml.Primitive
	if err := r.meta.PrimitiveDecode(table, &values); err != nil {
		r.add(table, "%s: want a section: [%s]", name, name)
		return
	}
	for key, value := range values {
		if _, known := r.settings[settingKey{name, key}]; known {
			r.set(settingKey{name, key}, value)
		} else {
			r.unknown(settingKey{name, key}, value)
		}
	}
}

func (r *fileReader) add(where toml.Primitive, format string, args ...any) {
	r.problems = append(r.problems, problem{r.line(where), fmt.Sprintf(format, args...)})
}

func (r *fileReader) unknown(key settingKey, value toml.Primitive) {
	var candidates []string
	for known := range r.settings {
		if known.section == key.section {
			candidates = append(candidates, known.name)
		}
		if key.section == "" {
			candidates = append(candidates, known.section)
		}
	}
	slices.Sort(candidates)
	hint := ""
	if near := nearest(key.name, candidates); near != "" {
		hint = fmt.Sprintf(" (did you mean %s?)", near)
	}
	r.add(value, "unknown key %s%s", printable(key.String()), hint)
}

// set puts value into the field of key, or notes why it does not fit.
func (r *fileReader) set(key settingKey, value toml.Primitive) {
	field := r.settings[key]
	var given any
	if err := r.meta.PrimitiveDecode(value, &given); err != nil {
		r.add(value, "%s: %v", key, err)
		return
	}
	want, ok := assign(field, given)
	switch {
	case ok:
	case want != "":
		r.add(value, "%s = %s: want %s", key, shown(field, given), want)
	default: // lists and tables: the decoder says itself what is wrong
		if err := r.meta.PrimitiveDecode(value, field.Addr().Interface()); err != nil {
			r.problems = append(r.problems, syntaxProblem(err))
			return
		}
		r.unknownBelow(key, value)
	}
}

// unknownBelow notes the keys of a list of tables that its type does not have.
func (r *fileReader) unknownBelow(key settingKey, value toml.Primitive) {
	unknown := map[string]bool{}
	for _, undecoded := range r.meta.Undecoded() {
		if len(undecoded) > 1 && undecoded[0] == key.name {
			unknown[undecoded[1]] = true
		}
	}
	var tables []map[string]toml.Primitive
	if len(unknown) == 0 || r.meta.PrimitiveDecode(value, &tables) != nil {
		return
	}
	for _, table := range tables {
		for _, name := range slices.Sorted(maps.Keys(table)) {
			if unknown[name] {
				r.add(table[name], "unknown key [[%s]] %s", key.name, printable(name))
				delete(unknown, name)
			}
		}
	}
}

// assign sets field to value when it fits, else says what would; it does neither
// for kinds that it does not know.
func assign(field reflect.Value, value any) (want string, ok bool) {
	if field.Type() == reflect.TypeFor[time.Duration]() {
		d, ok := toDuration(value)
		if ok {
			field.SetInt(int64(d))
		}
		return `a number of seconds, or a duration such as "90s", "2m", "1h30m"`, ok
	}
	switch field.Kind() {
	case reflect.String:
		text, ok := value.(string)
		if ok {
			field.SetString(text)
		}
		return "text in quotes", ok
	case reflect.Bool:
		b, ok := value.(bool)
		if ok {
			field.SetBool(b)
		}
		return "true or false", ok
	case reflect.Int, reflect.Int64:
		number, ok := value.(int64)
		if ok {
			field.SetInt(number)
		}
		return "a whole number", ok
	case reflect.Float64:
		number, ok := toFloat(value)
		if ok {
			field.SetFloat(number)
		}
		return "a number", ok
	default:
		return "", false
	}
}

func toFloat(value any) (float64, bool) {
	switch v := value.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	default:
		return 0, false
	}
}

// toDuration reads a bare number as seconds.
func toDuration(value any) (time.Duration, bool) {
	if text, ok := value.(string); ok {
		d, err := time.ParseDuration(text)
		return d, err == nil
	}
	seconds, ok := toFloat(value)
	if !ok || math.IsNaN(seconds) || math.Abs(seconds) > math.MaxInt64/float64(2*time.Second) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// shown is the value as an error may repeat it.
func shown(field reflect.Value, value any) string {
	if field.Type() == reflect.TypeFor[secret]() {
		return redacted
	}
	if text, ok := value.(string); ok {
		return quoted(text)
	}
	text := quoted(fmt.Sprint(value))
	return text[1 : len(text)-1]
}

// line finds where a value stands: the decoder tells only what it could not
// decode, so it is given something that nothing can be decoded into.
func (r *fileReader) line(value toml.Primitive) int {
	var parseErr toml.ParseError
	if errors.As(r.meta.PrimitiveDecode(value, &undecodable{}), &parseErr) {
		return parseErr.Position.Line
	}
	return 0
}

type undecodable struct{}

func (*undecodable) UnmarshalTOML(any) error { return errors.New("only asked for its position") }

// syntaxProblem takes what the TOML library says of the text. Its message may
// quote the text: not where that may be a secret without its quotes.
func syntaxProblem(err error) problem {
	var parseErr toml.ParseError
	if !errors.As(err, &parseErr) {
		return problem{text: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	message := parseErr.Message
	if strings.Contains(parseErr.LastKey, "token") || strings.Contains(parseErr.LastKey, "url") {
		message = "not TOML: a text stands in quotes, on one line (what stands there is not shown)"
	}
	if parseErr.LastKey != "" {
		message = "at " + parseErr.LastKey + ": " + message
	}
	return problem{parseErr.Position.Line, printable(message)}
}
