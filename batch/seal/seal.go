package seal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"noggin/batch/seal/tree"
	"noggin/storage"
)

const (
	// batchRecords is the number of records that are sealed in one transaction.
	batchRecords = 2000
	// maxDamaged bounds the damaged versions that a summary names. It counts all.
	maxDamaged = 20
)

// Sealer appends to the log.
type Sealer struct {
	DB          *storage.DB
	Config      Config
	Checkpoints string // the folder, [paths] checkpoints
	Credentials string // systemd's credential directory; "": none
	Log         *slog.Logger
	Progress    func(records int) // sealed so far; nil is harmless

	// step is called after each step at which a run may be killed. Tests kill the program
	// there. It may be nil.
	step  func(name string)
	limit time.Duration // of [seal] publish; 0: [publishTime]
}

// Summary says what a run did.
type Summary struct {
	RunID        int64    `json:"run_id"`
	Origin       string   `json:"log"` // the name of the log
	Records      int      `json:"records"`
	Leaves       int64    `json:"leaves"` // appended
	Size         int64    `json:"tree_size"`
	Root         string   `json:"root"`       // in base64; "": nothing was ever sealed
	Checkpoint   string   `json:"checkpoint"` // the file; "": nothing was ever sealed
	PublicKey    string   `json:"public_key"`
	Restored     int64    `json:"restored"` // leaves taken back from the kept ones
	NewLog       string   `json:"new_log"`  // why a new log began; "": none did
	DamagedCount int      `json:"damaged_count"`
	Damaged      []string `json:"damaged"`       // the first versions whose body differs from its SHA-256: they are not sealed
	Published    bool     `json:"published"`     // [seal] publish took a checkpoint in this run
	PublishError string   `json:"publish_error"` // why it did not; the next run tries again
}

// Complete reports whether nothing is left that a person should look at.
func (s *Summary) Complete() bool {
	return s.DamagedCount == 0 && s.PublishError == "" && s.NewLog == ""
}

// errFork says that the log in the database is not the one whose checkpoint was published.
var errFork = errors.New("the log in the database does not continue the published one")

// run is one run of a Sealer.
type run struct {
	*Sealer
	key     key
	log     storage.SealLog
	kept    []keptLog
	summary Summary
}

// Run seals every version that is due, in batches, then verifies and publishes the new
// checkpoint. newLog, if it is not "", is why a new log begins. The summary is right also
// when Run returns an error: [ErrNoKey], errFork, a [files.DiskError] or the cause of ctx.
func (s *Sealer) Run(ctx context.Context, id int64, newLog string) (Summary, error) {
	r := &run{Sealer: s, summary: Summary{RunID: id, Damaged: []string{}}}
	var err error
	if r.key, err = loadKey(s.Config, s.Credentials); err != nil {
		return r.summary, err
	}
	r.summary.PublicKey = r.key.verifier
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return r.settle(ctx, newLog) }, r.appendAll, r.publish,
	} {
		if err := step(ctx); err != nil {
			return r.summary, err
		}
	}
	return r.summary, nil
}

func (r *run) reached(step string) {
	if r.step != nil {
		r.step(step)
	}
}

// appendAll seals what is due, a batch at a time.
func (r *run) appendAll(ctx context.Context) error {
	after := ""
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var b batch
		err := r.DB.Append(ctx, func(tx *storage.SealTx) (err error) {
			if done, err := b.isIn(tx); done || err != nil { // an earlier try, whose COMMIT's reply was lost
				return err
			}
			b, err = r.appendBatch(tx, after)
			return err
		})
		if err != nil {
			return err
		}
		r.summary.DamagedCount += len(b.damaged)
		r.summary.Damaged = append(r.summary.Damaged, b.damaged[:min(len(b.damaged), maxDamaged-len(r.summary.Damaged))]...)
		for _, version := range b.damaged {
			r.Log.Error("not sealed: the stored body of a version differs from its SHA-256", "version", version)
		}
		if b.after == "" {
			return nil
		}
		r.summary.Records, r.summary.Leaves, after = r.summary.Records+b.records, r.summary.Leaves+b.leaves, b.after
		if r.Progress != nil {
			r.Progress(r.summary.Records)
		}
		r.reached("appended")
	}
}

// batch is what one transaction sealed.
type batch struct {
	after   string // the last tip; "": nothing is due after the one before
	records int
	leaves  int64
	last    storage.SealedLeaf // of them, with the time at which it was made
	damaged []string
}

// isIn tells whether the leaves of the batch are in the log, if it has any.
func (b batch) isIn(tx *storage.SealTx) (bool, error) {
	if b.leaves == 0 {
		return false, nil
	}
	sealed, err := tx.Claims([]string{b.last.Tip})
	return slices.ContainsFunc(sealed, func(l storage.SealedLeaf) bool { return l.Leaf == b.last.Leaf }), err
}

// appendBatch seals the due records after a tip, in one transaction with the checkpoint
// that has them.
func (r *run) appendBatch(tx *storage.SealTx, after string) (b batch, err error) {
	marks, err := tx.TakeDue(after, batchRecords)
	if err != nil || len(marks) == 0 {
		return b, err
	}
	slices.SortFunc(marks, func(a, b storage.SealMark) int { return strings.Compare(a.Tip, b.Tip) })
	tips := make([]string, len(marks))
	for i, m := range marks {
		tips[i] = m.Tip
	}
	sizes, err := tx.BodyBytes(tips)
	if err != nil {
		return b, err
	}
	n := within(tips, sizes)
	for _, m := range marks[n:] {
		if err := tx.PutBack(m); err != nil {
			return b, err
		}
	}
	tips, marks = tips[:n], marks[:n]
	b.after, b.records = tips[n-1], n
	leaves, damaged, err := r.leavesOf(tx, tips)
	if err != nil {
		return b, err
	}
	for _, v := range damaged {
		b.damaged = append(b.damaged, fmt.Sprintf("%s version %d", v.Tip, v.Version))
		i := slices.IndexFunc(marks, func(m storage.SealMark) bool { return m.Tip == v.Tip })
		if err := tx.PutBack(marks[i]); err != nil {
			return b, err
		}
	}
	if b.leaves = int64(len(leaves)); b.leaves > 0 {
		b.last = leaves[len(leaves)-1]
	}
	return b, r.appendLeaves(tx, anywhere, leaves, nil)
}

// bodyBudget is how many bytes of bodies are in memory at a time, unless one record has more.
const bodyBudget = 64 << 20

// within returns how many of the records, at least one, have bodies within the budget.
func within(tips []string, sizes map[string]int64) int {
	sum := int64(0)
	for i, tip := range tips {
		if sum += sizes[tip]; sum > bodyBudget && i > 0 {
			return i
		}
	}
	return len(tips)
}

// anywhere is the position of leaves that go behind the last one, wherever that is.
const anywhere = -1

// leavesOf makes the leaves of the records' versions that are to be sealed: the current
// one of a complete record, and former ones that were not sealed in their time.
func (r *run) leavesOf(tx *storage.SealTx, tips []string) (leaves []storage.SealedLeaf, damaged []storage.SealVersion, err error) {
	now, err := tx.Now()
	if err != nil {
		return nil, nil, err
	}
	versions, err := tx.Versions(tips)
	if err != nil {
		return nil, nil, err
	}
	files, err := tx.Files(tips)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := tx.Claims(tips)
	if err != nil {
		return nil, nil, err
	}
	claims, bodies, mirrored := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range sealed {
		claims[string(s.Claim)] = true
		if l, err := parseLeaf(s.Leaf); err == nil {
			bodies[l.Tip+l.BodySHA256] = true
			for _, a := range l.Attachments {
				mirrored[l.Tip+a.Tip+a.SHA256] = true
			}
		}
	}
	isNew := func(tip string) func(leafFile) bool {
		return func(a leafFile) bool { return !mirrored[tip+a.Tip+a.SHA256] }
	}
	of := map[string][]storage.SealFile{}
	for _, f := range files {
		of[f.RecordTip] = append(of[f.RecordTip], f)
	}
	for _, v := range versions {
		if v.Current && !v.Complete && v.Kind == kindVersion {
			continue // its attachments are under way
		}
		l := newLeaf(v, of[v.Tip], now)
		claim := l.claim()
		switch {
		case l.BodySHA256 != v.SHA256:
			damaged = append(damaged, v)
		case claims[string(claim)]:
		// It was sealed while it was current, and got no other bytes before it was not.
		case !v.Current && bodies[l.Tip+l.BodySHA256] && !slices.ContainsFunc(l.Attachments, isNew(l.Tip)):
		default:
			claims[string(claim)] = true
			leaves = append(leaves, storage.SealedLeaf{Tip: v.Tip, Claim: claim, Leaf: l.text()})
		}
	}
	return leaves, damaged, nil
}

// appendLeaves appends leaves to the run's log, with the checkpoint that has them: this
// one, or a new one. It does nothing when an earlier try has put leaves at that position.
func (r *run) appendLeaves(tx *storage.SealTx, at int64, leaves []storage.SealedLeaf, signed *tree.Checkpoint) error {
	if len(leaves) == 0 {
		return nil
	}
	logs, err := tx.Logs()
	if err != nil {
		return err
	}
	if last := logs[len(logs)-1]; last.ID != r.log.ID {
		return fmt.Errorf("another run began the log %s meanwhile: the next run goes on in it", last.Origin)
	}
	old, err := r.head(tx.Head(r.log.ID))
	if err != nil || at != anywhere && old.N > at {
		return err
	}
	stored := tree.NewTiles(func(wanted []storage.SealTile) ([]storage.SealTile, error) { return tx.Tiles(r.log.ID, wanted) })
	grown, changed, err := tree.Append(old.Tree, stored, leaves)
	if err != nil {
		return err
	}
	c, err := tree.Sign(r.log.Origin, grown, r.key.signer)
	if err != nil {
		return err
	}
	if signed != nil {
		if signed.Tree != grown {
			return fmt.Errorf("%w: %d leaves give another root than %s", errFork, grown.N, signed.Origin)
		}
		c = *signed
	}
	return tx.Add(r.log.ID, leaves, changed, storage.SealHead{Size: grown.N, Note: c.Note})
}

// head reads the checkpoint of the run's log in the database, whose key must have signed
// it. A log without one is empty.
func (r *run) head(stored storage.SealHead, err error) (tree.Checkpoint, error) {
	if err != nil {
		return tree.Checkpoint{}, err
	}
	if stored.Note == "" {
		return tree.Checkpoint{Origin: r.log.Origin, Tree: tlog.Tree{Hash: new(tree.Edge).Root()}}, nil
	}
	key, err := note.NewVerifier(r.log.Verifier)
	if err != nil {
		return tree.Checkpoint{}, fmt.Errorf("the public key of the log %s in the database is none: %w", r.log.Origin, err)
	}
	c, err := tree.OpenCheckpoint(stored.Note, key)
	if err == nil && (c.Origin != r.log.Origin || c.N != stored.Size) {
		err = errors.New("it is one of another log or size")
	}
	if err != nil {
		return c, fmt.Errorf("%w: its checkpoint of %d leaves: %w", errFork, stored.Size, err)
	}
	return c, nil
}
