package commands

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"noggin/api/apitest"
)

// A run that is killed while it asks the witness leaves the question to another one.
func TestAKillInTheMiddleOfTheQuestionHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2, 240, "concurrency = 8")
	path := filepath.Join(h.folder, "noggin.toml")
	config, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.ReplaceAll(config, []byte("sample_size = 1000"), []byte("sample_size = 20")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.api.AddFault(apitest.Fault{Kind: "delay", Delay: 100 * time.Millisecond})
	first := h.drain()
	for h.completed() < 30 { // there is something to ask for
		time.Sleep(20 * time.Millisecond)
	}
	h.api.SetFaults(apitest.Fault{Kind: "hang"})
	deadline := time.Now().Add(time.Minute)
	asker := 0
	for asker == 0 && time.Now().Before(deadline) {
		asker = h.count(`SELECT coalesce(max(r.pid), 0) FROM noggin_schema.circuit c JOIN noggin_schema.runs r ON r.id = c.question_run WHERE c.question_until > now()`)
		time.Sleep(10 * time.Millisecond)
	}
	if asker == 0 {
		t.Fatalf("nobody asks\n%s", tail(h.logs.String(), 2000))
	}
	for _, run := range first {
		if run.Process.Pid == asker {
			_ = run.Process.Kill()
		}
	}
	if _, err := h.sql.ExecContext(context.Background(), `UPDATE noggin_schema.circuit SET question_until = now() + interval '2 seconds' WHERE question_until > now() + interval '2 seconds'`); err != nil {
		t.Fatal(err)
	}
	for _, run := range first {
		<-run.done
		if code := run.ProcessState.ExitCode(); run.Process.Pid != asker && code != 5 {
			t.Errorf("the other run: exit code %d\n%s", code, tail(h.logs.String(), 2000))
		}
	}
	if n := h.count(`SELECT count(*) FROM noggin_schema.circuit_transitions WHERE to_state = 'open'`); n != 1 {
		t.Errorf("the circuit opened %d times", n)
	}
	if n := h.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count > 0 OR permanently_failed`); n != 0 {
		t.Errorf("%d records were counted against", n)
	}
	h.api.ClearFaults()
	if _, err := h.sql.ExecContext(context.Background(), `UPDATE noggin_schema.circuit SET open_until = now()`); err != nil {
		t.Fatal(err)
	}
	h.finishOff()
	h.verify()
}
