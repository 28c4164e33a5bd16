package storage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"noggin/storage/storagetest"
)

// patientDB is a database of a run behind a proxy, with a connection that is open.
func patientDB(t *testing.T, retryFor time.Duration) (*DB, *storagetest.Proxy) {
	t.Helper()
	direct := testDB(t)
	proxy := storagetest.NewProxy(t, direct.cfg.URL)
	cfg := direct.cfg
	cfg.URL, cfg.RetryFor = proxy.URL(cfg.URL), retryFor
	db := openDB(t, cfg.ForRuns())
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, proxy
}

// within fails the test unless do ends in time, and returns its error.
func within(t *testing.T, limit time.Duration, do func() error) error {
	t.Helper()
	began := time.Now()
	err := do()
	if took := time.Since(began); took > limit {
		t.Errorf("it took %s, want at most %s: %v", took, limit, err)
	}
	return err
}

func TestAnOperationEndsInTimeWhateverTheNetworkDoes(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*storagetest.Proxy){
		"answers are swallowed":  (*storagetest.Proxy).SwallowAnswers,
		"requests are swallowed": (*storagetest.Proxy).SwallowRequests,
		"packets are late":       func(p *storagetest.Proxy) { p.Delay(20 * time.Second) },
		"connections are reset":  (*storagetest.Proxy).Reset,
		"everything stalls":      (*storagetest.Proxy).Stall,
		"nobody listens":         (*storagetest.Proxy).Refuse,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, operation := range map[string]func(*DB) error{
				"a write": func(db *DB) error { return db.PauseRequests(t.Context(), time.Second) },
				"a read": func(db *DB) error {
					_, err := db.Standing(t.Context())
					return err
				},
				"a commit": func(db *DB) error { return db.tx(t.Context(), "change nothing", func(*sqlx.Tx) error { return nil }) },
			} {
				db, proxy := patientDB(t, time.Second)
				fault(proxy)
				err := within(t, time.Second+cancelPatience+2*time.Second, func() error { return operation(db) })
				if !errors.Is(err, ErrUnavailable) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestAStatementWithoutALimitEndsWhenItsAnswerIsLost is about maintenance and checks, whose
// statements may take hours.
func TestAStatementWithoutALimitEndsWhenItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	direct := testDB(t)
	proxy := storagetest.NewProxy(t, direct.cfg.URL)
	cfg := direct.cfg
	// A busy server may need some 100 ms to begin, and is not at work until then.
	cfg.URL, cfg.StatementTimeout, cfg.silence = proxy.URL(cfg.URL), 0, 2*time.Second
	db := openDB(t, cfg)
	if err := db.maintain(t.Context(), "sleep", `SELECT pg_sleep(5)`); err != nil {
		t.Errorf("a server that is at work is not waited for: %v", err)
	}
	for name, fault := range map[string]func(){"answers": proxy.SwallowAnswers, "requests": proxy.SwallowRequests} {
		if err := db.Ping(t.Context()); err != nil { // the connection is open
			t.Fatal(err)
		}
		fault()
		back := time.AfterFunc(100*time.Millisecond, proxy.Resume) // what was swallowed does not come back
		err := within(t, 5*time.Second, func() error { return db.maintain(t.Context(), "sleep", `SELECT pg_sleep(0.01)`) })
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s are lost: %v", name, err)
		}
		back.Stop()
		proxy.Resume()
	}
}

// A program that was frozen, with its host or by a signal, finds that the limit of its
// read has passed.
func TestAReadWhoseLimitHasPassedEnds(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	defer func() { _ = errors.Join(client.Close(), server.Close()) }()
	w := &wire{Conn: client, patience: time.Millisecond}
	if _, err := w.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// The locks of a host that is frozen are free after a while, and it begins again.
func TestATransactionThatWasFrozenBeginsAgain(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	if limit := scalar[string](t, db, `SELECT current_setting('idle_in_transaction_session_timeout')`); limit != "15s" {
		t.Errorf("a transaction may wait %s for its program", limit)
	}
	tries := 0
	err := db.tx(t.Context(), "stay frozen", func(tx *sqlx.Tx) error {
		var session int
		if err := tx.GetContext(t.Context(), &session, `SELECT pg_backend_pid()`); err != nil {
			return err
		}
		if tries++; tries == 1 {
			if _, err := tx.ExecContext(t.Context(), `SET LOCAL idle_in_transaction_session_timeout = '1ms'`); err != nil {
				return err
			}
			for scalar[int](t, db, fmt.Sprintf(`SELECT count(*) FROM pg_stat_activity WHERE pid = %d`, session)) > 0 {
				time.Sleep(time.Millisecond)
			}
		}
		_, err := tx.ExecContext(t.Context(), `SELECT 1`)
		return err
	})
	if err != nil || tries != 2 {
		t.Errorf("%d tries: %v", tries, err)
	}
}

func TestAStatementEndsSoonAfterItsContext(t *testing.T) {
	t.Parallel()
	db, proxy := patientDB(t, time.Minute)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("told to stop")
	done := make(chan error, 1)
	go func() {
		done <- within(t, cancelPatience+2*time.Second, func() error { return db.PauseRequests(ctx, time.Second) })
	}()
	proxy.SwallowAnswers()
	cancel(stop)
	if err := <-done; err != nil && !errors.Is(err, stop) {
		t.Error(err)
	}
	proxy.Resume()
	for range 2 { // the wire of an ended statement harms no later one
		if err := db.PauseRequests(t.Context(), time.Second); err != nil {
			t.Error(err)
		}
	}
}

func TestTheHandshakeEndsWithinConnectTimeout(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for _, mode := range []string{"disable", "prefer"} {
		cfg := DefaultConfig()
		cfg.URL = fmt.Sprintf("postgres://noggin@%s/noggin_db?sslmode=%s", silent.Addr(), mode)
		cfg.ConnectTimeout = time.Second
		db := openDB(t, cfg)
		err := within(t, 4*time.Second, func() error { return db.Ping(t.Context()) })
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("sslmode=%s: %v", mode, err)
		}
	}
}

// passwordConn is a connection that does something before the client's answer to the
// request for a password is sent.
type passwordConn struct {
	net.Conn
	before func() error
}

func (p passwordConn) Write(b []byte) (int, error) {
	if b[0] == 'p' {
		if err := p.before(); err != nil {
			return 0, err
		}
	}
	return p.Conn.Write(b)
}

type passwordDialer struct {
	dialer
	before func() error
}

func (d passwordDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dialer.DialContext(ctx, network, address)
	if err == nil {
		w := conn.(*wire)
		w.Conn = passwordConn{w.Conn, d.before}
	}
	return conn, err
}

func connectWith(t *testing.T, before func() error) error {
	t.Helper()
	cfg, err := pq.NewConfig(testDB(t).cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnectTimeout = time.Minute
	libpq, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	libpq.Dialer(passwordDialer{dialer{time.Minute, time.Minute}, before})
	conn, err := connector{libpq, 0}.Connect(t.Context())
	if err == nil {
		_ = conn.Close()
	}
	return err
}

func TestAHandshakeThatCannotBeWrittenIsNoFaultOfOurs(t *testing.T) {
	t.Parallel()
	err := connectWith(t, func() error { return &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded} })
	if !unavailable(err) || !errors.Is(describe(t.Context(), "connect", err), ErrUnavailable) {
		t.Errorf("%T %v", err, err)
	}
}

// connect_timeout alone bounds a handshake, not the moment that a cancelled statement gets.
func TestASlowHandshakeIsWaitedFor(t *testing.T) {
	t.Parallel()
	if err := connectWith(t, func() error { time.Sleep(cancelPatience + 100*time.Millisecond); return nil }); err != nil {
		t.Error(err)
	}
}

func TestAnErrorNamesTheSessionThatHoldsTheLock(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"a table":           `LOCK TABLE noggin_schema.circuit`,
		"a row":             `UPDATE noggin_schema.circuit SET updated_at = now()`,
		"a table in a read": `LOCK TABLE noggin_schema.pause`,
		"with a password":   `LOCK TABLE noggin_schema.circuit; SELECT 'PASSWORD', 'hunter2'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testDB(t)
			cfg := db.cfg
			cfg.RetryFor = 2 * time.Second
			run := openDB(t, cfg.ForRuns())
			operator, err := db.pool.Connx(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer operator.Close()
			var pid, user string
			if err := operator.QueryRowContext(t.Context(), `SELECT pg_backend_pid(), current_user`).Scan(&pid, &user); err != nil {
				t.Fatal(err)
			}
			if _, err := operator.ExecContext(t.Context(), "BEGIN; "+lock); err != nil {
				t.Fatal(err)
			}
			err = within(t, 5*time.Second, func() error {
				if strings.HasSuffix(name, "read") {
					_, err := run.Standing(t.Context())
					return err
				}
				return run.PauseRequests(t.Context(), time.Second)
			})
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a password: %v", err)
			}
			statement, _, _ := strings.Cut(lock, ";")
			for _, part := range []string{"process " + pid + " of user " + user, "idle in transaction", statement, "pg_terminate_backend(" + pid + ")"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
			if _, err := operator.ExecContext(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			if err := run.PauseRequests(t.Context(), time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// The answer has come while the program was frozen, and the limit of the read has passed.
func TestAnAnswerThatCameDuringAFreezeIsRead(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(client.Close(), server.Close()) }()
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	w := &wire{Conn: client, patience: time.Nanosecond}
	if n, err := w.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A program that was frozen finds that the clock has leapt.
func TestATimeInWhichTheProgramWasFrozenIsNoWaiting(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	w := StartStopwatch(time.Hour, func() { close(over) })
	defer w.Stop()
	for range 3 {
		w.mu.Lock()
		w.seen = w.seen.Add(-2 * time.Hour)
		w.mu.Unlock()
		w.tick()
	}
	if spent := w.Spent(); spent > 15*time.Minute {
		t.Errorf("three freezes count as %s", spent)
	}
	select {
	case <-over:
		t.Error("the hour is over")
	default:
	}
	soon := make(chan struct{})
	short := StartStopwatch(50*time.Millisecond, func() { close(soon) })
	defer short.Stop()
	<-soon
	if spent := short.Spent(); spent < 50*time.Millisecond {
		t.Errorf("it was over after %s", spent)
	}
}
