package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// closed is a file with content that cannot be flushed any more.
func closed(t *testing.T, f *TempFile, err error) *TempFile {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Discard)
	if err := closeAfterWriting(f); err != nil {
		t.Fatal(err)
	}
	return f
}

func closeAfterWriting(w io.Writer) error {
	_, err := io.WriteString(w, "content")
	if f, ok := w.(*TempFile); ok {
		err = errors.Join(err, f.file.Close())
	}
	return err
}

func TestAFileThatCannotBeFlushedGetsNoName(t *testing.T) {
	o, dir := newOutput(t), t.TempDir()
	folder := o.Folder("x")
	defer folder.Close()
	temp := func() *TempFile { f, err := o.Temp(); return closed(t, f, err) }
	staged := func() *TempFile { f, err := Stage(dir, FileMode); return closed(t, f, err) }
	for name, write := range map[string]func() error{
		"Keep":           func() error { _, err := folder.Keep(temp(), "a.jpg", "a1b2c3d4"); return err },
		"KeepExactly":    func() error { _, err := folder.KeepExactly(temp(), "b.jpg"); return err },
		"Replace":        func() error { _, _, err := folder.Replace("c.txt", closeAfterWriting); return err },
		"Place":          func() error { _, err := staged().Place("d.csv"); return err },
		"WriteNew":       func() error { return WriteNew(filepath.Join(dir, "e.csv"), FileMode, closeAfterWriting) },
		"WriteReplacing": func() error { return WriteReplacing(filepath.Join(dir, "f.csv"), FileMode, closeAfterWriting) },
		"FlushPartial": func() error {
			f, err := CreatePartial(filepath.Join(dir, "g.dump"), FileMode)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			return FlushPartial(filepath.Join(dir, "g.dump"), f)
		},
	} {
		if err := write(); !IsDiskError(err) || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name := range tree(t, o) {
		if !strings.HasPrefix(name, TempFolder+"/") {
			t.Errorf("%s has its name", name)
		}
	}
	for _, name := range namesIn(t, dir) {
		if !IsStaged(name) && !strings.HasSuffix(name, PartialExt) {
			t.Errorf("%s has its name", name)
		}
	}
}

func TestNamesThatAreNotFlushedAreNotSafe(t *testing.T) {
	o := newOutput(t)
	named := func(dir string) *Folder {
		f, err := o.Temp()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Discard()
		folder := o.Folder(dir)
		t.Cleanup(folder.Close)
		if _, err := folder.Keep(f, "a.jpg", "a1b2c3d4"); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	its := named("2025/09/its own names")
	if err := its.handle.Close(); err != nil {
		t.Fatal(err)
	}
	above := named("2025/10/the name of the folder")
	if err := os.RemoveAll(filepath.Join(o.Name(), "2025")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second call does not make it safe
		for _, folder := range []*Folder{its, above} {
			if err := folder.Sync(); err == nil {
				t.Errorf("%s is safe", folder.dir)
			}
		}
	}
	touched := o.Folder("2024")
	if err := errors.Join(touched.Sync(), touched.Touch()); err != nil {
		t.Fatal(err)
	}
	if err := touched.handle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := touched.Sync(); err == nil {
		t.Error("a folder that was touched is not flushed")
	}
	if err := os.WriteFile(filepath.Join(o.Name(), "2023"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Folder("2023").Touch(); !errors.Is(err, ErrObstacle) {
		t.Errorf("a file as folder: %v", err)
	}
}

func TestAStagedNameThatIsNotFlushedIsAnError(t *testing.T) {
	dir := t.TempDir()
	err := WriteReplacing(filepath.Join(dir, "a.csv"), FileMode, func(w io.Writer) error {
		f, ok := w.(*TempFile)
		if !ok {
			t.Fatal("no temporary file")
		}
		return f.in.handle.Close()
	})
	if !IsDiskError(err) {
		t.Errorf("the name is not flushed: %v", err)
	}
	tray, err := OpenTray(dir, filepath.Join(dir, "processed"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tray.Sync(), tray.Close()); err != nil {
		t.Fatal(err)
	}
	if err := tray.Sync(); err == nil {
		t.Error("a tray that is not flushed is safe")
	}
	for name, err := range map[string]error{
		"SyncFolder": SyncFolder(filepath.Join(dir, "none")), "FlushFinal": FlushFinal(filepath.Join(dir, "none", "a.dump")),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a folder that is missing: %v", name, err)
		}
	}
}

// watch does the work and lists what it flushes below dir, in order: each flush point with
// the path, and between them "+path" and "-path" where one of paths has come or gone.
func watch(t *testing.T, dir string, paths []string, work func() error) (events []string) {
	t.Helper()
	was := map[string]bool{}
	look := func() {
		for _, path := range paths {
			_, err := os.Lstat(filepath.Join(dir, path))
			switch there := err == nil; {
			case there && !was[path]:
				events = append(events, "+"+path)
			case !there && was[path]:
				events = append(events, "-"+path)
			}
			was[path] = err == nil
		}
	}
	look()
	events = nil
	stop := WatchFlushes(dir, func(point, path string) {
		look()
		path, _ = filepath.Rel(dir, path)
		if strings.HasSuffix(path, stagedSuffix) {
			path = "unnamed"
		}
		events = append(events, point+" "+path)
	})
	err := work()
	stop()
	look()
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestWhatIsFlushedBeforeAndAfterANameIsGiven(t *testing.T) {
	t.Parallel()
	o := newOutput(t)
	at := func(name string) string { return filepath.Join(o.Name(), name) }
	in := func(dir string, do func(*Folder) error) error {
		folder := o.Folder(dir)
		defer folder.Close()
		return errors.Join(do(folder), folder.Sync())
	}
	begun := func(f *TempFile, err error) *TempFile {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Discard)
		if _, err := io.WriteString(f, "content"); err != nil {
			t.Fatal(err)
		}
		return f
	}
	// Each finds what the ones before it left.
	for _, test := range []struct {
		name  string
		paths string // that come or go
		work  func() error
		want  string
	}{
		{"Keep", "2025/a/1.jpg", func() error {
			return in("2025/a", func(f *Folder) error { _, err := f.Keep(begun(o.Temp()), "1.jpg", "a1b2c3d4"); return err })
		}, "attachment unnamed, +2025/a/1.jpg, folder 2025/a, folder's entry 2025, folder's entry ."},
		{"Keep of what is there", "2025/a/1.jpg", func() error {
			return in("2025/a", func(f *Folder) error { _, err := f.Keep(begun(o.Temp()), "1.jpg", "a1b2c3d4"); return err })
		}, "attachment unnamed, adopted file 2025/a/1.jpg, folder 2025/a"},
		{"KeepExactly of what is there", "2025/a/1.jpg", func() error {
			return in("2025/a", func(f *Folder) error { _, err := f.KeepExactly(begun(o.Temp()), "1.jpg"); return err })
		}, "restored file unnamed, adopted file 2025/a/1.jpg, folder 2025/a"},
		{"Replace by the same", "2025/a/1.jpg", func() error {
			return in("2025/a", func(f *Folder) error { _, _, err := f.Replace("1.jpg", writeText("content", nil)); return err })
		}, "report unnamed, adopted file 2025/a/1.jpg, folder 2025/a"},
		{"Move", "2025/b/2.jpg 2025/a", func() error {
			return in("2025/b", func(f *Folder) error {
				_, err := f.Move("2025/a/1.jpg", int64(len("content")), sumOf("content"), "2.jpg", "a1b2c3d4")
				return err
			})
		}, "+2025/b/2.jpg, folder 2025/b, folder's entry 2025, folder's entry ., -2025/a, removal 2025"},
		{"RemoveAside", "2025", func() error {
			err := o.SetAside("2025/b", "1")
			if emptied, removeErr := o.RemoveAside("1", []string{"2.jpg"}); !emptied {
				t.Errorf("a file is left: %v", removeErr)
			}
			return errors.Join(err, o.Tidy(map[string]bool{"2025/b": true}))
		}, "-2025, removal ., removal " + RemovingFolder},
		{"WriteNew", "a.csv", func() error { return WriteNew(at("a.csv"), FileMode, writeText("content", nil)) }, "staged file unnamed, +a.csv, staged name ."},
		{"Place of what is there", "a.csv", func() error {
			to, err := begun(Stage(o.Name(), FileMode)).Place("a.csv")
			if err == nil && to != at("a.csv") {
				t.Errorf("placed as %s", to)
			}
			return err
		}, "staged file unnamed, adopted file a.csv, staged name ."},
		{"HashFile", "a.csv", func() error { _, _, err := HashFile(t.Context(), at("a.csv")); return err }, "hashed file a.csv"},
		{"NamePartial", "b.dump b.dump.partial", func() error {
			f, err := CreatePartial(at("b.dump"), FileMode)
			if err != nil {
				return err
			}
			return errors.Join(FlushPartial(at("b.dump"), f), f.Close(), NamePartial(at("b.dump")))
		}, "+b.dump.partial, partial file b.dump.partial, +b.dump, -b.dump.partial, final name ."},
		{"FlushFinal", "b.dump", func() error { return FlushFinal(at("b.dump")) }, "final name ."},
	} {
		if got := strings.Join(watch(t, o.Name(), strings.Fields(test.paths), test.work), ", "); got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
	if slices.ContainsFunc(namesIn(t, o.Name()), IsStaged) {
		t.Error("a staged file is left")
	}
}
