package batch

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"noggin/storage"
)

// The severities of a finding.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

// Finding is something that is not as it should be.
type Finding struct {
	Severity string   `json:"severity"`
	Area     string   `json:"area"`
	Check    string   `json:"check"` // what was looked at; never renamed
	Message  string   `json:"message"`
	Count    int64    `json:"count"`
	Examples []string `json:"examples"`
	Remedy   string   `json:"remedy"` // the command that mends it, or what to do
	Fixed    int64    `json:"fixed"`  // how much of it --fix has mended
}

// Open reports whether something of the finding is left to be done.
func (f Finding) Open() bool { return f.Fixed < f.Count }

// Area is what was looked at together, and what was found.
type Area struct {
	Name     string    `json:"area"`
	Checked  bool      `json:"checked"` // to the end
	Reason   string    `json:"reason,omitempty"`
	Facts    []string  `json:"facts"` // what is worth knowing, all the same
	Findings []Finding `json:"-"`
}

// NewArea returns an area of which nothing is known yet.
func NewArea(name string) *Area { return &Area{Name: name, Facts: []string{}} }

// Error adds a finding that is an error; it happened once.
func (a *Area) Error(check, message, remedy string) {
	a.Add(Finding{Severity: SeverityError, Check: check, Message: message, Remedy: remedy, Count: 1})
}

// Warn adds a finding that is a warning; it happened once.
func (a *Area) Warn(check, message, remedy string) {
	a.Add(Finding{Severity: SeverityWarning, Check: check, Message: message, Remedy: remedy, Count: 1})
}

// Add adds a finding.
func (a *Area) Add(f Finding) {
	f.Area = a.Name
	if f.Examples == nil {
		f.Examples = []string{}
	}
	a.Findings = append(a.Findings, f)
}

// Fact adds something worth knowing.
func (a *Area) Fact(text string) { a.Facts = append(a.Facts, text) }

// Done says how the area ended: an error of the database is a finding, and leaves
// the rest unchecked. What else goes wrong is returned.
func (a *Area) Done(ctx context.Context, err error) error {
	switch {
	case err == nil:
		a.Checked = true
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, storage.ErrUnavailable):
		a.Error("reachable", err.Error(), "see that PostgreSQL runs and [database] url is right: systemctl status postgresql")
	case errors.Is(err, storage.ErrSchema):
		a.Error("schema", err.Error(), "noggin init-db")
	default:
		a.Error("failed", err.Error(), "see what the message says, and run it again")
	}
	a.Reason = "the check could not be carried out"
	return nil
}

// Validator looks whether the mirror is as it should be. It changes nothing, save
// what Fix asks for.
type Validator struct {
	DB       *storage.DB // without a statement timeout for the areas data and files
	Config   Config
	Types    *ObjectTypes
	Schema   string // the text of schema.sql
	Log      *slog.Logger
	Fix      bool                // mend what can be mended safely
	Progress func(FilesProgress) // nil is harmless
}

// maxExamples is how many examples a finding shows.
const maxExamples = 5

// tally counts what one check finds, and keeps the first examples in the order of
// the alphabet.
type tally struct {
	count    int64
	examples []string
}

func (t *tally) add(example string) {
	t.count++
	at, _ := slices.BinarySearch(t.examples, example)
	if at < maxExamples {
		t.examples = slices.Insert(t.examples, at, example)
		t.examples = t.examples[:min(len(t.examples), maxExamples)]
	}
}
