package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
