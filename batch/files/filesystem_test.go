package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func TestFilesComeBackIntoNoOutputFolder(t *testing.T) {
	o := newOutput(t)
	if _, err := MakePlain(o.Name(), "do something else"); err == nil || !strings.Contains(err.Error(), "this is an output folder: do something else") {
		t.Errorf("an output folder: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "new", "folder")
	for range 2 {
		plain, err := MakePlain(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		Release(plain)
	}
}

func TestFoldersOfOneVolumeAreCountedTogether(t *testing.T) {
	dir, other := t.TempDir(), tmpfs(t)
	volumes, err := Volumes([]Place{{"input", dir}, {"archive", filepath.Join(other, "new", "folder")}, {"output", filepath.Join(dir, "new")}})
	if err != nil || len(volumes) != 2 {
		t.Fatalf("%d volumes, %v", len(volumes), err)
	}
	if keys := volumes[0].Keys; !slices.Equal(keys, []string{"input", "output"}) || !slices.Equal(volumes[1].Keys, []string{"archive"}) || volumes[1].Mount != other || volumes[1].Total != 1<<20 {
		t.Errorf("%+v, %+v", volumes[0], volumes[1])
	}
	for _, test := range []struct {
		free, total uint64
		want        float64
	}{{0, 0, 0}, {0, 200, 100}, {50, 200, 75}, {200, 200, 0}} {
		if got := UsedPercent(test.free, test.total); got != test.want {
			t.Errorf("%d of %d are free: %v %% are used", test.free, test.total, got)
		}
	}
}
