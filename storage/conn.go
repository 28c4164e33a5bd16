package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cancelPatience is how long the server has to answer when a statement is cancelled.
const cancelPatience = time.Second

// readMargin is how much longer than statement_timeout a read waits for the server.
const readMargin = 10 * time.Second

// silence is how long a read without a limit waits for the server before it asks, over
// another connection, whether the server is at work for this program at all.
const silence = 30 * time.Second

// frozenGrace is how long a read whose limit has passed still waits: its answer may have
// come while the program was frozen.
const frozenGrace = 100 * time.Millisecond

// deadPeer is how long a packet may stay without acknowledgement. The kernel then ends
// the connection. Without it a vanished host holds a statement for a quarter of an hour.
const deadPeer = 30 * time.Second

// connector makes connections whose statements end soon after their context, whatever
// the network does. lib/pq alone waits for the server's answer to a cancelled statement.
type connector struct {
	driver.Connector
	silence time.Duration
}

type attemptKey struct{}

// attempt is one try to connect. lib/pq ends the context of dialling with the dialling, so
// the handshake follows that of the attempt.
type attempt struct {
	ctx  context.Context
	wire *wire // of the last of several hosts that were tried
}

// Connect is part of driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	a := attempt{ctx: ctx}
	conn, err := c.Connector.Connect(context.WithValue(ctx, attemptKey{}, &a))
	made := a.wire
	if err != nil {
		if made != nil && made.unsent != nil && err.Error() == made.unsent.Error() {
			err = made.unsent // lib/pq wraps it in an error without Unwrap
		}
		return nil, err
	}
	made.follow(context.Background(), cancelPatience)
	if made.patience == 0 {
		made.silence, made.atWork = c.silence, c.atWork
	}
	return &session{pgConn: conn.(pgConn), wire: made}, nil
}

// atWork asks the server whether it is at work for a session like this one: by the name of
// the program and not by the process, which a pooler changes. A server that waits for
// somebody to take its answer is not. Where it cannot be asked, it may be.
func (c connector) atWork() bool {
	ctx, cancel := context.WithTimeout(context.Background(), c.silence/2)
	defer cancel()
	pool := sql.OpenDB(c)
	defer func() { _ = pool.Close() }()
	var working bool
	err := pool.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user
		AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()
		AND state = 'active' AND wait_event IS DISTINCT FROM 'ClientWrite')`).Scan(&working)
	return working || err != nil
}

// pgConn is what lib/pq's connection can do and database/sql asks for.
type pgConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
}

// session is a connection that ends each use soon after its context. The context of a
// transaction bounds all its statements and its COMMIT.
type session struct {
	pgConn
	wire *wire
	inTx bool
}

// BeginTx is part of driver.Conn.
func (s *session) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	s.wire.follow(ctx, cancelPatience)
	tx, err := s.pgConn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	s.inTx = true
	return sessionTx{tx, s}, nil
}

type sessionTx struct {
	driver.Tx
	session *session
}

// Commit is part of driver.Tx.
func (tx sessionTx) Commit() error {
	tx.session.inTx = false
	return tx.Tx.Commit()
}

// Rollback is part of driver.Tx.
func (tx sessionTx) Rollback() error {
	tx.session.inTx = false
	return tx.Tx.Rollback()
}

func (s *session) follow(ctx context.Context) {
	if !s.inTx {
		s.wire.follow(ctx, cancelPatience)
	}
}

// PrepareContext is part of driver.Conn.
func (s *session) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s.follow(ctx)
	return s.pgConn.PrepareContext(ctx, query)
}

// ExecContext is part of driver.Conn.
func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s.follow(ctx)
	return s.pgConn.ExecContext(ctx, query, args)
}

// QueryContext is part of driver.Conn.
func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s.follow(ctx)
	return s.pgConn.QueryContext(ctx, query, args)
}

// Ping is part of driver.Conn.
func (s *session) Ping(ctx context.Context) error {
	s.follow(ctx)
	return s.pgConn.Ping(ctx)
}

// dialer makes wires.
type dialer struct{ connect, statement time.Duration }

// Dial is part of pq.Dialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout is part of pq.Dialer.
func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext is part of pq.DialerContext. The context of [connector.Connect] also
// bounds the handshake.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dial := net.Dialer{
		Timeout:         d.connect,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadPeer / 2, Interval: deadPeer / 6, Count: 3},
		Control:         endWithDeadPeer,
	}
	conn, err := dial.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn}
	if d.statement > 0 {
		w.patience = d.statement + readMargin
	}
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.wire = w
		w.follow(a.ctx, 0)
	}
	return w, nil
}

func endWithDeadPeer(network, _ string, raw syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	return raw.Control(func(fd uintptr) {
		// A kernel without the option keeps its own, longer limit.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
	})
}

// wire is a network connection with three time limits: patience for each read and write,
// the deadline that lib/pq sets for the handshake, and the end of the current context.
type wire struct {
	net.Conn
	patience time.Duration // 0: no limit
	silence  time.Duration // of a read without a limit, before atWork is asked; 0: never
	atWork   func() bool
	auth     authWatch
	unsent   error // of a write that failed

	mu       sync.Mutex
	deadline time.Time // of the handshake
	end      time.Time // of the current use
	use      int
	unfollow func() bool
}

// follow ends the wire's reads and writes when ctx has ended and patience is over, until
// the next use.
func (w *wire) follow(ctx context.Context, patience time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unfollow != nil {
		w.unfollow()
	}
	w.use++
	w.end = time.Time{}
	use := w.use
	w.unfollow = context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.use == use { // else the wire has another use already
			w.end = time.Now().Add(patience)
			_ = w.Conn.SetDeadline(w.limit()) // fails only on a closed connection
		}
	})
}

// limit returns the earliest of the limits, or zero.
func (w *wire) limit() time.Time {
	limit := w.deadline
	if !w.end.IsZero() && (limit.IsZero() || w.end.Before(limit)) {
		limit = w.end
	}
	if patient := time.Now().Add(w.patience); w.patience > 0 && (limit.IsZero() || patient.Before(limit)) {
		limit = patient
	}
	return limit
}

// SetDeadline is part of net.Conn.
func (w *wire) SetDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return w.Conn.SetDeadline(w.limit())
}

// Read is part of net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if err := w.limited(w.SetReadDeadline, w.silence); err != nil {
		return 0, err
	}
	n, err := w.Conn.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && w.SetReadDeadline(time.Now().Add(frozenGrace)) == nil {
		n, err = w.Conn.Read(p)
	}
	for n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && w.goesOn() {
		n, err = w.Conn.Read(p)
	}
	if refused := w.auth.received(p[:n]); refused != nil {
		_ = w.Close() // lib/pq may try another way and forget this connection
		return 0, refused
	}
	return n, err
}

// Write is part of net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	if err := w.limited(w.SetWriteDeadline, 0); err != nil {
		return 0, err
	}
	w.auth.sent(p)
	n, err := w.Conn.Write(p)
	if err != nil {
		w.unsent = err
	}
	return n, err
}

// limited sets the limit, or one after the pause if that comes first.
func (w *wire) limited(set func(time.Time) error, pause time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := w.limit()
	if end := time.Now().Add(pause); pause > 0 && (limit.IsZero() || end.Before(limit)) {
		limit = end
	}
	return set(limit)
}

// goesOn tells whether a read that got nothing for a while waits on: the answer may be
// lost, and then nothing else would end it. A read with a limit does not: its limit has
// passed, perhaps while the program was frozen.
func (w *wire) goesOn() bool {
	if w.atWork == nil {
		return false
	}
	w.mu.Lock()
	limit := w.limit()
	w.mu.Unlock()
	if !limit.IsZero() && !time.Now().Before(limit) || !w.atWork() {
		return false
	}
	return w.limited(w.SetReadDeadline, w.silence) == nil
}
