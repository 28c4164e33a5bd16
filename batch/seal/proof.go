package seal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"noggin/batch/seal/tree"
	"noggin/storage"
)

// The files of proofs in a bag. The name of a log follows that of its checkpoint, with "_"
// in place of "/".
const (
	proofFolder     = "data/proofs/"
	proofLines      = "proofs.jsonl"
	proofKeys       = "public-keys.txt"
	proofCheckpoint = "checkpoint-"
	proofUnsealed   = "unsealed.txt"
	maxLine         = 64 << 20 // bytes; a leaf has every attachment of a record
	maxNote         = 64 << 10 // bytes
)

// proofLine is a line of the file of proofs: a leaf and the hashes that lead from it to
// the root of the log's checkpoint.
type proofLine struct {
	Log      string      `json:"log"`
	Position int64       `json:"position"`
	Leaf     string      `json:"leaf"`
	Proof    []tlog.Hash `json:"proof"` // in base64, from the leaf upwards
}

// prover writes the proofs of records, all against the same checkpoints: the newest of
// each log when it was made.
type prover struct {
	db   *storage.DB
	logs []provedLog
}

type provedLog struct {
	storage.SealLog
	tree.Checkpoint
	hashes tlog.HashReader
}

// newProver reads the newest checkpoints. Without a log nothing is ever proved.
func newProver(ctx context.Context, db *storage.DB) (*prover, error) {
	p := &prover{db: db}
	logs, err := db.SealLogs(ctx)
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		stored, err := db.SealHead(ctx, log.ID)
		if err != nil {
			return nil, err
		}
		if stored.Note == "" {
			continue
		}
		head, err := (&run{log: log}).head(stored, nil)
		if err != nil {
			return nil, err
		}
		read := tree.NewTiles(func(wanted []storage.SealTile) ([]storage.SealTile, error) { return db.SealTiles(ctx, log.ID, wanted) })
		p.logs = append(p.logs, provedLog{log, head, tlog.TileHashReader(head.Tree, read)})
	}
	return p, nil
}

// write writes the proofs of every version of the records that was sealed when they were
// read, a line each. Each proof is checked before it is written. It returns the tips of
// records of which something was not sealed then, or changed since.
func (p *prover) write(ctx context.Context, w io.Writer, records []Bagged) (unsealed []string, err error) {
	left := map[string]int{}
	for _, r := range records {
		left[r.Tip] = r.Leaves
	}
	tips := slices.Collect(maps.Keys(left))
	if unsealed, err = p.db.SealDue(ctx, tips); err != nil { // first: what is sealed meanwhile has a leaf more
		return nil, err
	}
	for _, l := range p.logs {
		leaves, err := p.db.LeavesOf(ctx, l.ID, tips)
		if err != nil {
			return nil, err
		}
		for _, leaf := range leaves {
			if left[leaf.Tip]--; left[leaf.Tip] < 0 || leaf.Position >= l.N {
				unsealed = append(unsealed, leaf.Tip)
				continue
			}
			proof, err := tlog.ProveRecord(l.N, leaf.Position, l.hashes)
			if err == nil {
				err = tlog.CheckRecord(proof, l.N, l.Hash, leaf.Position, tlog.RecordHash([]byte(leaf.Leaf)))
			}
			if err != nil {
				return nil, fmt.Errorf("leaf %d of the log %s cannot be proved: %w; `noggin validate evidence` says what is wrong", leaf.Position, l.Checkpoint.Origin, err)
			}
			line, err := json.Marshal(proofLine{l.Checkpoint.Origin, leaf.Position, leaf.Leaf, proof})
			if err != nil {
				return nil, err
			}
			if _, err := w.Write(append(line, '\n')); err != nil {
				return nil, err
			}
		}
	}
	return unsealed, nil
}

// errProof is wrapped by what is wrong with proofs.
var errProof = errors.New("the proof does not hold")

// proofs are those of a bag, checked.
type proofs struct {
	bag         Bag
	keys        []string // that may sign
	checkpoints map[string]tree.Checkpoint
	leaves      map[string][]leaf         // by record
	seen        map[string]map[int64]bool // the positions of the leaves, by log
	unsealed    map[string]bool           // the records that waited for `noggin seal` when they were exported
}

// readProofs reads and checks the proofs of a bag, each against its log's checkpoint, whose
// signature must be of a trusted key.
func readProofs(ctx context.Context, bag Bag, publicKey string) (*proofs, error) {
	p := &proofs{
		bag: bag, keys: []string{strings.TrimSpace(publicKey)}, checkpoints: map[string]tree.Checkpoint{}, leaves: map[string][]leaf{},
		seen: map[string]map[int64]bool{}, unsealed: map[string]bool{},
	}
	if publicKey != "" {
		if _, err := note.NewVerifier(p.keys[0]); err != nil {
			return nil, fmt.Errorf("%w: %.100q is none, such as example.com/inspections+1a2b3c4d+AQ…", ErrBadKey, p.keys[0])
		}
	}
	n := 0
	if err := eachLine(ctx, bag, proofFolder+proofLines, func(text []byte) (err error) {
		if n++; n == 1 && publicKey == "" {
			keys, err := p.small(proofKeys)
			if err != nil {
				return err
			}
			p.keys = strings.Fields(keys)
		}
		if err = p.check(text); err != nil {
			err = fmt.Errorf("%s line %d: %w", proofFolder+proofLines, n, err)
		}
		return err
	}); err != nil {
		return nil, err
	}
	err := eachLine(ctx, bag, proofFolder+proofUnsealed, func(tip []byte) error { p.unsealed[string(tip)] = true; return nil })
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // nothing waited
	}
	return p, err
}

// eachLine hands each line of a file of a bag to fn.
func eachLine(ctx context.Context, bag Bag, name string, fn func(text []byte) error) error {
	f, err := bag.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	for lines.Scan() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := fn(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// ErrBadKey says that a text is no public key.
var ErrBadKey = errors.New("want the public key of a log, as `noggin seal init` prints it")

// small reads a small file beside the proofs.
func (p *proofs) small(name string) (string, error) {
	f, err := p.bag.Open(proofFolder + name)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", errProof, proofFolder+name, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", proofFolder+name, err)
	}
	return string(text), nil
}

// checkpoint returns the checkpoint of a log, whose signature is checked once.
func (p *proofs) checkpoint(log string) (tree.Checkpoint, error) {
	c, ok := p.checkpoints[log]
	if ok {
		return c, nil
	}
	if !strings.HasPrefix(log, "/") && len(log) < 100 {
		text, err := p.small(proofCheckpoint + folderName(log))
		if err != nil {
			return c, err
		}
		if c, err = tree.OpenCheckpoint(text, verifiers(p.keys...)...); err != nil {
			return c, fmt.Errorf("%w: the checkpoint of %s: %w", errProof, log, err)
		}
	}
	if c.Origin != log {
		return c, fmt.Errorf("%w: no checkpoint of the log %.80q lies beside it", errProof, log)
	}
	p.checkpoints[log] = c
	return c, nil
}

// check checks one proof and keeps its leaf.
func (p *proofs) check(text []byte) error {
	var line proofLine
	if err := json.Unmarshal(text, &line); err != nil {
		return fmt.Errorf("%w: it is no proof: %w", errProof, err)
	}
	c, err := p.checkpoint(line.Log)
	if err != nil {
		return err
	}
	switch {
	case line.Position < 0 || line.Position >= c.N:
		return fmt.Errorf("%w: the checkpoint has no leaf %d", errProof, line.Position)
	case p.seen[line.Log][line.Position]:
		return fmt.Errorf("%w: leaf %d is there twice", errProof, line.Position)
	case p.seen[line.Log] == nil:
		p.seen[line.Log] = map[int64]bool{}
	}
	p.seen[line.Log][line.Position] = true
	if err := tlog.CheckRecord(line.Proof, c.N, c.Hash, line.Position, tlog.RecordHash([]byte(line.Leaf))); err != nil {
		return fmt.Errorf("%w: the leaf is not in the log that the checkpoint signs: %w", errProof, err)
	}
	l, err := parseLeaf(line.Leaf)
	if err != nil {
		return fmt.Errorf("%w: %w", errProof, err)
	}
	p.leaves[l.Tip] = append(p.leaves[l.Tip], l)
	return nil
}
