package files

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestKeepNeverReplaces(t *testing.T) {
	o := newOutput(t)
	dir := "2025/09/2025-09-17 LCD-045289"
	steps := []struct {
		content string
		want    Kept
	}{
		{"one", Kept{Path: dir + "/a_001.jpg"}},
		{"one", Kept{Path: dir + "/a_001.jpg", AlreadyThere: true}},
		{"two", Kept{Path: dir + "/a_001-a1b2c3d4.jpg", Instead: "a file with other content"}},
		{"two", Kept{Path: dir + "/a_001-a1b2c3d4.jpg", AlreadyThere: true, Instead: "a file with other content"}},
		{"six", Kept{Path: dir + "/a_001-a1b2c3d4-2.jpg", Instead: "a file with other content"}},
		{"", Kept{Path: dir + "/a_001-a1b2c3d4-3.jpg", Instead: "a file with other content"}},
	}
	for i, step := range steps {
		if got := keep(t, o, dir, "a_001.jpg", step.content); got != step.want {
			t.Errorf("step %d: got %+v, want %+v", i, got, step.want)
		}
	}
	files := tree(t, o)
	for _, step := range steps {
		if files[step.want.Path] != step.content {
			t.Errorf("%s holds %q, want %q", step.want.Path, files[step.want.Path], step.content)
		}
	}
	if len(files) != 4 {
		t.Errorf("%d files: %v", len(files), files)
	}
}

func TestKeepStepsAsideForWhatIsNoFile(t *testing.T) {
	o := newOutput(t)
	outside := filepath.Join(t.TempDir(), "outside")
	keep(t, o, "x", "other.jpg", "other")
	full := filepath.Join(o.Name(), "x")
	err := errors.Join(os.Symlink(outside, filepath.Join(full, "link.jpg")), os.Symlink("other.jpg", filepath.Join(full, "inner.jpg")),
		os.Mkdir(filepath.Join(full, "folder.jpg"), 0o755), unix.Mkfifo(filepath.Join(full, "pipe.jpg"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for name, instead := range map[string]string{
		"link": "a symbolic link", "inner": "a symbolic link", "folder": "a folder", "pipe": "a device, socket or pipe",
	} {
		want := Kept{Path: "x/" + name + "-a1b2c3d4.jpg", Instead: instead}
		if got := keep(t, o, "x", name+".jpg", "other"); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if _, err := os.Lstat(outside); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link was followed: %v", err)
	}
}

func TestNothingLeavesTheOutputFolder(t *testing.T) {
	o := newOutput(t)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(o.Name(), "2024")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Name(), "2023"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		dir, name string
		want      error
	}{
		{"2024", "a.jpg", ErrObstacle},
		{"2024/01/x", "a.jpg", ErrObstacle},
		{"2023/01/x", "a.jpg", ErrObstacle},
		{"..", "a.jpg", ErrBadName},
		{"2025/../..", "a.jpg", ErrBadName},
		{"/tmp", "a.jpg", ErrBadName},
		{"", "a.jpg", ErrBadName},
		{".", "a.jpg", ErrBadName},
		{TempFolder, "a.jpg", ErrBadName},
		{"2025", "..", ErrBadName},
		{"2025", "", ErrBadName},
		{"2025", "a/b.jpg", ErrBadName},
		{"2025", "../a.jpg", ErrBadName},
		{"2025", "a\x00.jpg", ErrBadName},
		{"2025", MarkerName, ErrBadName},
		{"2025", strings.Repeat("n", 300), ErrBadName},
		{strings.Repeat("n", 300), "a.jpg", ErrBadName},
	}
	for _, tt := range tests {
		f, err := o.Temp()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Folder(tt.dir).Keep(f, tt.name, "a1b2c3d4"); !errors.Is(err, tt.want) || IsDiskError(err) {
			t.Errorf("Keep(%q, %q): got %v, want %v", tt.dir, tt.name, err, tt.want)
		}
		f.Discard()
		if _, _, err := replace(o, tt.dir, tt.name, func(io.Writer) error { return nil }); !errors.Is(err, tt.want) {
			t.Errorf("ReplaceFile(%q, %q): got %v, want %v", tt.dir, tt.name, err, tt.want)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside: %v %v", left, err)
	}
	if files := tree(t, o); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestConcurrentKeepOfOneNameLosesNothing(t *testing.T) {
	o := newOutput(t)
	const contents, copies = 12, 3
	var wg sync.WaitGroup
	kept := make([]Kept, contents*copies)
	for i := range kept {
		wg.Go(func() {
			kept[i] = keep(t, o, "2025/09/a", "a.jpg", fmt.Sprint("content ", i%contents))
		})
	}
	wg.Wait()
	files, adopted := tree(t, o), 0
	for i, k := range kept {
		if want := fmt.Sprint("content ", i%contents); files[k.Path] != want {
			t.Errorf("%s holds %q, want %q", k.Path, files[k.Path], want)
		}
		if k.AlreadyThere {
			adopted++
		}
	}
	if len(files) != contents || adopted != len(kept)-contents {
		t.Errorf("%d files of %d contents, %d results adopted", len(files), contents, adopted)
	}
}

func TestLinkingStandsInForRenamingWithoutReplacing(t *testing.T) {
	o := newOutput(t)
	dir := filepath.Join(o.Name(), "x")
	keep(t, o, "x", "taken.jpg", "taken")
	if err := os.WriteFile(filepath.Join(dir, "temp"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer Release(f)
	fd := int(f.Fd())
	if err := linkNew(fd, "temp", fd, "taken.jpg"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if err := linkNew(fd, "temp", fd, "free.jpg"); err != nil {
		t.Error(err)
	}
	files := tree(t, o)
	if len(files) != 2 || files["x/taken.jpg"] != "taken" || files["x/free.jpg"] != "new" {
		t.Errorf("got %v", files)
	}
}

func TestResetForgetsAFailedAttempt(t *testing.T) {
	o := newOutput(t)
	f, err := o.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	_, _ = io.WriteString(f, "the longer half of a first attempt")
	if err := f.Reset(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(f, "second")
	if want := sha256.Sum256([]byte("second")); f.SHA256() != hex.EncodeToString(want[:]) || f.Size() != 6 {
		t.Errorf("%d bytes, SHA-256 %s", f.Size(), f.SHA256())
	}
	kept, err := o.Folder("x").Keep(f, "a.jpg", "a1b2c3d4")
	if err != nil || tree(t, o)[kept.Path] != "second" {
		t.Errorf("kept %q: %v", tree(t, o)[kept.Path], err)
	}
	f.Discard()
	if len(tree(t, o)) != 1 {
		t.Error("Discard after Keep took the file away")
	}
}

func TestKeepNoticesThatItsTemporaryFileIsGone(t *testing.T) {
	o := newOutput(t)
	f, err := o.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	if err := os.RemoveAll(filepath.Join(o.Name(), TempFolder)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Folder("x").Keep(f, "a.jpg", "a1b2c3d4"); !IsDiskError(err) {
		t.Errorf("got %v", err)
	}
	keep(t, o, "x", "a.jpg", "the folder is made again")
	if err := os.RemoveAll(filepath.Join(o.Name(), "x")); err != nil {
		t.Fatal(err)
	}
	keep(t, o, "x", "a.jpg", "and this one too")
}

func TestReplaceFileChangesInOneStepAndOnlyWhatChanged(t *testing.T) {
	o := newOutput(t)
	write := func(content string, fail error) (int64, string, error) {
		return replace(o, "2025/09/a", "report.txt", func(w io.Writer) error {
			_, err := io.WriteString(w, content)
			return errors.Join(err, fail)
		})
	}
	full := filepath.Join(o.Name(), "2025/09/a/report.txt")
	size, sum, err := write("first", nil)
	if want := sha256.Sum256([]byte("first")); err != nil || size != 5 || sum != hex.EncodeToString(want[:]) {
		t.Fatalf("%d %s %v", size, sum, err)
	}
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(full, past, past); err != nil {
		t.Fatal(err)
	}
	if _, _, err := write("first", nil); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(full); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("unchanged content was written anew: %v", err)
	}
	broken := errors.New("broken")
	if _, _, err := write("half of the sec", broken); !errors.Is(err, broken) || IsDiskError(err) {
		t.Errorf("got %v", err)
	}
	if got := tree(t, o); len(got) != 1 || got["2025/09/a/report.txt"] != "first" {
		t.Errorf("after a failed writer: %v", got)
	}
	for _, content := range []string{"fires", "second"} {
		if _, _, err := write(content, nil); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, o); len(got) != 1 || got["2025/09/a/report.txt"] != content {
			t.Errorf("after %q: %v", content, got)
		}
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := errors.Join(os.WriteFile(other, []byte("other"), 0o600), os.Remove(full), os.Symlink(other, full)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := write("third", nil); !errors.Is(err, ErrObstacle) {
		t.Errorf("link in place: %v", err)
	}
	if data, err := os.ReadFile(other); err != nil || string(data) != "other" {
		t.Errorf("written through the link: %q %v", data, err)
	}
}

const writerFolder = "NOGGIN_TEST_WRITER_FOLDER"

// TestWriterProcess is no test but the process that the next one kills.
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(writerFolder)
	if dir == "" {
		t.Skip("only as a child of TestKilledWriterLeavesOnlyWholeFiles")
	}
	o, err := OpenOutput(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		content := make([]byte, 1+rand.IntN(300_000))
		for j := range content {
			content[j] = byte(rand.Uint32())
		}
		sum := sha256.Sum256(content)
		name := hex.EncodeToString(sum[:]) + ".bin"
		kept := keep(t, o, fmt.Sprintf("2025/%02d/%d", i%12+1, i%5), name, string(content))
		fmt.Println("kept", kept.Path)
		_, _, err := replace(o, "2025/report", "report.txt", func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat(fmt.Sprintf("line %d\n", i), 5000)+"end\n")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestKilledWriterLeavesOnlyWholeFiles(t *testing.T) {
	o := newOutput(t)
	var kept []string
	for range 15 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWriterProcess$")
		cmd.Env = append(os.Environ(), writerFolder+"="+o.Name())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		// Killed at some moment in the work on a file that it did not report.
		for n := 1 + rand.IntN(4); n > 0 && lines.Scan(); n-- {
			if name, ok := strings.CutPrefix(lines.Text(), "kept "); ok {
				kept = append(kept, name)
			}
		}
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}
	files := tree(t, o)
	for _, name := range kept {
		if _, ok := files[name]; !ok {
			t.Errorf("%s was reported and is not there", name)
		}
	}
	for name, content := range files {
		base := filepath.Base(name)
		var whole bool
		switch {
		case strings.HasPrefix(name, TempFolder):
			continue
		case base == "report.txt":
			whole = strings.HasSuffix(content, "end\n") && len(content) > 5000*len("line 0\n")
		default:
			sum := sha256.Sum256([]byte(content))
			whole = base == hex.EncodeToString(sum[:])+".bin"
		}
		if !whole {
			t.Errorf("%s is not whole: %d bytes", name, len(content))
		}
	}
	if len(kept) < 15 {
		t.Errorf("only %d files were written: the test shows nothing", len(kept))
	}
	// No process is left to hold them: with no age to wait for, all go.
	if _, _, err := o.SweepTemp(0, time.Now()); err != nil {
		t.Error(err)
	}
	for name := range tree(t, o) {
		if strings.HasPrefix(name, TempFolder) {
			t.Errorf("%s is left after the sweep", name)
		}
	}
}

func BenchmarkKeep(b *testing.B) {
	content := strings.Repeat("0123456789abcdef", 1<<16)
	for _, writers := range []int{1, 8} {
		b.Run(fmt.Sprintf("1 MiB, 8 a folder, %d writers", writers), func(b *testing.B) {
			o := newOutput(b)
			b.SetBytes(int64(len(content)))
			var next atomic.Int64
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						keep(b, o, fmt.Sprintf("2025/09/%d", i/8), fmt.Sprintf("%d.jpg", i%8), content)
					}
				})
			}
			wg.Wait()
		})
	}
}
