package process_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/gate"
	"noggin/batch/process"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// impatient opens the mirror's database, behind a proxy, with a short [database] retry_for.
func impatient(m *batchtest.Mirror, retryFor time.Duration) *storagetest.Proxy {
	m.T.Helper()
	proxy := storagetest.NewProxy(m.T, m.URL)
	cfg := storage.DefaultConfig()
	cfg.URL, cfg.RetryFor = proxy.URL(m.URL), retryFor
	db, err := storage.Open(cfg.ForRuns(), "process")
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(func() { _ = db.Close() })
	m.DB = db
	return proxy
}

// runWithin runs the mirror and fails the test unless the run ends within a limit after
// something was acted.
func runWithin(ctx context.Context, m *batchtest.Mirror, acted <-chan struct{}, limit time.Duration, opts process.Options) (process.Summary, error) {
	m.T.Helper()
	since := make(chan time.Time, 1)
	go func() {
		<-acted
		since <- time.Now()
	}()
	summary, err := m.Run(ctx, opts)
	ended := time.Now()
	if took := ended.Sub(<-since); took > limit {
		m.T.Errorf("the run took %s, want at most %s: %v\n%s", took, limit, err, m.Logged)
	}
	return summary, err
}

// slack is what the tail of a run and a busy machine may take.
const slack = 4 * time.Second

var networkFaults = map[string]func(*storagetest.Proxy){
	"answers are swallowed":  (*storagetest.Proxy).SwallowAnswers,
	"requests are swallowed": (*storagetest.Proxy).SwallowRequests,
	"packets are late":       func(p *storagetest.Proxy) { p.Delay(20 * time.Second) },
	"connections are reset":  (*storagetest.Proxy).Reset,
	"everything stalls":      (*storagetest.Proxy).Stall,
	"nobody listens":         (*storagetest.Proxy).Refuse,
}

// TestARunThatLosesTheDatabaseWhenNothingElseIsDueGoesOn loses the state of the mirror,
// which a run reads when a claim found nothing.
func TestARunThatLosesTheDatabaseWhenNothingElseIsDueGoesOn(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(3, 1))
	proxy := impatient(m, 10*time.Second)
	proxy.LoseReply(func(statement string) bool {
		return strings.Contains(statement, "AS heal_needed") && m.Server.Stats().Requests > 0
	})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 3 || proxy.Lost() == 0 {
		t.Errorf("summary %+v, %d replies lost", s, proxy.Lost())
	}
}

func TestARunEndsInTimeWhateverTheNetworkToTheDatabaseDoes(t *testing.T) {
	t.Parallel()
	for name, fault := range networkFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(30, 1))
			m.Processing.StopGrace = time.Second
			direct := m.DB
			const retryFor = 2 * time.Second
			proxy := impatient(m, retryFor)
			acted := midway(m, func() { fault(proxy) })
			_, err := runWithin(t.Context(), m, acted, retryFor+time.Second+slack, process.Options{UntilEmpty: true})
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("the run ended with %v\n%s", err, m.Logged)
			}
			m.Server.ClearFaults()
			m.DB = direct
			m.Execute(`UPDATE noggin_schema.noggin_data SET claim_expires_at = now() WHERE claimed_by IS NOT NULL`)
			m.MustRun(process.Options{UntilEmpty: true})
			if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status <> 'complete' OR retry_count > 0`); n != "0" {
				t.Errorf("%s records are not complete or were counted against", n)
			}
			m.CheckFiles()
		})
	}
}

func TestMaxTimeWinsOverRetryFor(t *testing.T) {
	t.Parallel()
	for name, fault := range networkFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(30, 1))
			m.Processing.StopGrace = time.Second
			proxy := impatient(m, time.Hour)
			acted := midway(m, func() { fault(proxy) })
			_, err := runWithin(t.Context(), m, acted, time.Second+time.Second+14*time.Second, process.Options{UntilEmpty: true, MaxTime: time.Second})
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("the run ended with %v\n%s", err, m.Logged)
			}
		})
	}
}

// operator is a session of somebody in psql.
type operator struct {
	t    testing.TB
	conn *sql.Conn
	pid  string
}

func newOperator(m *batchtest.Mirror) *operator {
	m.T.Helper()
	pool, err := sql.Open("postgres", m.URL)
	if err != nil {
		m.T.Fatal(err)
	}
	conn, err := pool.Conn(context.Background())
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(func() { _, _ = conn.Close(), pool.Close() })
	o := &operator{t: m.T, conn: conn}
	if err := conn.QueryRowContext(context.Background(), `SELECT pg_backend_pid()`).Scan(&o.pid); err != nil {
		m.T.Fatal(err)
	}
	return o
}

func (o *operator) do(statement string) {
	if _, err := o.conn.ExecContext(context.Background(), statement); err != nil {
		o.t.Error(err)
	}
}

// namesLock checks that an error has exit code 4 and names the operator's session.
func (o *operator) namesLock(err error, statement string) {
	o.t.Helper()
	if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, storage.ErrBusy) {
		o.t.Fatalf("the run ended with %v", err)
	}
	for _, part := range []string{"process " + o.pid + " of user ", statement} {
		if !strings.Contains(err.Error(), part) {
			o.t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func TestALockOnATableEndsTheRunAndIsNamed(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"noggin_data", "attachments", "circuit", "processing_errors", "record_counts"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(30, 1))
			m.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia, ByTip: true, Share: 0.5}) // for processing_errors
			m.Processing.StopGrace = time.Second
			const retryFor = 2 * time.Second
			impatient(m, retryFor)
			o := newOperator(m)
			lock := "LOCK TABLE noggin_schema." + table
			acted := midway(m, func() { o.do("BEGIN; " + lock) })
			// A record may wait for its answer and for its result to be stored.
			_, err := runWithin(t.Context(), m, acted, 2*retryFor+time.Second+slack, process.Options{UntilEmpty: true})
			o.namesLock(err, lock)
		})
	}
}

// lockRow locks the row of a record as soon as a run has claimed it, before the run has
// its answer, and calls then.
func lockRow(m *batchtest.Mirror, o *operator, tip string, then func()) (acted chan struct{}) {
	held := make(chan struct{})
	m.Server.AddFault(apitest.Fault{Kind: "delay", Held: held, On: apitest.OnRecord, Tips: []string{tip}})
	return during(m, func() {
		for m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE claimed_by IS NOT NULL AND tip = '`+tip+`'`) == "0" {
			time.Sleep(5 * time.Millisecond)
		}
		o.do(`BEGIN; SELECT FROM noggin_schema.noggin_data WHERE tip = '` + tip + `' FOR UPDATE`)
		close(held)
		then()
	})
}

func TestALockedRowHoldsUpItsRecordAlone(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(40, 1))
	const retryFor = 3 * time.Second
	impatient(m, retryFor)
	m.Processing.ClaimLease = 2 * time.Second // the lock outlives it, and renewals meet it too
	o := newOperator(m)
	tip := m.Server.Record(3).Tip
	acted := lockRow(m, o, tip, func() {})
	s, err := runWithin(t.Context(), m, acted, 2*retryFor+slack, process.Options{UntilEmpty: true})
	if s.Complete != 39 || s.Unrecorded != 1 || s.Interrupted > 0 || s.Lost > 0 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	o.namesLock(err, "FOR UPDATE")
}

func TestARecordWhoseRowIsUnlockedInTimeCompletes(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(40, 1))
	impatient(m, 20*time.Second)
	o := newOperator(m)
	acted := lockRow(m, o, m.Server.Record(3).Tip, func() {
		for m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'complete'`) != "39" {
			time.Sleep(10 * time.Millisecond)
		}
		o.do(`ROLLBACK`)
	})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 40 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	<-acted
}

func TestNoRecordWaitsForTheAPIWhenTheRunIsStopped(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]apitest.Fault{
		"503 with Retry-After": {Status: 503, RetryAfter: "600"},
		"429 with Retry-After": {Status: 429, RetryAfter: "30"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, plainWorld(20))
			m.API.MaxRetries = 3
			m.Circuit.SampleSize = 1000
			m.Processing.StopGrace = time.Hour
			m.Server.AddFault(fault)
			told := errors.New("SIGTERM")
			ctx, signal := context.WithCancelCause(t.Context())
			acted := during(m, func() { signal(told) })
			_, err := runWithin(ctx, m, acted, 10*time.Second, process.Options{UntilEmpty: true})
			if !errors.Is(err, told) {
				t.Errorf("the run ended with %v", err)
			}
			nothingCounted(m)
			if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status NOT IN ('pending', 'interrupted')`); n != "0" {
				t.Errorf("%s records are neither pending nor interrupted\n%s", n, m.Logged)
			}
		})
	}
}

func TestAnOpenCircuitEndsTheWaitForTheNextAttempt(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, plainWorld(20))
	m.API.MaxRetries = 3
	m.Circuit.SampleSize = 5
	m.Processing.StopGrace = time.Hour
	m.Server.AddFault(apitest.Fault{Status: 503, RetryAfter: "600"})
	_, err := runWithin(t.Context(), m, during(m, func() {}), 15*time.Second, process.Options{UntilEmpty: true})
	if !errors.Is(err, gate.ErrAPIUnavailable) {
		t.Errorf("the run ended with %v", err)
	}
	nothingCounted(m)
}

func TestAMaintenancePauseEndsClaimingInARunUnderWay(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(m *batchtest.Mirror) process.Options{
		"until empty": func(*batchtest.Mirror) process.Options { return process.Options{UntilEmpty: true} },
		"named tips": func(m *batchtest.Mirror) (o process.Options) {
			for record := range m.Server.Records() {
				o.Selector.Tips = append(o.Selector.Tips, record.Tip)
			}
			return o
		},
		"complete ones": func(m *batchtest.Mirror) process.Options {
			m.MustRun(process.Options{UntilEmpty: true})
			m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = true WHERE tip = (SELECT max(tip) FROM noggin_schema.noggin_data)`)
			return process.Options{Refresh: true, UntilEmpty: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, plainWorld(120))
			opts := options(m)
			m.Processing.Concurrency = 1
			m.Server.ResetStats()
			m.Server.AddFault(apitest.Fault{Kind: "delay", Delay: 20 * time.Millisecond})
			const claims = `SELECT sum(claim_token) FROM noggin_schema.noggin_data`
			var claimed string
			acted := during(m, func() {
				if _, err := m.DB.Pause(context.Background(), 0, "moving the server"); err != nil {
					t.Error(err)
				}
				claimed = m.Value(claims)
			})
			s := m.MustRun(opts)
			<-acted
			if n := m.Value(claims); n != claimed {
				t.Errorf("%s claims before the pause, %s at the end", claimed, n)
			}
			if s.RecordsRenewed > 0 || s.Complete != s.Claimed || s.Claimed == 120 || len(s.Busy) > 0 || !strings.Contains(s.Stopped, "paused: moving the server") {
				t.Errorf("summary %+v", s)
			}
		})
	}
}
