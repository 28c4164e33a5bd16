package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"noggin/batch/files"
	"noggin/storage"
)

// Bagged is a record of a bag, as it was when it was read.
type Bagged struct {
	Tip    string
	Leaves int // how many leaves it had; later ones may be of what the bag does not have
}

// BagProofs writes the proofs of records into a bag, and which of them waited to be sealed.
// entries hands over the records, file writes a file of the bag. Without a log it writes nothing.
func BagProofs(ctx context.Context, db *storage.DB, entries func(fn func(Bagged) error) error, file func(name string, write func(io.Writer) error) error) error {
	p, err := newProver(ctx, db)
	if err != nil || len(p.logs) == 0 {
		return err
	}
	small := func(name, text string) error {
		return file(proofFolder+name, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
	}
	keys := ""
	for _, l := range p.logs {
		if err := small(proofCheckpoint+folderName(l.Checkpoint.Origin), l.Note); err != nil {
			return err
		}
		if !strings.Contains(keys, l.Verifier+"\n") {
			keys += l.Verifier + "\n"
		}
	}
	if err := small(proofKeys, keys); err != nil {
		return err
	}
	const atATime = 200
	var unsealed []string
	if err := file(proofFolder+proofLines, func(w io.Writer) error {
		var page []Bagged
		flush := func() error {
			found, err := p.write(ctx, w, page)
			unsealed, page = append(unsealed, found...), page[:0]
			return err
		}
		if err := entries(func(r Bagged) error {
			if page = append(page, r); len(page) < atATime {
				return nil
			}
			return flush()
		}); err != nil {
			return err
		}
		return flush()
	}); err != nil || len(unsealed) == 0 {
		return err
	}
	return small(proofUnsealed, strings.Join(unsealed, "\n")+"\n")
}

// maxNamed bounds the problems that a report names. It counts all.
const maxNamed = 20

// BagProof is what the proofs of a bag prove.
type BagProof struct {
	Checkpoints  []BagCheckpoint `json:"checkpoints"`
	KeyGiven     bool            `json:"key_given"`     // false: the bag itself says which key is right
	Leaves       int             `json:"leaves"`        // versions of records that are in the log
	FilesProved  int             `json:"files_proved"`  // attachments and answers
	Unsealed     int             `json:"unsealed"`      // records of which something has no proof: it was not sealed when it was exported
	ProblemCount int             `json:"problem_count"` // what the proofs contradict
	Problems     []string        `json:"problems"`      // the first of them
}

// BagCheckpoint is a checkpoint in a bag.
type BagCheckpoint struct {
	Log  string `json:"log"`
	Size int64  `json:"tree_size"`
}

func (b *BagProof) problem(format string, args ...any) {
	if b.ProblemCount++; len(b.Problems) < maxNamed {
		b.Problems = append(b.Problems, fmt.Sprintf(format, args...))
	}
}

// exported is what the check needs of a line of data/records.jsonl.
type exported struct {
	Tip      string `json:"tip"`
	ID       string `json:"inspection_id"`
	Status   string `json:"processing_status"`
	Folder   string `json:"folder"`
	Version  int    `json:"version"` // the current one
	Versions []struct {
		Version   int        `json:"version"`
		SHA256    string     `json:"sha256"`
		FetchedAt *time.Time `json:"fetched_at"`
	} `json:"versions"`
	Files []struct {
		Path          string `json:"path"`
		Kind          string `json:"kind"`
		AttachmentTip string `json:"attachment_tip"`
		Version       int    `json:"version"` // of an answer
	} `json:"files"`
}

// Bag is a bag whose files are as its lists say.
type Bag interface {
	// Open opens a file. The error for a missing one is fs.ErrNotExist.
	Open(name string) (io.ReadCloser, error)
	// Sums are the SHA-256 of the files of the payload, by name.
	Sums(ctx context.Context) (map[string]string, error)
}

// CheckBag checks the proofs of a bag, without a database. publicKey is the key that the
// checker trusts; "": the one in the bag, which proves nothing against whoever made the
// bag. If the bag has no proofs, it returns nil.
func CheckBag(ctx context.Context, bag Bag, publicKey string) (*BagProof, error) {
	p, err := readProofs(ctx, bag, publicKey)
	b := &BagProof{Checkpoints: []BagCheckpoint{}, KeyGiven: publicKey != "", Problems: []string{}}
	switch {
	case errors.Is(err, errProof):
		b.problem("%v", err)
		return b, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // there is nothing to report
	case err != nil:
		return nil, err
	}
	for _, c := range p.checkpoints {
		b.Checkpoints = append(b.Checkpoints, BagCheckpoint{c.Origin, c.N})
	}
	for _, leaves := range p.leaves {
		b.Leaves += len(leaves)
	}
	sums, err := bag.Sums(ctx)
	if err != nil {
		return nil, err
	}
	var absent BagProof // what the leaves name and the bag lacks
	attachments := 0
	if err := eachLine(ctx, bag, "data/records.jsonl", func(text []byte) error {
		var r exported
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("read the list of records: %w", err)
		}
		attachments += b.record(r, p, sums, &absent)
		return nil
	}); err != nil {
		return nil, err
	}
	if attachments == 0 { // a bag without photographs may be meant so
		if meant, err := saysPhotographs(bag); err != nil || !meant {
			return b, err
		}
	}
	b.ProblemCount += absent.ProblemCount
	b.Problems = append(b.Problems, absent.Problems[:min(len(absent.Problems), maxNamed-len(b.Problems))]...)
	return b, nil
}

// saysPhotographs tells whether bag-info.txt says that photographs were exported. An older
// noggin did not say.
func saysPhotographs(bag Bag) (bool, error) {
	info, err := bag.Open("bag-info.txt")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer files.Release(info)
	text, err := io.ReadAll(io.LimitReader(info, 1<<20))
	return strings.Contains("\n"+string(text), "\nNoggin-Photographs: yes\n"), err
}

// record checks the files of a record against its leaves. It adds the attachments of the
// current version that the bag lacks to absent, and returns how many it has. Of a record
// that was not complete, or waited to be sealed, not all has a proof.
func (b *BagProof) record(r exported, p *proofs, sums map[string]string, absent *BagProof) (attachments int) {
	sealed := newHistory(p.leaves[r.Tip])
	unproved := len(sealed.leaves) == 0
	unsealed := unproved || p.unsealed[r.Tip] || r.Status != string(storage.StatusComplete)
	name := r.ID
	if name == "" {
		name = r.Tip
	}
	there, answers := map[string]bool{}, map[int]string{}
	for _, v := range r.Versions {
		answers[v.Version] = v.SHA256
	}
	for _, f := range r.Files {
		at := path.Join(r.Folder, f.Path)
		sum := sums[at]
		switch f.Kind {
		case "attachment", "former":
			attachments++
		case "answer", "suspect":
		default:
			continue
		}
		there[sum] = true
		switch {
		case f.Kind == "answer" && len(r.Versions) > 0 && sum != answers[f.Version]:
			b.problem("%s: it is not the answer of version %d of %s: its SHA-256 is %s", at, f.Version, name, sum)
		case sealed.proves(f.AttachmentTip, sum):
			b.FilesProved++
		case unsealed:
			unproved = true
		default:
			b.problem("%s: the log has no such file of %s: its SHA-256 is %s", at, name, sum)
		}
	}
	current := answers[r.Version]
	for _, v := range r.Versions {
		if v.Version != r.Version && !sealed.has(v.SHA256) && !unsealed {
			b.problem("the log has no version of %s with the answer that is version %d in the bag: its SHA-256 is %.64s", name, v.Version, v.SHA256)
		}
		if first := sealed.received[v.SHA256]; v.FetchedAt != nil && timeText(v.FetchedAt) < first {
			b.problem("version %d of %s is said to be fetched %s: the log says %s", v.Version, name, timeText(v.FetchedAt), first)
		}
	}
	if newer, surely := sealed.replacedBy(current); surely {
		b.problem("the log has a later answer of %s than the current one in the bag: its SHA-256 is %s", name, newer.BodySHA256)
	}
	last, ok := sealed.last[current]
	switch {
	case unproved || !ok && (unsealed || len(r.Versions) == 0): // an older noggin kept no versions
		b.Unsealed++
	case !ok:
		b.problem("the log has no version of %s with the answer that is the current one in the bag: its SHA-256 is %.64s", name, current)
	case sealed.leaves[last].Complete:
		for _, a := range sealed.leaves[last].Attachments {
			if !there[a.SHA256] {
				absent.problem("an attachment of %s that the log has is not in the bag: its SHA-256 is %s", name, a.SHA256)
			}
		}
	}
	return attachments
}
