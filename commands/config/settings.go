package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"noggin/commands/cmdline"
	"noggin/commands/show"
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

// table is the key as the name of a table.
func (k settingKey) table() string {
	if k.section == "" {
		return k.name
	}
	return k.section + "." + k.name
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
	line int // 0 when it is not known
	text string
}

func (p problem) String() string {
	if p.line == 0 {
		return p.text
	}
	return fmt.Sprintf("line %d: %s", p.line, p.text)
}

// fileReader sets settings from a TOML text and collects what is wrong with it.
type fileReader struct {
	settings settings
	meta     toml.MetaData
	problems []problem
	lines    map[settingKey]int // of the keys that the text sets
}

// decode reads text over the values that the settings have. It goes on after an
// error and returns all of them, in the order of the lines.
func (s settings) decode(text string) []problem {
	_, problems := s.read(text)
	return problems
}

// read is decode. It returns the line of each key that the text sets too.
func (s settings) read(text string) (lines map[settingKey]int, problems []problem) {
	var tables map[string]toml.Primitive
	meta, err := toml.Decode(text, &tables)
	if err != nil {
		return nil, []problem{brokenLine(text, decodeProblem(err))}
	}
	r := &fileReader{settings: s, meta: meta, lines: map[settingKey]int{}}
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
	return r.lines, r.problems
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
	if near := cmdline.Nearest(key.name, candidates); near != "" {
		hint = fmt.Sprintf(" (did you mean %s?)", near)
	}
	r.add(value, "unknown key %s%s", show.Printable(key.String()), hint)
}

// set puts value into the field of key, or notes why it does not fit.
func (r *fileReader) set(key settingKey, value toml.Primitive) {
	field := r.settings[key]
	r.lines[key] = r.line(value)
	var given any
	if err := r.meta.PrimitiveDecode(value, &given); err != nil {
		r.add(value, "%s: %v", key, err)
		return
	}
	want, ok := assign(field, given)
	switch {
	case ok:
	case want != "":
		r.add(value, "%s = %s: want %s", key, shown(key.name, given), want)
	default: // lists and tables: the decoder says itself what is wrong
		if err := r.meta.PrimitiveDecode(value, field.Addr().Interface()); err != nil {
			p := decodeProblem(err)
			r.problems = append(r.problems, problem{cmp.Or(p.line, r.line(value)), p.text})
			return
		}
		r.unknownBelow(key, value)
	}
}

// unknownBelow notes the keys of a list of tables that its type does not have.
func (r *fileReader) unknownBelow(key settingKey, value toml.Primitive) {
	noted := map[string]bool{}
	for _, undecoded := range r.meta.Undecoded() {
		path, ok := below(undecoded, key)
		if !ok || len(path) == 0 || noted[path.String()] || noted[path[:len(path)-1].String()] {
			continue
		}
		noted[path.String()] = true
		r.problems = append(r.problems, problem{r.lineBelow(value, path), fmt.Sprintf("unknown key [[%s]] %s", key.table(), show.Printable(path.String()))})
	}
}

// below returns the part of a path of the file that lies below key.
func below(path toml.Key, key settingKey) (toml.Key, bool) {
	for _, name := range []string{key.section, key.name} {
		if name == "" {
			continue
		}
		if len(path) == 0 || path[0] != name {
			return nil, false
		}
		path = path[1:]
	}
	return path, true
}

// lineBelow finds the line of the first value at path in a table or list of tables.
func (r *fileReader) lineBelow(value toml.Primitive, path toml.Key) int {
	if len(path) == 0 {
		return r.line(value)
	}
	var tables []map[string]toml.Primitive
	if r.meta.PrimitiveDecode(value, &tables) != nil {
		tables = make([]map[string]toml.Primitive, 1)
		if r.meta.PrimitiveDecode(value, &tables[0]) != nil {
			return 0
		}
	}
	for _, table := range tables {
		if child, ok := table[path[0]]; ok {
			if line := r.lineBelow(child, path[1:]); line > 0 {
				return line
			}
		}
	}
	return 0
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
	if field.Type() == reflect.TypeFor[[]time.Duration]() {
		list, ok := value.([]any)
		durations := make([]time.Duration, len(list))
		for i := range list {
			var one bool
			durations[i], one = toDuration(list[i])
			ok = ok && one
		}
		if ok {
			field.Set(reflect.ValueOf(durations))
		}
		return `a list of durations such as ["1d", "36h"]`, ok
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

// toDuration reads a bare number as seconds, and "7d" as days of 24 hours.
func toDuration(value any) (time.Duration, bool) {
	if text, ok := value.(string); ok {
		if days, ok := strings.CutSuffix(text, "d"); ok {
			n, err := strconv.ParseUint(days, 10, 16)
			return time.Duration(n) * 24 * time.Hour, err == nil
		}
		d, err := time.ParseDuration(text)
		return d, err == nil
	}
	seconds, ok := toFloat(value)
	if !ok || math.IsNaN(seconds) || math.Abs(seconds) > math.MaxInt64/float64(2*time.Second) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// confidential reports the keys whose values no message may repeat: tokens, the
// namespace, and URLs, which may hold a password.
func confidential(key string) bool {
	return strings.Contains(key, "token") || strings.HasSuffix(key, "url") || strings.HasSuffix(key, "namespace")
}

// shown is the value as an error may repeat it.
func shown(key string, value any) string {
	if confidential(key) {
		return redacted
	}
	if text, ok := value.(string); ok {
		return show.Quoted(text)
	}
	text := show.Quoted(fmt.Sprint(value))
	return text[1 : len(text)-1]
}

// line finds where a value stands: the decoder tells only what it could not
// decode, so it is given something that nothing can be decoded into. It does not
// know a section that is only the parent of another: that begins with its first.
func (r *fileReader) line(value toml.Primitive) int {
	var parseErr toml.ParseError
	if errors.As(r.meta.PrimitiveDecode(value, &undecodable{}), &parseErr) && parseErr.Position.Line > 0 {
		return parseErr.Position.Line
	}
	first := 0
	var children map[string]toml.Primitive
	if r.meta.PrimitiveDecode(value, &children) == nil {
		for _, child := range children {
			if line := r.line(child); line > 0 && (first == 0 || line < first) {
				first = line
			}
		}
	}
	return first
}

type undecodable struct{}

func (*undecodable) UnmarshalTOML(any) error { return errors.New("only asked for its position") }

// typeError is how the TOML library words a value of the wrong type.
var typeError = regexp.MustCompile(`^toml: line (\d+) \(last key "(.*?)"\): (.*)$`)

// longQuote matches a quotation of more than a few characters of the file. Under a
// misspelt key it may be a token without its quotes.
var longQuote = regexp.MustCompile(`"[^"]{8,}"|'[^']{8,}'`)

// decodeProblem turns what the TOML library says into a problem. A message may quote
// the text unless it may be a secret that lacks its quotes.
func decodeProblem(err error) problem {
	var parseErr toml.ParseError
	if errors.As(err, &parseErr) {
		if strings.HasPrefix(parseErr.Message, "Key ") { // given twice
			return problem{parseErr.Position.Line, show.Printable(parseErr.Message)}
		}
		switch message := longQuote.ReplaceAllString(parseErr.Message, "what stands there"); {
		case confidential(parseErr.LastKey):
			return problem{parseErr.Position.Line, "at " + show.Printable(parseErr.LastKey) +
				": not TOML: a text stands in quotes, on one line (what stands there is not shown)"}
		case parseErr.LastKey != "":
			return problem{parseErr.Position.Line, show.Printable("at " + parseErr.LastKey + ": " + message)}
		default:
			return problem{parseErr.Position.Line, show.Printable(message)}
		}
	}
	if found := typeError.FindStringSubmatch(err.Error()); found != nil {
		line, _ := strconv.Atoi(found[1]) // all digits
		return problem{line, show.Printable("at " + found[2] + ": " + wrongType(found[3]))}
	}
	return problem{text: show.Printable(strings.TrimPrefix(err.Error(), "toml: "))}
}
