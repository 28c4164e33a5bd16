package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize/english"

	"noggin/api"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/batch/names"
	"noggin/batch/search"
	"noggin/storage"
)

// errTimeOver says why a run ended: its --max-time is over.
var errTimeOver = errors.New("the time given with --max-time is over")

// Processor holds what every run of a command needs.
type Processor struct {
	DB         *storage.DB
	API        api.Config
	Processing Config
	Retry      Retry
	Circuit    gate.Circuit
	Refresh    Refresh
	Output     string // the output folder
	Reserve    int64  // bytes of its volume that stay free; 0: the default
	Types      *forms.ObjectTypes
	Names      names.Config
	Log        *slog.Logger
	Progress   func(Progress) // nil is harmless
	Version    string         // of the program, for the table runs
	Command    string         // the name of the run in the table runs
	InHand     atomic.Int64   // records at work, now
	// DefaultObjectType is the form that a new record is assumed to have.
	DefaultObjectType string

	sampleEvery time.Duration // 0: the default
}

// Options say what one run takes.
type Options struct {
	Selector   storage.Selector
	Batch      int // records at most, unless UntilEmpty
	UntilEmpty bool
	MaxTime    time.Duration // 0: no limit
	CountDue   bool          // count the due records first, for Progress.Total
	Adopt      bool          // use whole files that are on disk instead of downloading them
	Refresh    bool          // ask for complete records again, due or not; the selector chooses them
	Media      bool          // with Refresh: compare the bytes of all attachments too
}

// Progress is how far a run has come.
type Progress struct {
	Records, Total int // Total is 0 when unknown
	Attachments    int
	Bytes          int64
	Done           bool // the run has ended
}

// Summary is what a run did. Its JSON form is part of the command's contract.
type Summary struct {
	RunID                 int64                `json:"run_id"`
	Claimed               int                  `json:"claimed"`
	Complete              int                  `json:"complete"`
	Partial               int                  `json:"partial"`
	Failed                int                  `json:"failed"`
	APIFailed             int                  `json:"api_failed"`
	PermanentlyFailed     int                  `json:"permanently_failed"`
	Interrupted           int                  `json:"interrupted"`
	Lost                  int                  `json:"lost"`       // another run or an operator took them
	Unrecorded            int                  `json:"unrecorded"` // a fault of our own kept the answer or the result from being written; they are done again
	AttachmentsDownloaded int                  `json:"attachments_downloaded"`
	AttachmentsAdopted    int                  `json:"attachments_adopted"` // found whole on disk
	AttachmentsFailed     int                  `json:"attachments_failed"`
	NotCompared           int                  `json:"attachments_not_compared"` // the API did not give them, not whole, or as they were before, or not named; they stay as they are
	BytesDownloaded       int64                `json:"bytes_downloaded"`
	RecordsRenewed        int                  `json:"records_renewed"`         // healed
	NamesFetched          int                  `json:"names_fetched,omitempty"` // of unknown hashes, from the API
	AskedAgain            int                  `json:"asked_again"`             // records that were complete before
	Unchanged             int                  `json:"unchanged"`               // of them, as the others below
	Changed               int                  `json:"changed"`                 // a newer version came
	Reduced               int                  `json:"reduced"`                 // the answer lacked the fields; the current version stays
	Older                 int                  `json:"older"`                   // the answer was an older version; the current one stays
	Gone                  int                  `json:"gone"`                    // the API has them no longer, or does not permit them
	Requests              int                  `json:"requests"`
	DurationSeconds       float64              `json:"duration_seconds"`
	Circuit               storage.CircuitState `json:"circuit"`
	Stopped               string               `json:"stopped,omitempty"` // why the run ended early
	Busy                  []string             `json:"busy,omitempty"`    // tips that another run has claimed
	// Ended says that nothing was due and the end of the run is recorded. Otherwise the
	// caller records it. RunID is 0 when no run was begun.
	Ended bool `json:"-"`

	paused bool // a pause began while it worked
}

// Unsuccessful counts the records that did not end well. A lost record is left out: its
// new owner counts it.
func (s Summary) Unsuccessful() int {
	return s.Partial + s.Failed + s.APIFailed + s.Unrecorded + len(s.Busy)
}

// Run drains the queue, then heals records whose names changed, unless it adopts. It
// inserts records that opts name by tip and that are new. The summary is right also when an
// error ends the run early: [gate.PausedError], [gate.CircuitOpenError], [gate.ErrCredentials],
// [gate.ErrAPIUnavailable], [storage.ErrUnavailable], [storage.ErrNoRight], a
// [files.DiskError], or the cause of ctx. When ctx ends, the records in hand have
// [Config.StopGrace] to end. Run returns in time even when a disk hangs: see
// [Processor.inTime].
func (p *Processor) Run(ctx context.Context, opts Options) (Summary, error) {
	return p.inTime(ctx, opts.MaxTime, func() (Summary, error) { return p.run(ctx, opts) })
}

func (p *Processor) run(ctx context.Context, opts Options) (Summary, error) {
	started := time.Now()
	standing, err := p.standing(ctx)
	switch {
	case err != nil:
		return Summary{}, err
	case standing.Paused:
		return Summary{}, &gate.PausedError{Standing: standing}
	case standing.CircuitOpen():
		return Summary{}, p.waitForCircuit(ctx, opts, standing, started)
	}
	if err := p.DB.ResumeAskings(ctx, p.Refresh.After); err != nil {
		return Summary{}, err
	}
	if s := opts.Selector; len(s.Tips) > 0 {
		if _, err := p.DB.EnsureRecords(ctx, s.Tips, cmp.Or(s.ObjectType, p.DefaultObjectType), s.ObjectType == ""); err != nil {
			return Summary{}, err
		}
	}
	if !standing.Due && len(opts.Selector.Tips) == 0 && !opts.Refresh {
		summary := Summary{Circuit: standing.State, Ended: true}
		if summary.RunID, err = p.DB.RecordRun(ctx, p.Command, p.Version); err != nil {
			return summary, err
		}
		summary.NamesFetched = p.fetchNames(ctx, summary.RunID, opts.MaxTime, started)
		if standing.HealNeeded || summary.NamesFetched > 0 {
			summary.RecordsRenewed = p.heal(ctx, summary.RunID, opts, started)
		}
		p.fillSearch(ctx, standing, opts.MaxTime, started)
		return summary, nil
	}
	expect := 0
	if opts.CountDue {
		due, err := p.DB.CountDue(ctx, opts.Selector)
		if err != nil {
			return Summary{}, err
		}
		if expect = int(due.Due); !opts.UntilEmpty {
			expect = min(expect, opts.Batch)
		}
	}
	summary, err := p.drain(ctx, opts, standing, expect)
	if err == nil && summary.Stopped == "" {
		summary.NamesFetched = p.fetchNames(ctx, summary.RunID, opts.MaxTime, started)
	}
	if summary.RunID != 0 && !summary.paused && !errors.Is(err, storage.ErrUnavailable) {
		summary.RecordsRenewed = p.heal(ctx, summary.RunID, opts, started)
		p.fillSearch(ctx, standing, opts.MaxTime, started)
	}
	return summary, err
}

// standing is [storage.DB.Standing]. When the clock of the database's server was set
// back, it first corrects the times that are stored too late.
func (p *Processor) standing(ctx context.Context) (storage.Standing, error) {
	standing, err := p.DB.Standing(ctx)
	if err != nil || !standing.ClockSetBack {
		return standing, err
	}
	p.Log.Warn("the clock of the database's server was set back: records that waited are due now; synchronise that clock (NTP)")
	if err := p.DB.BringTimesBack(ctx, p.Processing.ClaimLease, p.Refresh.After); err != nil {
		return standing, err
	}
	return p.DB.Standing(ctx)
}

// waitForCircuit heals records, which needs no API, and returns the error that says that
// the circuit is open.
func (p *Processor) waitForCircuit(ctx context.Context, opts Options, standing storage.Standing, started time.Time) error {
	if standing.HealNeeded {
		if id, err := p.DB.RecordRun(ctx, p.Command, p.Version); err != nil {
			p.Log.Warn("records could not be healed", "error", err)
		} else {
			p.heal(ctx, id, opts, started)
		}
	}
	due, err := p.DB.CountDue(ctx, opts.Selector)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w; %s due", &gate.CircuitOpenError{Until: *standing.OpenUntil}, english.Plural(int(due.Due), "record", ""))
}

// fillTime is how long a run makes old records searchable after an upgrade.
const fillTime = time.Minute

// leastHealing is how long healing may last when --max-time is over already.
const leastHealing = 5 * time.Second

// heal heals the records whose names changed and returns their number. --max-time counts
// since started. Its failure is only logged: it says nothing about the records of the run.
// A run with --adopt heals nothing: a text report may be of a version that a restored
// database does not know, and was not read yet.
func (p *Processor) heal(ctx context.Context, run int64, opts Options, started time.Time) int {
	if opts.Adopt {
		return 0
	}
	if limit := opts.MaxTime; limit > 0 {
		var cancel context.CancelFunc
		left := limit - time.Since(started)
		ctx, cancel = context.WithTimeout(ctx, min(max(left, leastHealing), left+p.Processing.StopGrace+leastHealing))
		defer cancel()
	}
	healer := names.Healer{DB: p.DB, Types: p.Types, Output: p.Output, Concurrency: p.Processing.Concurrency, Log: p.Log, Run: run}
	healed, err := healer.Heal(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		p.Log.Warn("not every record could be healed", "waiting", healed.Waiting, "error", err)
	case healed.Waiting > 0:
		p.Log.Info("a later run heals the remaining records", "waiting", healed.Waiting)
	}
	return healed.Healed
}

// fillSearch makes old records searchable after an upgrade, for [fillTime] at most and
// within --max-time. Its failure is only logged, as that of heal.
func (p *Processor) fillSearch(ctx context.Context, standing storage.Standing, limit time.Duration, started time.Time) {
	if !standing.SearchFill {
		return
	}
	left := fillTime
	if limit > 0 {
		left = min(left, limit-time.Since(started))
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	if err := search.Fill(ctx, p.DB, p.Types); err != nil && ctx.Err() == nil {
		p.Log.Warn("records of before the upgrade are not searchable yet", "error", err)
	}
}

// drain records a run and works on records until the batch is done, nothing is due or
// ctx ends.
func (p *Processor) drain(ctx context.Context, opts Options, standing storage.Standing, expect int) (Summary, error) {
	started := time.Now()
	if err := p.DB.CheckRights(ctx); err != nil {
		return Summary{}, err
	}
	id, err := p.DB.StartRun(ctx, p.Command, p.Version)
	if err != nil {
		return Summary{}, err
	}
	r := &run{
		processor: p, db: p.DB, log: p.Log, opts: opts, id: id, started: started, hands: map[string]*hand{},
		summary: Summary{RunID: id, Circuit: standing.State}, progress: Progress{Total: expect},
		slots: make(chan struct{}, p.Processing.Concurrency*2+1),
	}
	err = r.drain(ctx, standing)
	r.summary.DurationSeconds = time.Since(started).Seconds()
	return r.summary, err
}
