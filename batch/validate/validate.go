package validate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"noggin/batch/archive"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

// The severities of a finding.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

// Finding is one kind of problem and how often it was found.
type Finding struct {
	Severity string   `json:"severity"`
	Area     string   `json:"area"`
	Check    string   `json:"check"` // the name of the check, never renamed
	Message  string   `json:"message"`
	Count    int64    `json:"count"`
	Examples []string `json:"examples"`
	Remedy   string   `json:"remedy"` // the command that mends it, or other advice
	Fixed    int64    `json:"fixed"`  // how many --fix mended
}

// Open reports whether a part of the finding is not mended.
func (f Finding) Open() bool { return f.Fixed < f.Count }

// Area is a part of the mirror that is checked as a whole, with its findings.
type Area struct {
	Name     string    `json:"area"`
	Checked  bool      `json:"checked"`          // to the end
	Reason   string    `json:"reason,omitempty"` // why not
	Facts    []string  `json:"facts"`            // useful facts that are no findings
	Findings []Finding `json:"-"`
}

// NewArea returns an area without findings that is not checked yet.
func NewArea(name string) *Area { return &Area{Name: name, Facts: []string{}} }

// Error adds an error with count 1.
func (a *Area) Error(check, message, remedy string) {
	a.Add(Finding{Severity: SeverityError, Check: check, Message: message, Remedy: remedy, Count: 1})
}

// Warn adds a warning with count 1.
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

// Fact adds a fact.
func (a *Area) Fact(text string) { a.Facts = append(a.Facts, text) }

// Done ends the area. A nil error marks it as checked. Any other error becomes a
// finding and leaves the area unchecked, except the end of the context, which Done
// returns.
func (a *Area) Done(ctx context.Context, err error) error {
	switch {
	case err == nil:
		a.Checked = true
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, storage.ErrPooler):
		a.Error("pooler", err.Error(), "let [database] url lead to PostgreSQL itself")
	case errors.Is(err, storage.ErrUnavailable):
		a.Error("reachable", err.Error(), "check that PostgreSQL runs (systemctl status postgresql) and that [database] url is right")
	case errors.Is(err, storage.ErrOldProgram):
		a.Error("schema", err.Error(), storage.ErrOldProgram.Error())
	case errors.Is(err, storage.ErrSchema):
		a.Error("schema", err.Error(), "`noggin init-db`")
	default:
		a.Error("failed", err.Error(), "do what the message says, then validate again")
	}
	a.Reason = "the check failed before its end"
	return nil
}

// Validator checks the mirror. It changes something only when Fix is set.
type Validator struct {
	DB       *storage.DB // Data and Files need it without a statement timeout
	Paths    files.Paths
	Location *time.Location // of the site
	// DefaultObjectType is the code of the form for records that Fix inserts.
	DefaultObjectType string
	Types             *forms.ObjectTypes
	Schema            string // the text of schema.sql
	Log               *slog.Logger
	Fix               bool // mend what is safe to mend
	// Register registers the archive at a path, for the files that the database knows, as a
	// run of its own. Files calls it with Fix; nil: no archive is registered.
	Register func(ctx context.Context, at string) (archive.RegisterSummary, error)
	Progress func(FilesProgress) // nil is harmless
}

// maxExamples is the number of examples in a finding.
const maxExamples = 5

// tally counts what one check finds and keeps the first examples in alphabetical order.
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
