package seal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"noggin/batch/seal/tree"
)

// bag is a bag in memory: what a check needs of one.
type bag map[string]string

func (b bag) Open(name string) (io.ReadCloser, error) {
	text, ok := b[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func (b bag) Sums(context.Context) (map[string]string, error) {
	sums := map[string]string{}
	for line := range strings.Lines(b["manifest-sha256.txt"]) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		sums[name] = sum
	}
	return sums, nil
}

// exportedRow is a record of a bag.
type exportedRow struct {
	Tip     string            `json:"tip"`
	Leaves  int               `json:"leaves"`
	Version int               `json:"version"`
	Body    string            `json:"body"`
	Fetched string            `json:"fetched"`
	Files   map[string]string `json:"files"`
}

// export makes a bag of all records, with proofs.
func (s *sealed) export() bag {
	s.T.Helper()
	b, rows := s.exportRecords()
	s.prove(b, rows)
	return b
}

// exportRecords makes a bag of all records.
func (s *sealed) exportRecords() (bag, []exportedRow) {
	s.T.Helper()
	b := bag{}
	var rows []exportedRow
	if err := json.Unmarshal([]byte(s.Value(`SELECT json_agg(json_build_object('tip', d.tip, 'leaves', (SELECT count(*) FROM noggin_schema.seal_leaves l WHERE l.record_tip = d.tip), 'version', coalesce(d.version, 1), 'body', v.hash_sha256, 'fetched', v.fetched_at,
		'files', (SELECT json_object_agg(a.attachment_tip, a.file_hash_sha256) FROM noggin_schema.attachments a WHERE a.record_tip = d.tip)))
		FROM noggin_schema.noggin_data d JOIN noggin_schema.record_versions v ON v.record_tip = d.tip AND v.version = coalesce(d.version, 1)`)), &rows); err != nil {
		s.T.Fatal(err)
	}
	for _, r := range rows {
		var files []string
		for tip, sum := range r.Files {
			files = append(files, fmt.Sprintf(`{"path":%q,"kind":"attachment","attachment_tip":%q}`, tip+".jpg", tip))
			b["manifest-sha256.txt"] += sum + "  data/" + r.Tip + "/" + tip + ".jpg\n"
		}
		files = append(files, fmt.Sprintf(`{"path":"answer.json","kind":"answer","version":%d}`, r.Version), `{"path":"index.html","kind":"page"}`)
		b["manifest-sha256.txt"] += r.Body + "  data/" + r.Tip + "/answer.json\n"
		b["data/records.jsonl"] += fmt.Sprintf(`{"tip":%q,"processing_status":"complete","folder":"data/%s","version":%d,"versions":[{"version":%d,"sha256":%q,"fetched_at":%q}],"files":[%s]}`+"\n",
			r.Tip, r.Tip, r.Version, r.Version, r.Body, r.Fetched, strings.Join(files, ","))
	}
	return b, rows
}

// prove adds the proofs of records to their bag.
func (s *sealed) prove(b bag, rows []exportedRow) {
	s.T.Helper()
	err := BagProofs(s.T.Context(), s.DB, func(fn func(Bagged) error) error {
		for _, r := range rows {
			if err := fn(Bagged{r.Tip, r.Leaves}); err != nil {
				return err
			}
		}
		return nil
	}, func(name string, write func(io.Writer) error) error {
		var text bytes.Buffer
		err := write(&text)
		b[name] = text.String()
		return err
	})
	if err != nil {
		s.T.Fatal(err)
	}
}

func TestABagProvesItsFilesWithThePublicKeyAlone(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 5)
	if got, err := CheckBag(t.Context(), s.export(), ""); got != nil || err != nil {
		t.Errorf("without a log: %+v, %v", got, err)
	}
	s.seal()
	s.edit(2)
	key := s.seal().PublicKey
	b := s.export()
	files := strings.Count(b["manifest-sha256.txt"], "\n")
	for _, trusted := range []string{key, ""} {
		got, err := CheckBag(t.Context(), b, trusted)
		if err != nil || got.ProblemCount > 0 || got.FilesProved != files || got.Leaves != 7 || got.Unsealed > 0 || got.KeyGiven != (trusted != "") {
			t.Errorf("the bag, trusting %q: %+v, %v", trusted, got, err)
		}
	}
	if _, err := CheckBag(t.Context(), b, "no key"); !errors.Is(err, ErrBadKey) {
		t.Errorf("a bad key: %v", err)
	}
	photograph := s.Value(`SELECT file_hash_sha256 FROM noggin_schema.attachments WHERE file_hash_sha256 IS NOT NULL ORDER BY record_tip LIMIT 1`)
	before, _, _ := strings.Cut(b["manifest-sha256.txt"], ".jpg\n")
	path := before[strings.LastIndex(before, " ")+1:] + ".jpg" // of a photograph
	other := newSealedKey(t)
	const anAnswer = `SELECT max(hash_sha256) FROM noggin_schema.record_versions WHERE record_tip = (SELECT max(record_tip) FROM noggin_schema.record_versions WHERE version = 2) AND version = `
	current, former := s.Value(anAnswer+"2"), s.Value(anAnswer+"1")
	for name, damage := range map[string]struct {
		do   func(bag)
		says string
	}{
		"a photograph changed with the list": {func(b bag) { b.replace("manifest-sha256.txt", photograph, strings.Repeat("0", 64)) }, "the log has no such file"},
		"a photograph changed everywhere":    {func(b bag) { b.everywhere(photograph, strings.Repeat("0", 64)) }, "line 1: the proof does not hold"},
		"a photograph left out of the record": {func(b bag) {
			b.replace("data/records.jsonl", `{"path":"`+strings.TrimPrefix(path[strings.LastIndex(path, "/"):], "/")+`"`, `{"path":"gone"`)
		}, "the log has no such file"},
		"a proof cut":                  {func(b bag) { b.replace("data/proofs/proofs.jsonl", `"proof":["`, `"proof":["AAAA","`) }, "it is no proof"},
		"another position":             {func(b bag) { b.replace("data/proofs/proofs.jsonl", `"position":0`, `"position":1`) }, "the proof does not hold"},
		"a position that is none":      {func(b bag) { b.replace("data/proofs/proofs.jsonl", `"position":0`, `"position":-1`) }, "has no leaf -1"},
		"no checkpoint":                {func(b bag) { delete(b, "data/proofs/checkpoint-example.com_inspections") }, "checkpoint-example.com_inspections"},
		"a checkpoint of another size": {func(b bag) { b.replace("data/proofs/checkpoint-example.com_inspections", "\n7\n", "\n8\n") }, "is not signed by the log's key"},
		"a proof that is there twice": {func(b bag) {
			first, _, _ := strings.Cut(b["data/proofs/proofs.jsonl"], "\n")
			b["data/proofs/proofs.jsonl"] += first + "\n"
		}, "is there twice"},
		"a version that is none": {func(b bag) { b.replace("data/records.jsonl", `"version":1,"versions"`, `"version":99,"versions"`) }, "the log has no version of"},
		"a version that the log has not": {func(b bag) {
			b.replace("data/records.jsonl", `"versions":[`, `"versions":[{"version":7,"sha256":"`+strings.Repeat("0", 64)+`"},`)
		}, "is version 7 in the bag"},
		"an earlier answer": {func(b bag) {
			b.replace("data/records.jsonl", current, former)
			b.replace("manifest-sha256.txt", current, former)
		}, "the log has a later answer of"},
		"answers of two versions swapped": {func(b bag) {
			const answer = `{"path":"answer.json","kind":"answer","version":2}`
			var folder string
			for record := range strings.Lines(b["data/records.jsonl"]) {
				if strings.Contains(record, current) {
					_, folder, _ = strings.Cut(record, `"folder":"`)
					folder, _, _ = strings.Cut(folder, `"`)
					both := strings.Replace(record, `"versions":[`, `"versions":[{"version":1,"sha256":"`+former+`"},`, 1)
					b.replace("data/records.jsonl", record, strings.Replace(both, answer, answer+`,{"path":"former.json","kind":"answer","version":1}`, 1))
				}
			}
			b.replace("manifest-sha256.txt", current, former)
			b["manifest-sha256.txt"] += current + "  " + folder + "/former.json\n"
		}, "it is not the answer of version 1"},
		"a time that is earlier": {func(b bag) { b.replace("data/records.jsonl", `"fetched_at":"20`, `"fetched_at":"19`) }, "is said to be fetched 19"},
		"another log's name":     {func(b bag) { b.everywhere(`"log":"example.com/inspections"`, `"log":"../../etc/passwd"`) }, "the proof does not hold"},
	} {
		forged := maps.Clone(b)
		damage.do(forged)
		got, err := CheckBag(t.Context(), forged, key)
		if err != nil || got.ProblemCount == 0 || !strings.Contains(strings.Join(got.Problems, "\n"), damage.says) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := CheckBag(t.Context(), b, other); err != nil || got.ProblemCount == 0 {
		t.Errorf("with another key: %+v, %v", got, err)
	}
	withoutPhotographs := maps.Clone(b)
	withoutPhotographs["data/records.jsonl"] = strings.ReplaceAll(b["data/records.jsonl"], `"kind":"attachment"`, `"kind":"page"`)
	if got, err := CheckBag(t.Context(), withoutPhotographs, key); err != nil || got.ProblemCount > 0 {
		t.Errorf("without photographs: %+v, %v", got, err)
	}
	for meant, want := range map[string]bool{"no": false, "yes": true} {
		withoutPhotographs["bag-info.txt"] = "Bag-Software-Agent: noggin\nNoggin-Photographs: " + meant + "\nPayload-Oxum: 1.1\n"
		if got, err := CheckBag(t.Context(), withoutPhotographs, key); err != nil || (got.ProblemCount > 0) != want {
			t.Errorf("without photographs, of which the bag says %s: %+v, %v", meant, got, err)
		}
	}
	for kind, want := range map[string]int{"suspect": 1, "former": 1} {
		more := maps.Clone(b)
		more.replace("data/records.jsonl", `"files":[`, `"files":[{"path":"more.jpg","kind":"`+kind+`","attachment_tip":"`+strings.Repeat("a", 64)+`"},`)
		if got, err := CheckBag(t.Context(), more, key); err != nil || got.ProblemCount != want || got.Unsealed > 0 {
			t.Errorf("with a %s file that no leaf has: %+v, %v", kind, got, err)
		}
	}
	fewer := maps.Clone(b)
	fewer.replace("data/records.jsonl", `"kind":"attachment"`, `"kind":"page"`)
	if got, err := CheckBag(t.Context(), fewer, key); err != nil || got.ProblemCount != 1 || !strings.Contains(got.Problems[0], "is not in the bag") {
		t.Errorf("with a photograph that is left out: %+v, %v", got, err)
	}
}

// A record that waits to be sealed is no lie, and neither is one whose edit is under way.
func TestABagOfARecordThatWaitsToBeSealedIsNotAccused(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 3)
	key := s.seal().PublicKey
	s.edit(1)
	b := s.export()
	got, err := CheckBag(t.Context(), b, key)
	if err != nil || got.ProblemCount > 0 || got.Unsealed != 1 || got.FilesProved == 0 {
		t.Errorf("with an edit since the last seal: %+v, %v", got, err)
	}
	many, rows := s.exportRecords()
	for n := range 200 { // they fill a page
		rows = append(rows, exportedRow{Tip: fmt.Sprint("unsealed", n)})
	}
	s.prove(many, rows)
	if unsealed := many["data/proofs/unsealed.txt"]; unsealed == "" || unsealed != b["data/proofs/unsealed.txt"] {
		t.Errorf("of many records these wait: %q", unsealed)
	}
	delete(b, "data/proofs/unsealed.txt")
	if got, err := CheckBag(t.Context(), b, key); err != nil || got.ProblemCount == 0 {
		t.Errorf("with an answer that does not wait to be sealed: %+v, %v", got, err)
	}
	for record := range strings.Lines(b["data/records.jsonl"]) {
		if strings.Contains(record, `"version":2`) {
			b.replace("data/records.jsonl", record, strings.Replace(record, `"complete"`, `"partial"`, 1))
		}
	}
	if got, err := CheckBag(t.Context(), b, key); err != nil || got.ProblemCount > 0 || got.Unsealed != 1 {
		t.Errorf("with an edit that is under way: %+v, %v", got, err)
	}
}

// Whoever checks a bag sees the records as they were when each was read, however long the
// export took.
func TestABagOfARecordThatIsEditedAndSealedMeanwhileIsNotAccused(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 3)
	key := s.seal().PublicKey
	first, rows := s.exportRecords() // each sealed
	s.edit(2)
	second, later := s.exportRecords() // two wait
	s.seal()
	s.prove(first, rows)
	if got, err := CheckBag(t.Context(), first, key); err != nil || got.ProblemCount > 0 || got.Leaves != 3 || got.Unsealed != 0 || got.FilesProved != strings.Count(first["manifest-sha256.txt"], "\n") {
		t.Errorf("with edits that were sealed since: %+v, %v", got, err)
	}
	s.prove(second, later)
	if got, err := CheckBag(t.Context(), second, key); err != nil || got.ProblemCount > 0 || got.Leaves != 3 || got.Unsealed != 2 {
		t.Errorf("with edits that waited to be sealed: %+v, %v", got, err)
	}
}

// A size near 1 << 62 has tlog count for ever.
func TestACheckpointOfHugeSizeIsRefused(t *testing.T) {
	t.Parallel()
	secret, public, err := note.GenerateKey(rand.Reader, "example.com/forger")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tree.Sign("example.com/forger", tlog.Tree{N: 1<<62 + 1}, signer)
	if err != nil {
		t.Fatal(err)
	}
	b := bag{
		"data/proofs/public-keys.txt": public + "\n", "data/proofs/checkpoint-example.com_forger": c.Note,
		"data/proofs/proofs.jsonl": `{"log":"example.com/forger","position":1,"leaf":"{}","proof":[]}` + "\n",
	}
	if got, err := CheckBag(t.Context(), b, ""); err != nil || got.ProblemCount != 1 || !strings.Contains(got.Problems[0], "no checkpoint") {
		t.Errorf("%+v, %v", got, err)
	}
}

// replace changes the first such text in a file.
func (b bag) replace(name, from, to string) { b[name] = strings.Replace(b[name], from, to, 1) }

// everywhere changes a text in all files.
func (b bag) everywhere(from, to string) {
	for name, text := range b {
		b[name] = strings.ReplaceAll(text, from, to)
	}
}

// newSealedKey makes a key and returns its public half.
func newSealedKey(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	public, _, err := Init(Config{KeyFile: dir + "/key"}, dir, "example.com/inspections")
	if err != nil {
		t.Fatal(err)
	}
	return public
}
