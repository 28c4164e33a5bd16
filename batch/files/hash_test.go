package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAHashIsThatOfAWholeFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "noggin.dump")
	content := strings.Repeat("0123456789abcdef", 40_000) // more than a buffer holds
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer Release(f)
	if _, err := f.Seek(100, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var also bytes.Buffer
	for what, hash := range map[string]func() (int64, string, error){
		"HashReader": func() (int64, string, error) { return HashReader(t.Context(), strings.NewReader(content)) },
		"HashFile":   func() (int64, string, error) { return HashFile(t.Context(), name) },
		"HashOpen":   func() (int64, string, error) { return HashOpen(t.Context(), f, &also) },
	} {
		if size, sum, err := hash(); size != int64(len(content)) || sum != sumOf(content) || err != nil {
			t.Errorf("%s: %d bytes, %s, %v", what, size, sum, err)
		}
	}
	if also.String() != content {
		t.Errorf("%d bytes are copied", also.Len())
	}
}

// A hash of the beginning of a file would pass for that of a file that was cut.
func TestWhatCannotBeReadToItsEndHasNoHash(t *testing.T) {
	name := filepath.Join(t.TempDir(), "noggin.dump")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := os.Open(name)
	if err := errors.Join(err, gone.Close()); err != nil {
		t.Fatal(err)
	}
	defer Release(f)
	stopped := errors.New("stopped")
	over, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	broken := io.MultiReader(strings.NewReader("content"), iotest.ErrReader(io.ErrUnexpectedEOF))
	for what, test := range map[string]struct {
		hash func() (int64, string, error)
		want error
		disk bool
	}{
		"a broken reader":        {func() (int64, string, error) { return HashReader(t.Context(), broken) }, io.ErrUnexpectedEOF, false},
		"a reader, stopped":      {func() (int64, string, error) { return HashReader(over, strings.NewReader("content")) }, stopped, false},
		"a file, stopped":        {func() (int64, string, error) { return HashFile(over, name) }, stopped, false},
		"a missing file":         {func() (int64, string, error) { return HashFile(t.Context(), name+"x") }, ErrMissing, false},
		"an open file, stopped":  {func() (int64, string, error) { return HashOpen(over, f) }, stopped, false},
		"a closed file":          {func() (int64, string, error) { return HashOpen(t.Context(), gone) }, fs.ErrClosed, true},
		"a copy that is refused": {func() (int64, string, error) { return HashOpen(t.Context(), f, gone) }, fs.ErrClosed, true},
	} {
		if _, _, err := test.hash(); !errors.Is(err, test.want) || IsDiskError(err) != test.disk {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
}

func TestAgreesTellsAFilesFaultFromOurs(t *testing.T) {
	o := newOutput(t)
	kept := keep(t, o, "x", "a.jpg", "content")
	size, other := int64(7), int64(8)
	sum, wrong := sumOf("content"), sumOf("contend")
	for name, test := range map[string]struct {
		path string
		size *int64
		sum  *string
		want bool
	}{
		"nothing known": {kept.Path, nil, nil, true},
		"size":          {kept.Path, &size, nil, true},
		"hash":          {kept.Path, nil, &sum, true},
		"both":          {kept.Path, &size, &sum, true},
		"other size":    {kept.Path, &other, nil, false},
		"wrong size":    {kept.Path, &other, &sum, false},
		"other hash":    {kept.Path, &size, &wrong, false},
		"missing":       {"x/b.jpg", nil, nil, false},
		"a folder":      {"x", nil, nil, false},
		"outside":       {"../x", nil, nil, false},
	} {
		if got, err := o.Agrees(test.path, test.size, test.sum); got != test.want || err != nil {
			t.Errorf("%s: %t, %v", name, got, err)
		}
		file, err := o.IsFile(test.path)
		if file != (test.path == kept.Path) || err != nil {
			t.Errorf("%s is a file: %t, %v", test.path, file, err)
		}
	}
	if err := os.Remove(filepath.Join(o.Name(), MarkerName)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Agrees("x/b.jpg", nil, nil); !errors.Is(err, ErrNotMounted) {
		t.Errorf("the volume is gone: %v", err)
	}
	if _, err := o.IsFile("x/b.jpg"); !errors.Is(err, ErrNotMounted) {
		t.Errorf("the volume is gone: %v", err)
	}
}

func TestAFolderIsSetAsideAndPutBack(t *testing.T) {
	o := newOutput(t)
	keep(t, o, "2025/a", "a.jpg", "content")
	keep(t, o, "2025/a", "b.jpg", "other")
	if err := o.SetAside("../a", "1"); !errors.Is(err, ErrBadName) {
		t.Errorf("outside: %v", err)
	}
	if err := o.SetAside("2025/b", "1"); !errors.Is(err, ErrMissing) {
		t.Errorf("a folder that is missing: %v", err)
	}
	if err := o.SetAside("2025/a", "1"); err != nil {
		t.Fatal(err)
	}
	entries, err := o.AsideEntries("1")
	if err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if err := o.VerifyAside("1", "a.jpg", 7, sumOf("content")); err != nil {
		t.Error(err)
	}
	if err := o.VerifyAside("1", "a.jpg", 7, sumOf("contend")); !errors.Is(err, ErrDiffers) {
		t.Errorf("other content: %v", err)
	}
	keep(t, o, "2025/a", "c.jpg", "came meanwhile")
	if err := o.PutBack("1", "2025/a"); err == nil {
		t.Error("a folder replaces another")
	}
	if emptied, err := o.RemoveAside("1", []string{"a.jpg", "none.jpg"}); emptied || err != nil {
		t.Errorf("a file is left: %t, %v", emptied, err)
	}
	if err := o.PutBack("1", "2025/b"); err != nil {
		t.Error(err)
	}
	if got := tree(t, o); len(got) != 2 || got["2025/a/c.jpg"] == "" || got["2025/b/b.jpg"] != "other" {
		t.Errorf("left %v", got)
	}
	if err := o.SetAside("2025/b", "2"); err != nil {
		t.Fatal(err)
	}
	if emptied, err := o.RemoveAside("2", []string{"b.jpg"}); !emptied || err != nil {
		t.Errorf("nothing is left: %t, %v", emptied, err)
	}
}
