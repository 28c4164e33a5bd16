package seal

import (
	"context"
	"fmt"
	"iter"
	"math"
	"path/filepath"
	"slices"
	"time"

	"noggin/batch/health"
	"noggin/batch/seal/tree"
	"noggin/storage"
)

// checkLog reads the leaves of a log in their order and compares them with everything.
func (c *evidence) checkLog(ctx context.Context, log storage.SealLog) error {
	w := &walk{evidence: c, log: log, held: c.held[log.Origin]}
	defer w.follow()()
	w.reached()
	var page []storage.SealedLeaf
	flush := func() error {
		err := c.checkLeaves(ctx, page)
		page = page[:0]
		if c.Progress != nil {
			c.Progress(c.leaves, c.total, c.bytes)
		}
		return err
	}
	if err := c.DB.EachLeaf(ctx, log.ID, 0, math.MaxInt64, func(l storage.SealedLeaf) error {
		w.add(l)
		if page = append(page, l); len(page) < leavesPage {
			return nil
		}
		return flush()
	}); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	w.end()
	return w.signed(ctx)
}

// walk follows the leaves of one log.
type walk struct {
	*evidence
	log     storage.SealLog
	edge    tree.Edge
	held    []heldCheckpoint // those that are still to come
	kept    []*follower
	matched int64 // the size of the last checkpoint that matched
	differ  bool  // one did not match
	gap     bool  // leaves are missing, so the edge has no root any more
}

// follower reads kept leaves beside those of the database.
type follower struct {
	dir      string
	next     func() (keptLeaf, error, bool)
	leaf     keptLeaf
	err      error
	there    bool // a leaf is read
	reported bool
}

// follow opens the kept leaves of the log: those in the folder of checkpoints, and those
// beside the checkpoints that the caller gives.
func (w *walk) follow() (stop func()) {
	var stops []func()
	follow := func(k keptLog) {
		if len(k.leaves) == 0 || slices.ContainsFunc(w.kept, func(o *follower) bool { return o.dir == k.dir }) {
			return
		}
		next, stop := iter.Pull2(k.all())
		f := &follower{dir: k.dir, next: next}
		f.leaf, f.err, f.there = next()
		w.kept, stops = append(w.kept, f), append(stops, stop)
	}
	for _, k := range w.evidence.kept {
		if k.origin == w.log.Origin {
			follow(k)
		}
	}
	for _, path := range w.Checkpoints {
		if k, err := readKeptLog(filepath.Dir(path), nil); err == nil && k.origin == w.log.Origin {
			follow(k)
		}
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// compareKept compares a leaf of the database with the kept ones.
func (w *walk) compareKept(l storage.SealedLeaf) {
	for _, f := range w.kept {
		for f.there && f.err == nil && f.leaf.position < l.Position {
			f.leaf, f.err, f.there = f.next()
		}
		example := ""
		switch {
		case f.reported || !f.there:
		case f.err != nil:
			example = f.err.Error()
		case f.leaf.position == l.Position && f.leaf.text != l.Leaf:
			kept, _ := parseLeaf(f.leaf.text) // the record, if it can be read
			example = fmt.Sprintf("leaf %d, kept in %s as one of record %s", l.Position, f.dir, kept.Tip)
		}
		if example != "" {
			f.reported = true
			w.problem("kept_leaves", "leaves in the database differ from the kept ones; the first one that does is named", example, "a checkpoint that matches tells which are right")
		}
	}
}

func (w *walk) add(l storage.SealedLeaf) {
	if l.Position > w.edge.Size {
		w.problem("leaf_missing", "leaves are missing in the database", fmt.Sprintf("leaf %d of %s; the next one is leaf %d", w.edge.Size, w.log.Origin, l.Position), rebuilt)
		w.found["leaf_missing"].Count += l.Position - w.edge.Size - 1
		w.gap, w.edge = true, tree.Edge{Size: l.Position}
	}
	if w.gap {
		w.edge.Size = l.Position + 1
	} else {
		w.edge.Add(l.Leaf)
	}
	w.leaves++
	w.compareKept(l)
	w.reached()
}

// reached compares the tree with the checkpoints of its size.
func (w *walk) reached() {
	for len(w.held) > 0 && w.held[0].N <= w.edge.Size {
		h := w.held[0]
		w.held = w.held[1:]
		if !w.gap && h.Hash == w.edge.Root() {
			w.matched = h.N
			continue
		}
		w.differ = true
		w.problem("checkpoint", fmt.Sprintf("the log in the database is not the one that a checkpoint signs. The first that does not match is %s: "+
			"its %d leaves have another root. The last that matches has %d", h.source, h.N, w.matched), fmt.Sprintf("%s (%d leaves)", h.source, h.N), rebuilt)
	}
}

// end names the checkpoints that the log is too short for.
func (w *walk) end() {
	for _, h := range w.held {
		why := ""
		if last := w.logs[len(w.logs)-1]; last.ID != w.log.ID {
			why = ". The log " + last.Origin + " began after it: " + last.Reason
		}
		w.problem("truncated", fmt.Sprintf("the log %s in the database is shorter than a checkpoint of it: %d leaves. The first such checkpoint is %s of %d leaves%s",
			w.log.Origin, w.edge.Size, h.source, h.N, why), fmt.Sprintf("%s (%d leaves)", h.source, h.N),
			"if a backup was restored: `noggin seal` takes the leaves back from [paths] checkpoints, and says so if it cannot; else somebody cut the log")
	}
	if len(w.held) == 0 && !w.differ && !w.gap {
		w.area.Fact(fmt.Sprintf("log %s: %s, as in %s", w.log.Origin, health.Plural(w.edge.Size, "leaf|leaves"), health.Plural(int64(len(w.evidence.held[w.log.Origin])), "checkpoint")))
	}
	if w.log.ID > 1 {
		w.area.Fact(fmt.Sprintf("log %s began on %s with the key %s: %s", w.log.Origin, w.log.BegunAt.Format(time.DateOnly), w.log.Verifier, w.log.Reason))
	}
}

// signed makes sure that a checkpoint signs the last leaf. A run may have made it
// meanwhile.
func (w *walk) signed(ctx context.Context) error {
	if w.differ || w.gap || len(w.held) > 0 || w.edge.Size == w.matched {
		return nil
	}
	heads, err := w.DB.SealHeads(ctx, w.log.ID)
	if err != nil {
		return err
	}
	for _, h := range heads {
		c, err := tree.OpenCheckpoint(h.Note, w.keys...)
		if err == nil && c.Origin == w.log.Origin && c.N == w.edge.Size && c.Hash == w.edge.Root() {
			return nil
		}
	}
	w.problem("leaf_unsigned", "leaves are in the database that no checkpoint signs", fmt.Sprintf("leaf %d of %s", w.matched, w.log.Origin), rebuilt)
	return nil
}
