package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func writeText(text string, err error) func(io.Writer) error {
	return func(w io.Writer) error {
		_, writeErr := io.WriteString(w, text)
		return errors.Join(writeErr, err)
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestFileIsWrittenWholeOrNotAtAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	name := filepath.Join(dir, "list.csv")
	content := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("got %q %v, want %q", got, err, want)
		}
	}
	broken := errors.New("broken")
	if err := WriteNew(name, 0o640, writeText("half", broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if left := namesIn(t, dir); len(left) > 0 {
		t.Errorf("left after a failure: %v", left)
	}
	if err := WriteNew(name, 0o640, writeText("first", nil)); err != nil {
		t.Fatal(err)
	}
	if err := WriteNew(name, 0o640, writeText("first", nil)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	// Something takes the name while the file is written.
	late := filepath.Join(dir, "late.csv")
	err := WriteNew(late, 0o640, func(w io.Writer) error {
		return errors.Join(writeText("ours", nil)(w), os.WriteFile(late, []byte("theirs"), 0o600))
	})
	if got, _ := os.ReadFile(late); !errors.Is(err, fs.ErrExist) || string(got) != "theirs" {
		t.Errorf("over a file that came late: %q %v", got, err)
	}
	if err := WriteReplacing(name, 0o640, writeText("half", broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	content("first")
	if err := WriteReplacing(name, 0o640, writeText("second", nil)); err != nil {
		t.Fatal(err)
	}
	content("second")
	if left := namesIn(t, dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	if err := WriteReplacing(dir, 0o640, writeText("x", nil)); err == nil {
		t.Error("a folder was replaced")
	}
}

func TestUmaskTakesFromTheModeOfAFile(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	for _, mode := range []fs.FileMode{0o640, 0o644, 0o666} {
		name := filepath.Join(t.TempDir(), "file")
		if err := WriteReplacing(name, mode, writeText("x", nil)); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode() != mode&^0o027 {
			t.Errorf("mode %v: %v %v", mode, info.Mode(), err)
		}
	}
}

func TestAnOwnedFileHasExactlyItsModeAndOwner(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir := t.TempDir()
	name := filepath.Join(dir, "noggin.service")
	for i, owner := range []struct{ uid, gid, wantUID, wantGID int }{{-1, -1, 0, 0}, {65534, -1, 65534, 0}, {-1, 65534, 0, 65534}, {65534, 65534, 65534, 65534}, {0, 0, 0, 0}} {
		if os.Geteuid() != 0 && i > 0 {
			break // only root gives files away
		}
		if err := WriteOwned(name, 0o664, owner.uid, owner.gid, []byte("text")); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil || st.Mode&0o7777 != 0o664 {
			t.Errorf("mode %o, %v", st.Mode, err)
		}
		if os.Geteuid() == 0 && (int(st.Uid) != owner.wantUID || int(st.Gid) != owner.wantGID) {
			t.Errorf("%+v: owner %d, group %d", owner, st.Uid, st.Gid)
		}
	}
	if text, err := os.ReadFile(name); string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteOwned(filepath.Join(dir, "folder"), 0o664, -1, -1, nil); err == nil {
		t.Error("a folder was replaced")
	}
	if left := strings.Join(namesIn(t, dir), " "); left != "folder noggin.service" {
		t.Errorf("left: %s", left)
	}
}

func TestAFileInTheWayOfAFolderIsAnErrorOfTheDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stageErr := Stage(file, FileMode)
	_, placeErr := MakePlain(filepath.Join(file, "x"), "")
	for name, err := range map[string]error{
		"WriteNew": WriteNew(filepath.Join(file, "x"), FileMode, writeText("x", nil)), "WriteOwned": WriteOwned(filepath.Join(file, "x"), FileMode, -1, -1, nil),
		"CreateMarker": CreateMarker(filepath.Join(file, "x")), "Stage": stageErr, "MakePlain": placeErr,
	} {
		if !IsDiskError(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWritingAFileFollowsNoLink(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	name := filepath.Join(dir, "report.html")
	if err := errors.Join(os.WriteFile(outside, []byte("kept"), 0o600), os.Symlink(outside, name)); err != nil {
		t.Fatal(err)
	}
	if err := WriteNew(name, 0o640, writeText("new", nil)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteNew: %v", err)
	}
	if err := WriteReplacing(name, 0o640, writeText("new", nil)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "kept" {
		t.Errorf("the link was followed: %q %v", got, err)
	}
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link is still there: %v", err)
	}
}

func TestStagedFileTakesTheNextFreeName(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []struct{ content, want string }{
		{"one", "tips.csv"}, {"one", "tips.csv"}, {"two", "tips-2.csv"}, {"two", "tips-2.csv"}, {"six", "tips-3.csv"},
	} {
		staged, err := Stage(dir, FileMode)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(staged, step.content)
		to, err := staged.Place("tips.csv")
		staged.Discard()
		if err != nil || to != filepath.Join(dir, step.want) {
			t.Errorf("%q: %s %v, want %s", step.content, to, err, step.want)
		}
	}
	if left := strings.Join(namesIn(t, dir), " "); left != "tips-2.csv tips-3.csv tips.csv" {
		t.Errorf("left: %s", left)
	}
}

func TestSweepTakesOnlyStagedFilesOfDaysAgo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[1]*") // no pattern
	old := time.Now().Add(-25 * time.Hour)
	for name, at := range map[string]time.Time{
		".noggin-A.part": old, ".noggin-B.part": time.Now(), "tips.csv": old, ".noggin-C": old,
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	tray, err := OpenTray("/", dir)
	if err != nil {
		t.Fatal(err)
	}
	tray.SweepStaged(time.Now())
	if err := tray.Close(); err != nil {
		t.Error(err)
	}
	if left := strings.Join(namesIn(t, dir), " "); left != ".noggin-B.part .noggin-C tips.csv" {
		t.Errorf("left: %s", left)
	}
}

func TestAPipeIsNotReadAsAFile(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "backup.dump")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := HashFile(t.Context(), pipe); !errors.Is(err, ErrObstacle) {
		t.Errorf("the hash of a pipe: %v", err)
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(at("file"), nil, 0o600), os.Symlink("file", at("link")), unix.Mkfifo(at("pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		flags int
		want  error
	}{
		{"file", unix.O_NOFOLLOW, nil},
		{"link", 0, nil},
		{"link", unix.O_NOFOLLOW, unix.ELOOP},
		{"pipe", 0, ErrObstacle},
		{".", 0, ErrObstacle},
		{"none", 0, ErrMissing},
	} {
		f, _, err := OpenRegular(at(tt.name), tt.flags)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if err == nil {
			Release(f)
		}
	}
}
