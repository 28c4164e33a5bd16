package batch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"noggin/storage"
)

// tempResult counts what sweeping removed.
type tempResult struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// SweepTemp removes the unfinished files that killed processes left: downloads in
// the output folder, backups and archives.
func (m *Maintenance) SweepTemp(_ context.Context) (Effect, error) {
	var r tempResult
	var errs []error
	output, err := OpenOutput(m.Config.Paths.Output)
	if err != nil {
		errs = append(errs, err)
	} else {
		defer release(output)
		r.Files, r.Bytes, err = output.SweepTemp(tempAge, time.Now())
		errs = append(errs, err)
	}
	for _, name := range m.unfinished() {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()).Abs() < tempAge {
			continue
		}
		if err := os.Remove(name); err != nil {
			errs = append(errs, err)
			continue
		}
		r.Files++
		r.Bytes += info.Size()
	}
	text := fmt.Sprintf("removed %s, %s", plural(int64(r.Files), "temporary file"), bytesText(r.Bytes))
	return Effect{Text: text, Details: r}, errors.Join(errs...)
}

// unfinished are the paths of backups and archives in the making, or left so.
func (m *Maintenance) unfinished() []string {
	var names []string
	for _, dir := range []string{m.Config.Paths.Backups, m.Config.Paths.Archive} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there is none yet
		}
		for _, entry := range entries {
			name := entry.Name()
			if strings.HasPrefix(name, "noggin") && strings.HasSuffix(name, ".partial") {
				names = append(names, filepath.Join(dir, name))
			}
		}
	}
	return names
}

// Sizes lists what room each table takes.
func (m *Maintenance) Sizes(ctx context.Context) (Effect, error) {
	sizes, err := m.DB.TableSizes(ctx)
	if err != nil {
		return Effect{}, err
	}
	e := Effect{Details: map[string]any{"tables": sizes}}
	var total int64
	for _, t := range sizes {
		total += t.TotalBytes
		e.Lines = append(e.Lines, fmt.Sprintf("%-22s %10s", t.Table, bytesText(t.TotalBytes)))
	}
	e.Text = fmt.Sprintf("%s take %s", plural(int64(len(sizes)), "table"), bytesText(total))
	return e, nil
}

func (m *Maintenance) reviewHashes(ctx context.Context) (Effect, error) {
	counts, err := m.DB.CountUnknownHashes(ctx)
	if err != nil || len(counts) == 0 {
		return Effect{Text: "every name is known", Details: counts}, err
	}
	return Effect{
		Text:    "names unknown: " + listCounts(counts) + ": noggin hashes export-unknown TYPE FILE, fill in the names, noggin hashes import TYPE FILE",
		Details: counts,
	}, nil
}

func (m *Maintenance) reviewErrors(ctx context.Context) (Effect, error) {
	counts, err := m.DB.CountErrors(ctx, 7)
	if err != nil || len(counts) == 0 {
		return Effect{Text: "no errors in 7 days", Details: counts}, err
	}
	return Effect{Text: "errors in 7 days: " + listCounts(counts) + ": noggin report errors --since 7d", Details: counts}, nil
}

func (m *Maintenance) reviewThroughput(ctx context.Context) (Effect, error) {
	t, err := m.DB.Throughput(ctx, 7)
	if err != nil {
		return Effect{}, err
	}
	return Effect{
		Text: fmt.Sprintf("%s completed in %d days, %.1f s each on average, %.1f s at most; the circuit opened %s",
			plural(t.Records, "record"), t.Days, t.Average, t.Slowest, plural(t.Openings, "time")),
		Details: t,
	}, nil
}

func (m *Maintenance) reviewCounts(ctx context.Context) (Effect, error) {
	c, err := m.DB.RowCounts(ctx)
	if err != nil {
		return Effect{}, err
	}
	return Effect{
		Text:    plural(c.Records, "record") + ", " + plural(c.Attachments, "attachment") + ", " + plural(c.Hashes, "known name"),
		Details: c,
	}, nil
}

func (m *Maintenance) reviewPermanent(ctx context.Context) (Effect, error) {
	c, err := m.DB.RowCounts(ctx)
	if err != nil || c.Permanent == 0 {
		return Effect{Text: "no record is permanently failed"}, err
	}
	return Effect{
		Text: plural(c.Permanent, "record") + " permanently failed: noggin report failed --permanent; " +
			"then noggin retry-failed --permanent, or noggin skip --permanent --reason TEXT",
		Details: map[string]int64{"permanently_failed": c.Permanent},
	}, nil
}

// reviewStorage tells how full the output volume is and what could be archived.
func (m *Maintenance) reviewStorage(ctx context.Context) (Effect, error) {
	output, err := OpenOutput(m.Config.Paths.Output)
	if err != nil {
		return Effect{}, err
	}
	defer release(output)
	free, total, err := output.Free()
	if err != nil {
		return Effect{}, err
	}
	loc, err := m.Config.Location()
	if err != nil {
		return Effect{}, err
	}
	months, err := m.DB.ArchiveMonths(ctx, storage.ArchiveFilter{Before: time.Now().In(loc).AddDate(-2, 0, 0).Format(time.DateOnly)})
	if err != nil {
		return Effect{}, err
	}
	var records int64
	for _, month := range months {
		records += int64(month.Records)
	}
	e := Effect{
		Text:    fmt.Sprintf("the output volume is %.0f %% full, %s free", UsedPercent(free, total), bytesText(int64(free))),
		Details: map[string]any{"free_bytes": free, "total_bytes": total, "archivable_records": records},
	}
	if records > 0 {
		e.Text += fmt.Sprintf("; %s over 2 years old (the oldest of %s): noggin archive create --older-than 2y --dry-run",
			plural(records, "record"), months[0].Oldest)
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
