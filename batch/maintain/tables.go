package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"noggin/batch/health"
	"noggin/storage"
)

// tableChange says what a vacuum or rebuild changed in one table or index.
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

// eachTable calls do for each table and sums up. A table that stays locked for too
// long is left out.
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
			c.Name, health.BytesText(c.Before), health.BytesText(c.After), health.Plural(c.Dead, "dead row"), c.Seconds))
	}
	e.Text = fmt.Sprintf("%s %s, %s before, %s after", done, health.Plural(int64(len(changes)-len(errs)), "table"), health.BytesText(sumBefore), health.BytesText(sumAfter))
	return e, incomplete(errs...)
}

// incomplete joins the errors, of which some may be nil, and wraps [ErrIncomplete].
func incomplete(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return nil
}

// Reindex rebuilds every index while it stays in use. It removes the invalid indexes
// that failed or killed rebuilds leave.
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
	failed := 0
	changes := make([]tableChange, 0, len(before))
	for _, index := range before {
		started := time.Now()
		change := tableChange{Name: index.Index, Before: index.Bytes}
		if err := m.DB.Reindex(ctx, index.Index); err != nil {
			if ctx.Err() != nil {
				return Effect{}, err // the next rebuild removes what is left
			}
			change.Error = err.Error()
			errs = append(errs, err)
			more, err := m.dropLeftovers(ctx)
			errs, dropped = append(errs, err), append(dropped, more...)
			failed++
		}
		change.Seconds = time.Since(started).Seconds()
		changes = append(changes, change)
	}
	after, err := m.DB.Indexes(ctx)
	if err != nil {
		return Effect{}, err
	}
	return reindexEffect(changes, after, dropped, failed), incomplete(errs...)
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
		e.Lines = append(e.Lines, fmt.Sprintf("%-36s %10s -> %-10s %.1f s", c.Name, health.BytesText(c.Before), health.BytesText(c.After), c.Seconds))
	}
	e.Text = fmt.Sprintf("rebuilt %d of %d indexes, %s before, %s after", len(changes)-failed, len(changes), health.BytesText(sumBefore), health.BytesText(sumAfter))
	if len(dropped) > 0 {
		e.Text += fmt.Sprintf("; removed %d invalid indexes that a failed rebuild left", len(dropped))
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

// pruned counts the deleted rows.
type pruned struct {
	Errors         int64 `json:"errors"`
	ResolvedHashes int64 `json:"resolved_hashes"`
	Runs           int64 `json:"runs"`
	Transitions    int64 `json:"circuit_transitions"`
	Samples        int64 `json:"samples"` // deleted as fewer are kept of older days
}

// Prune deletes rows that are older than [Config] says, in small batches. It vacuums a
// table in which it deleted many rows.
func (m *Maintenance) Prune(ctx context.Context) (Effect, error) {
	keep := m.Config
	p := storage.Pruner{DB: m.DB}
	var n pruned
	errs := make([]error, 5)
	n.Errors, errs[0] = p.Errors(ctx, keep.ErrorsKeep)
	n.ResolvedHashes, errs[1] = p.ResolvedHashes(ctx, keep.ResolvedHashesKeep)
	n.Runs, n.Transitions, errs[2] = p.Runs(ctx, keep.RunsKeep)
	n.Samples, errs[3] = m.DB.ThinSamples(ctx)
	errs[4] = m.DB.Fold(ctx)
	for table, deleted := range map[string]int64{"processing_errors": n.Errors, "unknown_hashes": n.ResolvedHashes, "runs": n.Runs} {
		if deleted >= storage.PruneBatch && ctx.Err() == nil {
			errs = append(errs, m.DB.Vacuum(ctx, table, false))
		}
	}
	return Effect{
		Text: fmt.Sprintf("deleted %s older than %s, %s older than %s, %s and %s older than %s; %s thinned out",
			health.Plural(n.Errors, "error"), keep.ErrorsKeep, health.Plural(n.ResolvedHashes, "resolved hash|resolved hashes"), keep.ResolvedHashesKeep,
			health.Plural(n.Runs, "run"), health.Plural(n.Transitions, "change of the circuit|changes of the circuit"), keep.RunsKeep, health.Plural(n.Samples, "sample")),
		Details: n,
	}, incomplete(errs...)
}
