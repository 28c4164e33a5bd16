package gate

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"noggin/api"
	"noggin/batch/forms"
	"noggin/storage"
)

// Run is all that the gate knows of the run before whose requests it stands.
type Run struct {
	ID      int64
	DB      *storage.DB
	Log     *slog.Logger
	Types   *forms.ObjectTypes
	Circuit Circuit
	Backoff storage.Backoff // of records whose failures count
	// DefaultObjectType is the subject of requests that are for no record.
	DefaultObjectType    string
	Concurrency          int     // requests in flight at most
	MaxRequestsPerSecond float64 // of all runs together; 0: no limit

	Closing <-chan struct{} // closed when the run claims nothing more
	Stop    func(error)     // ends claiming
	// TimeLeft returns how long the run may still wait because the API asks it to, when that
	// did nothing else for as long as waited.
	TimeLeft func(waited time.Duration) time.Duration
	// MakeSure returns an error unless the record in hand is still the run's. The context that
	// it returns ends before the record may have another owner; no request goes out while it
	// has ended.
	MakeSure func(ctx context.Context) (context.Context, error)
	// FreshLeft counts, up to limit, the records that have not failed before and that the
	// run may still ask for.
	FreshLeft func(ctx context.Context, limit int) (int, error)
	Standing  func(ctx context.Context) (storage.Standing, error)
	// Receive downloads an attachment and returns its SHA-256 and what is wrong with it.
	Receive   func(ctx context.Context, client *api.Client, ref forms.AttachmentRef) (sum, flaw string, err error)
	Requested func() // a request was sent
	GaveUp    func() // a record is permanently failed
}

// New returns the gate of a run. client is how the witness is asked.
func New(run Run, client api.Config, standing storage.Standing) (*Gate, error) {
	g := &Gate{run: run, slots: make(chan struct{}, run.Concurrency), slow: make(chan struct{}, run.Concurrency)}
	g.failures = newFailures(g)
	g.breaker = newBreaker(g, standing)
	if run.MaxRequestsPerSecond > 0 {
		g.rate = &rateLimit{db: run.DB, perSecond: run.MaxRequestsPerSecond}
	}
	var err error
	g.witness, err = newWitness(g, client)
	return g, err
}

// Watch keeps the circuit up to date and has failures judged as they come, until ctx ends.
func (g *Gate) Watch(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { g.breaker.loop(ctx) })
	loops.Go(func() { g.failures.loop(ctx) })
	loops.Wait()
}

// State returns the state of the circuit as the run last saw it.
func (g *Gate) State() storage.CircuitState { return g.breaker.state().State }

// Flush tells the circuit how requests ended.
func (g *Gate) Flush(ctx context.Context) error { return g.breaker.flush(ctx) }

// Hold keeps a failure that was written uncounted until the witness has spoken.
func (g *Gate) Hold(failed Failure) { g.failures.hold(failed) }

// SawAnswer notes a good answer: a record, or an attachment that is whole.
func (g *Gate) SawAnswer(subject string) { g.failures.sawAnswer(subject) }

// MayTryForms tells whether a record that is not found is looked for under other forms.
func (g *Gate) MayTryForms(form string) bool { return g.failures.mayTryForms(form) }

// AskLast tells the circuit of the last requests and has the remaining failures judged. A
// run that is told to stop does not ask for them.
func (g *Gate) AskLast(work, claiming context.Context) {
	if claiming.Err() == nil {
		if err := g.breaker.flush(work); err == nil {
			g.breaker.asking.Wait()
		}
		g.failures.end(claiming)
	}
	g.breaker.stopAsking()
	g.lookAtMedia(work, claiming)
}

// lookAtMedia looks whether attachments come again, if the reports say that they do not.
func (g *Gate) lookAtMedia(work, claiming context.Context) {
	came, fail := g.failures.media()
	if fail || g.breaker.state().MediaFailingSince == nil {
		return
	}
	if came || claiming.Err() == nil && g.witness.ask(claiming, storage.SubjectMedia).said == answered {
		g.breaker.mediaSpoke(work, false)
	}
}

// JudgeRefusals returns an error when it is not the objects that are refused, but the
// credentials: nothing else came, and the witness is refused too, or there is none.
func (g *Gate) JudgeRefusals(ctx context.Context, subject string, refused int) error {
	if g.failures.sawOtherwise() {
		return nil
	}
	switch g.witness.ask(ctx, subject).said {
	case answered, gone:
		return nil
	case failed, silent:
		return fmt.Errorf("%w: it answered 403 to all of %d requests, and what is known to be there did not come either", ErrAPIUnavailable, refused)
	default:
		return fmt.Errorf("%w: it answered 403 to all of %d requests", ErrCredentials, refused)
	}
}
