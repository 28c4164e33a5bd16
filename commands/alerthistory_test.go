package commands

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var alertHistories = flag.Int("alert-histories", 8, "seeded histories of the alert of a job")

// alertDriver runs the alert once for each line on stdin, as systemd does after each run
// of a job: the time, the result, the last line of the run, and what is wrong with the
// host. It prints what the alert tells. All runs are one shell's, which makes them fast.
const alertDriver = `
date() { if [ "$1" = +%s ]; then echo "$now"; else command date "$@"; fi; }
journalctl() { echo "$line"; }
systemctl() { echo unknown; }
sleep() { :; }
noggin() { while [ "$1" != --event ]; do shift; done; echo "$2" >>"$STATE_DIRECTORY/told"; }
export STATE_DIRECTORY MONITOR_INVOCATION_ID=1
known=$STATE_DIRECTORY/noggin-process
while read -r now result trouble line; do
	[ "$trouble" != torn ] || [ ! -f "$known" ] || printf 'x%.5s' "$(cat "$known")" >"$known"
	[ "$trouble" != empty ] || [ ! -f "$known" ] || : >"$known"
	: >"$STATE_DIRECTORY/told"
	(
		MONITOR_SERVICE_RESULT=exit-code MONITOR_EXIT_STATUS=$result
		if [ "$result" = 0 ] || [ "$result" = 130 ]; then
			MONITOR_SERVICE_RESULT=success
			set -- noggin-process:well
		else
			set -- noggin-process
		fi
		. "$STATE_DIRECTORY/alert"
	) >/dev/null
	echo "$? $(cat "$STATE_DIRECTORY/told")"
done
`

// jobRun is a run of a job, as the alert sees it.
type jobRun struct {
	at      int64  // seconds
	result  int    // exit code
	idle    bool   // it did nothing
	trouble string // deaf: the alert cannot be delivered; torn, empty: its file is damaged
}

func (r jobRun) String() string {
	line := "records 12: 12 complete"
	if r.idle {
		line = "nothing is due"
	}
	return fmt.Sprintf("%d %d %s %s", r.at, r.result, r.trouble, line)
}

// newJobRuns are the runs of a job over some days: outages of several kinds, successes
// between them, clocks that are set back. The last runs are good ones.
func newJobRuns(r *rand.Rand) []jobRun {
	at := int64(1_700_000_000)
	var runs []jobRun
	for range 3 + r.IntN(4) {
		failing := []int{1, 4, 5, 12}[r.IntN(4)]
		share := []int{0, 2, 9, 10}[r.IntN(4)] // of ten runs
		every := []int64{300, 3600, 86400}[r.IntN(3)]
		for range 2 + r.IntN(8) {
			at += every
			run := jobRun{at: at, trouble: "none"}
			switch {
			case r.IntN(10) < share:
				run.result = failing
			case r.IntN(6) == 0:
				run.result = 130
			case r.IntN(4) == 0:
				run.idle = true
			}
			if r.IntN(6) == 0 {
				run.trouble = []string{"deaf", "torn", "empty"}[r.IntN(3)]
			}
			runs = append(runs, run)
		}
		if r.IntN(4) == 0 {
			at -= r.Int64N(10 * 86400)
		}
	}
	return append(runs, jobRun{at: at + 3600, trouble: "none"}, jobRun{at: at + 7200, trouble: "none"})
}

// TestEveryAlertHasAnEnd lives through seeded histories of a job. Whoever gets its alerts
// knows at any time whether it fails and how, hears of it again a day later, hears once
// that it is well again, and hears nothing that is not news.
func TestEveryAlertHasAnEnd(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(unitFolder, "noggin-alert"))
	if err != nil {
		t.Fatal(err)
	}
	deaf := bytes.Replace(script, []byte("\ntell() {\n"), []byte("\ntell() {\n[ \"$trouble\" != deaf ] || return 1\n"), 1)
	if bytes.Equal(deaf, script) {
		t.Fatal("the script has no tell")
	}
	ended := 0
	for seed := range uint64(*alertHistories) {
		runs := newJobRuns(rand.New(rand.NewPCG(seed, 7)))
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "alert"), deaf, 0o600); err != nil {
			t.Fatal(err)
		}
		var in, out, errs bytes.Buffer
		for _, r := range runs {
			fmt.Fprintln(&in, r)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", alertDriver)
		cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+dir)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &errs
		if err := cmd.Run(); err != nil || errs.Len() > 0 {
			t.Fatalf("seed %d: %v\n%s", seed, err, &errs)
		}
		told := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
		if len(told) != len(runs) {
			t.Fatalf("seed %d: %d runs, %d answers", seed, len(runs), len(told))
		}
		k := knowing{}
		var log strings.Builder
		for i, r := range runs {
			fmt.Fprintf(&log, "%s -> %s\n", r, told[i])
			status, event, _ := strings.Cut(told[i], " ")
			if wrong := k.hear(r, status, event); wrong != "" {
				t.Fatalf("seed %d: %s\n%s", seed, wrong, &log)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "noggin-process")); k.failing || err == nil {
			t.Fatalf("seed %d: the alert has no end\n%s", seed, &log)
		}
		ended += k.ended
	}
	if ended < *alertHistories {
		t.Errorf("only %d alerts ended", ended)
	}
}

// knowing is what somebody knows of a job who gets its alerts.
type knowing struct {
	failing bool
	result  int   // how it fails
	told    int64 // when that was last told
	failed  int64 // when it last failed
	damaged bool  // the alert may have forgotten what it told
	ended   int   // alerts
}

// hear takes what the alert answered to a run, and says what is wrong with it.
func (k *knowing) hear(r jobRun, status, event string) string {
	const remindAfter, wellAfter = 72000, 540
	deaf := r.trouble == "deaf"
	if deaf && event != "" != (status == "1") {
		return "an alert that was not delivered must be seen to fail"
	}
	k.damaged = k.damaged || k.failing && (r.trouble == "torn" || r.trouble == "empty")
	switch event {
	case "", "failed", "failing", "well":
	default:
		return "it tells something else"
	}
	switch r.result {
	case 130:
		if event != "" {
			return "a stop is no news"
		}
	case 0:
		idle := r.idle && (k.result == 5 || k.result == 12)
		well := k.failing && !idle && (r.at-k.failed >= wellAfter || r.at < k.failed)
		switch {
		case event == "well" && !well && !k.damaged, event != "" && event != "well":
			return "that it is well is not known, or no news"
		case event == "" && well:
			return "nobody hears that it is well"
		case event == "well" && !deaf:
			*k = knowing{ended: k.ended + 1}
		}
	default:
		news := !k.failing || k.result != r.result || r.at-k.told >= remindAfter || r.at < k.told
		switch {
		case event == "well", event != "" && !news && !k.damaged:
			return "that is no news"
		case event == "" && news:
			return "nobody hears of it"
		case event == "":
			k.failed = r.at
		case !deaf:
			*k = knowing{failing: true, result: r.result, told: r.at, failed: r.at, ended: k.ended}
		}
	}
	return ""
}
