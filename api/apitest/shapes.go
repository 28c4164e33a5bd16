package apitest

import (
	"embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// samples are synthetic answers, one for each form, with every field that the API knows.
// Records take their shapes from them.
//
//go:embed samples/*.json
var samples embed.FS

// Sample is a synthetic answer of a form, with every field that the API knows.
func Sample(code string) []byte {
	raw, err := samples.ReadFile("samples/" + code + ".json")
	if err != nil {
		panic(err) // it is embedded
	}
	return raw
}

// Form is one kind of inspection, with the API's names.
type Form struct {
	Code    string
	APIName string // path segment
	IDField string
}

var forms = []Form{
	{"LCD", "loadComplianceCheckDriverLoader", "lcdInspectionId"},
	{"LCS", "loadComplianceCheckSupervisorManager", "lcsInspectionId"},
	{"CCC", "couplingComplianceCheck", "couplingId"},
	{"TA", "trailerAudits", "trailerAuditId"},
	{"SO", "siteObservations", "siteObservationId"},
	{"FPI", "forkliftPrestartInspection", "forkliftPrestartInspectionId"},
}

// Forms lists the six forms.
func Forms() []Form { return slices.Clone(forms) }

// shape is a form with its fields, as its sample shows them.
type shape struct {
	form        Form
	idPrefix    string
	idWidth     int
	fields      []field
	mediaFields []string
	typeTip     string // $meta.type and $meta.security of the form
	security    string
}

// field is one field of a form.
type field struct {
	name   string
	fill   fill
	entity EntityType
	pool   []json.RawMessage
	sample string // text of a string sample
	absent float64

	// Of an answer to a checklist question: the position of the question's first answer,
	// this answer's place among them, and how many there are.
	group, place, size int
}

// mediaSlot decides which field shows a record's photograph number seq. A form with
// many fields has a photograph for each check: each field gets one before any gets two,
// and records begin with different fields. Otherwise most photographs are in the field
// "attachments".
func (s *shape) mediaSlot(seq int, dice uint64) int {
	n := len(s.mediaFields)
	if n > 2 {
		return (int(dice%uint64(n)) + seq) % n
	}
	dice = mix(dice, uint64(seq))
	if plain := slices.Index(s.mediaFields, "attachments"); plain >= 0 && (seq == 0 || dice%4 != 0) {
		return plain
	}
	return int(dice >> 8 % uint64(n))
}

func mustCompile(code string) *shape {
	i := slices.IndexFunc(forms, func(f Form) bool { return f.Code == code })
	if i < 0 {
		panic(fmt.Sprintf("apitest: no form %q", code))
	}
	s, err := compile(forms[i], Sample(code))
	if err != nil {
		panic(fmt.Sprintf("apitest: sample %s: %v", code, err))
	}
	return s
}

func compile(form Form, raw []byte) (*shape, error) {
	doc, err := parseDocument(raw)
	if err != nil {
		return nil, err
	}
	s := &shape{form: form}
	var meta struct{ Type, Security string }
	if err := json.Unmarshal(doc.get("$meta"), &meta); err != nil {
		return nil, fmt.Errorf("$meta: %w", err)
	}
	s.typeTip, s.security = meta.Type, meta.Security
	for _, entry := range doc.entries {
		if entry.name == "$meta" {
			continue
		}
		f := classify(form, entry.name, entry.value)
		if f.fill == fillID {
			digits := trailingDigits.FindString(f.sample)
			s.idPrefix, s.idWidth = strings.TrimSuffix(f.sample, digits), len(digits)
		}
		if f.fill == fillMedia {
			s.mediaFields = append(s.mediaFields, f.name)
		}
		s.fields = append(s.fields, f)
	}
	groupAnswers(s.fields)
	return s, nil
}

var (
	trailingDigits = regexp.MustCompile(`\d+$`)
	looksLikeTip   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	looksLikeRego  = regexp.MustCompile(`^\d[A-Z]{3}\d{3}$`)
	looksLikeCount = regexp.MustCompile(`^\d+(\.\d+)?([a-z]*)$`)
	answerEnding   = regexp.MustCompile(`(Yes|Ye|Y|No|NA|Na|N|Compliant|Defect|Excellent|Good|Fair|Unacceptable)$`)
)

// classify decides from a sample's value how values of this field are made.
func classify(form Form, name string, value json.RawMessage) field {
	f := field{name: name, group: -1}
	var text string
	var list []string
	var answer bool
	switch {
	case json.Unmarshal(value, &answer) == nil:
		f.fill = fillAnswer
	case json.Unmarshal(value, &text) == nil:
		f.sample = text
		classifyText(form, &f)
	case json.Unmarshal(value, &list) == nil && len(list) > 0 && strings.HasPrefix(list[0], "/media/"):
		f.fill = fillMedia
	case json.Unmarshal(value, &list) == nil:
		f.fill, f.entity = fillReferences, entityOf(name)
		f.absent = 0.3
	default:
		f.fill = fillNumber
	}
	return f
}

func classifyText(form Form, f *field) {
	switch {
	case f.name == form.IDField:
		f.fill = fillID
	case f.name == "date":
		f.fill = fillDate
	case looksLikeTip.MatchString(f.sample):
		f.fill, f.entity = fillReference, entityOf(f.name)
		f.absent = map[string]float64{"trailer2": 0.5, "trailer3": 0.75}[f.name]
	case looksLikeRego.MatchString(f.sample):
		f.fill = fillRego
	case looksLikeCount.MatchString(f.sample):
		f.fill = fillCount
	case strings.HasPrefix(f.sample, "<p>"):
		f.fill, f.pool, f.absent = fillPool, htmlTexts, 0.3
	case strings.HasSuffix(f.sample, " Example"):
		f.fill, f.pool = fillPool, signatures
	case f.sample == "goldstar":
		f.fill, f.pool = fillPool, quoted("goldstar", "goldstar", "contractor")
	case f.name == "preStartStatus":
		f.fill, f.pool = fillPool, quoted("compliant", "defective")
	case f.sample == "":
		f.fill, f.pool, f.absent = fillPool, quoted(""), 0.5
	case strings.HasPrefix(f.sample, "F"): // assetId, assetName of a forklift
		f.fill = fillNumbered
	default:
		f.fill, f.pool, f.absent = fillPool, remarks, 0.5
	}
}

// groupAnswers finds runs of booleans that are answers to one question, of which one is
// chosen. The API cuts long names at about 50 characters, so their endings are irregular.
// Neighbours are compared without their endings.
func groupAnswers(fields []field) {
	for i := 0; i < len(fields); {
		if fields[i].fill != fillAnswer {
			i++
			continue
		}
		j := i + 1
		for j < len(fields) && fields[j].fill == fillAnswer && sameQuestion(fields[i].name, fields[j].name) {
			j++
		}
		for k := i; k < j; k++ {
			fields[k].group, fields[k].place, fields[k].size = i, k-i, j-i
		}
		i = j
	}
}

func sameQuestion(first, next string) bool {
	ending := answerEnding.FindString(next)
	a := strings.TrimSuffix(first, answerEnding.FindString(first))
	b := strings.TrimSuffix(next, ending)
	switch ending {
	case "":
		return a == b
	case "Yes", "Ye", "Y", "Compliant", "Excellent":
		return false
	case "Defect":
		return true // tyresWheelsCompliant goes with tyreWheelsDefect
	}
	common := 0
	for common < min(len(a), len(b)) && a[common] == b[common] {
		common++
	}
	return common >= min(len(a), len(b))-2
}
