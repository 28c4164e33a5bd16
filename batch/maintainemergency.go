package batch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"noggin/storage"
)

// emergencyKeep is how long errors are kept in an emergency: the manual's SOP-005.
const emergencyKeep = "3 months"

// emergencyPause ends a pause of ours by itself, should we be killed.
const emergencyPause = 6 * time.Hour

// Emergency frees space on the output volume: the manual's SOP-005.
type Emergency struct {
	*Maintenance
	Archiver *Archiver
	Target   float64 // percent of the output volume that may be used
	Yes      bool    // else nothing is changed
	// VacuumFull rewrites the table of errors, where there is room for it.
	VacuumFull bool
	ArchiveTo  string // the folder for archives; "" is [paths] archive
	Before     string // only inspections before this day are archived
	// Offline says why the database cannot be used; the steps that need it are
	// left out.
	Offline error
	// Unlock gives the maintenance lock back: the archive takes it itself.
	Unlock func()
}

// EmergencyStep is a step towards more free space.
type EmergencyStep struct {
	Step    string  `json:"step"`
	Plan    string  `json:"plan"`
	Bytes   int64   `json:"bytes_expected"`
	Done    bool    `json:"done"`
	Effect  string  `json:"effect,omitempty"`
	Freed   int64   `json:"bytes_freed"`
	Seconds float64 `json:"seconds"`
	Skipped string  `json:"skipped,omitempty"` // why it was left out
	Error   string  `json:"error,omitempty"`
}

// EmergencyResult is what was found and done.
type EmergencyResult struct {
	Output      string          `json:"output_folder"`
	DryRun      bool            `json:"dry_run"`
	TotalBytes  uint64          `json:"total_bytes"`
	FreeBefore  uint64          `json:"free_bytes_before"`
	FreeAfter   uint64          `json:"free_bytes_after"`
	UsedBefore  float64         `json:"used_percent_before"`
	UsedAfter   float64         `json:"used_percent_after"`
	Target      float64         `json:"target_percent"`
	Reached     bool            `json:"target_reached"`
	PausedByUs  bool            `json:"paused"` // while it ran
	Uses        []SpaceUse      `json:"uses"`
	Steps       []EmergencyStep `json:"steps"`
	DurationSec float64         `json:"duration_seconds"`
}

// measure is one of the steps before it is done.
type measure struct {
	name    string
	needsDB bool
	plan    func(ctx context.Context) (text string, bytes int64, err error)
	do      func(ctx context.Context) (string, error)
}

// errUnsuited says why a measure is left out.
var errUnsuited = errors.New("left out")

// Run looks, plans and, with Yes, does the steps in order until less than Target is
// used. It returns an error that wraps [ErrIncomplete] when that is not reached.
func (e *Emergency) Run(ctx context.Context) (EmergencyResult, error) {
	started := time.Now()
	r := EmergencyResult{Output: e.Config.Paths.Output, DryRun: !e.Yes, Target: e.Target, Steps: []EmergencyStep{}}
	output, err := OpenOutput(e.Config.Paths.Output)
	if err != nil {
		return r, err
	}
	defer release(output)
	if r.FreeBefore, r.TotalBytes, err = output.Free(); err != nil {
		return r, err
	}
	r.UsedBefore = UsedPercent(r.FreeBefore, r.TotalBytes)
	r.Uses = spaceUses(e.Config.Paths, started.Add(countFor))
	resume, err := e.pause(ctx, &r)
	if err != nil {
		return r, err
	}
	defer resume()
	for _, m := range e.measures() {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		step, err := e.take(ctx, output, m)
		if err != nil {
			return r, err
		}
		r.Steps = append(r.Steps, step)
	}
	if r.FreeAfter, _, err = output.Free(); err != nil {
		return r, err
	}
	r.UsedAfter = UsedPercent(r.FreeAfter, r.TotalBytes)
	r.Reached = r.UsedAfter < e.Target
	r.DurationSec = time.Since(started).Seconds()
	if e.Yes && !r.Reached {
		return r, fmt.Errorf("%w: %.1f %% of the output volume are used, the target is under %g %%", ErrIncomplete, r.UsedAfter, e.Target)
	}
	return r, nil
}

// pause stops further writes for as long as the emergency lasts, unless it is
// paused already.
func (e *Emergency) pause(ctx context.Context, r *EmergencyResult) (resume func(), err error) {
	nothing := func() {}
	if !e.Yes || e.Offline != nil || r.UsedBefore < e.Target {
		return nothing, nil
	}
	standing, err := e.DB.Standing(ctx)
	if err != nil || standing.Paused {
		return nothing, err
	}
	if _, err := e.DB.Pause(ctx, emergencyPause, "disk space emergency on "+e.DB.Host()); err != nil {
		return nothing, err
	}
	r.PausedByUs = true
	return func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if _, err := e.DB.Resume(ending); err != nil {
			e.Log.Warn("it stays paused: `noggin maintain resume` ends that", "error", err)
		}
	}, nil
}

// take plans one measure and, where it is needed and asked for, does it.
func (e *Emergency) take(ctx context.Context, output *Output, m measure) (EmergencyStep, error) {
	step := EmergencyStep{Step: m.name}
	if m.needsDB && e.Offline != nil {
		step.Skipped = "the database cannot be used: " + e.Offline.Error()
		return step, nil
	}
	free, total, err := output.Free()
	if err != nil {
		return step, err
	}
	step.Plan, step.Bytes, err = m.plan(ctx)
	switch {
	case errors.Is(err, errUnsuited):
		step.Skipped = err.Error()
		return step, nil
	case err != nil:
		step.Error = err.Error()
		return step, nil
	case UsedPercent(free, total) < e.Target:
		step.Skipped = "not needed"
		return step, nil
	case !e.Yes:
		return step, nil
	}
	started := time.Now()
	e.Log.Info("emergency step begins", "step", m.name, "plan", step.Plan)
	step.Effect, err = m.do(ctx)
	step.Done, step.Seconds = err == nil, time.Since(started).Seconds()
	if err != nil {
		step.Error = err.Error()
	}
	after, _, err := output.Free()
	step.Freed = int64(after) - int64(free)
	e.Log.Info("emergency step ended", "step", m.name, "seconds", step.Seconds, "effect", step.Effect, "bytes_freed", step.Freed, "error", step.Error)
	return step, err
}

// measures are the steps, the cheapest first.
func (e *Emergency) measures() []measure {
	return []measure{
		{name: "temp", plan: e.planTemp, do: func(ctx context.Context) (string, error) {
			effect, err := e.SweepTemp(ctx)
			return effect.Text, err
		}},
		{name: "backups", plan: e.planBackups, do: func(context.Context) (string, error) {
			removed, err := e.rotateBackups(e.Config.Paths.Backups)
			return "removed " + plural(int64(len(removed)), "old backup"), err
		}},
		{name: "errors", needsDB: true, plan: e.planErrors, do: e.pruneErrors},
		{name: "archive", needsDB: true, plan: e.planArchive, do: e.archive},
	}
}

func (e *Emergency) planTemp(context.Context) (string, int64, error) {
	names := e.unfinished()
	folder := filepath.Join(e.Config.Paths.Output, TempFolder)
	entries, err := os.ReadDir(folder)
	if err == nil {
		for _, entry := range entries {
			names = append(names, filepath.Join(folder, entry.Name()))
		}
	}
	var files, bytes int64
	for _, name := range names {
		info, err := os.Lstat(name)
		if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()).Abs() >= tempAge {
			files++
			bytes += info.Size()
		}
	}
	return "remove " + plural(files, "unfinished file") + " that nobody has written to for six hours", bytes, nil
}

func (e *Emergency) planBackups(context.Context) (string, int64, error) {
	backups, err := e.backups(e.Config.Paths.Backups)
	if err != nil {
		return "", 0, err
	}
	loc, err := e.Config.Location()
	if err != nil {
		return "", 0, err
	}
	old := rotate(backups, e.Config.Maintain, loc)
	var bytes int64
	for _, b := range old {
		bytes += b.Bytes
	}
	where := ""
	if same, _ := sameVolume(e.Config.Paths.Backups, e.Config.Paths.Output); len(old) > 0 && !same {
		where, bytes = ", though on another volume", 0
	}
	return "remove " + plural(int64(len(old)), "backup") + " that [maintain] keep_daily, keep_weekly and keep_monthly let go" + where, bytes, nil
}

// planErrors expects nothing to be given back without VACUUM FULL: the freed rows
// stay the table's own.
func (e *Emergency) planErrors(ctx context.Context) (string, int64, error) {
	old, all, err := e.DB.CountOldErrors(ctx, emergencyKeep)
	if err != nil {
		return "", 0, err
	}
	text := fmt.Sprintf("delete %s of %d that are older than %s", plural(old, "error"), all, emergencyKeep)
	if !e.VacuumFull {
		return text + " (the table keeps most of its room without --vacuum-full)", 0, nil
	}
	room, err := e.roomForVacuum(ctx)
	if err != nil {
		return text + "; no VACUUM FULL: " + err.Error(), 0, nil
	}
	return text + ", and rewrite the table", room * old / max(all, 1), nil
}

// roomForVacuum returns the size of the table of errors if its volume has room for
// a second one.
func (e *Emergency) roomForVacuum(ctx context.Context) (int64, error) {
	sizes, err := e.DB.TableSizes(ctx)
	if err != nil {
		return 0, err
	}
	var need int64
	for _, table := range sizes {
		if table.Table == "processing_errors" {
			need = table.TotalBytes
		}
	}
	folder := e.DB.DataFolder(ctx)
	if _, err := os.Stat(folder); err != nil {
		return 0, errors.New("whether the server's volume has room for it cannot be told from here")
	}
	free, _, err := VolumeSpace(folder)
	if err != nil {
		return 0, err
	}
	if int64(free) < need+need/10 {
		return 0, fmt.Errorf("it needs %s on the server's volume, which has %s", bytesText(need), bytesText(int64(free)))
	}
	return need, nil
}

func (e *Emergency) pruneErrors(ctx context.Context) (string, error) {
	n, err := storage.Pruner{DB: e.DB}.Errors(ctx, emergencyKeep)
	text := "deleted " + plural(n, "error")
	if err != nil {
		return text, err
	}
	full := false
	if e.VacuumFull {
		_, err := e.roomForVacuum(ctx)
		full = err == nil
	}
	if full {
		text += ", rewrote the table"
	}
	return text, e.DB.Vacuum(ctx, "processing_errors", full)
}

func (e *Emergency) planArchive(ctx context.Context) (string, int64, error) {
	dir := e.ArchiveTo
	if dir == "" {
		dir = e.Config.Paths.Archive
	}
	months, err := e.DB.ArchiveMonths(ctx, storage.ArchiveFilter{Before: e.Before})
	if err != nil {
		return "", 0, err
	}
	var records, bytes int64
	for _, month := range months {
		records, bytes = records+int64(month.Records), bytes+month.Bytes
	}
	text := fmt.Sprintf("archive up to %s inspected before %s into %s", plural(records, "record"), e.Before, dir)
	same, err := sameVolume(dir, e.Config.Paths.Output)
	if err != nil {
		return "", 0, err
	}
	if same {
		return "", 0, fmt.Errorf("%w: %s; `--archive-to DIR` names a folder on another volume", errUnsuited, text+": "+ErrSameVolume.Error())
	}
	return text, bytes, nil
}

// archive is `archive create --until-free`, for which the lock has to be free.
func (e *Emergency) archive(ctx context.Context) (string, error) {
	e.Unlock()
	s, err := e.Archiver.Create(ctx, ArchiveOptions{Before: e.Before, To: e.ArchiveTo, UntilFree: 100 - e.Target})
	text := fmt.Sprintf("archived %s, removed %s, %s", plural(int64(s.RecordsRemoved), "record"), plural(int64(s.FilesRemoved), "file"), bytesText(s.BytesRemoved))
	if err == nil && s.LeftOutCount > 0 {
		err = fmt.Errorf("%d files were left alone: `noggin archive create --dry-run` names them", s.LeftOutCount)
	}
	if s.RunID != 0 {
		e.finishRun(ctx, s.RunID, err, s)
	}
	return text, err
}
