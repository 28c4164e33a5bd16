package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"noggin/storage"
)

// tableChange is what vacuuming or rebuilding changed.
type tableChange struct {
	Name    string  `json:"name"`
	Before  int64   `json:"bytes_before"`
	After   int64   `json:"bytes_after"`
	Dead    int64   `json:"dead_rows,omitempty"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// Analyze renews the planner's statistics of every table.
func (m *Maintenance) Analyze(ctx context.Context) (Effect, error) {
	return m.eachTable(ctx, "analysed", func(table string) error {
		return m.DB.Analyze(ctx, table)
	})
}

// Vacuum frees the dead rows of every table and renews its statistics.
func (m *Maintenance) Vacuum(ctx context.Context) (Effect, error) {
	return m.eachTable(ctx, "vacuumed", func(table string) error {
		return m.DB.Vacuum(ctx, table, false)
	})
}

// eachTable does something to each table and sums up. A table that somebody holds
// is left out.
func (m *Maintenance) eachTable(ctx context.Context, done string, do func(table string) error) (Effect, error) {
	before, err := m.DB.TableSizes(ctx)
	if err != nil {
		return Effect{}, err
	}
	changes := make([]tableChange, 0, len(before))
	var errs []error
	for _, table := range before {
		started := time.Now()
		change := tableChange{Name: table.Table, Before: table.TotalBytes, Dead: table.DeadRows}
		if err := do(table.Table); err != nil {
			if ctx.Err() != nil {
				return Effect{}, err
			}
			change.Error = err.Error()
			errs = append(errs, err)
		}
		change.Seconds = time.Since(started).Seconds()
		changes = append(changes, change)
	}
	after, err := m.DB.TableSizes(ctx)
	if err != nil {
		return Effect{}, err
	}
	e := Effect{Details: map[string]any{"tables": changes}}
	var sumBefore, sumAfter int64
	for i := range changes {
		for _, table := range after {
			if table.Table == changes[i].Name {
				changes[i].After = table.TotalBytes
			}
		}
		c := changes[i]
		sumBefore, sumAfter = sumBefore+c.Before, sumAfter+c.After
		e.Lines = append(e.Lines, fmt.Sprintf("%-22s %10s -> %-10s %s, %.1f s",
			c.Name, bytesText(c.Before), bytesText(c.After), plural(c.Dead, "dead row"), c.Seconds))
	}
	e.Text = fmt.Sprintf("%s %s, %s before, %s after", done, plural(int64(len(changes)-len(errs)), "table"), bytesText(sumBefore), bytesText(sumAfter))
	return e, incomplete(errs)
}

// incomplete joins the errors of what was left out.
func incomplete(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrIncomplete, errors.Join(errs...))
}

// Reindex builds every index anew while it stays in use, and removes what a
// rebuild that failed or was killed left behind.
func (m *Maintenance) Reindex(ctx context.Context) (Effect, error) {
	dropped, err := m.dropLeftovers(ctx)
	if err != nil {
		return Effect{}, err
	}
	before, err := m.DB.Indexes(ctx)
	if err != nil {
		return Effect{}, err
	}
	var errs []error
	changes := make([]tableChange, 0, len(before))
	for _, index := range before {
		started := time.Now()
		change := tableChange{Name: index.Index, Before: index.Bytes}
		if err := m.DB.Reindex(ctx, index.Index); err != nil {
			if ctx.Err() != nil {
				return Effect{}, err // the next rebuild clears up
			}
			change.Error = err.Error()
			errs = append(errs, err)
			more, err := m.dropLeftovers(ctx)
			if err != nil {
				errs = append(errs, err)
			}
			dropped = append(dropped, more...)
		}
		change.Seconds = time.Since(started).Seconds()
		changes = append(changes, change)
	}
	after, err := m.DB.Indexes(ctx)
	if err != nil {
		return Effect{}, err
	}
	return reindexEffect(changes, after, dropped, len(errs)), incomplete(errs)
}

func reindexEffect(changes []tableChange, after []storage.IndexSize, dropped []string, failed int) Effect {
	e := Effect{Details: map[string]any{"indexes": changes, "leftovers_dropped": dropped}}
	var sumBefore, sumAfter int64
	for i := range changes {
		for _, index := range after {
			if index.Index == changes[i].Name {
				changes[i].After = index.Bytes
			}
		}
		c := changes[i]
		sumBefore, sumAfter = sumBefore+c.Before, sumAfter+c.After
		e.Lines = append(e.Lines, fmt.Sprintf("%-36s %10s -> %-10s %.1f s", c.Name, bytesText(c.Before), bytesText(c.After), c.Seconds))
	}
	e.Text = fmt.Sprintf("rebuilt %d of %d indexes, %s before, %s after", len(changes)-failed, len(changes), bytesText(sumBefore), bytesText(sumAfter))
	if len(dropped) > 0 {
		e.Text += fmt.Sprintf("; removed %d that an earlier rebuild had left", len(dropped))
	}
	return e
}

func (m *Maintenance) dropLeftovers(ctx context.Context) ([]string, error) {
	indexes, err := m.DB.Indexes(ctx)
	if err != nil {
		return nil, err
	}
	dropped := []string{}
	for _, index := range indexes {
		if !index.Leftover() {
			continue
		}
		if err := m.DB.DropLeftover(ctx, index.Index); err != nil {
			return dropped, err
		}
		dropped = append(dropped, index.Index)
	}
	return dropped, nil
}

// pruned counts what pruning deleted.
type pruned struct {
	Errors         int64 `json:"errors"`
	ResolvedHashes int64 `json:"resolved_hashes"`
	Runs           int64 `json:"runs"`
	Transitions    int64 `json:"circuit_transitions"`
	Samples        int64 `json:"samples"` // thinned with age
}

// Prune deletes what [Maintain] says is too old, in small batches, and vacuums
// where much was deleted.
func (m *Maintenance) Prune(ctx context.Context) (Effect, error) {
	keep := m.Config.Maintain
	p := storage.Pruner{DB: m.DB}
	var n pruned
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	n.Errors, err = p.Errors(ctx, keep.ErrorsKeep)
	note(err)
	n.ResolvedHashes, err = p.ResolvedHashes(ctx, keep.ResolvedHashesKeep)
	note(err)
	n.Runs, n.Transitions, err = p.Runs(ctx, keep.RunsKeep)
	note(err)
	n.Samples, err = m.DB.ThinSamples(ctx)
	note(err)
	note(m.DB.Fold(ctx))
	for table, deleted := range map[string]int64{"processing_errors": n.Errors, "unknown_hashes": n.ResolvedHashes, "runs": n.Runs} {
		if deleted >= storage.PruneBatch && ctx.Err() == nil {
			note(m.DB.Vacuum(ctx, table, false))
		}
	}
	return Effect{
		Text: fmt.Sprintf("deleted %s older than %s, %s older than %s, %s and %s older than %s; %s thinned out",
			plural(n.Errors, "error"), keep.ErrorsKeep, plural(n.ResolvedHashes, "resolved hash|resolved hashes"), keep.ResolvedHashesKeep,
			plural(n.Runs, "run"), plural(n.Transitions, "change of the circuit|changes of the circuit"), keep.RunsKeep, plural(n.Samples, "sample")),
		Details: n,
	}, incomplete(errs)
}
