package forms

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

// contradictory is the answer in a column for several answers to one question.
const contradictory = "Contradictory"

// MaxTip is the length of the longest tip in bytes.
const MaxTip = 64

// Record holds the contents of a payload, as the definition of its form finds them.
type Record struct {
	// Tip is the payload's own $meta.tip, empty when it has none.
	Tip string
	// InspectionID is trimmed, or empty.
	InspectionID string
	// InspectionDate is the calendar day that the site wrote, YYYY-MM-DD, or empty.
	InspectionDate string
	// CreatedAt and ModifiedAt are the platform's times in UTC, zero when missing.
	CreatedAt, ModifiedAt time.Time
	// SID is the key of this version, empty when missing; Parents are those of the
	// versions before.
	SID     string
	Parents []string
	// Columns holds the text columns of noggin_data that the payload fills. A column
	// without a value has no entry. A reference field that holds only plain text fills
	// its column here.
	Columns map[string]string
	// References are the hashes, in the order of the form.
	References []Reference
	// Attachments are the files to fetch, each tip once: first those of the media fields
	// in the order of the form, then those of other fields by name.
	Attachments []AttachmentRef
	// Stored is the payload as jsonb takes it.
	Stored []byte
	// Warnings say in words what ParseRecord cannot read.
	Warnings []string
	// Values are the decoded fields of the payload.
	Values map[string]any

	unusable []string // media references without a tip
}

// Reference is one mention of an entity.
type Reference struct {
	Field      string
	Position   int // within the field's list, from 0
	EntityType string
	// Column is the column that takes the name, or empty. The references of a list have
	// the same column.
	Column string
	Hash   string
}

// AttachmentRef is one media reference of a payload.
type AttachmentRef struct {
	// Tip is the attachment's key. It is empty, and there is a warning, when the
	// reference holds no usable one.
	Tip string
	// Ref is the reference as the payload has it. It is untrusted, and it holds the
	// namespace, so it must not get into logs and reports.
	Ref   string
	Field string
	// Stub is the field's name in file names.
	Stub string
	// Document says that the field holds documents, not pictures.
	Document bool
}

// ParseRecord reads a payload by the definition of its form, which is one that [New]
// returned. It fails only when the payload is no JSON object or is nested too deep. All
// other faults become Warnings. Stored, read back from the database, gives the same
// record.
func ParseRecord(ot ObjectType, raw []byte) (Record, error) {
	stored, err := storedJSON(raw)
	if err != nil {
		return Record{}, fmt.Errorf("read payload: %w", err)
	}
	r := Record{Stored: stored, Columns: map[string]string{}}
	decoder := json.NewDecoder(bytes.NewReader(stored))
	decoder.UseNumber()
	if err := decoder.Decode(&r.Values); err != nil {
		return Record{}, fmt.Errorf("read payload: %w", err)
	}
	r.readMeta()
	r.readID(ot.IDField)
	r.readDate(ot.DateField)
	r.readColumns(&ot)
	r.readReferences(&ot)
	r.readAttachments(&ot)
	return r, nil
}

// ParseTip checks that a text can be a tip: 1 to 64 ASCII letters, digits, "-" and "_".
// It makes 64 hexadecimal digits, the platform's own tips, lower case.
func ParseTip(s string) (tip string, ok bool) {
	if s == "" || len(s) > MaxTip || strings.ContainsFunc(s, func(r rune) bool { return !isTipRune(r) }) {
		return "", false
	}
	if IsPlatformTip(s) {
		return strings.ToLower(s), true
	}
	return s, true
}

// IsPlatformTip reports whether a text is 64 hexadecimal digits, as the platform's own
// tips are.
func IsPlatformTip(s string) bool {
	return len(s) == MaxTip && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func isTipRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// Bare reports whether the payload has no value beside its $meta, as the platform answers
// when it no longer shows the record's fields.
func (r *Record) Bare() bool {
	for field, value := range r.Values {
		if field != MetaField && len(Leaves(value)) > 0 {
			return false
		}
	}
	return true
}

func (r *Record) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

func (r *Record) readMeta() {
	meta, ok := r.Values[MetaField].(map[string]any)
	if !ok {
		r.warn("%s is missing", MetaField)
		return
	}
	if tip, ok := meta["tip"].(string); ok {
		r.Tip = tip
		if plain, ok := ParseTip(tip); ok {
			r.Tip = plain
		}
	}
	r.SID = ValueText(meta["sid"])
	for _, parent := range ListOf(meta["parent"]) {
		if sid := ValueText(parent); sid != "" {
			r.Parents = append(r.Parents, sid)
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
	t, err := time.Parse(time.RFC3339, ValueText(value))
	if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		r.warn("%s.%s is not a time: %s", MetaField, key, excerpt(ValueText(value)))
		return time.Time{}
	}
	return t.UTC()
}

func (r *Record) readID(field string) {
	switch value := r.Values[field].(type) {
	case string, json.Number:
		r.InspectionID = strings.TrimSpace(ValueText(value))
	case nil:
	default:
		r.warn("%s is not an inspection id: %s", field, excerpt(ValueText(value)))
		return
	}
	if short := ShortID(r.InspectionID); short != r.InspectionID {
		r.warn("%s has %d bytes: cut to %d, the answer has it whole", field, len(r.InspectionID), len(short))
		r.InspectionID = short
	}
	if r.InspectionID == "" {
		r.warn("%s is missing", field)
	}
}

// maxID is the length of the longest inspection id in bytes: an index takes no text of
// any length.
const maxID = 200

// ShortID cuts an inspection id to the length that is kept outside the answer.
func ShortID(id string) string { return strings.TrimSpace(FirstOf(id, maxID)) }

// readDate takes the day as it is written. It ignores the offset, because midnight at the
// site may be the day before in UTC.
func (r *Record) readDate(field string) {
	text := ""
	if s, ok := r.Values[field].(string); ok {
		text = strings.TrimSpace(s)
	}
	switch day := FirstOf(text, len(time.DateOnly)); {
	case ValueText(r.Values[field]) == "":
		r.warn("%s is missing", field)
	case isDay(day) && (len(text) == len(day) || text[len(day)] == 'T' || text[len(day)] == ' '):
		r.InspectionDate = day
	default:
		r.warn("%s is not a date: %s", field, excerpt(ValueText(r.Values[field])))
	}
}

// isDay reports whether a text is a calendar day, YYYY-MM-DD, that PostgreSQL takes too.
func isDay(s string) bool {
	t, err := time.Parse(time.DateOnly, s)
	return err == nil && t.Year() > 0
}

func (r *Record) readColumns(ot *ObjectType) {
	for column, field := range ot.Columns {
		r.setColumn(column, ValueText(r.Values[field]))
	}
	for _, q := range ot.Checklist {
		if q.Column == "" {
			continue
		}
		answer, conflicting := q.Answer(r.Values)
		if conflicting {
			r.warn("%s: contradictory answers: %s", q.Label, answer)
			answer = contradictory
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
		for position, value := range ListOf(r.Values[def.Field]) {
			text := strings.TrimSpace(ValueText(value))
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
	listed := map[string]bool{MetaField: true}
	for _, m := range ot.Media {
		listed[m.Field] = true
		var others []string
		unusable := len(r.unusable)
		for _, leaf := range Leaves(r.Values[m.Field]) {
			if ref, ok := leaf.(string); ok {
				r.addAttachment(seen, AttachmentRef{Ref: ref, Field: m.Field, Stub: m.Stub, Document: m.Kind == kindDocument})
			} else {
				others = append(others, ValueText(leaf))
			}
		}
		r.warnOfAll(others, m.Field+" holds no media reference")
		r.warnOfAll(r.unusable[unusable:], m.Field+" holds a media reference without a usable tip")
	}
	for _, field := range slices.Sorted(maps.Keys(r.Values)) {
		if listed[field] {
			continue
		}
		unusable := len(r.unusable)
		for _, leaf := range Leaves(r.Values[field]) {
			if ref, ok := leaf.(string); ok && IsMediaReference(ref) {
				r.addAttachment(seen, AttachmentRef{Ref: ref, Field: field, Stub: stubOf(field)})
			}
		}
		r.warnOfAll(r.unusable[unusable:], field+" holds a media reference without a usable tip")
	}
}

// warnOfAll makes one warning of all values of a field that have the same fault.
func (r *Record) warnOfAll(values []string, what string) {
	switch {
	case len(values) == 1:
		r.warn("%s: %s", what, excerpt(values[0]))
	case len(values) > 1:
		r.warn("%s, %d times, first: %s", what, len(values), excerpt(values[0]))
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
		r.unusable = append(r.unusable, a.Ref)
	}
	r.Attachments = append(r.Attachments, a)
}

// mediaTip is the tip in a media reference. It is empty when the reference holds none,
// several or an impossible one.
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

// IsMediaReference reports whether a text is a media reference: a whole URL or path of
// the media service, not a sentence that mentions one.
func IsMediaReference(s string) bool {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, " \t\r\n<>\"") {
		return false
	}
	s = strings.ToLower(s)
	return strings.HasPrefix(s, "/media") && strings.Contains(s, "?") ||
		strings.Contains(s, "/media") && strings.Contains(s, "tip=")
}

// namespaceParameter matches it also in a reference that is percent-encoded.
var namespaceParameter = regexp.MustCompile(`(?i)(\b|%3f|%26)ns(?:=|%3d)[0-9a-z_-]{8,}`)

// WithoutNamespace removes the tenant's namespace from media references. Only the stored
// payload may hold it.
func WithoutNamespace(s string) string {
	if !strings.ContainsAny(s, "=%") { // Most texts need no search.
		return s
	}
	return namespaceParameter.ReplaceAllString(s, "${1}ns=(namespace)")
}

// excerpt makes a text from outside fit for a warning: quoted, short and without the
// namespace.
func excerpt(s string) string {
	const most = 100
	s = WithoutNamespace(s)
	if len(s) > most {
		return fmt.Sprintf("%+q…", FirstOf(s, most))
	}
	return fmt.Sprintf("%+q", s)
}
