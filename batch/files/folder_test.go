package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func TestMoveReplacesNothingAndTidiesUp(t *testing.T) {
	for name, test := range map[string]struct {
		inPlace string
		want    Kept
		left    map[string]string
	}{
		"a free name":   {"", Kept{Path: "new/b.jpg"}, map[string]string{"new/b.jpg": "content"}},
		"other content": {"other", Kept{Path: "new/b-a1b2c3d4.jpg", Instead: "a file with other content"}, map[string]string{"new/b.jpg": "other", "new/b-a1b2c3d4.jpg": "content"}},
		"same content":  {"content", Kept{Path: "new/b.jpg", AlreadyThere: true}, map[string]string{"new/b.jpg": "content", "old/deep/a.jpg": "content"}},
	} {
		o := newOutput(t)
		kept := keep(t, o, "old/deep", "a.jpg", "content")
		if test.inPlace != "" {
			keep(t, o, "new", "b.jpg", test.inPlace)
		}
		if err := os.Remove(filepath.Join(o.Name(), TempFolder)); err != nil {
			t.Fatal(err)
		}
		folder := o.Folder("new")
		got, err := folder.Move(kept.Path, 7, sumOf("content"), "b.jpg", "a1b2c3d4")
		folder.Close()
		if err != nil || got != test.want {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, test.want)
		}
		if left := tree(t, o); !maps.Equal(left, test.left) {
			t.Errorf("%s: left %v", name, left)
		}
		if _, err := os.Stat(filepath.Join(o.Name(), "old")); (err == nil) != test.want.AlreadyThere {
			t.Errorf("%s: the former folder: %v", name, err)
		}
	}
}

func TestMoveRefusesWhatItCannotMove(t *testing.T) {
	o := newOutput(t)
	keep(t, o, "old", "a.jpg", "content")
	before := tree(t, o)
	for name, test := range map[string]struct {
		from, to string
		want     error
	}{
		"outside":         {"../a.jpg", "b.jpg", ErrBadName},
		"to outside":      {"old/a.jpg", "../b.jpg", ErrBadName},
		"no folder":       {"none/a.jpg", "b.jpg", ErrMissing},
		"no file":         {"old/b.jpg", "b.jpg", ErrMissing},
		"its own marker":  {MarkerName, "b.jpg", ErrBadName},
		"a file's inside": {"old/a.jpg/b.jpg", "b.jpg", ErrObstacle},
	} {
		folder := o.Folder("new")
		if kept, err := folder.Move(test.from, 7, sumOf("content"), test.to, "a1b2c3d4"); !errors.Is(err, test.want) {
			t.Errorf("%s: %+v %v, want %v", name, kept, err, test.want)
		}
		folder.Close()
	}
	if after := tree(t, o); !maps.Equal(before, after) {
		t.Errorf("left %v", after)
	}
	if err := os.Mkdir(filepath.Join(o.Name(), "old", "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	folder := o.Folder("new")
	defer folder.Close()
	if _, err := folder.Move("old/a.jpg", 7, sumOf("content"), "b.jpg", "a1b2c3d4"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(o.Name(), "old", "empty")); err != nil {
		t.Errorf("a folder that is not empty is gone: %v", err)
	}
}

func TestARecordedNameIsNotGivenAgain(t *testing.T) {
	o := newOutput(t)
	f, err := o.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	folder := o.Folder("x", "a.jpg", "a-a1b2c3d4.jpg") // neither lies there
	defer folder.Close()
	want := Kept{Path: "x/a-a1b2c3d4-2.jpg", Instead: "a file that is recorded"}
	if kept, err := folder.Keep(f, "a.jpg", "a1b2c3d4"); err != nil || kept != want {
		t.Errorf("%+v %v, want %+v", kept, err, want)
	}
}

func TestTheFirstObstacleIsNamedAndNamesEnd(t *testing.T) {
	o := newOutput(t)
	keep(t, o, "x", "a.jpg", "other")
	full := filepath.Join(o.Name(), "x")
	if err := os.Mkdir(filepath.Join(full, "a-a1b2c3d4.jpg"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := Kept{Path: "x/a-a1b2c3d4-2.jpg", Instead: "a file with other content"}
	if kept := keep(t, o, "x", "a.jpg", "content"); kept != want {
		t.Errorf("%+v, want %+v", kept, want)
	}
	for n := 3; n < maxAlternatives; n++ {
		if err := os.WriteFile(filepath.Join(full, fmt.Sprintf("a-a1b2c3d4-%d.jpg", n)), []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, o)
	f, err := o.Temp()
	if err != nil {
		t.Fatal(err)
	}
	folder := o.Folder("x")
	defer folder.Close()
	if _, err := folder.Keep(f, "a.jpg", "a1b2c3d4"); !errors.Is(err, ErrObstacle) {
		t.Errorf("every name is taken: %v", err)
	}
	f.Discard()
	if after := tree(t, o); !maps.Equal(before, after) {
		t.Errorf("left %v", slices.Sorted(maps.Keys(after)))
	}
}

// withoutRights takes from this thread the rights of root over files. The thread ends with
// the test.
func withoutRights(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	data[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	if err := errors.Join(err, unix.Capset(&header, &data[0])); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatCannotBeReadCountsAsAnother(t *testing.T) {
	withoutRights(t)
	o := newOutput(t)
	unreadable := filepath.Join(o.Name(), "x", "a.jpg")
	keep(t, o, "x", "a.jpg", "content")
	if err := os.Chmod(unreadable, 0); err != nil {
		t.Fatal(err)
	}
	want := Kept{Path: "x/a-a1b2c3d4.jpg", Instead: "a file that cannot be read"}
	if kept := keep(t, o, "x", "a.jpg", "content"); kept != want {
		t.Errorf("%+v, want %+v", kept, want)
	}
	f, err := o.Temp()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	if _, err := io.WriteString(f, "content"); err != nil {
		t.Fatal(err)
	}
	folder := o.Folder("x")
	defer folder.Close()
	if there, err := folder.KeepExactly(f, "a.jpg"); !there || !errors.Is(err, ErrDiffers) {
		t.Errorf("exactly: %t %v", there, err)
	}
	// A folder without rights has no next name.
	if err := errors.Join(os.Chmod(unreadable, 0o600), os.Mkdir(filepath.Join(o.Name(), "y"), 0)); err != nil {
		t.Fatal(err)
	}
	closed := o.Folder("y")
	defer closed.Close()
	if kept, err := closed.Keep(f, "a.jpg", "a1b2c3d4"); !IsDiskError(err) {
		t.Errorf("without rights: %+v %v", kept, err)
	}
	if err := os.Remove(filepath.Join(o.Name(), "y")); err != nil {
		t.Fatal(err)
	}
	// noggin's own file is written anew.
	keep(t, o, "z", "r.txt", "content")
	if err := os.Chmod(filepath.Join(o.Name(), "z", "r.txt"), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := replace(o, "z", "r.txt", func(w io.Writer) error { _, err := io.WriteString(w, "content"); return err }); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(filepath.Join(o.Name(), "z", "r.txt"), 0o600); err != nil {
		t.Error(err)
	}
	f.Discard()
	if left, want := tree(t, o), map[string]string{"x/a.jpg": "content", "x/a-a1b2c3d4.jpg": "content", "z/r.txt": "content"}; !maps.Equal(left, want) {
		t.Errorf("left %v", left)
	}
}

func TestKeepExactlyTakesNoOtherName(t *testing.T) {
	o := newOutput(t)
	exactly := func(dir, name, content string) (bool, error) {
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
		return folder.KeepExactly(f, name)
	}
	for _, step := range []struct {
		dir, name, content string
		there              bool
		want               error
	}{
		{"x", "a.jpg", "content", false, nil},
		{"x", "a.jpg", "content", true, nil},
		{"x", "a.jpg", "contend", true, ErrDiffers},
		{"x/a.jpg", "b.jpg", "content", false, ErrObstacle},
		{"..", "b.jpg", "content", false, ErrBadName},
		{"x", "../b.jpg", "content", false, ErrBadName},
	} {
		if there, err := exactly(step.dir, step.name, step.content); there != step.there || !errors.Is(err, step.want) {
			t.Errorf("%+v: %t %v", step, there, err)
		}
	}
	if left := tree(t, o); !maps.Equal(left, map[string]string{"x/a.jpg": "content"}) {
		t.Errorf("left %v", left)
	}
}

func TestCopyExactlyCopiesWhatIsKnown(t *testing.T) {
	o := newOutput(t)
	keep(t, o, "old", "a.jpg", "content")
	keep(t, o, "new", "taken.jpg", "other")
	folder := o.Folder("new")
	defer folder.Close()
	for name, test := range map[string]struct {
		from string
		size int64
		sum  string
		to   string
		want error
	}{
		"other size":    {"old/a.jpg", 8, sumOf("content"), "b.jpg", ErrDiffers},
		"other content": {"old/a.jpg", 7, sumOf("contend"), "b.jpg", ErrDiffers},
		"no hash":       {"old/a.jpg", 7, "", "b.jpg", ErrDiffers},
		"missing":       {"old/b.jpg", 7, sumOf("content"), "b.jpg", ErrMissing},
		"taken":         {"old/a.jpg", 7, sumOf("content"), "taken.jpg", ErrDiffers},
		"outside":       {"../a.jpg", 7, sumOf("content"), "b.jpg", ErrBadName},
		"whole":         {"old/a.jpg", 7, sumOf("content"), "c.jpg", nil},
	} {
		if err := folder.CopyExactly(test.from, test.size, test.sum, test.to); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if left, want := tree(t, o), map[string]string{"old/a.jpg": "content", "new/c.jpg": "content", "new/taken.jpg": "other"}; !maps.Equal(left, want) {
		t.Errorf("left %v", left)
	}
}
