package validate

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"noggin/batch/validate"
	"noggin/commands/show"
)

// countFindings is "2 errors, 1 warning".
func countFindings(r *result) string {
	var parts []string
	for _, part := range []struct {
		n    int
		noun string
	}{{r.Errors, "error"}, {r.Warnings, "warning"}} {
		switch part.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+part.noun)
		default:
			parts = append(parts, show.Textf("%d %ss", part.n, part.noun))
		}
	}
	if len(parts) == 0 {
		return "all is well"
	}
	return strings.Join(parts, ", ")
}

// describe writes the result for people: the areas with their facts, then
// the findings, each with its remedy.
func describe(r *result, out show.Output) string {
	var b strings.Builder
	for _, a := range r.Areas {
		indented(&b, out, fmt.Sprintf("%-10s", a.Name), describeArea(a, r.Findings))
		for _, fact := range a.Facts {
			indented(&b, out, strings.Repeat(" ", 10), fact)
		}
	}
	for _, f := range r.Findings {
		b.WriteByte('\n')
		message := f.Message
		if len(f.Examples) > 0 {
			message += show.Textf(": %d", f.Count)
		}
		label := map[string]string{validate.SeverityError: "ERROR", validate.SeverityWarning: "WARNING"}[f.Severity]
		colour := text.Colors{text.FgRed, text.Bold}
		if f.Severity == validate.SeverityWarning {
			colour = text.Colors{text.FgYellow, text.Bold}
		}
		if !f.Open() {
			label, colour = "FIXED", text.Colors{text.FgGreen, text.Bold}
		}
		label = fmt.Sprintf("%-10s", label)
		if out.Colour {
			label = colour.Sprint(label)
		}
		indented(&b, out, label, f.Area+": "+message)
		for _, example := range f.Examples {
			indented(&b, out, "  ", example)
		}
		if rest := f.Count - int64(len(f.Examples)); rest > 0 && len(f.Examples) > 0 {
			indented(&b, out, "  ", show.Textf("and %d more", rest))
		}
		if f.Open() {
			indented(&b, out, "  mend:   ", f.Remedy)
		}
	}
	if len(r.Findings) > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintln(&b, countFindings(r))
	return b.String()
}

// describeArea is "ok", "2 errors", or why it was not looked at.
func describeArea(a *validate.Area, findings []validate.Finding) string {
	counts := result{}
	fixed := 0
	for _, f := range findings {
		switch {
		case f.Area != a.Name:
		case !f.Open():
			fixed++
		case f.Severity == validate.SeverityError:
			counts.Errors++
		default:
			counts.Warnings++
		}
	}
	state := "ok"
	if counts.Errors+counts.Warnings > 0 {
		state = countFindings(&counts)
	}
	if fixed > 0 {
		state += show.Textf(", %d fixed", fixed)
	}
	if a.Checked {
		return state
	}
	if state == "ok" {
		return "not checked: " + a.Reason
	}
	return state + "; " + a.Reason
}

// indented writes a text behind a label of 10 columns, or under it, within the
// terminal's width.
func indented(b *strings.Builder, out show.Output, label, content string) {
	content = show.Printable(content)
	indent := 10
	if label == "  " {
		indent = 2
	}
	if out.Width > 2*indent {
		content = text.WrapSoft(content, out.Width-indent)
	}
	for i, line := range strings.Split(content, "\n") {
		if i == 0 {
			b.WriteString(label)
		} else {
			b.WriteString(strings.Repeat(" ", indent))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}
