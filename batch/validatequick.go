package batch

import (
	"context"
	"fmt"
	"time"

	"noggin/storage"
)

const (
	// queuePatience is how long a record may be due before somebody is told.
	queuePatience = time.Hour
	// processSilence is how long no run may have ended well: the manual's "no
	// activity in the last 24 hours".
	processSilence = 24 * time.Hour
	// manyOpenings of the circuit within an hour are the manual's P2.
	manyOpenings = 5
	// manyFailures is how many more records may be given up within a day.
	manyFailures = 5
	// vanishedAfter is how long a run may give no sign of life.
	vanishedAfter = time.Hour
	// runMemory is how long the last run of a command says something of today.
	runMemory = 8 * 24 * time.Hour
)

// Quick looks at what an hourly alert has to know, in well under a second: disk,
// database, queue, circuit, last runs. disk tells whether to look at the volumes,
// which the configuration's check does too.
func (v *Validator) Quick(ctx context.Context, disk bool) (*Area, error) {
	a := NewArea("quick")
	if disk {
		v.Disk(a)
	}
	v.checkOutput(a, (*Output).Check)
	return a, a.Done(ctx, v.quick(ctx, a))
}

func (v *Validator) quick(ctx context.Context, a *Area) error {
	if err := v.DB.CheckSchema(ctx); err != nil {
		return err
	}
	vitals, err := v.DB.Vitals(ctx)
	if err != nil {
		return err
	}
	last, _, err := v.DB.LastRuns(ctx)
	if err != nil {
		return err
	}
	checkQueue(a, vitals)
	checkCircuit(a, vitals)
	checkActivity(a, vitals)
	for _, run := range last {
		checkRun(a, run, vitals.Now)
	}
	return nil
}

// checkQueue tells of records that wait for long, unless they are being worked off.
func checkQueue(a *Area, v storage.Vitals) {
	oldest := time.Duration(v.OldestSeconds * float64(time.Second)).Round(time.Minute)
	a.Fact(plural(v.Due, "record") + " due")
	draining := v.DueHourAgo != nil && v.Due < *v.DueHourAgo
	switch {
	case v.Paused:
		a.Fact("paused: " + v.PauseReason)
	case v.Due > 0 && oldest > queuePatience && !draining:
		message := fmt.Sprintf("%s due, the oldest for %s, and they do not get fewer", plural(v.Due, "record"), duration(oldest))
		if v.CircuitState == circuitOpen {
			message += ": the circuit is open"
		}
		a.Error("queue", message, "noggin report queue; see that noggin process runs: systemctl list-timers 'noggin-*'")
	}
}

func checkCircuit(a *Area, v storage.Vitals) {
	switch {
	case v.OpeningsLastHour > manyOpenings:
		a.Error("circuit", fmt.Sprintf("the circuit opened %d times within the hour: the API fails often", v.OpeningsLastHour), "noggin report errors --since 1h; noggin validate api")
	case v.CircuitState != circuitClosed && v.CircuitState != "":
		a.Warn("circuit", "the circuit is "+v.CircuitState+": the API was not available", "noggin validate api; it closes by itself when the API answers")
	default:
		a.Fact("circuit closed")
	}
}

// checkActivity tells of a mirror that does nothing, and of one that gives up more
// and more records.
func checkActivity(a *Area, v storage.Vitals) {
	switch {
	case v.Paused || v.Records == 0: // nothing to be done
	case v.ProcessedAgo == nil && v.OldestSeconds < queuePatience.Seconds(): // it may be about to begin
	case v.ProcessedAgo == nil:
		a.Error("activity", "noggin process never ended well", "systemctl list-timers 'noggin-*'; noggin report runs")
	case time.Duration(*v.ProcessedAgo*float64(time.Second)) > processSilence:
		a.Error("activity", "no run of noggin process ended well for "+duration(time.Duration(*v.ProcessedAgo*float64(time.Second))),
			"systemctl list-timers 'noggin-*'; noggin report runs")
	}
	if v.PermanentDayAgo != nil && v.Permanent >= *v.PermanentDayAgo+manyFailures {
		a.Warn("permanently_failed", fmt.Sprintf("%d records were given up within a day, %d in all", v.Permanent-*v.PermanentDayAgo, v.Permanent),
			"noggin report failed --permanent; after mending the cause: noggin retry-failed --permanent")
	}
}

// runAdvice says what to do about the exit codes that say that something is wrong.
var runAdvice = map[int]string{
	1:  "noggin report runs shows its message",
	2:  "noggin validate config",
	4:  "noggin validate database",
	5:  "noggin validate api; later runs carry on by themselves",
	12: "noggin validate api; a new token: noggin validate api --token-file FILE",
}

func checkRun(a *Area, run storage.RunRow, now time.Time) {
	if now.Sub(run.StartedAt) > runMemory {
		return
	}
	started := run.StartedAt.Format("2006-01-02 15:04")
	switch {
	case run.ExitCode == nil && now.Sub(run.SeenAt) > vanishedAfter:
		a.Warn("runs", fmt.Sprintf("noggin %s, started %s on %s, vanished", run.Command, started, run.Host), "journalctl on that host says why; its records are free again")
	case run.ExitCode == nil:
	case runAdvice[*run.ExitCode] != "":
		message := fmt.Sprintf("noggin %s, started %s on %s, ended with %d: %s", run.Command, started, run.Host, *run.ExitCode, valueOf(run.Message))
		if *run.ExitCode == 12 {
			a.Error("runs", message, runAdvice[*run.ExitCode])
			return
		}
		a.Warn("runs", message, runAdvice[*run.ExitCode])
	}
}

// duration is a length of time for people: "3 h 20 min", "2 days".
func duration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
}
