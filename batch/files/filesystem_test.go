package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAPartialFileReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	final := filepath.Join(dir, "noggin.dump")
	f, err := CreatePartial(final, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if !IsLocked(final + PartialExt) {
		t.Error("it can be swept while it is written")
	}
	if _, err := CreatePartial(final, 0o640); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another partial file: %v", err)
	}
	if _, err := f.WriteString("first"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(FlushPartial(final, f), f.Close(), NamePartial(final)); err != nil {
		t.Fatal(err)
	}
	if IsLocked(final) || IsLocked(final+PartialExt) {
		t.Error("it is locked although nobody writes it")
	}
	if _, err := CreatePartial(final, 0o640); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a final file: %v", err)
	}
	if names := namesIn(t, dir); !slices.Equal(names, []string{"noggin.dump"}) {
		t.Errorf("the folder has %v", names)
	}
	if err := os.WriteFile(final+PartialExt, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NamePartial(final); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second file gets the same name: %v", err)
	}
	if text, err := os.ReadFile(final); string(text) != "first" {
		t.Errorf("the first file has %q, %v", text, err)
	}
	if text, err := os.ReadFile(final + PartialExt); string(text) != "second" {
		t.Errorf("the second file has %q, %v", text, err)
	}
	if _, err := CreatePartial(filepath.Join(dir, "none", "noggin.dump"), 0o640); !IsDiskError(err) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is missing: %v", err)
	}
}

func TestFoldersAreMadeUnlessAFileIsInTheWay(t *testing.T) {
	dir := t.TempDir()
	deep, file := filepath.Join(dir, "a", "b", "c"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := MakeFolders(deep); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() {
		t.Errorf("%v", err)
	}
	for _, way := range []string{file, filepath.Join(file, "b"), filepath.Join(file, "b", "c")} {
		if err := MakeFolders(way); err == nil {
			t.Errorf("%s is made", way)
		}
	}
}
