package health

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"time"

	"noggin/batch/files"
	"noggin/storage"
)

// Timer is a systemd timer of noggin's on this host.
type Timer struct {
	Unit      string     `json:"unit"`
	Activates string     `json:"activates"`
	Next      *time.Time `json:"next"` // null: not started, or its service is at work
	Last      *time.Time `json:"last"` // null: not yet
	Active    bool       `json:"active"`
}

// Services is what systemd on this host says of noggin's units. It is empty where there
// is no systemd.
type Services struct {
	Timers []Timer
	Idle   []string // enabled timers and path units that are not active
	Failed []string // units that failed
	Masked bool     // noggin.target is masked, as a restore plan does
}

// ReadServices asks systemd, for a second at most.
func ReadServices(ctx context.Context) Services {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	ask := func(args ...string) []byte {
		cmd := exec.CommandContext(ctx, "systemctl", append(args, "--output=json", "noggin-*")...)
		cmd.Env = files.Environment()
		answer, err := cmd.Output()
		if err != nil {
			return nil
		}
		return answer
	}
	timers := ask("list-timers", "--all")
	if timers == nil {
		return Services{}
	}
	return parseServices(timers, ask("list-units", "--all"), ask("list-unit-files", "noggin.target"))
}

// parseServices reads systemd's lists of timers, units and unit files. A list that is
// missing judges nothing by itself.
func parseServices(timers, units, unitFiles []byte) (s Services) {
	var timerRows []struct {
		Unit      string `json:"unit"`
		Activates string `json:"activates"`
		Next      int64  `json:"next"` // microseconds since 1970
		Last      int64  `json:"last"`
	}
	var unitRows []struct {
		Unit   string `json:"unit"`
		Active string `json:"active"`
	}
	var fileRows []struct {
		Unit  string `json:"unit_file"`
		State string `json:"state"`
	}
	if json.Unmarshal(timers, &timerRows) != nil {
		return Services{}
	}
	stateKnown := json.Unmarshal(units, &unitRows) == nil
	filesKnown := json.Unmarshal(unitFiles, &fileRows) == nil
	states, enabled := map[string]string{}, map[string]bool{}
	for _, row := range unitRows {
		states[row.Unit] = row.Active
		if row.Active == "failed" && !strings.HasPrefix(row.Unit, "noggin-validate") { // a finding of validate must not find itself
			s.Failed = append(s.Failed, row.Unit)
		}
	}
	for _, row := range fileRows {
		if starts := strings.HasSuffix(row.Unit, ".timer") || strings.HasSuffix(row.Unit, ".path"); starts && row.State == "enabled" {
			enabled[row.Unit] = true
		}
		if row.Unit == "noggin.target" {
			s.Masked = strings.HasPrefix(row.State, "masked")
		}
	}
	idle := map[string]bool{}
	for _, row := range timerRows {
		t := Timer{row.Unit, row.Activates, fromMicroseconds(row.Next), fromMicroseconds(row.Last), row.Next > 0}
		if stateKnown {
			t.Active = states[row.Unit] == "active"
		}
		s.Timers = append(s.Timers, t)
		// Where none is enabled, the service was never started, or was disabled whole.
		idle[row.Unit] = !t.Active && (enabled[row.Unit] || !filesKnown || len(enabled) == 0)
	}
	for unit := range enabled {
		if stateKnown && states[unit] != "active" {
			idle[unit] = true
		}
	}
	for unit, is := range idle {
		if is {
			s.Idle = append(s.Idle, unit)
		}
	}
	slices.Sort(s.Idle)
	slices.Sort(s.Failed)
	return s
}

func fromMicroseconds(n int64) *time.Time {
	if n <= 0 {
		return nil
	}
	return new(time.UnixMicro(n))
}

// unmask stands before a command that starts noggin.target, where that needs it.
func (s Services) unmask() string {
	if !s.Masked {
		return ""
	}
	return "once no restore plan is at work, `sudo systemctl unmask noggin.target`, then "
}

func judgeTimers(v *Vitals) Flag {
	idle := v.Services.Idle
	if len(idle) == 0 {
		return Flag{}
	}
	remedy := v.Services.unmask() + "`sudo systemctl start noggin.target` starts them; one that is not wanted on this host: `sudo systemctl disable --now " + idle[0] + "`"
	return red("timers_stopped", Plural(int64(len(idle)), "timer")+" of noggin not active on this host: "+someOf(idle), remedy)
}

func judgeUnits(v *Vitals) Flag {
	failed := v.Services.Failed
	if len(failed) == 0 {
		return Flag{}
	}
	return red("unit_failed", Plural(int64(len(failed)), "unit")+" of systemd failed on this host: "+someOf(failed),
		"`sudo journalctl -u "+failed[0]+" -n 50` says why; its next good run clears it, and so does `sudo systemctl reset-failed "+failed[0]+"`")
}

// judgeSilence finds that process, which ran at regular times, does not run any more on
// any host. Runs by hand have no rhythm.
func judgeSilence(v *Vitals) Flag {
	rhythm := v.Rhythm
	if rhythm.Runs < fewRuns || rhythm.LastSign == nil || v.Standing.Paused || v.Standing.State == storage.CircuitOpen {
		return Flag{}
	}
	interval := time.Duration(rhythm.Seconds * float64(time.Second))
	silent := v.Now.Sub(*rhythm.LastSign)
	if v.since(*rhythm.LastSign) <= max(missedIntervals*interval, leastSilence) {
		return Flag{}
	}
	return red("process_silent", "no run of `noggin process` for "+duration(silent)+"; it used to run every "+duration(interval),
		v.Services.unmask()+"`sudo systemctl start noggin.target` where its timer is stopped; `systemctl status noggin-process.timer noggin-process.service` says more")
}

const (
	fewRuns         = 12 // fewer make no rhythm
	missedIntervals = 3
	leastSilence    = 5 * time.Minute
)
