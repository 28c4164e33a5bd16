package health

import (
	"context"
	"slices"
	"time"

	"noggin/batch/archive/watch"
	"noggin/batch/files"
	"noggin/storage"
)

// Vitals are the mirror's signs of life. The dashboard shows them and, like
// `validate quick`, judges by them.
type Vitals struct {
	Now           time.Time // of the server, in the site's zone
	Standing      storage.Standing
	Totals        []storage.RecordTotal
	Queue         storage.QueueDepth
	Workers       []storage.Worker
	Days          []storage.Day // the last seven, the latest first
	OpeningsHour  int           // openings of the circuit in the last hour
	OpeningsToday int
	Runs          []storage.RunRow // the last run of each command
	Judged        []storage.RunRow // the last of each that ended by itself, well or not
	Done          []storage.RunRow // the last of each that ended with exit code 0 or 3
	Succeeded     []storage.RunRow // the last of each that ended with exit code 0
	Activity      *time.Time       // when a record that is not pending last changed its status
	Disk          *storage.Disk    // the volume of the output folder; nil: see DiskError
	DiskError     error
	DiskRemedy    string    // against a full disk
	InodesUsed    float64   // percent of that volume's; 0 when it has none
	Forecast      *Forecast // of the disk; nil: too few samples
	LeftOut       LeftOut   // exports of the last week
	NeverImported []storage.FetchedExport
	Services      Services       // of this host's systemd
	Rhythm        storage.Rhythm // of process
	Archives      []watch.Archive
	Copies        []Copies // of each target
	Sealed        storage.SealState

	// Samples tell the rest. Nil: no sample tells.
	HourRequests            *int64 // requests of about the last hour
	HourFailures            *int64 // of these requests
	DueHourAgo              *int64
	DueDayAgo               *int64
	FailedDayAgo            *int64 // records that failed, the permanently failed included
	PermanentlyFailedDayAgo *int64
}

// ReadVitals reads the vitals. It takes well under a second.
func ReadVitals(ctx context.Context, db *storage.DB, standing storage.Standing, paths files.Paths, zone *time.Location) (v Vitals, err error) {
	v = Vitals{Now: standing.Now.In(zone), Standing: standing, LeftOut: readLeftOut(paths.Error, time.Now()), Services: ReadServices(ctx), DiskRemedy: DiskRemedy(paths)}
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
		func() (err error) { v.Judged, err = db.LastRuns(ctx, storage.JudgedRun); return err },
		func() (err error) { v.Done, err = db.LastRuns(ctx, storage.DoneRun); return err },
		func() (err error) { v.Succeeded, err = db.LastRuns(ctx, storage.SucceededRun); return err },
		func() (err error) { v.NeverImported, err = db.NeverImported(ctx); return err },
		func() (err error) { v.Copies, err = ReadCopies(ctx, db); return err },
		func() (err error) { v.Sealed, err = db.SealState(ctx); return err },
		func() (err error) { v.Rhythm, err = db.Rhythm(ctx, "process"); return err },
		func() (err error) { v.Activity, err = db.LastActivity(ctx); return err },
		func() (err error) { v.Archives, err = ReadArchives(ctx, db, paths.Archive, v.Now); return err },
		func() (err error) { samples, err = db.Samples(ctx, v.Now.AddDate(0, 0, -31)); return err },
	} {
		if err := read(); err != nil {
			return v, err
		}
	}
	slices.Reverse(v.Days)
	v.compare(samples)
	if v.Disk, v.DiskError = ReadDisk(paths.Output); v.DiskError == nil {
		v.Disk.Host = db.Host()
		v.Forecast = ForecastDisk(*v.Disk, samples, v.Now)
		volumes, err := files.Volumes([]files.Place{{Key: "output", Path: paths.Output}})
		if err == nil && len(volumes) == 1 {
			v.InodesUsed = volumes[0].Inodes
		}
	}
	return v, nil
}

// Openings counts how often the circuit opened in the last hour, and today.
func Openings(ctx context.Context, db *storage.DB, now time.Time) (hour, today int, err error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	hourAgo := now.Add(-time.Hour)
	transitions, err := db.Transitions(ctx, slices.MinFunc([]time.Time{midnight, hourAgo}, time.Time.Compare))
	for _, t := range transitions {
		if t.To == storage.CircuitOpen && !t.At.Before(midnight) {
			today++
		}
		if t.To == storage.CircuitOpen && !t.At.Before(hourAgo) {
			hour++
		}
	}
	return hour, today, err
}

// compare reads from samples what was an hour and a day ago. Samples are ordered
// by time, the oldest first. The last sample that fits counts.
func (v *Vitals) compare(samples []storage.Sample) {
	circuit := v.Standing.Circuit
	for _, s := range samples {
		age := v.Now.Sub(s.At)
		if age >= 50*time.Minute && age < 3*time.Hour {
			v.DueHourAgo = new(s.Due)
			if circuit.TotalRequests >= s.Requests {
				v.HourRequests, v.HourFailures = new(circuit.TotalRequests-s.Requests), new(circuit.TotalFailures-s.RequestFailures)
			}
		}
		if age >= 23*time.Hour && age < 36*time.Hour {
			failed := s.Records[storage.StatusPartial] + s.Records[storage.StatusFailed] + s.Records[storage.StatusAPIFailed]
			v.DueDayAgo, v.FailedDayAgo, v.PermanentlyFailedDayAgo = new(s.Due), new(max(failed, s.PermanentlyFailed)), new(s.PermanentlyFailed)
		}
	}
}

// since is how long ago at was, without a pause that ended after it: nothing could happen
// then.
func (v *Vitals) since(at time.Time) time.Duration {
	if end := v.Standing.PauseEnded; end != nil && end.After(at) {
		at = *end
	}
	return v.Now.Sub(at)
}

// Records counts all records, the permanently failed ones, and all that failed.
func (v *Vitals) Records() (all, permanentlyFailed, failed int64) {
	for _, t := range v.Totals {
		all += t.Records
		if t.PermanentlyFailed {
			permanentlyFailed += t.Records
		}
		if t.PermanentlyFailed || t.Status.IsFailure() {
			failed += t.Records
		}
	}
	return all, permanentlyFailed, failed
}

// deadClaims counts the claimed records whose lease has ended.
func (v *Vitals) deadClaims() (n int64) {
	for _, w := range v.Workers {
		n += w.Expired
	}
	return n
}

// lastActivity is when process last ended with exit code 0 or 3, or a record's
// status last changed, whichever is later; nil: never.
func (v *Vitals) lastActivity() *time.Time {
	process := runOf("process", v.Done)
	if process == nil || process.FinishedAt == nil || v.Activity != nil && v.Activity.After(*process.FinishedAt) {
		return v.Activity
	}
	return process.FinishedAt
}

// Backup is the last backup that succeeded; nil: none did.
func (v *Vitals) Backup() *storage.RunRow { return runOf("maintain backup", v.Succeeded) }

// runOf finds the run of a command; nil: there is none.
func runOf(command string, runs []storage.RunRow) *storage.RunRow {
	i := slices.IndexFunc(runs, func(r storage.RunRow) bool { return r.Command == command })
	if i < 0 {
		return nil
	}
	return &runs[i]
}

// Sample stores the state of the mirror for the reports that need its history. It
// does nothing if another run did so within the last minutes. Commands call it when
// they finish.
func Sample(ctx context.Context, db *storage.DB, output string) error {
	disk, err := ReadDisk(output)
	if err != nil {
		disk = nil // the rest is still worth storing; `report` and `validate` tell of the disk
	}
	_, err = db.Sample(ctx, disk)
	return err
}

// ReadDisk reads the space of the output folder's volume. The error is
// [files.ErrNotMounted] if the folder has no marker.
func ReadDisk(output string) (*storage.Disk, error) {
	o, err := files.OpenOutput(output)
	if err != nil {
		return nil, err
	}
	defer files.Release(o)
	free, total, err := o.Free()
	if err != nil {
		return nil, err
	}
	return &storage.Disk{Path: o.Name(), FreeBytes: int64(free), TotalBytes: int64(total)}, nil
}
