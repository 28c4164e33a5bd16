package batch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxTip is the length of the longest tip; the platform's own are 64
// hexadecimal digits.
const maxTip = 64

// Record is what a payload says, taken apart by the definition of its form.
type Record struct {
	// Tip is the payload's own $meta.tip, empty when it has none.
	Tip string
	// InspectionID is the id people use, trimmed, or empty.
	InspectionID string
	// InspectionDate is the calendar day as the site wrote it, YYYY-MM-DD, or
	// empty.
	InspectionDate string
	// CreatedAt and ModifiedAt are the platform's times in UTC, zero when
	// missing.
	CreatedAt, ModifiedAt time.Time
	// Columns holds the text columns of noggin_data that the payload fills; a
	// column without a value has no entry. A reference field that holds nothing
	// but plain text gives its column here.
	Columns map[string]string
	// References are the tips of other objects, in the order of the form.
	References []Reference
	// Attachments are the files to fetch, each tip once: those of the form's
	// media fields in its order, then those of other fields by name.
	Attachments []AttachmentRef
	// Stored is the payload as jsonb takes it.
	Stored []byte
	// Warnings say in words what could not be read.
	Warnings []string

	values map[string]any
}

// Reference is one mention of another object.
type Reference struct {
	Field      string
	Position   int // within the field's list, from 0
	EntityType string
	// Column is the column that takes the resolved name, or empty. A list of
	// references gives the same column several times.
	Column string
	// Hash is the object's tip.
	Hash string
}

// AttachmentRef is one media reference of a payload.
type AttachmentRef struct {
	// Tip is the attachment's key, empty when the reference holds none that
	// could be one; such a reference is also a warning.
	Tip string
	// Ref is the reference as the payload has it. It is not to be trusted, and
	// it holds the namespace: not for logs or reports.
	Ref   string
	Field string
	// Stub is the field's name in file names.
	Stub string
}

// ParseRecord takes a payload apart. It fails only for what is not a JSON
// object or is nested absurdly deep; whatever else is wrong with the payload
// ends in Warnings. Reading Stored back from the database and parsing it again
// gives the same record.
func ParseRecord(ot ObjectType, raw []byte) (Record, error) {
	stored, err := storedJSON(raw)
	if err != nil {
		return Record{}, fmt.Errorf("read payload: %w", err)
	}
	r := Record{Stored: stored, Columns: map[string]string{}}
	decoder := json.NewDecoder(bytes.NewReader(stored))
	decoder.UseNumber()
	if err := decoder.Decode(&r.values); err != nil {
		return Record{}, fmt.Errorf("read payload: %w", err)
	}
	fillDefaults(&ot)
	r.readMeta()
	r.readID(ot.IDField)
	r.readDate(ot.DateField)
	r.readColumns(&ot)
	r.readReferences(&ot)
	r.readAttachments(&ot)
	return r, nil
}

// ParseTip checks that a text can be a tip: 1 to 64 ASCII letters, digits, "-"
// and "_". 64 hexadecimal digits, the platform's own form, are lower-cased.
func ParseTip(s string) (tip string, ok bool) {
	if s == "" || len(s) > maxTip || strings.ContainsFunc(s, func(r rune) bool { return !isTipRune(r) }) {
		return "", false
	}
	if IsPlatformTip(s) {
		return strings.ToLower(s), true
	}
	return s, true
}

// IsPlatformTip reports whether a tip has the platform's own form, 64
// hexadecimal digits.
func IsPlatformTip(s string) bool {
	return len(s) == maxTip && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func isTipRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

func (r *Record) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

func (r *Record) readMeta() {
	meta, ok := r.values[metaField].(map[string]any)
	if !ok {
		r.warn("%s is missing", metaField)
		return
	}
	if tip, ok := meta["tip"].(string); ok {
		r.Tip = tip
		if plain, ok := ParseTip(tip); ok {
			r.Tip = plain
		}
	}
	r.CreatedAt = r.readTime(meta, "createdDate")
	r.ModifiedAt = r.readTime(meta, "modifiedDate")
}

func (r *Record) readTime(meta map[string]any, key string) time.Time {
	value, present := meta[key]
	if !present || value == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, valueText(value))
	if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		r.warn("%s.%s is not a time: %s", metaField, key, excerpt(valueText(value)))
		return time.Time{}
	}
	return t.UTC()
}

func (r *Record) readID(field string) {
	switch value := r.values[field].(type) {
	case string, json.Number:
		r.InspectionID = strings.TrimSpace(valueText(value))
	case nil:
	default:
		r.warn("%s is not an inspection id: %s", field, excerpt(valueText(value)))
		return
	}
	if r.InspectionID == "" {
		r.warn("%s is missing", field)
	}
}

// readDate takes the day as it is written: midnight in the site's own offset
// is the day before in UTC.
func (r *Record) readDate(field string) {
	text := ""
	if s, ok := r.values[field].(string); ok {
		text = strings.TrimSpace(s)
	}
	switch day := firstOf(text, len(time.DateOnly)); {
	case valueText(r.values[field]) == "":
		r.warn("%s is missing", field)
	case isDay(day) && (len(text) == len(day) || text[len(day)] == 'T' || text[len(day)] == ' '):
		r.InspectionDate = day
	default:
		r.warn("%s is not a date: %s", field, excerpt(valueText(r.values[field])))
	}
}

// isDay reports whether a text is a calendar day, YYYY-MM-DD, that PostgreSQL
// knows too.
func isDay(s string) bool {
	t, err := time.Parse(time.DateOnly, s)
	return err == nil && t.Year() > 0
}

func (r *Record) readColumns(ot *ObjectType) {
	for column, field := range ot.Columns {
		r.setColumn(column, valueText(r.values[field]))
	}
	for _, q := range ot.Checklist {
		if q.Column == "" {
			continue
		}
		answer, conflicting := q.answer(r.values)
		if conflicting {
			r.warn("%s: contradictory answers: %s", q.Label, answer)
			answer = "Contradictory"
		}
		r.setColumn(q.Column, answer)
	}
}

func (r *Record) setColumn(column, text string) {
	if text != "" {
		r.Columns[column] = text
	}
}

func (r *Record) readReferences(ot *ObjectType) {
	for _, def := range ot.References {
		var texts []string
		before := len(r.References)
		for position, value := range listOf(r.values[def.Field]) {
			text := strings.TrimSpace(valueText(value))
			if _, isString := value.(string); isString {
				if hash, ok := ParseTip(text); ok {
					r.References = append(r.References, Reference{
						Field: def.Field, Position: position, EntityType: def.EntityType, Column: def.Column, Hash: hash,
					})
					continue
				}
			}
			if text != "" {
				texts = append(texts, text)
				r.warn("%s is not a reference: %s", def.Field, excerpt(text))
			}
		}
		if def.Column != "" && len(r.References) == before {
			r.setColumn(def.Column, strings.Join(texts, ", "))
		}
	}
}

func (r *Record) readAttachments(ot *ObjectType) {
	seen := map[string]bool{}
	listed := map[string]bool{metaField: true}
	for _, m := range ot.Media {
		listed[m.Field] = true
		for _, leaf := range leaves(r.values[m.Field]) {
			if ref, ok := leaf.(string); ok {
				r.addAttachment(seen, AttachmentRef{Ref: ref, Field: m.Field, Stub: m.Stub})
			} else {
				r.warn("%s holds no media reference: %s", m.Field, excerpt(valueText(leaf)))
			}
		}
	}
	for _, field := range slices.Sorted(maps.Keys(r.values)) {
		if listed[field] {
			continue
		}
		for _, leaf := range leaves(r.values[field]) {
			if ref, ok := leaf.(string); ok && isMediaReference(ref) {
				r.addAttachment(seen, AttachmentRef{Ref: ref, Field: field, Stub: stubOf(field)})
			}
		}
	}
}

func (r *Record) addAttachment(seen map[string]bool, a AttachmentRef) {
	a.Ref = strings.TrimSpace(a.Ref)
	a.Tip = mediaTip(a.Ref)
	key := a.Tip
	if key == "" {
		key = "no tip: " + a.Ref
	}
	if seen[key] {
		return
	}
	seen[key] = true
	if a.Tip == "" {
		r.warn("%s holds a media reference without a usable tip: %s", a.Field, excerpt(a.Ref))
	}
	r.Attachments = append(r.Attachments, a)
}

// mediaTip is the tip that a media reference names, or empty when it names
// none, several or an impossible one.
func mediaTip(ref string) string {
	u, err := url.Parse(ref)
	if err != nil {
		return ""
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query["tip"]) != 1 {
		return ""
	}
	tip, _ := ParseTip(query.Get("tip"))
	return tip
}

// isMediaReference reports whether a text of any field is meant as a media
// reference: a whole URL or path of the media service, not a sentence that
// mentions one.
func isMediaReference(s string) bool {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, " \t\r\n<>\"") {
		return false
	}
	s = strings.ToLower(s)
	return strings.HasPrefix(s, "/media") && strings.Contains(s, "?") ||
		strings.Contains(s, "/media") && strings.Contains(s, "tip=")
}

var namespaceParameter = regexp.MustCompile(`(?i)\bns(=|%3d)[0-9a-z_-]{8,}`)

// withoutNamespace takes the tenant's namespace out of media references; only
// the stored payload may hold it.
func withoutNamespace(s string) string {
	if !strings.ContainsAny(s, "=%") { // spares most texts the pattern
		return s
	}
	return namespaceParameter.ReplaceAllString(s, "ns=(namespace)")
}

// excerpt is a text from outside as a warning may hold it: quoted, short, and
// without the namespace.
func excerpt(s string) string {
	const most = 100
	s = withoutNamespace(s)
	if len(s) > most {
		return fmt.Sprintf("%+q…", firstOf(s, most))
	}
	return fmt.Sprintf("%+q", s)
}
