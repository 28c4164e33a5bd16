package storagetest

import (
	"context"
	"testing"
	"time"
)

func TestProxyLosesTheReplyToACommitThatWasDone(t *testing.T) {
	t.Parallel()
	direct := Database(t)
	p := NewProxy(t, direct)
	db, through := open(t, direct), open(t, p.URL(direct))
	mustExec(t, db, "CREATE TABLE records (tip text)")

	p.LoseCommits(1)
	for i, wantErr := range []bool{true, false} {
		tx, err := through.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO records VALUES ($1)", "x"); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); (err != nil) != wantErr {
			t.Errorf("commit %d: error %v, want one: %t", i+1, err, wantErr)
		}
		if n := count(t, db, "SELECT count(*) FROM records"); n != i+1 {
			t.Errorf("after commit %d there are %d rows", i+1, n)
		}
	}
	if p.Lost() != 1 {
		t.Errorf("%d replies lost, want 1", p.Lost())
	}
}

func TestProxyLosesTheReplyToAPreparedStatement(t *testing.T) {
	t.Parallel()
	direct := Database(t)
	p := NewProxy(t, direct)
	db, through := open(t, direct), open(t, p.URL(direct))
	mustExec(t, db, "CREATE TABLE records (tip text)")
	const insert = "INSERT INTO records VALUES ($1)"
	prepared, err := through.PrepareContext(t.Context(), insert)
	if err != nil {
		t.Fatal(err)
	}
	defer prepared.Close()

	p.LoseReply(func(statement string) bool { return statement == insert && p.Lost() == 0 })
	tx, err := through.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	inTx := tx.StmtContext(t.Context(), prepared)
	defer inTx.Close()
	if _, err := inTx.ExecContext(t.Context(), "x"); err == nil {
		t.Error("the statement whose reply was lost reported no error")
	}
	_ = tx.Rollback()
	if p.Lost() != 1 {
		t.Errorf("%d replies lost, want 1", p.Lost())
	}
}

func TestProxyCutsRefusesAndResumes(t *testing.T) {
	t.Parallel()
	direct := Database(t)
	p := NewProxy(t, direct)
	through := open(t, p.URL(direct))

	conn, err := through.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if err := conn.PingContext(t.Context()); err == nil {
		t.Error("a cut connection still answers")
	}
	_ = conn.Close()
	if err := through.PingContext(t.Context()); err != nil {
		t.Errorf("no new connection after a cut: %v", err)
	}
	p.Refuse()
	if err := through.PingContext(t.Context()); err == nil {
		t.Error("a connection although refused")
	}
	p.Resume()
	if err := through.PingContext(t.Context()); err != nil {
		t.Errorf("no connection after resuming: %v", err)
	}
}

func TestProxyHoldsAStatementBackUntilResumed(t *testing.T) {
	t.Parallel()
	direct := Database(t)
	p := NewProxy(t, direct)
	db, through := open(t, direct), open(t, p.URL(direct))
	mustExec(t, db, "CREATE TABLE records (tip text)")
	if err := through.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}

	p.Stall()
	done := make(chan error, 1)
	go func() {
		_, err := through.ExecContext(context.Background(), "INSERT INTO records VALUES ('x')")
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a stalled statement returned: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if n := count(t, db, "SELECT count(*) FROM records"); n != 0 {
		t.Errorf("a stalled statement wrote %d rows", n)
	}
	p.Resume()
	if err := <-done; err != nil {
		t.Errorf("the statement after resuming: %v", err)
	}
}

func TestOnlyTheWallClockGoesOnWhileAHostIsSuspended(t *testing.T) {
	before := BeforeSuspension(time.Hour)
	if mono := time.Since(before); mono < 0 || mono > time.Minute {
		t.Errorf("the monotonic clock went on for %s", mono)
	}
	if wall := time.Since(before.Round(0)); wall < time.Hour || wall > time.Hour+time.Minute {
		t.Errorf("the wall clock went on for %s", wall)
	}
}
