package batch

import (
	"context"
	"slices"
	"time"

	"noggin/storage"
)

// Vitals are the mirror's signs of life: what the dashboard shows, and what it and
// `validate quick` judge by.
type Vitals struct {
	Now           time.Time // of the server, in the site's zone
	Standing      storage.Standing
	Totals        []storage.RecordTotal
	Queue         storage.QueueDepth
	Workers       []storage.Worker
	Days          []storage.Day // the last seven, the latest first
	OpeningsHour  int           // of the circuit, in the last hour
	OpeningsToday int
	Runs          []storage.RunRow // the last of each command
	Done          []storage.RunRow // of those that ended well, or with not everything succeeded
	Succeeded     []storage.RunRow // of those that ended well
	Activity      *time.Time       // when a record's status last changed, those that wait aside
	Disk          *storage.Disk    // of the output folder; nil: see DiskError
	DiskError     error
	Forecast      *Forecast // of the disk; nil: too little is known
	History
}

// History is what samples tell of before; nil: no sample does.
type History struct {
	HourRequests            *int64 // of the last hour or so
	HourFailures            *int64 // of these requests
	DueHourAgo              *int64
	DueDayAgo               *int64
	FailedDayAgo            *int64 // records that failed, the permanently failed included
	PermanentlyFailedDayAgo *int64
}

// ReadVitals reads the signs of life, in well under a second.
func ReadVitals(ctx context.Context, db *storage.DB, standing storage.Standing, output string, zone *time.Location) (v Vitals, err error) {
	v = Vitals{Now: standing.Now.In(zone), Standing: standing}
	var samples []storage.Sample
	for _, read := range []func() error{
		func() (err error) { v.Totals, err = db.RecordTotals(ctx); return err },
		func() (err error) { v.Queue, err = db.QueueDepth(ctx); return err },
		func() (err error) { v.Workers, err = db.Workers(ctx); return err },
		func() (err error) {
			v.Days, err = db.Days(ctx, v.Now.AddDate(0, 0, -6).Format(time.DateOnly), v.Now.Format(time.DateOnly))
			return err
		},
		func() (err error) { v.OpeningsHour, v.OpeningsToday, err = Openings(ctx, db, v.Now); return err },
		func() (err error) { v.Runs, err = db.LastRuns(ctx, storage.AnyRun); return err },
		func() (err error) { v.Done, err = db.LastRuns(ctx, storage.DoneRun); return err },
		func() (err error) { v.Succeeded, err = db.LastRuns(ctx, storage.SucceededRun); return err },
		func() (err error) { v.Activity, err = db.LastActivity(ctx); return err },
		func() (err error) { samples, err = db.Samples(ctx, v.Now.AddDate(0, 0, -31)); return err },
	} {
		if err := read(); err != nil {
			return v, err
		}
	}
	slices.Reverse(v.Days)
	v.History = history(samples, standing.Circuit, v.Now)
	if v.Disk, v.DiskError = ReadDisk(output); v.DiskError == nil {
		v.Disk.Host = db.Host()
		v.Forecast = ForecastDisk(*v.Disk, samples, v.Now)
	}
	return v, nil
}

// Openings counts how often the circuit opened in the last hour, and today.
func Openings(ctx context.Context, db *storage.DB, now time.Time) (hour, today int, err error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	hourAgo := now.Add(-time.Hour)
	from := midnight
	if hourAgo.Before(from) {
		from = hourAgo
	}
	transitions, err := db.Transitions(ctx, from)
	for _, t := range transitions {
		if t.To == circuitOpen && !t.At.Before(midnight) {
			today++
		}
		if t.To == circuitOpen && !t.At.Before(hourAgo) {
			hour++
		}
	}
	return hour, today, err
}

// history finds what an hour and a day ago was. Samples are the oldest first: the
// last that fits counts.
func history(samples []storage.Sample, circuit storage.Circuit, now time.Time) (h History) {
	for _, s := range samples {
		age := now.Sub(s.At)
		if age >= 50*time.Minute && age < 3*time.Hour {
			h.DueHourAgo = new(s.Due)
			if circuit.TotalRequests >= s.Requests {
				h.HourRequests, h.HourFailures = new(circuit.TotalRequests-s.Requests), new(circuit.TotalFailures-s.RequestFailures)
			}
		}
		if age >= 23*time.Hour && age < 36*time.Hour {
			failed := s.Records["partial"] + s.Records["failed"] + s.Records["api_failed"]
			h.DueDayAgo, h.FailedDayAgo, h.PermanentlyFailedDayAgo = new(s.Due), new(max(failed, s.PermanentlyFailed)), new(s.PermanentlyFailed)
		}
	}
	return h
}

// Records counts the records: all, the permanently failed, and all that failed.
func (v *Vitals) Records() (all, permanentlyFailed, failed int64) {
	for _, t := range v.Totals {
		all += t.Records
		if t.PermanentlyFailed {
			permanentlyFailed += t.Records
		}
		if t.PermanentlyFailed || t.Status == "partial" || t.Status == "failed" || t.Status == "api_failed" {
			failed += t.Records
		}
	}
	return all, permanentlyFailed, failed
}

// Backup is the last backup that succeeded; nil: none did.
func (v *Vitals) Backup() *storage.RunRow { return runOf("maintain backup", v.Succeeded) }

// runOf is the run of a command; nil: there is none.
func runOf(command string, runs []storage.RunRow) *storage.RunRow {
	i := slices.IndexFunc(runs, func(r storage.RunRow) bool { return r.Command == command })
	if i < 0 {
		return nil
	}
	return &runs[i]
}

// Flags judges the signs of life.
func (v *Vitals) Flags(output string) []Flag {
	f := Figures{
		History: v.History, DiskPath: output, Runs: v.Runs, LastActivity: v.Activity,
		Due: v.Queue.Due, DueAtLeast: v.Queue.DueAtLeast, OldestDue: v.Queue.OldestAt, Today: v.Days[0], Yesterday: v.Days[1], OpeningsHour: v.OpeningsHour,
		CircuitState: v.Standing.State, OpenUntil: v.Standing.OpenUntil, RequestsPaused: v.Standing.Circuit.PausedUntil,
		Crashing: v.Queue.Crashing,
	}
	f.Records, f.PermanentlyFailed, f.Failed = v.Records()
	if v.DiskError != nil {
		f.DiskError = v.DiskError.Error()
	}
	if v.Disk != nil {
		f.Disk = &DiskReading{FreeBytes: v.Disk.FreeBytes, TotalBytes: v.Disk.TotalBytes}
	}
	if v.Forecast != nil {
		f.DiskFullAt = v.Forecast.FullAt
	}
	if v.Standing.Paused {
		f.PausedReason = v.Standing.PauseReason
	}
	if process := runOf("process", v.Done); process != nil {
		f.LastProcessed = process.FinishedAt
	}
	if backup := v.Backup(); backup != nil {
		f.LastBackup = backup.FinishedAt
	}
	for _, w := range v.Workers {
		f.DeadClaims += w.Expired
	}
	return RedFlags(f, v.Now)
}
