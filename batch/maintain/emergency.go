package maintain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"noggin/batch/archive"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/storage"
)

// emergencyKeep is the age at which an emergency deletes errors: SOP-005 of the manual.
const emergencyKeep = "3 months"

// emergencyPause ends the pause even if the process is killed.
const emergencyPause = 6 * time.Hour

// Emergency frees space on the output volume: SOP-005 of the operations manual.
type Emergency struct {
	*Maintenance
	Archiver *archive.Archiver
	Target   float64 // percent of the output volume that may be used
	Yes      bool    // without it nothing is changed
	// VacuumFull rewrites the table of errors when there is space for a copy.
	VacuumFull bool
	ArchiveTo  string // the folder for archives; "" is [paths] archive
	Before     string // only inspections before this day are archived
	// Offline says why the database cannot be used. The steps that need it are then
	// left out.
	Offline error
	// Unlock releases the maintenance lock, which archiving takes itself.
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

// EmergencyResult says what Run found and did.
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
	PausedByUs  bool            `json:"paused"` // for the time of the emergency
	Uses        []SpaceUse      `json:"uses"`
	Steps       []EmergencyStep `json:"steps"`
	DurationSec float64         `json:"duration_seconds"`
}

// measure is a step that is not done yet.
type measure struct {
	name    string
	needsDB bool
	plan    func(ctx context.Context) (text string, bytes int64, err error)
	do      func(ctx context.Context) (string, error)
}

// errUnsuited is wrapped by the reason for which a measure is left out.
var errUnsuited = errors.New("left out")

// Run plans the steps and, with Yes, does them in order until less than Target is
// used. When more stays in use, the error wraps [ErrIncomplete].
func (e *Emergency) Run(ctx context.Context) (EmergencyResult, error) {
	started := time.Now()
	r := EmergencyResult{Output: e.Paths.Output, DryRun: !e.Yes, Target: e.Target, Steps: []EmergencyStep{}}
	output, err := files.OpenOutput(e.Paths.Output)
	if err != nil {
		return r, err
	}
	defer files.Release(output)
	if r.FreeBefore, r.TotalBytes, err = output.Free(); err != nil {
		return r, err
	}
	r.UsedBefore = files.UsedPercent(r.FreeBefore, r.TotalBytes)
	r.Uses = spaceUses(e.Paths, started.Add(countFor))
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
	r.UsedAfter = files.UsedPercent(r.FreeAfter, r.TotalBytes)
	r.Reached = r.UsedAfter < e.Target
	r.DurationSec = time.Since(started).Seconds()
	if e.Yes && !r.Reached {
		return r, fmt.Errorf("%w: %.1f %% of the output volume are used, but the target is less than %g %%", ErrIncomplete, r.UsedAfter, e.Target)
	}
	return r, nil
}

// pause stops other runs from writing until the emergency ends. A pause that somebody else
// began, before it or meanwhile, stays as it is.
func (e *Emergency) pause(ctx context.Context, r *EmergencyResult) (resume func(), err error) {
	nothing := func() {}
	if !e.Yes || e.Offline != nil || r.UsedBefore < e.Target {
		return nothing, nil
	}
	standing, err := e.DB.Standing(ctx)
	if err != nil || standing.Paused {
		return nothing, err
	}
	ours, err := e.DB.Pause(ctx, emergencyPause, "disk space emergency on "+e.DB.Host())
	if err != nil {
		return nothing, err
	}
	r.PausedByUs = true
	return func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := e.DB.EndPause(ending, ours); err != nil {
			e.Log.Warn("the pause could not be ended: run `noggin maintain resume`", "error", err)
		}
	}, nil
}

// take plans one measure. It does it when Yes is set and space is still needed.
func (e *Emergency) take(ctx context.Context, output *files.Output, m measure) (EmergencyStep, error) {
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
	case files.UsedPercent(free, total) < e.Target:
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

// measures returns the steps, the cheapest first.
func (e *Emergency) measures() []measure {
	return []measure{
		{name: "temp", plan: e.planTemp, do: func(ctx context.Context) (string, error) {
			effect, err := e.SweepTemp(ctx)
			return effect.Text, err
		}},
		{name: "backups", plan: e.planBackups, do: func(ctx context.Context) (string, error) {
			backups, err := e.ownBackups(ctx)
			if err != nil {
				return "", err
			}
			removed, err := e.rotateBackups(ctx, backups, time.Now())
			return "removed " + health.Plural(int64(len(removed)), "old backup"), err
		}},
		{name: "errors", needsDB: true, plan: e.planErrors, do: e.pruneErrors},
		{name: "archive", needsDB: true, plan: e.planArchive, do: e.archive},
	}
}

func (e *Emergency) planTemp(context.Context) (string, int64, error) {
	names := e.unfinished()
	folder := filepath.Join(e.Paths.Output, files.TempFolder)
	entries, err := os.ReadDir(folder)
	if err == nil {
		for _, entry := range entries {
			names = append(names, filepath.Join(folder, entry.Name()))
		}
	}
	found := abandoned(names)
	var bytes int64
	for _, size := range found {
		bytes += size
	}
	return "remove " + health.Plural(int64(len(found)), "unfinished file") + " that nobody has written to for six hours", bytes, nil
}

// ownBackups returns the backups that the database recorded, or without the database all.
func (e *Emergency) ownBackups(ctx context.Context) ([]Backup, error) {
	if e.Offline != nil {
		return e.Backups()
	}
	backups, _, err := e.recorded(ctx)
	return backups, err
}

func (e *Emergency) planBackups(ctx context.Context) (string, int64, error) {
	backups, err := e.ownBackups(ctx)
	if err != nil {
		return "", 0, err
	}
	old := rotate(backups, e.Config, e.Location, time.Now())
	var bytes int64
	for _, b := range old {
		bytes += b.Bytes
	}
	where := ""
	if same, _ := files.SameVolume(e.Paths.Backups, e.Paths.Output); len(old) > 0 && !same {
		where, bytes = ", which are on another volume", 0
	}
	return "remove " + health.Plural(int64(len(old)), "backup") + " that keep_daily, keep_weekly and keep_monthly of [maintain] do not keep" + where, bytes, nil
}

// planErrors expects no freed space without VACUUM FULL: the table keeps the space of
// deleted rows for new ones.
func (e *Emergency) planErrors(ctx context.Context) (string, int64, error) {
	old, all, err := e.DB.CountOldErrors(ctx, emergencyKeep)
	if err != nil {
		return "", 0, err
	}
	text := fmt.Sprintf("delete %s of %d that are older than %s", health.Plural(old, "error"), all, emergencyKeep)
	if !e.VacuumFull {
		return text + " (without --vacuum-full the table keeps most of its space)", 0, nil
	}
	room, err := e.roomForVacuum(ctx)
	if err != nil {
		return text + "; no VACUUM FULL: " + err.Error(), 0, nil
	}
	return text + ", and rewrite the table", room * old / max(all, 1), nil
}

// roomForVacuum returns the size of the table of errors. When the server's volume has
// no space for a copy of the table, it returns an error.
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
		return 0, errors.New("the server's volume is not visible from this host")
	}
	free, _, err := files.VolumeSpace(folder)
	if err != nil {
		return 0, err
	}
	if int64(free) < need+need/10 {
		return 0, fmt.Errorf("it needs %s on the server's volume, which has %s", health.BytesText(need), health.BytesText(int64(free)))
	}
	return need, nil
}

func (e *Emergency) pruneErrors(ctx context.Context) (string, error) {
	n, err := storage.Pruner{DB: e.DB}.Errors(ctx, emergencyKeep)
	text := "deleted " + health.Plural(n, "error")
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
		dir = e.Paths.Archive
	}
	months, err := e.DB.ArchiveMonths(ctx, storage.ArchiveFilter{Before: e.Before})
	if err != nil {
		return "", 0, err
	}
	var records, bytes int64
	for _, month := range months {
		records, bytes = records+int64(month.Records), bytes+month.Bytes
	}
	text := fmt.Sprintf("archive up to %s inspected before %s into %s", health.Plural(records, "record"), e.Before, dir)
	if e.Archiver.Config.RequireCopy {
		registered, err := e.DB.HasCopyTarget(ctx, e.Archiver.Second)
		if err != nil {
			return "", 0, err
		}
		if !registered {
			return "", 0, fmt.Errorf("%w: %w", errUnsuited, archive.ErrNoTarget)
		}
		text += ", of these what has verified copies"
	}
	same, err := files.SameVolume(dir, e.Paths.Output)
	if err != nil {
		return "", 0, err
	}
	if same {
		return "", 0, fmt.Errorf("%w: %s: use `--archive-to DIR` with a folder on another volume", errUnsuited, text+": "+archive.ErrSameVolume.Error())
	}
	return text, bytes, nil
}

// archive does `archive create --until-free`, which needs the lock to be free.
func (e *Emergency) archive(ctx context.Context) (string, error) {
	e.Unlock()
	s, err := e.Archiver.Create(ctx, archive.CreateOptions{Before: e.Before, To: e.ArchiveTo, UntilFree: 100 - e.Target})
	text := fmt.Sprintf("archived %s, removed %s, %s", health.Plural(int64(s.RecordsRemoved), "record"), health.Plural(int64(s.FilesRemoved), "file"), health.BytesText(s.BytesRemoved))
	if err == nil && s.LeftOutCount > 0 {
		err = fmt.Errorf("files left as they are: %d; `noggin archive create --dry-run` names them", s.LeftOutCount)
	}
	if s.Uncopied > 0 {
		text += fmt.Sprintf("; %s on disk until `noggin copy verify` has found the copies right", health.Plural(int64(s.Uncopied), "record stays|records stay"))
	}
	if s.RunID != 0 {
		e.finishRun(ctx, s.RunID, err, s)
	}
	return text, err
}
