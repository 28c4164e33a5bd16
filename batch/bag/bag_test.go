package bag

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// contents are the files of the bags of these tests.
var contents = map[string]string{
	"data/a/LCD-1_001.jpg":  "photograph",
	"data/a/index.html":     "<!DOCTYPE html>",
	"data/with blanks.txt":  "text",
	"data/Übersicht ü.txt":  "umlauts",
	"data/empty":            "",
	"index.html":            "a tag file",
	"data/b/100 %25 %41.md": "a percent sign",
	"data/b/line\nend\r.md": "line ends",
}

// plain are the names that sha256sum reads as they stand.
func plain(name string) bool { return !strings.ContainsAny(name, "%\r\n") }

func build(t *testing.T, b *Builder, names func(string) bool) {
	t.Helper()
	for name, text := range contents {
		if !names(name) {
			continue
		}
		if _, _, err := b.File(name, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Finish([]Field{{"Source-Organization", "Eastern\r\n Transport"}, {"Empty", ""}}); err != nil {
		t.Fatal(err)
	}
}

func scratch(t *testing.T) *os.File {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func newFolderBag(t *testing.T, names func(string) bool) string {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	build(t, NewFolder(root, scratch(t)), names)
	return dir
}

func newZipBag(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "bag.zip")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(file)
	build(t, NewZip(w, "bag", time.Now(), scratch(t)), func(string) bool { return true })
	if err := errors.Join(w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

func mustCheck(t *testing.T, name string) Report {
	t.Helper()
	b, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := b.Check(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestABagIsWhole(t *testing.T) {
	for _, name := range []string{newFolderBag(t, func(string) bool { return true }), newZipBag(t)} {
		r := mustCheck(t, name)
		if r.ProblemCount != 0 || len(r.Unlisted) != 0 || r.Files != 7 || r.Bytes != 59 || r.TagFiles != 5 || r.Version != "1.0" {
			t.Errorf("%s: %+v", name, r)
		}
		if want := []Field{{"Source-Organization", "Eastern Transport"}, {"Payload-Oxum", "59.7"}}; !slices.Equal(r.Info, want) {
			t.Errorf("info %+v", r.Info)
		}
	}
}

func TestSha256sumAcceptsABag(t *testing.T) {
	dir := newFolderBag(t, plain)
	for _, list := range []string{manifestFile, tagManifest} {
		cmd := exec.CommandContext(t.Context(), "sha256sum", "-c", "--strict", list)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", list, err, out)
		}
	}
}

// The Library of Congress' own program is asked where it is installed. It does not
// unescape percent signs, as RFC 8493 wants.
func TestTheLibraryOfCongressAcceptsABag(t *testing.T) {
	program := []string{"python3", "-m", "bagit"}
	if found, err := exec.LookPath("bagit.py"); err == nil {
		program = []string{found}
	} else if err := exec.CommandContext(t.Context(), "python3", "-c", "import bagit").Run(); err != nil {
		t.Skip("python3's module bagit is not installed: this distribution may have no package of it")
	}
	cmd := exec.CommandContext(t.Context(), program[0], append(program[1:], "--validate", newFolderBag(t, func(name string) bool { return !strings.Contains(name, "%") }))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEveryDamageOfABagIsFound(t *testing.T) {
	write := func(name, text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) }
	}
	replace := func(name, old, now string) func(string) error {
		return func(dir string) error {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !strings.Contains(string(text), old) {
				return fmt.Errorf("%s: %w: no %q", name, err, old)
			}
			return os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(string(text), old, now)), 0o644)
		}
	}
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   []string // parts of the problems, by file
	}{
		{"a byte", write("data/a/LCD-1_001.jpg", "photogrAph"), []string{"data/a/LCD-1_001.jpg: its SHA256 is"}},
		{"a missing file", func(dir string) error { return os.Remove(filepath.Join(dir, "data/empty")) }, []string{"bag-info.txt: Payload-Oxum is 59.7", "data/empty: it is missing"}},
		{"a further file", write("data/more", "x"), []string{"bag-info.txt: Payload-Oxum", "data/more: no list has it"}},
		{"a tag file", write("index.html", "b tag file"), []string{"index.html: its SHA256"}},
		{"a changed list", replace(manifestFile, "data/empty", "data/full"), []string{"data/empty: no list", "data/full: it is missing", "manifest-sha256.txt: its SHA256"}},
		{"a list without its end", replace(manifestFile, "  data/empty", ""), []string{"data/empty: no list", "manifest-sha256.txt: its SHA256", "manifest-sha256.txt: line"}},
		{"a name that leaves", replace(manifestFile, "data/empty", "data/../../etc/passwd"), []string{"data/empty: no list", "manifest-sha256.txt: its SHA256", "manifest-sha256.txt: line"}},
		{"a link", func(dir string) error {
			at := filepath.Join(dir, "data/empty")
			return errors.Join(os.Remove(at), os.Symlink("/dev/null", at))
		}, []string{`: "data/empty" is no regular file`, "bag-info.txt: Payload-Oxum", "data/empty: it is missing"}},
		{"no list", func(dir string) error { return os.Remove(filepath.Join(dir, manifestFile)) }, []string{": it has no list", "manifest-sha256.txt: it is missing"}},
		{"another encoding", write(declaration, "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-16\n"), []string{"bagit.txt: its SHA256", "bagit.txt: the encoding UTF-16"}},
		{"half a declaration", write(declaration, "BagIt-Version: 1.0\n"), []string{"bagit.txt: it does not declare", "bagit.txt: its SHA256"}},
		{"another sum of the payload", write(infoFile, "Contact-Name: A\n\tB\npayload-oxum: 1.1\n"), []string{"bag-info.txt: Payload-Oxum is 1.1", "bag-info.txt: its SHA256"}},
		{"a tag file in the list of the payload", replace(manifestFile, "data/empty", "index.html"), []string{"data/empty: no list", "manifest-sha256.txt: its SHA256", "manifest-sha256.txt: line"}},
		{"a line that is too long", replace(tagManifest, "  "+manifestFile, strings.Repeat(" ", mostLine)+manifestFile), []string{"tagmanifest-sha256.txt: it cannot be read"}},
		{"a version to come", write(declaration, "BagIt-Version: 2.0\nTag-File-Character-Encoding: UTF-8\n"), []string{"bagit.txt: its SHA256", "bagit.txt: version 2.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newFolderBag(t, plain)
			// The bag has the percent signs and line ends of no other test.
			for i, want := range c.want {
				c.want[i] = strings.ReplaceAll(want, "59.7", "36.5")
			}
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			r := mustCheck(t, dir)
			var found []string
			for _, p := range r.Problems {
				found = append(found, p.File+": "+p.What)
			}
			ok := len(found) == len(c.want) && r.ProblemCount == len(found)
			for i := range found {
				ok = ok && strings.Contains(found[i], c.want[i])
			}
			if !ok {
				t.Errorf("found %q\nwant  %q", found, c.want)
			}
		})
	}
}

func TestOnlyRegularFilesOfABagAreOpened(t *testing.T) {
	dir := newFolderBag(t, plain)
	if err := os.Symlink("index.html", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for name, opens := range map[string]bool{"index.html": true, "link": false, "data": false} {
		file, err := b.Open(name)
		if err == nil {
			_ = file.Close()
		}
		if (err == nil) != opens {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATagFileThatNoListHasIsNamed(t *testing.T) {
	dir := newFolderBag(t, plain)
	if err := os.WriteFile(filepath.Join(dir, "read me first.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := mustCheck(t, dir); r.ProblemCount != 0 || !slices.Equal(r.Unlisted, []string{"read me first.txt"}) {
		t.Errorf("%+v", r)
	}
}

func TestWhatIsNoBagIsRefused(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Check(t.Context(), nil); !errors.Is(err, ErrNoBag) {
		t.Errorf("an empty folder: %v", err)
	}
	text := filepath.Join(dir, "text.zip")
	if err := os.WriteFile(text, []byte("no ZIP"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(text); !errors.Is(err, ErrNoBag) {
		t.Errorf("a text: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

func TestAZipThatReachesOutOfItselfIsFound(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bag.zip")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(file)
	build(t, NewZip(w, "bag", time.Now(), scratch(t)), plain)
	for _, more := range []string{"bag/../../etc/passwd", "other/file", "bag/data/empty", `bag/data\x`, "../evil/"} {
		if _, err := w.Create(more); err != nil {
			t.Fatal(err)
		}
	}
	link := &zip.FileHeader{Name: "bag/link"}
	link.SetMode(os.ModeSymlink | 0o777)
	if _, err := w.CreateHeader(link); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	if r := mustCheck(t, name); r.ProblemCount != 6 {
		t.Errorf("%+v", r.Problems)
	}
}

func TestADamagedFileOfAZipIsFound(t *testing.T) {
	t.Parallel()
	name := newZipBag(t)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[bytes.Index(text, []byte("photograph"))] ^= 1
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := mustCheck(t, name); r.ProblemCount != 1 || r.Problems[0].File != "data/a/LCD-1_001.jpg" {
		t.Errorf("%+v", r.Problems)
	}
}

func TestAZipThatIsNoHonestBagIsRefused(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "bag.zip")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(file)
	build(t, NewZip(w, "..", time.Now(), scratch(t)), plain)
	if err := errors.Join(w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(name); !errors.Is(err, ErrNoBag) || !errors.Is(err, errName) {
		t.Errorf("a bag in the folder ..: %v", err)
	}
	name = newZipBag(t)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	entry := bytes.Index(text, []byte("PK\x01\x02")) // of the directory at the end
	binary.LittleEndian.PutUint32(text[entry+20:], uint32(len(text))-1)
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(name); !errors.Is(err, ErrNoBag) {
		t.Errorf("a ZIP whose files overlap: %v", err)
	}
}

// Before version 1.0 a percent sign stood for itself: a reader that does not know it
// takes one file for another.
func TestTheSumsOfABagAreThoseThatWereCompared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "data"), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	}
	forged, sealed := write("data/a%b", "forged"), write("data/a%25b", "real")
	write("bagit.txt", "BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n")
	write("manifest-sha256.txt", forged+"\tdata/a%b\n"+sealed+"  data/a%25b\n")
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if report, err := b.Check(t.Context(), nil); err != nil || report.ProblemCount > 0 {
		t.Fatal(report.Problems, err)
	}
	sums, err := b.Sums(t.Context())
	if err != nil || sums["data/a%b"] != forged || sums["data/a%25b"] != sealed || len(sums) != 2 {
		t.Errorf("%v, %v", sums, err)
	}
}

func TestAHugeTagFileIsAProblem(t *testing.T) {
	t.Parallel()
	dir := newFolderBag(t, plain)
	for _, size := range []int{mostTagFile - 100, mostTagFile + 1} {
		if err := os.WriteFile(filepath.Join(dir, infoFile), []byte("A: b\n"+strings.Repeat(" x\n", size/3)), 0o644); err != nil {
			t.Fatal(err)
		}
		long := slices.ContainsFunc(mustCheck(t, dir).Problems, func(p Problem) bool { return p.File == infoFile && strings.Contains(p.What, "more than") })
		if long != (size > mostTagFile) {
			t.Errorf("%d bytes: said to be too long: %v", size, long)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(strings.Repeat("a", 64) + "  data/%0A%25")
	f.Add(strings.Repeat("a", 64) + "\t*data/x")
	f.Add("x")
	f.Fuzz(func(t *testing.T, text string) {
		name, sum, err := parseLine(text, 64, false)
		if err != nil {
			return
		}
		if len(sum) != 64 || validName(name) != nil {
			t.Errorf("%q: %q, %q", text, name, sum)
		}
		again, _, err := parseLine(strings.TrimSuffix(line(name, sum), "\n"), 64, false)
		if err != nil && !strings.HasPrefix(name, "*") && strings.TrimLeft(name, " \t") == name || err == nil && again != strings.TrimPrefix(name, "*") && strings.TrimLeft(name, " \t*") == name {
			t.Errorf("%q is read back as %q, %v", name, again, err)
		}
	})
}

// Each list of the payload names every file. A list whose algorithm nobody knows proves nothing.
func TestEveryListOfABagNamesEveryFile(t *testing.T) {
	t.Parallel()
	dir := newFolderBag(t, plain)
	var lines strings.Builder
	for name, text := range contents {
		if plain(name) && strings.HasPrefix(name, payload) {
			fmt.Fprintf(&lines, "%x  %s\n", sha512.Sum512([]byte(text)), name)
		}
	}
	_, without, _ := strings.Cut(lines.String(), "\n")
	for text, want := range map[string]int{lines.String(): 0, without: 1} {
		for _, list := range []string{"manifest-sha512.txt", "manifest-md5.txt"} {
			if err := os.WriteFile(filepath.Join(dir, list), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if r := mustCheck(t, dir); r.ProblemCount != want || !slices.Equal(r.Algorithms, []string{"sha256", "sha512"}) {
			t.Errorf("%d problems instead of %d, by %q: %v", r.ProblemCount, want, r.Algorithms, r.Problems)
		}
	}
}

// calls are the files that a bag gets and the flushes between them.
type calls []string

func (c *calls) create(name string, write func(io.Writer) error) error {
	*c = append(*c, name)
	return write(io.Discard)
}

func (c *calls) flush() error {
	*c = append(*c, "flush")
	return nil
}

func TestABagDeclaresItselfOnceAllElseIsOnDisk(t *testing.T) {
	t.Parallel()
	var seen calls
	file := scratch(t)
	build(t, &Builder{place: &seen, payload: spool{file, bufio.NewWriter(file)}}, func(name string) bool { return name == "data/empty" })
	if want := (calls{"data/empty", manifestFile, infoFile, tagManifest, "flush", declaration, "flush"}); !slices.Equal(seen, want) {
		t.Errorf("%q instead of %q", seen, want)
	}
}

func TestABagWithTwoListsOfItsTagFilesIsWhole(t *testing.T) {
	t.Parallel()
	dir := newFolderBag(t, plain)
	info, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "tagmanifest-sha512.txt")
	for text, want := range map[string]int{string(info): 0, "other": 1} {
		if err := os.WriteFile(list, fmt.Appendf(nil, "%x  %s\n", sha512.Sum512([]byte(text)), infoFile), 0o644); err != nil {
			t.Fatal(err)
		}
		b, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		report, err := b.Check(t.Context(), nil)
		b.Close()
		if err != nil || report.ProblemCount != want {
			t.Errorf("%d problems instead of %d: %v, %v", report.ProblemCount, want, report.Problems, err)
		}
	}
}
