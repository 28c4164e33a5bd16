package export

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"noggin/api/apitest"
	"noggin/batch/archive"
	"noggin/batch/archive/shelf"
	"noggin/batch/bag"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/process"
	"noggin/batch/textreport"
	"noggin/storage"
	"noggin/storage/storagetest"
)

// newMirror returns a mirror with complete records of every form, and an exporter.
func newMirror(t *testing.T, o apitest.Options) (*batchtest.Mirror, *Exporter) {
	t.Helper()
	o.FirstDay = time.Date(2025, 1, 25, 0, 0, 0, 0, time.UTC)
	m := batchtest.NewMirror(t, o)
	m.ImportAll()
	m.MustRun(process.Options{UntilEmpty: true})
	return m, &Exporter{
		DB: m.DB, Types: m.Types, Paths: files.Paths{Output: m.Output, Archive: filepath.Join(t.TempDir(), "archive")},
		Location: time.UTC, Version: "1.2.3", Log: m.Log, Progress: func(Progress) {},
	}
}

func mustExport(t *testing.T, x *Exporter, o Options) Summary {
	t.Helper()
	if o.Selection == "" {
		o.Selection = "all records"
	}
	s, err := x.Export(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkBag tests that a bag is whole.
func checkBag(t *testing.T, target string) {
	t.Helper()
	b, err := bag.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := b.Check(t.Context(), nil)
	if err != nil || r.ProblemCount > 0 || len(r.Unlisted) > 0 {
		t.Fatalf("%s: %+v, %v", target, r, err)
	}
}

// entriesOf reads the records of an export in a folder.
func entriesOf(t *testing.T, dir string) (entries []Entry) {
	t.Helper()
	file, err := os.Open(filepath.Join(dir, "data/records.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer files.Release(file)
	for lines := json.NewDecoder(file); ; {
		var e Entry
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return entries
		} else if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
}

func TestAnExportIsABagWithEveryOriginal(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 12, MediaBytes: apitest.Range{Min: 2000, Max: 9000}, PDFShare: 0.2})
	dir := filepath.Join(t.TempDir(), "new", "evidence")
	s := mustExport(t, x, Options{Target: dir})
	if s.Records != 12 || s.ProblemCount != 0 || s.Unanswered != 0 {
		t.Fatalf("%+v", s)
	}
	checkBag(t, dir)
	for _, list := range []string{"manifest-sha256.txt", "tagmanifest-sha256.txt"} {
		cmd := exec.CommandContext(t.Context(), "sha256sum", "-c", "--strict", "--quiet", list)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", list, err, out)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, scratchName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the scratch folder is left: %v", err)
	}
	// Each original has the bytes and the hash that were mirrored.
	want := map[string]bool{}
	for record := range m.Server.Records() {
		for _, a := range record.Attachments {
			want[m.Server.MediaSHA256(a.Tip)] = true
		}
	}
	found := map[string]bool{}
	defects := 0
	for _, e := range entriesOf(t, dir) {
		kinds := map[string]int{}
		for _, f := range e.Files {
			if kinds[f.Kind]++; f.Kind == kindAttachment {
				found[f.SHA256] = true
			}
		}
		if kinds[kindPage] != 1 || kinds[kindReport] != 1 || kinds[kindAttachment] != e.Photos {
			t.Errorf("%s has %v", e.Folder, kinds)
		}
		form, _ := m.Types.ByCode(e.ObjectType)
		record, err := forms.ParseRecord(form, []byte(m.Value("SELECT payload FROM noggin_data WHERE tip = '"+e.Tip+"'")))
		batchtest.Must(t, err)
		bad := 0
		for _, q := range form.Checklist {
			if answer, _ := q.Answer(record.Values); toneOf(answer) == "bad" {
				bad++
			}
		}
		if defects += bad; e.Defects != bad {
			t.Errorf("%s has %d defects instead of %d", e.Folder, e.Defects, bad)
		}
	}
	if defects == 0 {
		t.Error("no answer is bad: the test shows nothing of the defects")
	}
	if len(found) != len(want) || len(want) == 0 {
		t.Errorf("%d of %d attachments are in the export", len(found), len(want))
	}
	mustLinkWithin(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, printPage))
	batchtest.Must(t, err)
	if n := bytes.Count(text, []byte("<main>")); n != 12 {
		t.Errorf("%d inspections are to be printed", n)
	}

	zipped := filepath.Join(t.TempDir(), "LCD 1.zip")
	flushed := "" // before the ZIP has its name
	stop := files.WatchFlushes(filepath.Dir(zipped), func(_, path string) {
		if _, err := os.Lstat(zipped); err != nil {
			flushed = path
		}
	})
	x.Progress = func(p Progress) {
		if left, _ := os.ReadDir(filepath.Join(filepath.Dir(zipped), ".LCD 1.zip"+scratchName, workFolder)); p.Done == p.Total && len(left) > 0 {
			t.Errorf("the ZIP has all records, and %d work folders are left", len(left))
		}
	}
	mustExport(t, x, Options{Target: zipped, NoPhotos: true, Payload: true})
	stop()
	x.Progress = func(Progress) {}
	if flushed != zipped+files.PartialExt {
		t.Errorf("the ZIP has its name before its content is on disk: flushed is %q", flushed)
	}
	checkBag(t, zipped)
	// Another one begins anew where one was killed, and touches nobody's file.
	killed := filepath.Join(t.TempDir(), "killed.zip")
	batchtest.Must(t, os.WriteFile(killed+files.PartialExt, nil, 0o644))
	if _, err := x.Export(t.Context(), Options{Target: killed, NoPhotos: true}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over the file of somebody else: %v", err)
	}
	scratch := filepath.Join(filepath.Dir(killed), ".killed.zip"+scratchName)
	batchtest.Must(t, os.MkdirAll(filepath.Join(scratch, workFolder, "000001"), 0o755), os.WriteFile(filepath.Join(scratch, lockFile), nil, 0o644),
		os.WriteFile(filepath.Join(scratch, journalFile), []byte("{}\n"), 0o644))
	mustExport(t, x, Options{Target: killed, NoPhotos: true})
	checkBag(t, killed)
	reader, err := zip.OpenReader(zipped)
	batchtest.Must(t, err)
	defer files.Release(reader)
	answers := 0
	for _, f := range reader.File {
		if !strings.HasPrefix(f.Name, "LCD-1/") || strings.HasSuffix(f.Name, ".jpg") {
			t.Errorf("the ZIP holds %s", f.Name)
		}
		if path.Base(f.Name) == "answer-v1.json" {
			answers++
		}
	}
	if answers != 12 {
		t.Errorf("%d answers", answers)
	}
	left, err := os.ReadDir(filepath.Dir(zipped))
	batchtest.Must(t, err)
	if len(left) != 1 {
		t.Errorf("beside the ZIP: %v", left)
	}
}

// mustLinkWithin tests that every page is well-formed as far as it matters: its policy
// covers its style and script, and each link and picture leads to a file of the export.
func mustLinkWithin(t *testing.T, dir string) {
	t.Helper()
	pages := 0
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".html" {
			return err
		}
		pages++
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		doc, err := html.Parse(bytes.NewReader(text))
		if err != nil {
			return err
		}
		policed := false
		for node := range doc.Descendants() {
			for _, a := range node.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcset" {
					t.Errorf("%s: <%s %s>", name, node.Data, a.Key)
				}
				if (a.Key == "href" || a.Key == "src") && a.Val != "data:," {
					if _, err := os.Stat(filepath.Join(filepath.Dir(name), filepath.FromSlash(a.Val))); err != nil || strings.HasPrefix(a.Val, "/") {
						t.Errorf("%s: a link leads to %q: %v", name, a.Val, err)
					}
				}
				if a.Key == "content" && strings.HasPrefix(a.Val, "default-src 'none'") {
					policed = true
				}
			}
			switch node.Data {
			case "style", "script":
				if node.Type == html.ElementNode && !strings.Contains(policy, sourceHash(node.FirstChild.Data)) {
					t.Errorf("%s: the policy forbids its <%s>", name, node.Data)
				}
			case "iframe", "object", "embed", "form", "base", "svg", "math":
				if node.Type == html.ElementNode {
					t.Errorf("%s: <%s>", name, node.Data)
				}
			}
		}
		if !policed {
			t.Errorf("%s has no policy", name)
		}
		return nil
	})
	if err != nil || pages < 6 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

func TestArchivedAndFormerFilesAreExportedLikeOthers(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 3, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	first := m.Server.Record(0)
	m.Server.Edit(first.Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-9"}, Remove: []string{first.Attachments[0].Tip}})
	m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
	before := filepath.Join(t.TempDir(), "before")
	mustExport(t, x, Options{Target: before})
	stale, err := x.DB.ExportRecords(t.Context(), []string{first.Tip})
	batchtest.Must(t, err)
	archiver := &archive.Archiver{DB: m.DB, Paths: x.Paths, ClaimLease: m.Processing.ClaimLease, Log: m.Log}
	if _, err := archiver.Create(t.Context(), archive.CreateOptions{Before: "2100-01-01"}); err != nil {
		t.Fatal(err)
	}
	after := filepath.Join(t.TempDir(), "after")
	if s := mustExport(t, x, Options{Target: after}); s.ProblemCount != 0 {
		t.Fatalf("%+v", s)
	}
	checkBag(t, after)
	originals := func(dir string) (sums []string) {
		for _, e := range entriesOf(t, dir) {
			for _, f := range e.Files {
				if f.Kind == kindAttachment || strings.HasPrefix(f.Kind, kindFormer) {
					sums = append(sums, f.Kind+" "+f.SHA256)
				}
			}
		}
		slices.Sort(sums)
		return sums
	}
	if was, is := originals(before), originals(after); !slices.Equal(was, is) || len(was) != 7 { // 5 photographs, one former, a former report
		t.Errorf("on disk %q\narchived %q", was, is)
	}
	var page string
	for _, e := range entriesOf(t, after) {
		if e.Tip == first.Tip {
			text, err := os.ReadFile(filepath.Join(after, e.Folder, "index.html"))
			batchtest.Must(t, err)
			page = string(text)
			if e.Version != 2 || len(e.Versions) != 2 || e.Versions[1].SHA256 == "" {
				t.Errorf("%+v", e.Versions)
			}
		}
	}
	for _, want := range []string{"Version 2, fetched", "<td>jobNumber</td>", ">J-9</td>", "Files of former versions (2)"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// What was archived after the record was read is found all the same.
	if e := makeOne(t, x, Options{}, stale[0]); len(e.Problems) != 0 || len(e.Files) < 5 {
		t.Errorf("%+v", e)
	}
	// Without its archive a file is told to be missing; the rest is exported.
	batchtest.Must(t, os.Rename(x.Paths.Archive, x.Paths.Archive+".away"))
	without := filepath.Join(t.TempDir(), "without")
	if s := mustExport(t, x, Options{Target: without}); s.Records != 3 || s.ProblemCount != 10 || !strings.Contains(s.Problems[0], "mount its volume") {
		t.Errorf("%+v", s)
	}
	checkBag(t, without)
}

func TestAChangedOrMissingOriginalIsLeftOutAndTold(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 2, Forms: []string{"LCD"}, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	var photos []string
	for _, order := range []string{"ASC", "DESC"} {
		photos = append(photos, m.Value("SELECT file_path FROM attachments ORDER BY file_path "+order+" LIMIT 1"))
	}
	// An attachment that the platform names and does not give.
	edited := m.Server.Edit(m.Server.Record(0).Tip, apitest.Edit{Add: []string{"attachments"}})
	m.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia, Tips: []string{edited.Attachments[len(edited.Attachments)-1].Tip}})
	if s := m.MustRun(process.Options{Refresh: true, UntilEmpty: true}); s.Partial != 1 {
		t.Fatalf("%+v", s)
	}
	text, err := os.ReadFile(filepath.Join(m.Output, photos[0]))
	batchtest.Must(t, err)
	text[len(text)/2]++
	batchtest.Must(t, os.WriteFile(filepath.Join(m.Output, photos[0]), text, 0o644), os.Remove(filepath.Join(m.Output, photos[1])))
	dir := filepath.Join(t.TempDir(), "evidence")
	s := mustExport(t, x, Options{Target: dir})
	if s.ProblemCount != 3 {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{"not the file that was mirrored", "the file is missing", "it was not mirrored (failed)"} {
		if !strings.Contains(strings.Join(s.Problems, "\n"), want) {
			t.Errorf("%q is not told: %q", want, s.Problems)
		}
	}
	checkBag(t, dir)
	if info, err := os.ReadFile(filepath.Join(dir, "bag-info.txt")); err != nil || !strings.Contains(string(info), "\nNoggin-Missing: 3\n") {
		t.Errorf("%s, %v", info, err)
	}
	for _, e := range entriesOf(t, dir) {
		for _, f := range e.Files {
			if slices.Contains(photos, f.Mirrored) {
				t.Errorf("%s is in the export", f.Mirrored)
			}
		}
	}
	if s := mustExport(t, x, Options{Target: filepath.Join(t.TempDir(), "pages"), NoPhotos: true}); s.ProblemCount != 0 {
		t.Errorf("without photographs none is missing: %+v", s)
	}
}

func TestAnInterruptedExportGoesOn(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 20, Forms: []string{"LCD"}, Photos: apitest.Fixed(1), MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	dir := filepath.Join(t.TempDir(), "evidence")
	interrupt := func(after int) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		y := *x
		y.Progress = func(p Progress) {
			if p.Note == "" && p.Done >= after {
				cancel()
			}
		}
		if _, err := y.Export(ctx, Options{Target: dir, Selection: "all records"}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	interrupt(5)
	// What a kill leaves: a line that has no end, a folder that no line has yet, and a
	// record in the work folder. One record lost a photograph.
	journal := filepath.Join(dir, scratchName, journalFile)
	lines, err := os.ReadFile(journal)
	batchtest.Must(t, err)
	batchtest.Must(t, os.WriteFile(journal, append(lines, `{"number":99,"tip":"`...), 0o644),
		os.MkdirAll(filepath.Join(dir, scratchName, workFolder, "000099"), 0o755))
	interrupt(9)
	var torn Entry
	lines, err = os.ReadFile(journal)
	batchtest.Must(t, err)
	batchtest.Must(t, json.Unmarshal(bytes.Split(lines, []byte("\n"))[6], &torn))
	batchtest.Must(t, os.Truncate(filepath.Join(dir, torn.Folder, torn.Files[0].Path), 10))
	if err := os.Mkdir(filepath.Join(dir, "data", "lists"), 0o755); err != nil {
		t.Fatal(err)
	}
	batchtest.Must(t, os.WriteFile(filepath.Join(dir, "data", "lists", "days-77.html"), nil, 0o644), os.Mkdir(filepath.Join(dir, "data", "proofs"), 0o755),
		os.WriteFile(filepath.Join(dir, "data", "proofs", "unsealed.txt"), nil, 0o644)) // all of them are sealed by now

	for _, other := range []Options{{NoPhotos: true}, {Payload: true}, {Selection: "--since 2025-06-01"}} {
		other.Target, other.Selection = dir, cmp.Or(other.Selection, "all records")
		if _, err := x.Export(t.Context(), other); !errors.Is(err, ErrOthers) {
			t.Errorf("other options, %+v: %v", other, err)
		}
	}
	// A record that came meanwhile is not in the selection.
	m.Execute("INSERT INTO noggin_data (tip, object_type, payload) VALUES ('late', 'LCD', '{}')")
	s := mustExport(t, x, Options{Target: dir})
	if s.Records != 20 || s.Resumed != 6 {
		t.Errorf("%+v", s)
	}
	checkBag(t, dir)
	if _, err := x.Export(t.Context(), Options{Target: dir, Selection: "all records"}); !errors.Is(err, ErrFinished) {
		t.Errorf("a finished one: %v", err)
	}
}

// What the end of an export needs of a record and an earlier run did not leave is made anew.
func TestARecordThatLacksSomethingForTheEndIsExportedAgain(t *testing.T) {
	t.Parallel()
	_, x := newMirror(t, apitest.Options{Records: 3, Forms: []string{"LCD"}, Photos: apitest.None})
	for what, lose := range map[string]func(scratch string) error{
		"the number of its leaves": func(scratch string) error {
			lines, err := os.ReadFile(filepath.Join(scratch, journalFile))
			first, others, _ := strings.Cut(string(lines), "\n")
			return errors.Join(err, os.WriteFile(filepath.Join(scratch, journalFile), []byte(first+"\n"+strings.Replace(others, `"leaves":0`, `"leaves":null`, 1)), 0o644))
		},
		"its part of the page to print": func(scratch string) error { return os.Remove(filepath.Join(scratch, printName(2))) },
	} {
		opts := Options{Target: filepath.Join(t.TempDir(), "evidence"), Selection: "all records"}
		x.Proofs = func(context.Context, func(func(Entry) error) error, func(string, func(io.Writer) error) error) error {
			return io.ErrClosedPipe
		}
		if _, err := x.Export(t.Context(), opts); !errors.Is(err, io.ErrClosedPipe) {
			t.Fatal(err)
		}
		batchtest.Must(t, lose(filepath.Join(opts.Target, scratchName)))
		x.Proofs = nil
		if s := mustExport(t, x, opts); s.Records != 3 || s.Resumed != 1 {
			t.Errorf("without %s: %+v", what, s)
		}
		checkBag(t, opts.Target)
		for _, e := range entriesOf(t, opts.Target) {
			if e.Leaves == nil {
				t.Errorf("without %s: nobody knows the leaves of %s", what, e.Folder)
			}
		}
	}
}

// A folder that no journal knows would stay in the bag for ever.
func TestAFolderGetsItsNameOnceTheJournalHasIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	batchtest.Must(t, os.MkdirAll(filepath.Join(dir, scratchName, workFolder, "000001"), 0o755))
	top, err := os.OpenRoot(dir)
	batchtest.Must(t, err)
	defer files.Release(top)
	journal, err := os.Open(os.DevNull) // cannot be written
	batchtest.Must(t, err)
	defer files.Release(journal)
	r := &run{Exporter: &Exporter{}, top: top, journal: journal}
	err = r.commit(&job{number: 1, work: workFolder + "/000001", entry: Entry{Folder: "data/undated/000001_x"}})
	if _, lstatErr := os.Lstat(filepath.Join(dir, "data")); err == nil || !errors.Is(lstatErr, fs.ErrNotExist) {
		t.Errorf("%v, %v", err, lstatErr)
	}
}

// A ZIP lists what was written into it, so bytes that changed on disk since they were compared
// with the mirror would pass for the original.
func TestAFileThatChangesBeforeItIsInTheZIPEndsTheExport(t *testing.T) {
	t.Parallel()
	const work, photo, good = workFolder + "/000001", "photo.jpg", "as it was mirrored"
	for name, test := range map[string]struct {
		now  string
		want error
	}{"unchanged": {good, nil}, "of the same length": {"as it is forged...", files.ErrDiffers}, "cut": {good[:5], files.ErrDiffers}, "empty": {"", files.ErrDiffers}} {
		dir := t.TempDir()
		batchtest.Must(t, os.MkdirAll(filepath.Join(dir, work), 0o755), os.WriteFile(filepath.Join(dir, work, photo), []byte(test.now), 0o644))
		scratch, err := os.OpenRoot(dir)
		batchtest.Must(t, err)
		journal, err := scratch.Create(journalFile)
		batchtest.Must(t, err)
		manifest, err := scratch.Create(manifestFile)
		batchtest.Must(t, err)
		r := &run{Exporter: &Exporter{}, zipped: true, target: "/evidence.zip", scratch: scratch, journal: journal, bag: bag.NewZip(zip.NewWriter(io.Discard), "evidence", time.Now(), manifest)}
		err = r.commit(&job{number: 1, work: work, entry: Entry{Folder: "data/undated/x", Files: []EntryFile{{Path: photo, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(good)))}}}})
		if !errors.Is(err, test.want) || test.want != nil && !strings.Contains(err.Error(), photo) || (r.summary.Files == 1) != (test.want == nil) {
			t.Errorf("%s: %+v, %v", name, r.summary, err)
		}
		for _, c := range []io.Closer{manifest, journal, scratch} {
			files.Release(c)
		}
	}
}

// An answer that cannot be read as the database is gone is not missing.
func TestAnExportEndsWithTheDatabaseAndGoesOn(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 4, Forms: []string{"LCD"}, Photos: apitest.None})
	proxy := storagetest.NewProxy(t, m.URL)
	cfg := storage.DefaultConfig()
	cfg.URL = proxy.URL(m.URL)
	cut, err := storage.Open(cfg, "test")
	batchtest.Must(t, err)
	defer files.Release(cut)
	x.DB = cut
	opts := Options{Target: filepath.Join(t.TempDir(), "evidence"), Selection: "all records", Payload: true}
	// What is selected by then is the beginning of a selection, which nobody takes for the whole.
	for _, during := range []string{"AS answered", "SELECT answer, size_bytes"} {
		proxy.LoseReply(func(statement string) bool { return strings.Contains(statement, during) })
		if s, err := x.Export(t.Context(), opts); !errors.Is(err, storage.ErrUnavailable) || s.Records != 0 {
			t.Errorf("%s: %+v, %v", during, s, err)
		}
	}
	proxy.LoseReply(nil)
	if s := mustExport(t, x, opts); s.Records != 4 || s.ProblemCount != 0 {
		t.Errorf("%+v", s)
	}
	checkBag(t, opts.Target)
	for _, e := range entriesOf(t, opts.Target) {
		if !slices.ContainsFunc(e.Files, func(f EntryFile) bool { return f.Kind == kindAnswer && f.Size > 0 }) {
			t.Errorf("%s has no answer", e.Folder)
		}
	}
	// A version that is gone, such as that of a record that was deleted after it was read.
	m.Execute("DELETE FROM record_versions WHERE record_tip = (SELECT max(record_tip) FROM record_versions)")
	read, err := m.DB.ExportRecords(t.Context(), []string{m.Value("SELECT max(tip) FROM noggin_data")})
	batchtest.Must(t, err)
	read[0].Stored.Versions = []storage.VersionMark{{Version: 1}}
	if e := makeOne(t, x, Options{Payload: true}, read[0]); len(e.Problems) != 1 || slices.ContainsFunc(e.Files, func(f EntryFile) bool { return f.Kind == kindAnswer }) {
		t.Errorf("%+v", e)
	}
}

// makeOne makes one record as it was read.
func makeOne(t *testing.T, x *Exporter, o Options, read storage.ExportRecord) Entry {
	t.Helper()
	scratch, err := os.OpenRoot(t.TempDir())
	batchtest.Must(t, err)
	defer files.Release(scratch)
	output, err := files.OpenOutput(x.Paths.Output)
	batchtest.Must(t, err)
	defer files.Release(output)
	r := &run{Exporter: x, Options: o, scratch: scratch, output: output, shelf: &shelf.Shelf{DB: x.DB, Paths: x.Paths}, thumbnails: newThumbnails()}
	defer r.shelf.Close()
	e, err := r.makeRecord(t.Context(), read, 1, "work/1")
	batchtest.Must(t, err)
	return e
}

// Healing writes the text reports of many records, and then their hashes. So does the end
// of an edit.
func TestATextReportThatIsWrittenAnewMeanwhileIsNoForgery(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(1), MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	tip := m.Server.Record(0).Tip
	report := filepath.Join(m.Output, m.Value("SELECT report_path FROM noggin_data"))
	read := func() storage.ExportRecord {
		t.Helper()
		found, err := m.DB.ExportRecords(t.Context(), []string{tip})
		batchtest.Must(t, err)
		return found[0]
	}
	write := func(text string) { batchtest.Must(t, os.WriteFile(report, []byte(text), 0o644)) }
	record := func(text string) {
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		m.Execute(fmt.Sprintf("UPDATE noggin_data SET report_hash_sha256 = '%s', report_size_bytes = %d, claimed_by = NULL, claim_expires_at = NULL", sum, len(text)))
	}
	claim := func() {
		m.Execute("UPDATE noggin_data SET claimed_by = (SELECT max(id) FROM runs), claim_expires_at = now() + interval '1 hour'")
	}
	check := func(what string, e Entry, pauses int, problem string) {
		t.Helper()
		if pauses == 0 {
			t.Errorf("%s: no pause", what)
		}
		if problem == "" && len(e.Problems) != 0 || problem != "" && (len(e.Problems) != 1 || !strings.Contains(e.Problems[0], problem)) {
			t.Errorf("%s: %q", what, e.Problems)
		}
		if i := slices.IndexFunc(e.Files, func(f EntryFile) bool { return f.Kind == kindReport }); (i < 0) != (problem != "") {
			t.Errorf("%s: %+v", what, e.Files)
		}
	}
	stale := read()
	write("names of today")
	record("names of today")
	check("both are new", makeOne(t, x, Options{}, stale), 1, "")

	m.Execute("UPDATE noggin_data SET version = 2, processing_status = 'api_success'")
	stale = read()
	write("the edit")
	record("the edit")
	m.Execute("UPDATE noggin_data SET report_version = 2, processing_status = 'complete'")
	check("an edit ends", makeOne(t, x, Options{}, stale), 1, "")

	stale = read()
	claim()
	write("names of tomorrow")
	pauses := 0
	x.atPause = func() {
		if pauses++; pauses == 3 {
			record("names of tomorrow")
		}
	}
	check("the hash comes later", makeOne(t, x, Options{}, stale), pauses, "")

	claim()
	write("names of the day after")
	pauses, x.atPause = 0, func() { pauses++ }
	check("the hash does not come", makeOne(t, x, Options{}, read()), pauses, "another command was writing it anew")
	record("names of tomorrow") // nobody claims it
	check("a forgery", makeOne(t, x, Options{}, read()), 1, "not the file that was mirrored")
}

// While the attachments of an edit wait, the text report is still that of the version before.
func TestATextReportOfTheVersionBeforeIsAFormerOne(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.Fixed(1), MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	m.Execute("UPDATE noggin_data SET version = 2, processing_status = 'interrupted'")
	dir := filepath.Join(t.TempDir(), "evidence")
	mustExport(t, x, Options{Target: dir})
	e := entriesOf(t, dir)[0]
	i := slices.IndexFunc(e.Files, func(f EntryFile) bool { return f.Kind == kindFormerReport })
	if e.Version != 2 || i < 0 || !strings.HasPrefix(e.Files[i].Path, "former/") || slices.ContainsFunc(e.Files, func(f EntryFile) bool { return f.Kind == kindReport }) {
		t.Errorf("%+v", e)
	}
}

func TestOneRecord(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 1, Forms: []string{"LCD"}, Photos: apitest.None})
	t.Run("unusable targets are refused", func(t *testing.T) { refuseTargets(t, m, x) })
	t.Run("a version is compared with the one that it replaced", func(t *testing.T) { compareVersions(t, m, x) })
	t.Run("a record without an answer is counted", func(t *testing.T) { countUnanswered(t, m, x) })
}

func refuseTargets(t *testing.T, m *batchtest.Mirror, x *Exporter) {
	full := t.TempDir()
	batchtest.Must(t, os.WriteFile(filepath.Join(full, "letter.txt"), nil, 0o644))
	file := filepath.Join(full, "there.zip")
	batchtest.Must(t, os.WriteFile(file, nil, 0o644))
	for target, want := range map[string]error{full: ErrNotEmpty, file: fs.ErrExist, filepath.Join(m.Output, "export"): ErrInside, filepath.Join(m.Output, "x.zip"): ErrInside} {
		if _, err := x.Export(t.Context(), Options{Target: target}); !errors.Is(err, want) {
			t.Errorf("%s: %v instead of %v", target, err, want)
		}
	}
	busy := filepath.Join(t.TempDir(), "busy")
	batchtest.Must(t, os.MkdirAll(filepath.Join(busy, scratchName), 0o755))
	lock, err := os.Create(filepath.Join(busy, scratchName, lockFile))
	batchtest.Must(t, err)
	defer files.Release(lock)
	if !files.Lock(lock) {
		t.Fatal("no lock")
	}
	if _, err := x.Export(t.Context(), Options{Target: busy}); !errors.Is(err, errBusy) {
		t.Errorf("a busy one: %v", err)
	}
}

// An older or a reduced answer never was the current version.
func compareVersions(t *testing.T, m *batchtest.Mirror, x *Exporter) {
	edit := func(job string) {
		m.Server.Edit(m.Server.Record(0).Tip, apitest.Edit{Set: map[string]any{"jobNumber": job}})
	}
	refresh := func(faults ...apitest.Fault) {
		m.Server.SetFaults(faults...)
		m.MustRun(process.Options{Refresh: true, UntilEmpty: true})
	}
	edit("J-1") // nobody asks for this one in time
	edit("J-2")
	refresh()
	refresh(apitest.Fault{Kind: "stale", On: apitest.OnRecord})
	refresh(apitest.Fault{Kind: "reduced", On: apitest.OnRecord})
	edit("J-3")
	refresh()
	dir := filepath.Join(t.TempDir(), "evidence")
	mustExport(t, x, Options{Target: dir})
	e := entriesOf(t, dir)[0]
	var kinds []string
	for _, v := range e.Versions {
		kinds = append(kinds, v.Kind)
	}
	if want := []string{"version", "version", "older", "reduced", "version"}; !slices.Equal(kinds, want) {
		t.Fatalf("the versions are %q", kinds)
	}
	page, err := os.ReadFile(filepath.Join(dir, e.Folder, "index.html"))
	batchtest.Must(t, err)
	_, last, _ := strings.Cut(string(page), ", current</th>")
	last, _, _ = strings.Cut(last, "</tbody>")
	if strings.Count(last, "<tr>") != 1 || !strings.Contains(last, `<td>jobNumber</td><td class="text" dir="auto">J-2</td><td class="text" dir="auto">J-3</td>`) {
		t.Errorf("the current version is not compared with the one before it: %.400s", last)
	}
}

// hostile are texts that mean something elsewhere.
var hostile = []string{
	`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `javascript:alert(1)`, `../../../etc/passwd`, `CON`, `nul.txt`, `..`,
	"a\u202egpj.exe", "x\x1b[2Jy", strings.Repeat("long ", 60), strings.Repeat("W", 300), `{{.Evil}}`, `C:\Windows\x`, "tab\tand\nline", "%2e%2e%2f", "= cmd|' /C calc'!A0", "'", "שלום עולם",
}

func TestHostileTextsNeverLeaveTheirPlace(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: len(hostile), Forms: []string{"LCD"}, Photos: apitest.Fixed(1), MediaBytes: apitest.Range{Min: 2000, Max: 3000}})
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	for i, text := range hostile {
		doc, err := json.Marshal(map[string]any{"lcdInspectionId": text, "jobNumber": text, "comments": "<p>" + text + "</p>", text: text, "team": text})
		batchtest.Must(t, err)
		tip := quoted(m.Server.Record(i).Tip)
		m.Execute(fmt.Sprintf(`UPDATE noggin_data SET inspection_id = %[1]s, vehicle = %[1]s, trailer = %[1]s, team = %[1]s, load_compliance = %[1]s, payload = payload || %[2]s::jsonb WHERE tip = %[3]s`,
			quoted(text), quoted(string(doc)), tip))
		m.Execute(fmt.Sprintf(`UPDATE attachments SET filename = %s WHERE record_tip = %s`, quoted(text), tip))
	}
	dir := filepath.Join(t.TempDir(), "evidence")
	s := mustExport(t, x, Options{Target: dir, Selection: "--vehicle '" + hostile[0] + "'", Payload: true})
	if s.Records != len(hostile) || s.ProblemCount != 0 {
		t.Fatalf("%+v", s)
	}
	checkBag(t, dir)
	mustLinkWithin(t, dir)
	plain := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	device := regexp.MustCompile(`(?i)^(con|nul|aux|prn)(\.|$)`)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, _ fs.DirEntry, err error) error {
		if base := path.Base(name); name != "." && (!plain.MatchString(base) || device.MatchString(base) || len(base) > 100 || len(name) > 200) {
			t.Errorf("a file is called %q", name)
		}
		if err == nil && path.Ext(name) == ".html" {
			text, err := os.ReadFile(filepath.Join(dir, name))
			batchtest.Must(t, err)
			for _, bad := range []string{"<script>alert", "<img src=x", "\u202e", "\x1b", `href="javascript`} {
				if strings.Contains(string(text), bad) {
					t.Errorf("%s holds %q", name, bad)
				}
			}
		}
		return err
	})
	batchtest.Must(t, err)
}

func TestNamesOfFilesAreDistinctAndHarmless(t *testing.T) {
	n := fileNames{"index.html": true}
	for in, want := range map[string]string{
		"2025/09/x/LCD-1_20250917_photo_001.jpg": "LCD-1_20250917_photo_001.jpg", "a/INDEX.html": "INDEX.html.bin", "a/page.SVG": "page.svg.bin",
		"a/con.jpg": "_con.jpg", "a/né è.pdf": "n.pdf", "a/noextension": "noextension.bin", "a/.hidden": "file.hidden.bin",
	} {
		if got := n.of(in); got != want {
			t.Errorf("%q becomes %q instead of %q", in, got, want)
		}
	}
	if a, b := n.of("x/photo.jpg"), n.of("y/PHOTO.jpg"); strings.EqualFold(a, b) {
		t.Errorf("%q and %q are the same on some systems", a, b)
	}
}

func TestListsHaveEveryRecordInTheirOrder(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 12, Forms: []string{"LCD"}, Photos: apitest.None})
	for i := range 12 {
		m.Execute(fmt.Sprintf("UPDATE noggin_data SET vehicle = '%c', trailer = 'T1', trailer2 = 'T2', trailer3 = NULL, team = NULL WHERE tip = '%s'", 'a'+i%3, m.Server.Record(i).Tip))
	}
	x.pageRows = 5
	dir := filepath.Join(t.TempDir(), "evidence")
	mustExport(t, x, Options{Target: dir})
	mustLinkWithin(t, dir)
	group, link := regexp.MustCompile(`colspan="8"><bdi>(.*?)<`), regexp.MustCompile(`(?:href="(\S*index.html)"><bdi>)`)
	for _, c := range []struct {
		list         string
		pages, links int
		groups       string // of all pages
	}{
		{"all", 3, 12, ""},
		{"vehicles", 3, 12, "a b b c c"},
		{"trailers", 5, 24, "T1 T1 T1 T2 T2 T2"},
		{"teams", 3, 12, "Without a team Without a team Without a team"},
	} {
		l := allLists[slices.IndexFunc(allLists, func(l list) bool { return l.Name == c.list })]
		var groups []string
		links := 0
		for page := 1; ; page++ {
			text, err := os.ReadFile(filepath.Join(dir, l.fileOf(page)))
			if errors.Is(err, fs.ErrNotExist) {
				if page-1 != c.pages {
					t.Errorf("%s has %d pages", c.list, page-1)
				}
				break
			}
			batchtest.Must(t, err)
			for _, found := range group.FindAllStringSubmatch(string(text), -1) {
				groups = append(groups, found[1])
			}
			links += len(link.FindAll(text, -1))
			// Who filters sees that there are other pages.
			if told := strings.Contains(string(text), fmt.Sprintf("on this page only, page %d of 3", page)); told != (c.list == "all") {
				t.Errorf("page %d of %s says that it is one of several: %v", page, c.list, told)
			}
		}
		if got := strings.Join(groups, " "); got != c.groups || links != c.links {
			t.Errorf("%s: %d links, groups %q", c.list, links, got)
		}
	}
}

func TestSortingWithFilesIsSorting(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	batchtest.Must(t, err)
	defer files.Release(root)
	s := &sorter{folder: root, name: "sort", most: 2000}
	var want []string
	for i := range 200 {
		group := fmt.Sprintf("%c%d", "bAac"[i%4], i%7)
		want = append(want, fmt.Sprintf("%s %s %03d", strings.ToLower(group), group, i))
		batchtest.Must(t, s.add(group, row{ID: fmt.Sprintf("%03d", i)}))
	}
	slices.Sort(want)
	var got []string
	batchtest.Must(t, s.each(func(group string, r row) error {
		got = append(got, strings.ToLower(group)+" "+group+" "+r.ID)
		return nil
	}))
	if s.runs < 5 || !slices.Equal(got, want) {
		t.Errorf("%d files, got %q", s.runs, got)
	}
}

func countUnanswered(t *testing.T, m *batchtest.Mirror, x *Exporter) {
	m.Execute("INSERT INTO noggin_data (tip, object_type) VALUES ('waiting', 'LCD')")
	dir := filepath.Join(t.TempDir(), "evidence")
	if s := mustExport(t, x, Options{Target: dir, Selector: storage.Selector{ObjectType: "LCD"}}); s.Records != 1 || s.Unanswered != 1 {
		t.Errorf("%+v", s)
	}
	// A form that is configured no longer is exported with its fields as they are.
	types, err := forms.New(nil)
	batchtest.Must(t, err)
	x.Types = types
	m.Execute("UPDATE noggin_data SET object_type = 'GONE'")
	again := filepath.Join(t.TempDir(), "again")
	if s := mustExport(t, x, Options{Target: again}); s.Records != 1 || s.ProblemCount != 0 {
		t.Errorf("%+v", s)
	}
	checkBag(t, again)
}

func TestARecordThatIsDeletedAfterItWasSelectedIsCounted(t *testing.T) {
	t.Parallel()
	m, x := newMirror(t, apitest.Options{Records: 3, MediaBytes: apitest.Fixed(2000)})
	opts := Options{Target: filepath.Join(t.TempDir(), "bag"), Selection: "all records"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x.Progress = func(Progress) { cancel() } // the selection is made
	if _, err := x.Export(ctx, opts); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	x.Progress = func(Progress) {}
	// As if it had ended before the first record.
	batchtest.Must(t, os.Truncate(filepath.Join(opts.Target, scratchName, journalFile), 0), os.RemoveAll(filepath.Join(opts.Target, "data")))
	last := `(SELECT max(tip) FROM noggin_schema.noggin_data)`
	read, err := m.DB.ExportRecords(t.Context(), []string{m.Value(`SELECT max(tip) FROM noggin_schema.noggin_data`)})
	batchtest.Must(t, err, os.RemoveAll(filepath.Join(m.Output, m.Value(`SELECT folder FROM noggin_schema.noggin_data WHERE tip = `+last))))
	for _, table := range []string{"attachments", "former_files", "record_versions"} {
		m.Execute(`DELETE FROM noggin_schema.` + table + ` WHERE record_tip = ` + last)
	}
	m.Execute(`DELETE FROM noggin_schema.noggin_data WHERE tip = ` + last)
	if s := mustExport(t, x, opts); s.Selected != 3 || s.Records != 2 || s.Gone != 1 {
		t.Errorf("%+v", s)
	}
	checkBag(t, opts.Target)
	// It was read, and then deleted with its files.
	if e := makeOne(t, x, Options{}, read[0]); len(e.Problems) == 0 {
		t.Errorf("%+v", e)
	}
}

func TestAnswersAreCountedAndJudged(t *testing.T) {
	var questions []textreport.Answered
	for _, answer := range []string{"Compliant", "", "Fair", "Compliant", "NOT compliant", "7 straps", "", "Contradictory: Good, Fair"} {
		questions = append(questions, textreport.Answered{Answer: answer})
	}
	want := []glance{{"NOT compliant", "bad", 1}, {"Contradictory: Good, Fair", "bad", 1}, {"Fair", "warn", 1}, {"7 straps", "", 1}, {"Compliant", "good", 2}, {"not answered", "", 2}}
	if got := atAGlance(questions); !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for _, answer := range []string{"Unacceptable", "Defect", "not compliant"} {
		if toneOf(answer) != "bad" {
			t.Errorf("%s is %q", answer, toneOf(answer))
		}
	}
	for _, c := range []struct {
		compliance   string
		defects      int
		result, tone string
	}{{"", 0, "", ""}, {"", 1, "1 to look at", "bad"}, {"", 12, "12 to look at", "bad"}, {"Not Compliant", 0, "Not Compliant", "bad"}, {"Compliant", 3, "Compliant", "good"}} {
		if result, tone := resultOf(c.compliance, c.defects); result != c.result || tone != c.tone {
			t.Errorf("%+v: %q, %q", c, result, tone)
		}
	}
}
