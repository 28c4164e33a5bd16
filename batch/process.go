package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"noggin/api"
	"noggin/storage"
)

// errTimeOver is why a run ends that has used up its --max-time.
var errTimeOver = errors.New("the time given with --max-time is over")

// Processor drains the queue: it claims due records, fetches each from the API,
// stores it, downloads its attachments and writes its report.
type Processor struct {
	DB       *storage.DB
	API      api.Config
	Config   Config
	Types    *ObjectTypes
	Log      *slog.Logger
	Progress func(Progress) // nil is harmless
	Version  string         // of the program, for the record of runs
	Command  string         // under which the run is recorded
}

// ProcessOptions say what one run takes.
type ProcessOptions struct {
	Selector   storage.Selector
	ObjectType string // code of records named by tip that are new; "" is the default form
	Batch      int    // records at most, unless UntilEmpty
	UntilEmpty bool
	MaxTime    time.Duration // 0: no limit
	Expect     int           // records, for the progress display; 0: not known
	Adopt      bool          // take whole files that are on disk instead of downloading them
}

// Progress is how far a run has come.
type Progress struct {
	Records, Total int // Total is 0 when unknown
	Attachments    int
	Bytes          int64
	Done           bool // this is the last word
}

// Summary is what a run did; its JSON form is documented with the command.
type Summary struct {
	RunID                 int64    `json:"run_id"`
	Claimed               int      `json:"claimed"`
	Complete              int      `json:"complete"`
	Partial               int      `json:"partial"`
	Failed                int      `json:"failed"`
	APIFailed             int      `json:"api_failed"`
	PermanentlyFailed     int      `json:"permanently_failed"`
	Interrupted           int      `json:"interrupted"`
	Lost                  int      `json:"lost"`       // taken over by another run or an operator meanwhile
	Unrecorded            int      `json:"unrecorded"` // done, but the database took no note; they are done again
	AttachmentsDownloaded int      `json:"attachments_downloaded"`
	AttachmentsAdopted    int      `json:"attachments_adopted"` // they were on disk already
	AttachmentsFailed     int      `json:"attachments_failed"`
	BytesDownloaded       int64    `json:"bytes_downloaded"`
	RecordsRenewed        int      `json:"records_renewed"` // given names that became known or changed
	Requests              int      `json:"requests"`
	DurationSeconds       float64  `json:"duration_seconds"`
	Circuit               string   `json:"circuit"`
	Stopped               string   `json:"stopped,omitempty"` // why the run ended before its work did
	Busy                  []string `json:"busy,omitempty"`    // tips that another run is at work on
}

// Unsuccessful is how many records did not end as they should. One that was lost has
// another owner, who sees to it.
func (s Summary) Unsuccessful() int {
	return s.Partial + s.Failed + s.APIFailed + s.Unrecorded + len(s.Busy)
}

// run is one drain of the queue.
type run struct {
	*Processor
	opts    ProcessOptions
	id      int64
	started time.Time
	client  *api.Client
	output  *Output
	breaker *breaker
	verdict *verdict
	store   *group[storage.Answer, *storage.Stored]
	finish  *group[storage.Result, *storage.Finished]

	asked    time.Time               // when the last records were claimed
	stop     context.CancelCauseFunc // ends claiming; the cause is why
	work     context.Context         // of the records in hand
	inHand   sync.WaitGroup
	progress progressCounter

	sureMu  sync.Mutex // one asks whose the records are, for all
	mu      sync.Mutex
	hands   map[string]*hand
	summary Summary
	slots   chan struct{} // records in hand
}

// hand is a record that the run is at work on.
type hand struct {
	claim   storage.Claim
	cancel  context.CancelCauseFunc
	renewed time.Time // when its lease last began, at the earliest
}

type progressCounter struct {
	records, attachments atomic.Int64
	bytes                atomic.Int64
}

// Standing is [storage.DB.Standing], with the times brought back that the database's
// clock set before it was set back.
func (p *Processor) Standing(ctx context.Context) (storage.Standing, error) {
	standing, err := p.DB.Standing(ctx)
	if err != nil || !standing.ClockSetBack {
		return standing, err
	}
	p.Log.Warn("the clock of the database's server was set back: what waited for a time still to come is due now; let the server take its time from NTP")
	if err := p.DB.BringTimesBack(ctx, p.Config.Processing.ClaimLease); err != nil {
		return standing, err
	}
	return p.DB.Standing(ctx)
}

// Run drains the queue as opts say. The summary is right also when an error ends
// the run early: [ErrCredentials], [ErrAPIUnavailable], [storage.ErrUnavailable], a
// [DiskError], or the cause of ctx. After ctx ends, the records in hand are finished
// for at most [Processing.StopGrace].
func (p *Processor) Run(ctx context.Context, opts ProcessOptions, standing storage.Standing) (Summary, error) {
	if !standing.Due && len(opts.Selector.Tips) == 0 {
		id, err := p.DB.RecordRun(ctx, p.Command, p.Version)
		return Summary{RunID: id, Circuit: standing.State}, err
	}
	started := time.Now()
	id, err := p.DB.StartRun(ctx, p.Command, p.Version)
	if err != nil {
		return Summary{}, err
	}
	r := &run{
		Processor: p, opts: opts, id: id, started: started, hands: map[string]*hand{},
		summary: Summary{RunID: id, Circuit: standing.State},
		slots:   make(chan struct{}, p.Config.Processing.Concurrency*2+1),
	}
	err = r.drain(ctx, standing)
	r.summary.DurationSeconds = time.Since(started).Seconds()
	return r.summary, err
}

// drain does the run. Three contexts end one after the other: claiming (stop), the
// work on the records in hand (after the grace), and the writes of their results.
func (r *run) drain(ctx context.Context, standing storage.Standing) error {
	var err error
	if r.output, err = OpenOutput(r.Config.Paths.Output); err != nil {
		return fmt.Errorf("nothing was requested or counted against a record: %w", err)
	}
	defer release(r.output)
	if err = r.output.CheckWritable(); err != nil {
		return fmt.Errorf("nothing was requested or counted against a record: %w", err)
	}
	if n, bytes, err := r.output.SweepTemp(tempAge, time.Now()); err != nil {
		r.Log.Warn("old temporary files could not be removed", "error", err)
	} else if n > 0 {
		r.Log.Info("removed old temporary files", "files", n, "bytes", bytes)
	}

	background := context.WithoutCancel(ctx)
	writes, endWrites := context.WithCancel(background)
	defer endWrites()
	work, endWork := context.WithCancelCause(background)
	defer endWork(nil)
	claiming, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.work, r.stop = work, stop

	if err := r.connect(writes, standing); err != nil {
		return err
	}
	endGrace := r.watchGrace(claiming, endWork)
	defer endGrace()
	var timer *time.Timer
	if r.opts.MaxTime > 0 {
		timer = time.AfterFunc(r.opts.MaxTime, func() { stop(errTimeOver) })
		defer timer.Stop()
	}
	var watchers sync.WaitGroup
	watchers.Go(func() { r.breaker.loop(work) })
	watchers.Go(func() { r.renewLeases(work) })
	watchers.Go(func() { r.reportProgress(work) })
	watchers.Go(func() { r.sampleLoop(work) })

	var claimErr error
	if r.opts.Adopt {
		claimErr = r.locateLegacyFiles(claiming)
	}
	if claimErr == nil {
		claimErr = r.claimAll(claiming)
	}
	r.inHand.Wait()
	endWork(nil)
	watchers.Wait()
	r.store.close()
	r.finish.close()
	return r.conclude(writes, ctx, claiming, claimErr)
}

// connect makes the client with its gate, and the writers.
func (r *run) connect(writes context.Context, standing storage.Standing) error {
	g := &gate{
		db: r.DB, log: r.Log, sleep: r.Config.Processing.TooManyRequestsSleep, stop: r.stop, makeSure: r.makeSure,
		slots: make(chan struct{}, r.Config.Processing.Concurrency), patience: r.timeLeft,
		seen: func(o api.Outcome) {
			r.mu.Lock()
			r.summary.Requests++
			r.mu.Unlock()
			r.verdict.see(o)
		},
	}
	r.breaker = newBreaker(r.Processor, r.id, standing, g.refuse)
	g.breaker = r.breaker
	r.verdict = newVerdict(g.refuse)
	if limit := r.Config.Processing.MaxRequestsPerSecond; limit > 0 {
		g.rate = &rateLimit{db: r.DB, perSecond: limit}
	}
	client := r.API
	client.UserAgent = fmt.Sprintf("noggin/%s run/%d", r.Version, r.id) // so that the API's log tells runs apart
	var err error
	if r.client, err = api.New(client, g); err != nil {
		return err
	}
	r.store = newGroup(writes, func(a storage.Answer) int { return len(a.Payload) }, r.storeAll)
	r.finish = newGroup(writes, func(storage.Result) int { return 0 }, r.finishAll)
	return nil
}

// timeLeft is how long this run may still wait for the API.
func (r *run) timeLeft() time.Duration {
	if r.opts.MaxTime == 0 {
		return 24 * time.Hour
	}
	return r.opts.MaxTime - time.Since(r.started)
}

// watchGrace ends the work on the records in hand when the grace after the end of
// claiming is over.
func (r *run) watchGrace(claiming context.Context, endWork context.CancelCauseFunc) (end func()) {
	stopped := make(chan struct{})
	go func() {
		select {
		case <-stopped:
			return
		case <-claiming.Done():
		}
		grace := time.NewTimer(r.Config.Processing.StopGrace)
		defer grace.Stop()
		select {
		case <-stopped:
		case <-grace.C:
			endWork(fmt.Errorf("not finished within [processing] stop_grace = %s: %w", r.Config.Processing.StopGrace, context.Cause(claiming)))
		}
	}()
	return func() { close(stopped) }
}

func (r *run) reportProgress(ctx context.Context) {
	if r.Progress == nil {
		return
	}
	every(ctx, 200*time.Millisecond, func() { r.Progress(r.progressNow()) })
	last := r.progressNow()
	last.Done = true
	r.Progress(last)
}

func (r *run) progressNow() Progress {
	return Progress{
		Records: int(r.progress.records.Load()), Total: r.opts.Expect,
		Attachments: int(r.progress.attachments.Load()), Bytes: r.progress.bytes.Load(),
	}
}

// conclude judges what counts, tells the circuit the rest, and says why the run
// ended.
func (r *run) conclude(writes, ctx, claiming context.Context, claimErr error) error {
	flush, cancel := context.WithTimeout(writes, 10*time.Second)
	defer cancel()
	if err := r.breaker.flush(flush); err != nil {
		r.Log.Warn("the circuit could not be told how the last requests ended", "error", err)
	}
	r.summary.Circuit = r.breaker.state().State
	stopped := context.Cause(claiming)
	if r.verdict.onlyForbidden() {
		stopped = fmt.Errorf("%w: it answered 403 to every request", ErrCredentials)
	}
	counted, err := r.DB.CountFailures(flush, r.verdict.due(), r.backoff())
	if err != nil {
		r.Log.Warn("failures could not be counted against their records; they will be tried again", "error", err)
	}
	for _, f := range counted {
		if f.PermanentlyFailed {
			r.summary.PermanentlyFailed++
		}
	}
	switch {
	case ctx.Err() != nil:
		stopped = context.Cause(ctx)
	case errors.Is(stopped, errTimeOver):
		r.summary.Stopped = stopped.Error()
		return claimErr
	case stopped == nil:
		return claimErr
	}
	r.summary.Stopped = stopped.Error()
	return stopped
}

func (r *run) backoff() storage.Backoff {
	return storage.Backoff{Multiplier: r.Config.Retry.BackoffMultiplier, MaxAttempts: r.Config.Retry.MaxAttempts}
}
