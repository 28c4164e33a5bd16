package seal

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"noggin/batch/files"
	"noggin/batch/seal/tree"
)

// The names of the files in a log's folder, with the size of the tree, or the first
// position and the one behind the last.
const (
	checkpointPrefix = "checkpoint-"
	leavesPrefix     = "leaves-"
	leavesSuffix     = ".jsonl"
	setAsideSuffix   = ".unpublished"
)

func checkpointName(size int64) string { return fmt.Sprintf("%s%012d", checkpointPrefix, size) }

// checkpointSize is the size in the name of a checkpoint. A name with more behind it is none,
// such as that of a time stamp which [seal] publish writes beside the checkpoint.
func checkpointSize(name string) (size int64, ok bool) {
	digits, ok := strings.CutPrefix(name, checkpointPrefix)
	n, err := strconv.ParseUint(digits, 10, 63)
	return int64(n), ok && err == nil
}

func leavesName(from, before int64) string {
	return fmt.Sprintf("%s%012d-%012d%s", leavesPrefix, from, before, leavesSuffix)
}

// keptFile is a checkpoint that lies in a folder.
type keptFile struct {
	path string
	tree.Checkpoint
	err error // why it is none, or is not signed by a known key
}

// keptLog is the folder of a log, with what was published of it.
type keptLog struct {
	origin string
	dir    string
	heads  []keptFile // by size; those that cannot be used come first
	leaves []keptLeaves
}

// keptLeaves is a file of leaves.
type keptLeaves struct {
	path         string
	from, before int64
}

// newest is the largest checkpoint that a known key signed, or nil.
func (k *keptLog) newest() *keptFile {
	if k == nil || len(k.heads) == 0 || k.heads[len(k.heads)-1].err != nil {
		return nil
	}
	return &k.heads[len(k.heads)-1]
}

// readable returns an error if the disk refuses one of the checkpoints, or one is damaged,
// and it may be the newest.
func (k *keptLog) readable() error {
	size := int64(-1)
	if newest := k.newest(); newest != nil {
		size = newest.N
	}
	for _, h := range k.heads {
		if files.IsDiskError(h.err) || errors.Is(h.err, files.ErrMissing) { // a link that leads nowhere
			return fmt.Errorf("nothing is sealed, as a checkpoint that was published cannot be read: %w", h.err)
		}
		_, forged := errors.AsType[*note.InvalidSignatureError](h.err)
		if h.err == nil || errors.Is(h.err, tree.ErrForeignKey) && !forged && size < 0 { // a log of another key
			continue
		}
		if named, _ := checkpointSize(filepath.Base(h.path)); named > size {
			return fmt.Errorf("nothing is sealed, as %s may be the newest checkpoint and is damaged (%w): put a good copy in its place, such as `noggin copy restore --checkpoints --to /tmp/log` fetches; "+
				"without one, if the database was not restored from an older backup, `mv %s %s` and seal again", h.path, h.err, files.ShellQuoted(h.path), files.ShellQuoted(h.path+".damaged"))
		}
	}
	return nil
}

// readKept reads the folders of the logs below the folder of checkpoints. A folder that
// holds no checkpoint of the log of its name, and none that cannot be read, is left out.
func readKept(checkpoints string, keys []note.Verifier) ([]keptLog, error) {
	folders, err := os.ReadDir(checkpoints)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, files.WrapDisk("list", checkpoints, err)
	}
	var kept []keptLog
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		k, err := readKeptLog(filepath.Join(checkpoints, folder.Name()), keys)
		if err != nil {
			return nil, err
		}
		if k.origin != "" || k.readable() != nil {
			kept = append(kept, k)
		}
	}
	slices.SortFunc(kept, func(a, b keptLog) int {
		return cmp.Or(cmp.Compare(logNumber(a.origin), logNumber(b.origin)), cmp.Compare(a.origin, b.origin))
	})
	return kept, nil
}

func readKeptLog(dir string, keys []note.Verifier) (keptLog, error) {
	k := keptLog{dir: dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return k, files.WrapDisk("list", dir, err)
	}
	for _, entry := range entries {
		at := filepath.Join(dir, entry.Name())
		_, isCheckpoint := checkpointSize(entry.Name())
		switch {
		case isCheckpoint:
			c, err := readCheckpointFile(at, keys)
			if folderName(c.Origin) == filepath.Base(dir) {
				k.origin = c.Origin
			} else if err == nil {
				err = fmt.Errorf("it is a checkpoint of another log, %s", c.Origin)
			}
			k.heads = append(k.heads, keptFile{at, c, err})
		case strings.HasPrefix(entry.Name(), leavesPrefix) && strings.HasSuffix(entry.Name(), leavesSuffix):
			if l, ok := parseLeavesName(at); ok {
				k.leaves = append(k.leaves, l)
			}
		}
	}
	slices.SortFunc(k.heads, func(a, b keptFile) int {
		if (a.err == nil) != (b.err == nil) {
			if a.err != nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.N, b.N)
	})
	slices.SortFunc(k.leaves, func(a, b keptLeaves) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.before, b.before)) })
	return k, nil
}

func parseLeavesName(path string) (keptLeaves, bool) {
	name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), leavesPrefix), leavesSuffix)
	from, before, _ := strings.Cut(name, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(before, 10, 64)
	return keptLeaves{path, first, last}, err1 == nil && err2 == nil && first >= 0 && last > first
}

// readCheckpointFile reads a checkpoint that a known key signed. It returns also what it
// could read of another.
func readCheckpointFile(path string, keys []note.Verifier) (tree.Checkpoint, error) {
	text, err := readSmall(path)
	if err != nil {
		return tree.Checkpoint{}, err
	}
	return tree.OpenCheckpoint(text, keys...)
}

// readSmall reads a file of at most 64 KB, such as a key. Others may have put it there.
func readSmall(path string) (string, error) {
	f, _, err := files.OpenRegular(path, 0)
	if err != nil {
		return "", err
	}
	defer files.Release(f)
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", files.WrapDisk("read", path, err)
	}
	return string(text), nil
}

// logNumber is the number of a log of its key: 1 for the first.
func logNumber(origin string) int {
	at := strings.LastIndexByte(origin, '/')
	if n, err := strconv.Atoi(origin[at+1:]); at > 0 && err == nil && n > 1 {
		return n
	}
	return 1
}

// numbered is the origin of the nth log of a key.
func numbered(name string, n int) string {
	if n < 2 {
		return name
	}
	return fmt.Sprintf("%s/%d", name, n)
}

// isLogOf tells whether the origin is that of a log of the key.
func isLogOf(origin, key string) bool {
	number, ok := strings.CutPrefix(origin, key)
	return ok && (number == "" || origin == numbered(key, logNumber(origin)))
}

// errNoLeaves says that kept leaves end too early.
var errNoLeaves = errors.New("leaves are missing")

// each hands the kept leaves from a position on, before another, to fn.
func (k *keptLog) each(from, before int64, fn func(position int64, text string) error) error {
	for from < before {
		var best *keptLeaves
		for i, l := range k.leaves {
			if l.from <= from && from < l.before && (best == nil || l.before > best.before) {
				best = &k.leaves[i]
			}
		}
		if best == nil {
			return fmt.Errorf("%w: none of the files in %s has leaf %d", errNoLeaves, k.dir, from)
		}
		next, err := best.each(from, before, fn)
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

func (l *keptLeaves) each(from, before int64, fn func(position int64, text string) error) (next int64, err error) {
	f, _, err := files.OpenRegular(l.path, 0)
	if err != nil {
		return from, err
	}
	defer files.Release(f)
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	lines.Split(wholeLines)
	for at := l.from; at < min(l.before, before); at++ {
		if !lines.Scan() && lines.Err() == nil {
			return from, fmt.Errorf("%w: %s ends before leaf %d", errNoLeaves, l.path, at)
		}
		if err := lines.Err(); err != nil {
			return from, files.WrapDisk("read", l.path, err)
		}
		if at < from {
			continue
		}
		if err := fn(at, lines.Text()); err != nil {
			return from, err
		}
	}
	return min(l.before, before), nil
}

// wholeLines splits at line ends and leaves out a last line without one, which was cut.
func wholeLines(data []byte, _ bool) (advance int, line []byte, err error) {
	if end := bytes.IndexByte(data, '\n'); end >= 0 {
		return end + 1, data[:end], nil
	}
	return 0, nil, nil
}

// keptLeaf is a leaf in a file of leaves.
type keptLeaf struct {
	position int64
	text     string
}

// all are the kept leaves in their order, each position once. It ends with an error when a
// file is shorter than its name says.
func (k *keptLog) all() iter.Seq2[keptLeaf, error] {
	return func(yield func(keptLeaf, error) bool) {
		next := int64(0)
		for _, l := range k.leaves {
			ended := false
			_, err := l.each(max(l.from, next), l.before, func(position int64, text string) error {
				if ended = !yield(keptLeaf{position, text}, nil); ended {
					return io.EOF
				}
				return nil
			})
			if ended || err != nil && !yield(keptLeaf{}, err) {
				return
			}
			next = max(next, l.before)
		}
	}
}

// covered is how many leaves from the first on the folder holds without a gap.
func (k *keptLog) covered() (n int64) {
	for _, l := range k.leaves { // by their first position
		if l.from <= n {
			n = max(n, l.before)
		}
	}
	return n
}

// publicKeys reads the public keys that are kept beside the checkpoints.
func publicKeys(checkpoints string) (keys []string, err error) {
	found, err := filepath.Glob(filepath.Join(checkpoints, "*.pub"))
	if err != nil {
		return nil, fmt.Errorf("list the public keys: %w", err)
	}
	for _, path := range found {
		text, err := readSmall(path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, strings.TrimSpace(text))
	}
	return keys, nil
}

// verifiers are those public keys that are ones, each once.
func verifiers(keys ...string) (known []note.Verifier) {
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		if v, err := note.NewVerifier(k); err == nil {
			known = append(known, v)
		}
	}
	return known
}
