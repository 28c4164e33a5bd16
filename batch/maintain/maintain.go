package maintain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/storage"
)

// ErrIncomplete is wrapped by an error that says that the work ended but a part of it
// failed. Its exit code is 3.
var ErrIncomplete = errors.New("not everything succeeded")

// Maintenance does the periodic work. All of it may be done while runs drain the queue.
type Maintenance struct {
	DB       *storage.DB    // without a statement timeout
	Database storage.Config // for pg_dump and pg_restore
	Config   Config
	Paths    files.Paths
	Location *time.Location // of the site
	Types    *forms.ObjectTypes
	Log      *slog.Logger
	Version  string          // of noggin, stored with each run
	ExitCode func(error) int // returns the exit code of an error, stored with each run
}

// Effect says what a step did: Text and Lines for people, Details for programs.
type Effect struct {
	Text    string
	Lines   []string
	Details any
}

// Step is one step of maintenance.
type Step struct {
	Name   string // the command `noggin maintain NAME`, unless it is a review
	Review bool   // a review only looks, and has no command of its own
	Do     func(ctx context.Context) (Effect, error)
}

// StepResult says how a step ended.
type StepResult struct {
	Step      string    `json:"step"`
	OK        bool      `json:"ok"`
	StartedAt time.Time `json:"started_at"`
	Seconds   float64   `json:"seconds"`
	Effect    string    `json:"effect"`
	Lines     []string  `json:"lines,omitempty"`
	Error     string    `json:"error,omitempty"`
	Earlier   bool      `json:"earlier,omitempty"` // an earlier run of this week or month did it
	Details   any       `json:"details,omitempty"`

	Err error `json:"-"`
}

// Summary says what a list of steps did.
type Summary struct {
	RunID           int64        `json:"run_id"`
	Command         string       `json:"command"`
	Steps           []StepResult `json:"steps"`
	DurationSeconds float64      `json:"duration_seconds"`
}

// Failed returns the names of the steps that failed.
func (s Summary) Failed() []string {
	var names []string
	for _, step := range s.Steps {
		if !step.OK {
			names = append(names, step.Step)
		}
	}
	return names
}

// RunStep does one step. Unless it is a review, it is recorded as a run of its own.
func (m *Maintenance) RunStep(ctx context.Context, step Step) StepResult {
	r := StepResult{Step: step.Name, StartedAt: time.Now()}
	run := int64(0)
	if !step.Review {
		if run, r.Err = m.DB.StartRun(ctx, "maintain "+step.Name, m.Version); r.Err != nil {
			r.Error = r.Err.Error()
			return r
		}
	}
	m.Log.Info("maintenance begins", "step", step.Name)
	effect, err := step.Do(ctx)
	r.Seconds = time.Since(r.StartedAt).Seconds()
	r.OK, r.Effect, r.Lines, r.Details, r.Err = err == nil, effect.Text, effect.Lines, effect.Details, err
	attributes := []any{"step", step.Name, "seconds", time.Since(r.StartedAt).Round(time.Millisecond).Seconds(), "effect", r.Effect}
	if err != nil {
		r.Error = err.Error()
		m.Log.Error("maintenance failed", append(attributes, "error", err)...)
	} else {
		m.Log.Info("maintenance done", attributes...)
	}
	if !step.Review {
		m.finishRun(ctx, run, r.Err, r.Details)
	}
	return r
}

// RunSteps does the steps in order, except those in earlier. After a step that fails
// it does the others, and returns an error that wraps [ErrIncomplete], and
// [storage.ErrUnavailable] when a step failed for that.
func (m *Maintenance) RunSteps(ctx context.Context, name string, steps []Step, earlier map[string]StepResult) (Summary, error) {
	started := time.Now()
	summary := Summary{Command: "maintain " + name, Steps: []StepResult{}}
	var err error
	if summary.RunID, err = m.DB.StartRun(ctx, summary.Command, m.Version); err != nil {
		return summary, err
	}
	for _, step := range steps {
		if ctx.Err() != nil {
			break
		}
		if done, ok := earlier[step.Name]; ok {
			summary.Steps = append(summary.Steps, done)
			continue
		}
		summary.Steps = append(summary.Steps, m.RunStep(ctx, step))
	}
	summary.DurationSeconds = time.Since(started).Seconds()
	if failed := summary.Failed(); len(failed) > 0 {
		err = fmt.Errorf("%w: %d of %d steps failed: %s", ErrIncomplete, len(failed), len(steps), strings.Join(failed, ", "))
		for _, step := range summary.Steps {
			if errors.Is(step.Err, storage.ErrUnavailable) {
				err = fmt.Errorf("%w: %w", err, step.Err)
				break
			}
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	m.finishRun(ctx, summary.RunID, err, summary)
	return summary, err
}

func (m *Maintenance) finishRun(ctx context.Context, run int64, err error, summary any) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	message := ""
	if err != nil {
		message = err.Error()
	}
	if err := m.DB.FinishRun(ctx, run, m.ExitCode(err), message, summary); err != nil {
		m.Log.Warn("the end of the run could not be recorded", "run_id", run, "error", err)
	}
}

// Earlier returns the steps that already succeeded in this period, a "week" or a
// "month", in runs of the list on any host.
func (m *Maintenance) Earlier(ctx context.Context, name, period string) (map[string]StepResult, error) {
	runs, err := m.DB.RunsThis(ctx, period, "maintain "+name)
	if err != nil {
		return nil, err
	}
	done := map[string]StepResult{}
	for _, run := range runs {
		var summary Summary
		if err := json.Unmarshal(run.Summary, &summary); err != nil {
			continue // a killed run has no summary
		}
		for _, step := range summary.Steps {
			if _, ok := done[step.Step]; step.OK && !ok {
				step.Earlier, step.Lines, step.Details = true, nil, nil
				done[step.Step] = step
			}
		}
	}
	return done, nil
}

// Weekly returns the steps of the operations manual's Sunday maintenance.
func (m *Maintenance) Weekly() []Step {
	return []Step{
		{Name: "unknown-hashes", Review: true, Do: m.reviewHashes},
		{Name: "analyze", Do: m.Analyze},
		{Name: "vacuum", Do: m.Vacuum},
		{Name: "sizes", Review: true, Do: m.sizes},
		{Name: "errors", Review: true, Do: m.reviewErrors},
		{Name: "verify-backup", Do: func(ctx context.Context) (Effect, error) { return m.VerifyBackup(ctx, "", "") }},
		{Name: "archives", Review: true, Do: m.reviewArchives},
		{Name: "performance", Review: true, Do: m.reviewThroughput},
		{Name: "temp", Do: m.SweepTemp},
	}
}

// Monthly returns the steps of the operations manual for the first Sunday of a month,
// and of its SOP-003.
func (m *Maintenance) Monthly() []Step {
	return []Step{
		{Name: "storage", Review: true, Do: m.reviewStorage},
		{Name: "backup", Do: func(ctx context.Context) (Effect, error) { return m.Backup(ctx, "") }},
		{Name: "analyze", Do: m.Analyze},
		{Name: "reindex", Do: m.Reindex},
		{Name: "vacuum", Do: m.Vacuum},
		{Name: "sizes", Review: true, Do: m.sizes},
		{Name: "prune", Do: m.Prune},
		{Name: "archives", Review: true, Do: m.reviewArchives},
		{Name: "counts", Review: true, Do: m.reviewCounts},
		{Name: "permanently-failed", Review: true, Do: m.reviewPermanent},
	}
}
