package powercut

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
)

// These steps are of what keeps evidence: versions and former files, copies, the log,
// exports.

// cutRefresh edits records at the platform and has noggin ask for them again: the newest
// becomes the current version, and what it replaces a former file.
func (r *trial) cutRefresh() []string {
	args := r.edited()
	if len(args) == 0 {
		return r.cutProcess()
	}
	r.cutDuring("process", append([]string{"--refresh", "--media"}, args...)...)
	return nil
}

// edited edits some complete records, and returns the arguments that name them.
func (r *trial) edited() (args []string) {
	tips := r.texts(`SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'complete' ORDER BY tip`)
	edited := map[string]bool{}
	for range min(4, len(tips)) {
		tip := tips[r.random.IntN(len(tips))]
		if !edited[tip] {
			edited[tip] = true
			r.edit(tip)
			args = append(args, "--tip", tip)
		}
	}
	return args
}

// edit edits a record, and remembers the bytes that were served before.
func (r *trial) edit(tip string) {
	r.edits++
	edit := apitest.Edit{Set: map[string]any{"jobNumber": fmt.Sprintf("J-%d", r.edits)}}
	for i := range r.next {
		record := r.api.Record(i)
		if record.Tip != tip {
			continue
		}
		for _, a := range record.Attachments {
			r.served[a.Tip] = append(r.served[a.Tip], r.api.MediaSHA256(a.Tip))
		}
		n := len(record.Attachments)
		switch {
		case n > 0 && r.chance(0.4):
			edit.Replace = []string{record.Attachments[r.random.IntN(n)].Tip}
		case n > 1 && r.chance(0.4):
			edit.Remove = []string{record.Attachments[r.random.IntN(n)].Tip}
		default:
			edit.Add = []string{"attachments"}
		}
	}
	r.api.Edit(tip, edit)
}

func (r *trial) second() string      { return filepath.Join(r.back.dir, "second") }
func (r *trial) checkpoints() string { return filepath.Join(r.back.dir, "checkpoints") }
func (r *trial) sealKey() string     { return filepath.Join(r.back.dir, "key", "seal.key") }

// fresh makes sure that there is something to copy or to seal: of new records, later of
// records whose folders are on disk already.
func (r *trial) fresh(due string) {
	r.t.Helper()
	if r.count(`SELECT count(*) FROM noggin_schema.`+due) > 0 {
		return
	}
	if args := r.edited(); len(args) > 0 {
		r.mustRun(append([]string{"process", "--refresh", "--media"}, args...)...)
	} else {
		r.deliver()
		r.finishRecords()
	}
	r.sync()
}

func (r *trial) cutCopy() []string {
	r.fresh("copies_due")
	if o := r.cutDuring("copy run"); o.ended && o.code == 0 {
		return r.lacksOfLog()
	}
	return nil
}

// lacksOfLog names the leaves and checkpoints of runs of seal that ended well of which the
// second place has no whole copy.
func (r *trial) lacksOfLog() (damage []string) {
	for path, sum := range r.sealed {
		rel, below := strings.CutPrefix(path, r.checkpoints()+"/")
		if !below || strings.HasSuffix(rel, ".pub") || strings.HasSuffix(rel, ".unpublished") {
			continue
		}
		if got, err := batchtest.HashFile(filepath.Join(r.second(), "checkpoints", rel) + "." + sum); got != sum {
			damage = append(damage, fmt.Sprintf("the copy of %s: SHA-256 %s instead of %s (%v)", path, got, sum, err))
		}
	}
	return damage
}

// checkCopies looks for each copy that the database has.
func (r *trial) checkCopies() (damage []string) {
	for _, c := range r.rows(`SELECT kind, path, hash_sha256 FROM noggin_schema.copies WHERE obsolete_at IS NULL`) {
		at := filepath.Join(r.second(), "files", c[1])
		if c[0] == "backup" || c[0] == "manifest" {
			at = filepath.Join(r.second(), "backups", filepath.Base(c[1]))
		}
		if got, err := batchtest.HashFile(at + "." + c[2]); got != c[2] {
			damage = append(damage, fmt.Sprintf("the copy of %s: SHA-256 %s instead of %s (%v)", c[1], got, c[2], err))
		}
	}
	return damage
}

// cutSeal makes the key, and from then on appends to the log. Files that were there when a
// command ended well stay as they are.
func (r *trial) cutSeal() []string {
	r.fresh("seal_due")
	var o outcome
	if _, err := os.Stat(r.sealKey()); errors.Is(err, fs.ErrNotExist) {
		o = r.cutDuring("seal init", "--name", "example.com/power")
	} else {
		o = r.cutDuring("seal")
	}
	switch {
	case o.ended && !o.well():
		return []string{fmt.Sprintf("noggin seal cannot go on: exit code %d\n%s", o.code, r.said())}
	case !o.ended || o.code != 0:
		return nil
	}
	r.sealed = r.sealFiles()
	if len(r.sealed) == 0 {
		return []string{"noggin seal ended well, and neither key nor checkpoint is there"}
	}
	return nil
}

// sealFiles returns the SHA-256 of the key, the checkpoints and the leaves by path.
func (r *trial) sealFiles() map[string]string {
	r.t.Helper()
	found := map[string]string{}
	for _, top := range []string{filepath.Dir(r.sealKey()), r.checkpoints()} {
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
				return err
			}
			found[path], err = batchtest.HashFile(path)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.t.Fatal(err)
		}
	}
	return found
}

// checkSeal looks whether what was sealed is still there, and each checkpoint that is there
// is the one that was signed.
func (r *trial) checkSeal() (damage []string) {
	found := r.sealFiles()
	for path, sum := range r.sealed {
		if found[path] != sum {
			damage = append(damage, fmt.Sprintf("%s: SHA-256 %q instead of %s, as noggin seal left it", path, found[path], sum))
		}
	}
	notes := map[string]string{}
	for _, c := range r.rows(`SELECT tree_size, note FROM noggin_schema.seal_checkpoints`) {
		notes[c[0]] = c[1]
	}
	for path := range found {
		var first, next int
		if n, _ := fmt.Sscanf(filepath.Base(path), "leaves-%d-%d.jsonl", &first, &next); n == 2 {
			content, err := os.ReadFile(path)
			if lines := bytes.Count(content, []byte("\n")); err != nil || lines != next-first {
				damage = append(damage, fmt.Sprintf("%s has %d leaves: %v", path, lines, err))
			}
		}
		size, isCheckpoint := strings.CutPrefix(filepath.Base(path), "checkpoint-")
		if !isCheckpoint {
			continue
		}
		n, err := strconv.ParseInt(size, 10, 64)
		content, readErr := os.ReadFile(path)
		if err := errors.Join(err, readErr); err != nil || string(content) != notes[strconv.FormatInt(n, 10)] {
			damage = append(damage, fmt.Sprintf("%s is not the checkpoint that was signed: %v", path, err))
		}
	}
	return damage
}

// cutExport exports records to a folder until it is whole: what was interrupted goes on.
func (r *trial) cutExport() (damage []string) {
	tips := r.texts(`SELECT tip FROM noggin_schema.noggin_data WHERE processing_status = 'complete' ORDER BY tip`)
	if len(tips) < 8 {
		return r.cutProcess()
	}
	bag := filepath.Join(r.back.dir, fmt.Sprintf("bag-%d", r.steps))
	args := []string{"--payload", bag}
	for _, i := range r.random.Perm(len(tips))[:8] {
		args = append(args, "--tip", tips[i])
	}
	for range 3 {
		o := r.cutDuring("export", args...)
		whole := o.well() // also without a file that is fetched again
		if damage = r.checkBag(bag, whole); len(damage) > 0 || whole {
			break
		}
	}
	if err := os.RemoveAll(bag); err != nil {
		r.t.Fatal(err)
	}
	r.sync()
	return damage
}

// checkBag compares the files of a bag with its lists, once its declaration is there, which
// is written last.
func (r *trial) checkBag(bag string, whole bool) (damage []string) {
	if _, err := os.Stat(filepath.Join(bag, "bagit.txt")); err != nil {
		if whole {
			damage = append(damage, fmt.Sprintf("the export ended well, and %s is no bag: %v", bag, err))
		}
		return damage
	}
	for _, list := range []string{"tagmanifest-sha256.txt", "manifest-sha256.txt"} {
		content, err := os.ReadFile(filepath.Join(bag, list))
		if err != nil || len(content) == 0 {
			return append(damage, fmt.Sprintf("%s of %s is missing or empty: %v", list, bag, err))
		}
		for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
			sum, name, _ := strings.Cut(lines.Text(), "  ")
			if got, err := batchtest.HashFile(filepath.Join(bag, name)); got != sum {
				damage = append(damage, fmt.Sprintf("%s of %s: SHA-256 %s instead of %s (%v)", name, bag, got, sum, err))
			}
		}
	}
	return damage
}
