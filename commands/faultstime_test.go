package commands

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/commands/cmdline"
)

// until waits for a number that a query counts.
func (d *drill) until(want int, query string) {
	d.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); d.count(query) != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("%s\n is never %d", query, want)
		}
	}
}

func TestAFrozenRunLeavesItsRecordsToTheirNewOwner(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(40, 80), "concurrency = 3\nattachment_pause = '1ms'") // one after the other
	d.api.AddFault(apitest.Fault{Kind: "delay", Delay: 200 * time.Millisecond, On: apitest.OnMedia})
	cmd, done := d.start("process", "--until-empty")
	for range sized(1, 5) {
		// While all its places are taken it is not just about to send a request.
		for d.downloads() < 3 {
			select {
			case <-done:
				t.Fatal("the run ended before it was frozen")
			case <-time.After(time.Millisecond):
			}
		}
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		d.until(0, `SELECT count(*) FROM noggin_schema.noggin_data WHERE claim_expires_at >= now()`)
		d.run("process", "--batch", "10", "--quiet") // others are faster than the lease
		_ = cmd.Process.Signal(syscall.SIGCONT)
	}
	<-done
	if code := cmd.ProcessState.ExitCode(); code != cmdline.ExitDone {
		t.Errorf("the frozen run: exit code %d", code)
	}
	d.says("another run or an operator has this record now")
	owner := map[string]string{}
	for _, e := range d.api.Log() {
		if e.Kind == "record" {
			owner[e.Tip] = e.Client // whoever has claimed a record asks for it first
		} else if owner[e.Record] != e.Client {
			t.Errorf("%s went on with record %s, which %s had taken over", e.Client, e.Record, owner[e.Record])
		}
	}
	d.finishOff()
	d.verify()
	d.uncounted()
}

// A run that waits for the database when it is frozen, as with its virtual machine, and
// longer than retry_for, finds the database well again.
func TestAFrozenRunThatWaitsForTheDatabaseGoesOn(t *testing.T) {
	t.Parallel()
	for what, table := range map[string]string{"claim": "noggin_data", "an answer": "record_versions"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			const retryFor = 5 * time.Second
			d := newDrill(t, 4, "stop_grace = 5\n[database]\nretry_for = 5")
			lock, err := d.sql.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lock.ExecContext(t.Context(), `LOCK TABLE noggin_schema.`+table+` IN SHARE MODE`); err != nil {
				t.Fatal(err)
			}
			cmd, done := d.start("process", "--until-empty", "--quiet")
			d.until(1, `SELECT count(DISTINCT 1) FROM pg_stat_activity WHERE application_name = 'noggin process' AND wait_event_type = 'Lock'`)
			_ = cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(retryFor + time.Second) // it is frozen for that long
			if err := lock.Rollback(); err != nil {
				t.Error(err)
			}
			_ = cmd.Process.Signal(syscall.SIGCONT)
			<-done
			if code := cmd.ProcessState.ExitCode(); code != cmdline.ExitDone {
				t.Errorf("the frozen run: exit code %d", code)
			}
			d.finishOff()
			d.verify()
			d.uncounted()
		})
	}
}

// downloads is how many attachments the API is answering.
func (d *drill) downloads() (n int) {
	for _, e := range d.api.Log() {
		if e.Kind == "media" && e.End.IsZero() {
			n++
		}
	}
	return n
}

// shiftTimes puts every time in the database ahead, as if the server's clock had been
// ahead and was set back now.
func (d *drill) shiftTimes(by string) {
	d.t.Helper()
	statements := []string{`SET session_replication_role = replica`} // without triggers
	rows, err := d.sql.QueryContext(d.t.Context(), `SELECT table_name, string_agg(format('%1$I = %1$I + interval ''`+by+`''', column_name), ', ')
		FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
		WHERE table_schema = 'noggin_schema' AND table_type = 'BASE TABLE' AND data_type = 'timestamp with time zone'
		  AND is_generated = 'NEVER' GROUP BY 1`)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var table, set string
		if err := rows.Scan(&table, &set); err != nil {
			d.t.Fatal(err)
		}
		statements = append(statements, fmt.Sprintf(`UPDATE noggin_schema.%s SET %s`, table, set))
	}
	statements = append(statements, `RESET session_replication_role`)
	if _, err := d.sql.ExecContext(d.t.Context(), strings.Join(statements, ";\n")); err != nil || rows.Err() != nil {
		d.t.Fatal(err, rows.Err())
	}
}

func TestAClockThatIsSetBackHoldsNothingUp(t *testing.T) {
	t.Parallel()
	d := newDrill(t, 40, "concurrency = 4\nmax_requests_per_second = 200")
	// Everything that waits for a time: a retry, the claims of a killed run, the
	// circuit, a pause, the rate limit.
	d.api.AddFault(apitest.Fault{Status: 500, Tips: []string{d.api.Record(0).Tip}})
	d.run("process", "--tip", d.api.Record(0).Tip, "--quiet")
	d.api.SetFaults(apitest.Fault{Kind: "delay", Delay: 50 * time.Millisecond, On: apitest.OnMedia})
	cmd, done := d.start("process", "--until-empty", "--quiet")
	for d.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE processing_status = 'api_success'`) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	<-done
	if _, err := d.sql.ExecContext(t.Context(), `UPDATE noggin_schema.circuit
		SET state = 'open', open_until = now() + interval '5 minutes', paused_until = now() + interval '1 minute'`); err != nil {
		t.Fatal(err)
	}
	d.shiftTimes("3 days")
	for deadline := time.Now().Add(time.Minute); d.incomplete() > 0; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d records stand still", d.incomplete())
		}
		d.run("process", "--until-empty", "--max-time", "30s")
	}
	d.says("the clock of the database's server was set back")
	d.verify()
}
