package export

import (
	"cmp"
	"fmt"
	"image"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"noggin/batch/forms"
	"noggin/batch/textreport"
	"noggin/storage"
)

// recordView is what the page of a record shows.
type recordView struct {
	At, Up     string // of the navigation
	Print      bool   // there is a page of all inspections
	base       string // where the record's files are, from the page
	Heading    string
	DayText    string
	Result     string // of the load
	Tone       string
	Content    textreport.Content
	Glance     []glance
	Questions  []questionView
	Unanswered []textreport.Answered
	Photos     []*photoView
	Former     []*photoView
	Versions   []versionView
	Files      []fileView
	Problems   []string
	Footer     string
}

// glance is an answer and how many questions have it.
type glance struct {
	Answer, Tone string
	Count        int
}

type questionView struct {
	textreport.Answered
	Tone   string
	Photos []*photoView
}

// photoView is an attachment as a picture or an icon.
type photoView struct {
	tip           string
	Base          *string
	Name, Note    string
	Href          string // empty: it is not in the export
	Shown         bool   // the link opens it
	Thumb         string // empty: an icon stands for it
	Width, Height int
	Icon          string
	Missing       string // why it is not in the export
}

type versionView struct {
	Title   string
	Changes []forms.FieldChange
	None    string // what stands in place of changes
}

type fileView struct {
	Base                          *string
	Name, Href, SHA256, Tip, Note string
	Shown                         bool
	Size                          string
}

// tones are the answers that tell by themselves whether all is well.
var tones = map[string]string{
	"compliant": "good", "excellent": "good", "good": "good",
	"fair":          "warn",
	"not compliant": "bad", "unacceptable": "bad", "defect": "bad",
}

// toneOf is good, warn, bad, or empty for an answer that tells nothing by itself.
func toneOf(answer string) string {
	if strings.HasPrefix(answer, "Contradictory: ") {
		return "bad"
	}
	return tones[strings.ToLower(answer)]
}

// atAGlance counts the answers of a checklist, those to look at first.
func atAGlance(questions []textreport.Answered) []glance {
	var counts []glance
	none := 0
	for _, q := range questions {
		i := slices.IndexFunc(counts, func(g glance) bool { return g.Answer == q.Answer })
		switch {
		case q.Answer == "":
			none++
		case i >= 0:
			counts[i].Count++
		default:
			counts = append(counts, glance{q.Answer, toneOf(q.Answer), 1})
		}
	}
	order := []string{"bad", "warn", "", "good"}
	slices.SortStableFunc(counts, func(a, b glance) int {
		return cmp.Or(slices.Index(order, a.Tone)-slices.Index(order, b.Tone), b.Count-a.Count)
	})
	const most = 12
	if len(counts) > most { // texts that are no answers of the form
		counts = counts[:most]
	}
	if none > 0 {
		counts = append(counts, glance{"not answered", "", none})
	}
	return counts
}

// resultOf is what a list shows of an inspection's result, and its tone.
func resultOf(compliance string, defects int) (result, tone string) {
	if compliance != "" {
		return compliance, toneOf(compliance)
	}
	switch defects {
	case 0:
		return "", ""
	case 1:
		return "1 to look at", "bad"
	}
	return strconv.Itoa(defects) + " to look at", "bad"
}

// dayText writes a day in words.
func dayText(day string) string {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return day
	}
	return at.Format("Monday, 2 January 2006")
}

// iconOf is the word on the icon of a file without a thumbnail.
func iconOf(name string) string {
	ext := strings.ToUpper(strings.TrimPrefix(path.Ext(name), "."))
	return cmp.Or(ext, "FILE")
}

// grouped writes a number with blanks between its thousands.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "\u00a0" + digits[i:]
	}
	return digits
}

// lay arranges the content of a record's page.
func (v *recordView) lay(content textreport.Content) {
	v.Content = content
	v.Heading = cmp.Or(content.ID, "Inspection without an id")
	v.DayText = dayText(content.Day)
	v.Result = content.Compliance
	v.Glance = atAGlance(content.Questions)
	for _, p := range slices.Concat(v.Photos, v.Former) {
		p.Base = &v.base
	}
	for _, q := range content.Questions {
		if q.Blank() {
			v.Unanswered = append(v.Unanswered, q)
			continue
		}
		shown := questionView{Answered: q, Tone: toneOf(q.Answer)}
		for _, photo := range q.Photos {
			if i := slices.IndexFunc(v.Photos, func(p *photoView) bool { return p.tip == photo.Tip }); i >= 0 {
				shown.Photos = append(shown.Photos, v.Photos[i])
			}
		}
		v.Questions = append(v.Questions, shown)
	}
}

// photo returns how a file is shown that is in the export under name; without a name it
// is not, for the reason of missing.
func photo(f storage.File, label, name, thumb string, size image.Point, missing string) *photoView {
	p := &photoView{tip: f.AttachmentTip, Name: textreport.Clean(label), Href: name, Shown: isShown(name), Thumb: thumb, Width: size.X, Height: size.Y, Icon: iconOf(name), Missing: missing}
	switch {
	case f.Former != "":
		p.Note = fmt.Sprintf("version %d", f.FirstVersion)
		if f.LastVersion > f.FirstVersion {
			p.Note += fmt.Sprintf(" to %d", f.LastVersion)
		}
	case f.Validation == storage.ValidationSuspect:
		p.Note = "suspect: its end is not as the format wants it"
	}
	return p
}
