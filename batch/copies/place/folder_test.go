package place

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"noggin/batch/files"
)

func openFolder(t testing.TB) (*Folder, string) {
	t.Helper()
	dir := t.TempDir()
	if err := CreateMarker(dir); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, dir
}

func TestAFolderKeepsEachObjectUnderItsKey(t *testing.T) {
	t.Parallel()
	f, dir := openFolder(t)
	content := bytes.Repeat([]byte("photo"), block)
	o := objectOf("files/2025/09/a.jpg", content)
	if stored := put(t, f, o, content); stored.Already {
		t.Error("a new object was there already")
	}
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	if stored := put(t, f, o, content); !stored.Already {
		t.Error("an object that is there is written again")
	}
	if err := f.Look(t.Context(), o); err != nil {
		t.Error(err)
	}
	at := filepath.Join(dir, o.Key)
	if err := os.WriteFile(at, []byte("rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Look(t.Context(), o); !errors.Is(err, files.ErrDiffers) {
		t.Errorf("a cut object: %v", err)
	}
	if stored := put(t, f, o, content); !stored.Mended {
		t.Errorf("a damaged object is not replaced: %+v", stored)
	}
	if back, err := os.ReadFile(at); err != nil || !bytes.Equal(back, content) {
		t.Error("the damaged object was not replaced by the right content")
	}
	wrong := bytes.Clone(content)
	wrong[5]++
	if _, err := f.Put(t.Context(), objectOf("files/b", content), PutOptions{}, bytes.NewReader(wrong)); !errors.Is(err, ErrSource) || !errors.Is(err, files.ErrDiffers) {
		t.Errorf("other content: %v", err)
	}
	if _, err := f.Put(t.Context(), o, PutOptions{Retain: time.Now()}, bytes.NewReader(content)); !errors.Is(err, ErrNoLock) {
		t.Errorf("a folder that is to lock: %v", err)
	}
	if err := f.Remove(t.Context(), o, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "files")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty folders of a removed object stay: %v", err)
	}
	if err := f.Look(t.Context(), o); !errors.Is(err, files.ErrMissing) {
		t.Errorf("a removed object: %v", err)
	}
}

func TestAFolderWithoutItsMarkerIsAway(t *testing.T) {
	t.Parallel()
	f, dir := openFolder(t)
	o := objectOf("files/a.jpg", []byte("photo"))
	put(t, f, o, []byte("photo"))
	if err := f.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, MarkerName)); err != nil {
		t.Fatal(err)
	}
	if err := f.Check(t.Context()); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "mount its volume") {
		t.Errorf("without the marker: %v", err)
	}
	if err := f.Look(t.Context(), objectOf("files/other", nil)); !errors.Is(err, ErrAway) {
		t.Errorf("a missing object of a folder that is not mounted: %v", err)
	}
	if _, err := OpenFolder(filepath.Join(dir, "none")); !errors.Is(err, ErrAway) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestAFolderIsLeftByNoLink(t *testing.T) {
	t.Parallel()
	f, dir := openFolder(t)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "files")); err != nil {
		t.Fatal(err)
	}
	o := objectOf("files/a.jpg", []byte("photo"))
	if _, err := f.Put(t.Context(), o, PutOptions{}, strings.NewReader("photo")); err == nil {
		t.Error("an object was put through a link")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("outside the folder lies %v", entries)
	}
}

// A backup has many gigabytes.
func TestAnInterruptionEndsACopyHalfWay(t *testing.T) {
	t.Parallel()
	f, dir := openFolder(t)
	o := Object{Key: "backups/a.dump", Size: 1 << 40, SHA256: strings.Repeat("0", 64)}
	for name, do := range map[string]func(context.Context, io.Reader) error{
		"written": func(ctx context.Context, content io.Reader) error {
			_, err := f.Put(ctx, o, PutOptions{}, content)
			return err
		},
		"compared": func(ctx context.Context, content io.Reader) error { return Compare(ctx, o, content) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		read := 0
		err := do(ctx, io.LimitReader(readerFunc(func(p []byte) (int, error) {
			cancel()
			read += len(p)
			return len(p), nil
		}), 100<<20))
		if !errors.Is(err, context.Canceled) || read > 1<<20 {
			t.Errorf("%s: after %d bytes: %v", name, read, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, files.TempFolder)); err != nil || len(entries) > 0 {
		t.Errorf("what was written stays: %v %v", entries, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A batch is flushed while the next one is put.
func TestAFlushCoversWhatIsPutBesideIt(t *testing.T) {
	t.Parallel()
	f, _ := openFolder(t)
	dir := f.take("files/0")
	if err := errors.Join(dir.Touch(), f.Flush()); err != nil {
		t.Fatal(err)
	}
	if f.folders["files/0"] != dir {
		t.Error("a folder in which a Put is at work is closed, and no later flush covers it")
	}
	f.giveBack(dir)
	var puts sync.WaitGroup
	for n := range 4 {
		puts.Go(func() {
			for i := range 50 {
				content := fmt.Appendf(nil, "photo %d of %d", i, n)
				o := objectOf(fmt.Sprintf("files/%d/%d-%d.jpg", i%3, i, n), content)
				if _, err := f.Put(t.Context(), o, PutOptions{}, bytes.NewReader(content)); err != nil {
					t.Error(err)
				} else if err := f.Look(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { puts.Wait(); close(done) }()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		if err := f.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.folders) > 0 {
		t.Errorf("%d folders stay open after the last flush", len(f.folders))
	}
}

func TestAFlushThatFailedOnceFailsAlways(t *testing.T) {
	t.Parallel()
	f, dir := openFolder(t)
	content := []byte("photo")
	put(t, f, objectOf("files/2025/a.jpg", content), content)
	if err := os.RemoveAll(filepath.Join(dir, "files")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Flush(); err == nil {
			t.Error("a flush of a folder that is gone")
		}
		put(t, f, objectOf("others/b.jpg", content), content)
	}
}
