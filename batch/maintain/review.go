package maintain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/storage"
)

// tempResult counts the removed files.
type tempResult struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// SweepTemp removes the unfinished downloads, backups, archives, reports and checkpoints that
// killed processes left.
func (m *Maintenance) SweepTemp(_ context.Context) (Effect, error) {
	var r tempResult
	var errs []error
	output, err := files.OpenOutput(m.Paths.Output)
	if err != nil {
		errs = append(errs, err)
	} else {
		defer files.Release(output)
		r.Files, r.Bytes, err = output.SweepTemp(files.TempAge, time.Now())
		errs = append(errs, err)
	}
	for name, size := range abandoned(m.unfinished()) {
		if err := os.Remove(name); err != nil {
			errs = append(errs, err)
			continue
		}
		r.Files++
		r.Bytes += size
	}
	text := fmt.Sprintf("removed %s, %s", health.Plural(int64(r.Files), "temporary file"), health.BytesText(r.Bytes))
	return Effect{Text: text, Details: r}, errors.Join(errs...)
}

// abandoned returns the sizes of the files to which nobody has written for
// [files.TempAge] and that no process of this host has locked, by path.
func abandoned(paths []string) map[string]int64 {
	sizes := map[string]int64{}
	for _, name := range paths {
		info, err := os.Lstat(name)
		if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()).Abs() >= files.TempAge && !files.IsLocked(name) {
			sizes[name] = info.Size()
		}
	}
	return sizes
}

// unfinished returns the paths of backups, archives, reports and checkpoints that are being
// written or were left unfinished.
func (m *Maintenance) unfinished() []string {
	var names []string
	dirs := []string{m.Paths.Backups, m.Paths.Archive, m.Paths.Reports}
	logs, _ := os.ReadDir(m.Paths.Checkpoints) // nothing is sealed yet
	for _, log := range logs {
		dirs = append(dirs, filepath.Join(m.Paths.Checkpoints, log.Name()))
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // the folder does not exist yet
		}
		for _, entry := range entries {
			name := entry.Name()
			if strings.HasPrefix(name, "noggin") && strings.HasSuffix(name, files.PartialExt) || files.IsStaged(name) {
				names = append(names, filepath.Join(dir, name))
			}
		}
	}
	return names
}

// sizes lists the space that each table takes.
func (m *Maintenance) sizes(ctx context.Context) (Effect, error) {
	sizes, err := m.DB.TableSizes(ctx)
	if err != nil {
		return Effect{}, err
	}
	e := Effect{Details: map[string]any{"tables": sizes}}
	var total int64
	for _, t := range sizes {
		total += t.TotalBytes
		e.Lines = append(e.Lines, fmt.Sprintf("%-22s %10s", t.Table, health.BytesText(t.TotalBytes)))
	}
	e.Text = fmt.Sprintf("%s take %s", health.Plural(int64(len(sizes)), "table"), health.BytesText(total))
	return e, nil
}

func (m *Maintenance) reviewHashes(ctx context.Context) (Effect, error) {
	counts, err := m.DB.CountUnknownHashes(ctx)
	if err != nil || len(counts) == 0 {
		return Effect{Text: "there are no unknown hashes", Details: counts}, err
	}
	return Effect{
		Text:    "unknown hashes: " + listCounts(counts) + ": `noggin hashes export-unknown TYPE FILE`, fill in the names, `noggin hashes import TYPE FILE`",
		Details: counts,
	}, nil
}

func (m *Maintenance) reviewErrors(ctx context.Context) (Effect, error) {
	counts, err := m.DB.CountErrors(ctx, 7)
	if err != nil || len(counts) == 0 {
		return Effect{Text: "no errors in 7 days", Details: counts}, err
	}
	return Effect{Text: "errors in 7 days: " + listCounts(counts) + ": `noggin report errors --since 7d`", Details: counts}, nil
}

func (m *Maintenance) reviewThroughput(ctx context.Context) (Effect, error) {
	t, err := m.DB.Throughput(ctx, 7)
	if err != nil {
		return Effect{}, err
	}
	return Effect{
		Text: fmt.Sprintf("%s completed in %d days, %.1f s each on average, %.1f s at most; the circuit opened %s",
			health.Plural(t.Records, "record"), t.Days, t.Average, t.Slowest, health.Plural(t.Openings, "time")),
		Details: t,
	}, nil
}

func (m *Maintenance) reviewCounts(ctx context.Context) (Effect, error) {
	c, err := m.DB.RowCounts(ctx)
	if err != nil {
		return Effect{}, err
	}
	return Effect{
		Text:    health.Plural(c.Records, "record") + ", " + health.Plural(c.Attachments, "attachment") + ", " + health.Plural(c.Hashes, "known name"),
		Details: c,
	}, nil
}

// reviewArchives looks at the file of every archive. A red flag makes the step fail.
func (m *Maintenance) reviewArchives(ctx context.Context) (Effect, error) {
	archives, err := health.ReadArchives(ctx, m.DB, m.Paths.Archive, time.Now())
	if err != nil {
		return Effect{}, err
	}
	totals := health.CountArchives(archives)
	e := Effect{Text: "there are no archives", Details: totals}
	if totals.Archives > 0 {
		e.Text = fmt.Sprintf("%s, %s, %d in their place and size", health.Plural(int64(totals.Archives), "archive"), health.BytesText(totals.Bytes), totals.There)
	}
	for _, flag := range health.JudgeArchives(archives, time.Now()) {
		e.Lines = append(e.Lines, flag.What+": "+flag.Remedy)
		if flag.Severity == health.SeverityRed && err == nil {
			err = fmt.Errorf("%w: %s", ErrIncomplete, flag.What)
		}
	}
	return e, err
}

func (m *Maintenance) reviewPermanent(ctx context.Context) (Effect, error) {
	c, err := m.DB.RowCounts(ctx)
	if err != nil || c.Permanent == 0 {
		return Effect{Text: "no record is permanently failed"}, err
	}
	return Effect{
		Text: health.Plural(c.Permanent, "record") + " permanently failed: `noggin report failed --permanent`; " +
			"then `noggin retry-failed --permanent`, or `noggin skip --permanent --reason TEXT`",
		Details: map[string]int64{"permanently_failed": c.Permanent},
	}, nil
}

// reviewStorage says how full the output volume is and how many records are old
// enough to be archived.
func (m *Maintenance) reviewStorage(ctx context.Context) (Effect, error) {
	output, err := files.OpenOutput(m.Paths.Output)
	if err != nil {
		return Effect{}, err
	}
	defer files.Release(output)
	free, total, err := output.Free()
	if err != nil {
		return Effect{}, err
	}
	months, err := m.DB.ArchiveMonths(ctx, storage.ArchiveFilter{Before: time.Now().In(m.Location).AddDate(-2, 0, 0).Format(time.DateOnly)})
	if err != nil {
		return Effect{}, err
	}
	var records int64
	for _, month := range months {
		records += int64(month.Records)
	}
	e := Effect{
		Text:    fmt.Sprintf("the output volume is %.0f %% full, %s free", files.UsedPercent(free, total), health.BytesText(int64(free))),
		Details: map[string]any{"free_bytes": free, "total_bytes": total, "archivable_records": records},
	}
	if records > 0 {
		e.Text += fmt.Sprintf("; %s over 2 years old (the oldest of %s): `noggin archive create --older-than 2y --dry-run`",
			health.Plural(records, "record"), months[0].Oldest)
	}
	return e, nil
}

func listCounts(counts []storage.TypeCount) string {
	texts := make([]string, len(counts))
	for i, c := range counts {
		texts[i] = fmt.Sprintf("%d %s", c.Count, c.Type)
	}
	return strings.Join(texts, ", ")
}
