package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newOutput is a fresh output folder.
func newOutput(t testing.TB) *Output {
	t.Helper()
	return openNew(t, filepath.Join(t.TempDir(), "output"))
}

func openNew(t testing.TB, dir string) *Output {
	t.Helper()
	if err := CreateMarker(dir); err != nil {
		t.Fatal(err)
	}
	o, err := OpenOutput(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Release(o) })
	return o
}

// keep writes a file with that content.
func keep(t testing.TB, o *Output, dir, name, content string) Kept {
	t.Helper()
	f, err := o.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	if _, err := io.WriteString(f, content); err != nil {
		t.Fatal(err)
	}
	folder := o.Folder(dir)
	defer folder.Close()
	kept, err := folder.Keep(f, name, "a1b2c3d4")
	if err := errors.Join(err, folder.Sync()); err != nil {
		t.Fatal(err)
	}
	return kept
}

// replace writes the report of a folder.
func replace(o *Output, dir, name string, write func(io.Writer) error) (int64, string, error) {
	folder := o.Folder(dir)
	defer folder.Close()
	size, sum, err := folder.Replace(name, write)
	return size, sum, errors.Join(err, folder.Sync())
}

// tree lists the files below the output folder with their content.
func tree(t testing.TB, o *Output) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(o.Name()), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && name != MarkerName {
			var data []byte
			data, err = os.ReadFile(filepath.Join(o.Name(), name))
			files[name] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// tmpfs mounts a file system of 1 MiB on a new folder.
func tmpfs(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestMarkerIsMadeOnceAndFoldersWithIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "volume", "output")
	if err := CreateMarker(dir); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(dir, MarkerName))
	if err != nil {
		t.Fatal(err)
	}
	if err := CreateMarker(dir); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, MarkerName))
	if err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the second CreateMarker touched the marker: %v", err)
	}
}

func TestMarkerIsNotWrittenThroughALink(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(elsewhere, filepath.Join(dir, MarkerName)); err != nil {
		t.Fatal(err)
	}
	if err := CreateMarker(dir); !errors.Is(err, ErrObstacle) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}

func TestFolderWithoutMarkerIsNotMounted(t *testing.T) {
	missing, bare, file := filepath.Join(t.TempDir(), "missing"), t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{missing, bare} {
		_, err := OpenOutput(dir)
		if !errors.Is(err, ErrNotMounted) || !IsDiskError(err) {
			t.Errorf("%s: %v", dir, err)
		}
		for _, part := range []string{dir, "mount", "noggin init-db"} {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("message lacks %q: %v", part, err)
			}
		}
	}
	if _, err := OpenOutput(file); !IsDiskError(err) {
		t.Errorf("a file as output folder: %v", err)
	}
}

func TestCheckNoticesThatTheVolumeWentAway(t *testing.T) {
	t.Run("marker removed", func(t *testing.T) {
		o := newOutput(t)
		if err := o.Check(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(o.Name(), MarkerName)); err != nil {
			t.Fatal(err)
		}
		if err := o.Check(); !errors.Is(err, ErrNotMounted) || !IsDiskError(err) {
			t.Errorf("Check: %v", err)
		}
		if f, err := o.Temp(); !errors.Is(err, ErrNotMounted) || len(namesIn(t, o.Name())) > 0 {
			t.Errorf("a file is begun: %v, %v", f, err)
		}
		// Else a whole mirror would be reported as missing, file by file.
		if err := o.Verify("2025/09/x/y.jpg", 1, ""); !errors.Is(err, ErrNotMounted) {
			t.Errorf("Verify: %v", err)
		}
	})
	t.Run("folder replaced", func(t *testing.T) {
		o := newOutput(t)
		if err := os.Rename(o.Name(), o.Name()+".old"); err != nil {
			t.Fatal(err)
		}
		if err := o.Check(); !errors.Is(err, ErrNotMounted) {
			t.Errorf("folder gone: %v", err)
		}
		if err := CreateMarker(o.Name()); err != nil {
			t.Fatal(err)
		}
		if err := o.Check(); !errors.Is(err, ErrNotMounted) {
			t.Errorf("another folder in its place: %v", err)
		}
	})
	t.Run("unmounted lazily", func(t *testing.T) {
		dir := tmpfs(t)
		o := openNew(t, dir)
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		if err := o.Check(); !errors.Is(err, ErrNotMounted) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFullVolumeIsADiskErrorThatHarmsNothing(t *testing.T) {
	o := openNew(t, tmpfs(t))
	keep(t, o, "2025/09/a", "a.jpg", strings.Repeat("a", 300_000))
	if err := o.CheckWritable(); err != nil {
		t.Fatal(err)
	}
	f, err := o.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	_, err = f.Write(make([]byte, 2<<20))
	if !IsDiskError(err) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{o.Name(), "no space left", "free space"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("message lacks %q: %v", part, err)
		}
	}
	if free, total, err := o.Free(); err != nil || free != 0 || total != 1<<20 {
		t.Errorf("Free: %d of %d, %v", free, total, err)
	}
	if err := o.CheckWritable(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("CheckWritable on a full volume: %v", err)
	}
	_, _, err = replace(o, "2025/09/a", "a.txt", func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("r", 10_000))
		return err
	})
	if !errors.Is(err, syscall.ENOSPC) || !IsDiskError(err) {
		t.Errorf("ReplaceFile: %v", err)
	}
	f.Discard()
	keep(t, o, "2025/09/b", "b.jpg", strings.Repeat("b", 300_000))
	if got := len(tree(t, o)); got != 2 {
		t.Errorf("%d files instead of the two whole ones", got)
	}
}

func TestVolumeWithoutRightToWrite(t *testing.T) {
	cannotWrite := func(t *testing.T, o *Output, cause error, advice string) {
		t.Helper()
		_, _, err := replace(o, "2025/09/a", "a.txt", func(io.Writer) error { return nil })
		if !IsDiskError(err) || !errors.Is(err, cause) || !strings.Contains(err.Error(), advice) {
			t.Errorf("ReplaceFile: %v", err)
		}
		if err := o.CheckWritable(); !errors.Is(err, cause) {
			t.Errorf("CheckWritable: %v", err)
		}
		if err := o.Verify("2025/09/a/a.jpg", 5, ""); err != nil {
			t.Errorf("reading should go on: %v", err)
		}
	}
	t.Run("read-only", func(t *testing.T) {
		dir := tmpfs(t)
		o := openNew(t, dir)
		keep(t, o, "2025/09/a", "a.jpg", "whole")
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"); err != nil {
			t.Fatal(err)
		}
		cannotWrite(t, o, syscall.EROFS, "read-only")
	})
	t.Run("another user's", func(t *testing.T) {
		withoutRights(t)
		o := newOutput(t)
		keep(t, o, "2025/09/a", "a.jpg", "whole")
		tmp := filepath.Join(o.Name(), TempFolder)
		if err := os.Chmod(tmp, 0o555); err != nil {
			t.Fatal(err)
		}
		cannotWrite(t, o, syscall.EACCES, "chown")
	})
}

func TestVerifyTellsMissingFromDiffering(t *testing.T) {
	o := newOutput(t)
	kept := keep(t, o, "2025/09/a b", "a.jpg", "content")
	const sum = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
	link := filepath.Join(o.Name(), "2025/09/a b/link.jpg")
	if err := os.Symlink("a.jpg", link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(o.Name(), "2025/09/a b/pipe.jpg"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		size       int64
		sum        string
		want       error
	}{
		{"same size", kept.Path, 7, "", nil},
		{"same content", kept.Path, 7, sum, nil},
		{"same content, upper case", kept.Path, 7, strings.ToUpper(sum), nil},
		{"other size", kept.Path, 8, sum, ErrDiffers},
		{"other content", kept.Path, 7, strings.Repeat("0", 64), ErrDiffers},
		{"missing", "2025/09/a b/b.jpg", 7, "", ErrMissing},
		{"folder missing", "2025/10/a.jpg", 7, "", ErrMissing},
		{"symbolic link", "2025/09/a b/link.jpg", 7, sum, ErrObstacle},
		{"folder", "2025/09/a b", 7, "", ErrObstacle},
		{"pipe", "2025/09/a b/pipe.jpg", 0, "", ErrObstacle},
		{"file where a folder should be", kept.Path + "/a.jpg", 7, "", ErrObstacle},
		{"outside", "../x", 7, "", ErrBadName},
		{"absolute", "/etc/passwd", 7, "", ErrBadName},
		{"the marker", MarkerName, 7, "", ErrBadName},
	}
	for _, tt := range tests {
		if err := o.Verify(tt.path, tt.size, tt.sum); !errors.Is(err, tt.want) || IsDiskError(err) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestRemoveTakesRegularFilesOnly(t *testing.T) {
	o := newOutput(t)
	kept := keep(t, o, "2025/09/a", "a.jpg", "content")
	link := filepath.Join(o.Name(), "2025/09/a/link.jpg")
	if err := os.Symlink("a.jpg", link); err != nil {
		t.Fatal(err)
	}
	if err := o.Remove("2025/09/a/link.jpg"); !errors.Is(err, ErrObstacle) {
		t.Errorf("link: %v", err)
	}
	if err := o.Remove("2025/09/a"); !errors.Is(err, ErrObstacle) {
		t.Errorf("folder: %v", err)
	}
	for range 2 {
		if err := o.Remove(kept.Path); err != nil {
			t.Error(err)
		}
	}
	if len(tree(t, o)) != 0 {
		t.Error("the file is still there")
	}
}

// A link may lead to the folder of other files, such as on a second volume.
func TestOnlyFoldersAreTidied(t *testing.T) {
	o := newOutput(t)
	one := keep(t, o, "2025/10/one", "a.jpg", "content")
	keep(t, o, "2025/10/two", "b.jpg", "content")
	if err := os.Symlink("10", filepath.Join(o.Name(), "2025/09")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Name(), "2025/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Remove("2025/09/one/" + path.Base(one.Path)); err != nil {
		t.Fatal(err)
	}
	if err := o.Tidy(map[string]bool{"2025/09/one/a.jpg": true}); err != nil {
		t.Error(err)
	}
	if removed, err := o.RemoveEmpty("2025/file"); removed || err != nil {
		t.Errorf("a file is no empty folder: %v, %v", removed, err)
	}
	for name, there := range map[string]bool{"2025/09": true, "2025/file": true, "2025/10/two/b.jpg": true, "2025/10/one": false} {
		if _, err := os.Lstat(filepath.Join(o.Name(), name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSweepTempTakesOnlyWhatNobodyWrites(t *testing.T) {
	o := newOutput(t)
	now := time.Now()
	if n, _, err := o.SweepTemp(time.Hour, now); n != 0 || err != nil {
		t.Fatalf("without a temporary folder: %d, %v", n, err)
	}
	inUse, err := o.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Discard()
	age := func(name string, age time.Duration) {
		full := filepath.Join(o.Name(), TempFolder, name)
		if err := errors.Join(os.WriteFile(full, []byte("12345"), 0o600), os.Chtimes(full, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	age("old.part", 2*time.Hour)
	age("of a wrong clock.part", -48*time.Hour)
	age("young.part", time.Minute)
	// As after a clock step: the file in use looks old.
	old := now.Add(-24 * time.Hour)
	if err := os.Chtimes(filepath.Join(o.Name(), TempFolder, inUse.name), old, old); err != nil {
		t.Fatal(err)
	}
	n, bytes, err := o.SweepTemp(time.Hour, now)
	if n != 2 || bytes != 10 || err != nil {
		t.Errorf("swept %d files of %d bytes: %v", n, bytes, err)
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range tree(t, o) {
			if !yield(filepath.Base(name)) {
				return
			}
		}
	})
	want := []string{inUse.name, "young.part"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("left: %v, want %v", names, want)
	}
}

func TestModesFollowTheUmask(t *testing.T) {
	for _, tt := range []struct {
		umask        int
		folder, file fs.FileMode
	}{{0o022, 0o755, 0o644}, {0o027, 0o750, 0o640}, {0o002, 0o775, 0o664}, {0, 0o775, 0o664}} {
		old := syscall.Umask(tt.umask)
		o := newOutput(t)
		kept := keep(t, o, "2025/09/a", "a.jpg", "content")
		syscall.Umask(old)
		for name, want := range map[string]fs.FileMode{"2025": tt.folder, "2025/09/a": tt.folder, kept.Path: tt.file, MarkerName: tt.file} {
			if info, err := os.Stat(filepath.Join(o.Name(), name)); err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %03o: %s has %v, want %v (%v)", tt.umask, name, info.Mode(), want, err)
			}
		}
	}
}
