package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"noggin/batch/files"
	"noggin/batch/seal/tree"
	"noggin/storage"
)

// settle finds the log to append to. The one in the database must continue what is
// published. Where it is shorter, because a backup was restored, it is completed from the
// kept leaves; without them a new log begins. Without its checkpoints it is not appended to.
func (r *run) settle(ctx context.Context, newLog string) error {
	if err := files.MakeFolders(r.Checkpoints); err != nil {
		return files.WrapDisk("create folder", r.Checkpoints, err)
	}
	if err := keepPublicKey(r.Checkpoints, r.key.verifier); err != nil {
		return err
	}
	public, err := publicKeys(r.Checkpoints)
	if err != nil {
		return err
	}
	if r.kept, err = readKept(r.Checkpoints, verifiers(append(public, r.key.verifier)...)); err != nil {
		return err
	}
	for i := range r.kept {
		if err := r.kept[i].readable(); err != nil {
			return err
		}
	}
	logs, err := r.DB.SealLogs(ctx)
	if err != nil {
		return err
	}
	if logs, err = r.takeBack(ctx, logs); err != nil {
		return err
	}
	if len(logs) == 0 {
		return r.begin(ctx, 0, newLog)
	}
	r.log = logs[len(logs)-1]
	if newLog != "" {
		return r.begin(ctx, len(logs), newLog)
	}
	if !isLogOf(r.log.Origin, r.key.signer.Name()) { // the key signs no other name
		return fmt.Errorf("%w: the name %.100q of the log in the database is none of the key %s: `noggin seal --new-log REASON` begins a new log openly", errFork, r.log.Origin, r.key.signer.Name())
	}
	if r.log.Verifier != r.key.verifier {
		return fmt.Errorf("%w: the log %s has another key than this one: put its key back, or `noggin seal --new-log REASON` begins a new log openly", errFork, r.log.Origin)
	}
	return r.join(ctx, len(logs))
}

// takeBack adds the logs to the database that only the folder of checkpoints knows: an
// older backup was restored, or the database was lost.
func (r *run) takeBack(ctx context.Context, logs []storage.SealLog) ([]storage.SealLog, error) {
	for _, k := range r.kept {
		newest := k.newest()
		if newest == nil || !isLogOf(k.origin, r.key.signer.Name()) ||
			slices.ContainsFunc(logs, func(l storage.SealLog) bool { return logNumber(l.Origin) >= logNumber(k.origin) }) {
			continue
		}
		log := storage.SealLog{ID: len(logs) + 1, Origin: k.origin, Verifier: r.key.verifier, Reason: "taken back from the published checkpoints"}
		if _, err := tree.OpenCheckpoint(newest.Note, verifiers(r.key.verifier)...); err != nil {
			continue // a former key signed it
		}
		if err := r.DB.Append(ctx, func(tx *storage.SealTx) error { return r.beginIn(tx, log, nil) }); err != nil {
			return nil, err
		}
		r.log = log
		r.Log.Warn("the database lacks a log whose checkpoints are kept: it is taken back", "log", k.origin)
		if err := r.complete(ctx, &k, tree.Checkpoint{Tree: tlog.Tree{Hash: new(tree.Edge).Root()}}); err != nil && !errors.Is(err, errNoLeaves) {
			return nil, err
		}
		logs = append(logs, log)
	}
	return logs, nil
}

// join makes sure that the run's log continues the newest published checkpoint.
func (r *run) join(ctx context.Context, logs int) error {
	head, err := r.head(r.DB.SealHead(ctx, r.log.ID))
	if err != nil {
		return err
	}
	k := r.keptOf(r.log.Origin)
	newest := k.newest()
	switch {
	case newest == nil:
		published, err := r.DB.SealPublished(ctx, r.log)
		if err == nil && published { // else the first run did not come to its end
			err = fmt.Errorf("nothing is sealed, as %s has no checkpoint of the log %s, of which some were published: mount its volume, or bring them back, from a second place by `noggin copy restore --checkpoints`; "+
				"if they are lost, `noggin seal --new-log REASON` begins a new log openly", r.Checkpoints, r.log.Origin)
		}
		return err
	case newest.N > head.N:
		err := r.complete(ctx, k, head)
		if errors.Is(err, errNoLeaves) {
			return r.begin(ctx, logs, fmt.Sprintf("the database has %d leaves of the log %s, of which a checkpoint of %d leaves was published, as an older backup was restored; %v",
				head.N, r.log.Origin, newest.N, err))
		}
		return err
	}
	root, err := tlog.TreeHash(newest.N, tlog.TileHashReader(head.Tree, r.tiles(ctx)))
	if err == nil && newest.N > 0 && root != newest.Hash {
		err = fmt.Errorf("%w: its first %d leaves give another root than %s", errFork, newest.N, newest.path)
	}
	if err != nil {
		return fmt.Errorf("%w; nothing was sealed: `noggin validate evidence` says what differs; `noggin seal --new-log REASON` begins a new log openly", err)
	}
	return nil
}

func (r *run) keptOf(origin string) *keptLog {
	for i := range r.kept {
		if r.kept[i].origin == origin {
			return &r.kept[i]
		}
	}
	return nil
}

func (r *run) tiles(ctx context.Context) *tree.Tiles {
	return tree.NewTiles(func(wanted []storage.SealTile) ([]storage.SealTile, error) {
		return r.DB.SealTiles(ctx, r.log.ID, wanted)
	})
}

// complete appends the kept leaves that the database lacks. It first makes sure that they
// give the root of the kept checkpoint. The error wraps errNoLeaves when leaves are
// missing.
func (r *run) complete(ctx context.Context, k *keptLog, head tree.Checkpoint) error {
	newest := k.newest()
	e, err := tree.EdgeAt(head.Tree, head.N, r.tiles(ctx))
	if err != nil {
		return err
	}
	err = k.each(head.N, newest.N, func(_ int64, text string) error {
		e.Add(text)
		_, err := parseLeaf(text)
		return err
	})
	switch {
	case err != nil:
		return err
	case e.Root() != newest.Hash:
		return fmt.Errorf("%w: with the leaves kept in %s it gives another root than %s; nothing was sealed: `noggin validate evidence` says what differs; "+
			"`noggin seal --new-log REASON` begins a new log openly", errFork, k.dir, newest.path)
	}
	var pending []storage.SealedLeaf
	at := head.N
	flush := func(signed *tree.Checkpoint) error {
		err := r.DB.Append(ctx, func(tx *storage.SealTx) error { return r.appendLeaves(tx, at, pending, signed) })
		at, pending = at+int64(len(pending)), nil
		return err
	}
	return k.each(head.N, newest.N, func(position int64, text string) error {
		l, err := parseLeaf(text)
		if err != nil {
			return err
		}
		pending = append(pending, storage.SealedLeaf{Tip: l.Tip, Claim: l.claim(), Leaf: text})
		r.summary.Restored++
		switch {
		case position == newest.N-1:
			return flush(&newest.Checkpoint)
		case len(pending) == batchRecords:
			return flush(nil)
		}
		return nil
	})
}

// begin begins a log, unless another run has begun one since this run saw known of them:
// then it goes on in that one. After another log, the first leaf says why.
func (r *run) begin(ctx context.Context, known int, reason string) error {
	return r.DB.Append(ctx, func(tx *storage.SealTx) error {
		logs, err := tx.Logs()
		if err != nil {
			return err
		}
		if len(logs) > known {
			r.log = logs[len(logs)-1]
			return nil
		}
		previous, err := r.lastNote(tx)
		if err != nil {
			return err
		}
		n := r.nextNumber(logs)
		if n > 1 && reason == "" {
			reason = "the database has no log, and the checkpoints that are kept are of another key"
		}
		r.log = storage.SealLog{ID: len(logs) + 1, Origin: numbered(r.key.signer.Name(), n), Verifier: r.key.verifier, Reason: reason}
		if reason == "" {
			return r.beginIn(tx, r.log, nil)
		}
		r.summary.NewLog = reason
		r.Log.Warn("a new log begins", "log", r.log.Origin, "reason", reason)
		return r.beginIn(tx, r.log, &logLeaf{Format: leafFormat, Kind: kindLog, Origin: r.log.Origin, Previous: previous, Reason: reason})
	})
}

// nextNumber is the number of the next log of the key, of which logs are in the database.
func (r *run) nextNumber(logs []storage.SealLog) int {
	name, n := r.key.signer.Name(), 1
	take := func(origin string) {
		if isLogOf(origin, name) {
			n = max(n, logNumber(origin)+1)
		}
	}
	for _, l := range logs {
		take(l.Origin)
	}
	for _, k := range r.kept {
		take(k.origin)
	}
	return n
}

// lastNote is the last checkpoint of the run's log that is known, "" without one.
func (r *run) lastNote(tx *storage.SealTx) (string, error) {
	if newest := r.keptOf(r.log.Origin).newest(); newest != nil {
		return newest.Note, nil
	}
	head, err := tx.Head(r.log.ID) // without a log there is none
	return head.Note, err
}

// beginIn adds a log, unless another run or an earlier try has added it.
func (r *run) beginIn(tx *storage.SealTx, log storage.SealLog, first *logLeaf) error {
	logs, err := tx.Logs()
	if err != nil || slices.ContainsFunc(logs, func(l storage.SealLog) bool { return l.Origin == log.Origin }) {
		return err
	}
	if err := tx.Begin(log); err != nil || first == nil {
		return err
	}
	now, err := tx.Now()
	if err != nil {
		return err
	}
	first.SealedAt = timeText(&now)
	text := first.text()
	l, err := parseLeaf(text)
	if err != nil {
		return err
	}
	return r.appendLeaves(tx, 0, []storage.SealedLeaf{{Claim: l.claim(), Leaf: text}}, nil)
}
