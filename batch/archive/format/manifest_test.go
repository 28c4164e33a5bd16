package format

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestChecksumLinesAreThoseOfSha256sum(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sha256sum"); err != nil {
		t.Skip("sha256sum is not installed: it is in the package coreutils")
	}
	dir := t.TempDir()
	var all strings.Builder
	for _, name := range []string{"plain.jpg", "with blank.jpg", "two\nlines.jpg", `back\slash.jpg`, `both\` + "\n.jpg", "é.jpg", "return\r.jpg"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(name))
		line := checksumLine(hex.EncodeToString(sum[:]), name)
		all.WriteString(line)
		command := exec.CommandContext(t.Context(), "sha256sum", name)
		command.Dir = dir
		if out, err := command.Output(); err != nil || string(out) != line {
			t.Errorf("%q: sha256sum writes %q, we %q (%v)", name, out, line, err)
		}
	}
	command := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "--quiet")
	command.Dir, command.Stdin = dir, strings.NewReader(all.String())
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAHostileManifestTakesLittleMemory(t *testing.T) { // alone, as it measures the heap
	good := File{Path: "a/b.jpg", SHA256: strings.Repeat("0", 64), Tip: strings.Repeat("ab", 32)}
	line := func(change func(*File)) []byte {
		m := good
		change(&m)
		b, _ := json.Marshal(m)
		return append(b, '\n')
	}
	for name, next := range map[string]func(i int) []byte{
		"one record without end": func(int) []byte { return line(func(*File) {}) },
		"long lines": func(i int) []byte {
			return line(func(m *File) { m.Tip = fmt.Sprintf("%064x", i); m.Field = strings.Repeat("f", 100<<10) })
		},
		"one line without end":     func(int) []byte { return bytes.Repeat([]byte(" "), 1<<20) },
		"long lines of one record": func(int) []byte { return line(func(m *File) { m.Field = strings.Repeat("\n", 60<<10) }) },
		"many keys in a line":      func(int) []byte { return []byte(`{` + strings.Repeat(`"x":[[[[[]]]]],`, 9<<10) + `"y":1}` + "\n") },
	} {
		read, write := io.Pipe()
		go func() {
			for i := 0; i < 1<<20; i++ {
				if _, err := write.Write(next(i)); err != nil {
					return
				}
			}
		}()
		m := newManifestReader(read)
		grew := peakHeap(func() {
			for range 50 {
				records, err := m.records(GroupSize)
				if err != nil || len(records) == 0 {
					break
				}
			}
		})
		_ = read.Close()
		t.Logf("%s: %d MB", name, grew>>20)
		if grew > 150<<20 {
			t.Errorf("%s: the heap grew by %d MB", name, grew>>20)
		}
	}
}

// peakHeap runs fn and returns by how much the heap grew at most, sampled.
func peakHeap(fn func()) uint64 {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapInuse)
			case <-done:
				runtime.ReadMemStats(&now)
				most <- max(peak, now.HeapInuse)
				return
			}
		}
	}()
	fn()
	close(done)
	return max(<-most, before.HeapInuse) - before.HeapInuse
}

func TestALineOfAManifestNamesAFile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*File){
		"right":                   func(*File) {},
		"no tip":                  func(f *File) { f.Tip = "" },
		"a negative size":         func(f *File) { f.Size = -1 },
		"a short SHA-256":         func(f *File) { f.SHA256 = f.SHA256[1:] },
		"a path that leads out":   func(f *File) { f.Path = "../b.jpg" },
		"an absolute path":        func(f *File) { f.Path = "/etc/passwd" },
		"a path of noggin's own":  func(f *File) { f.Path = ".noggin-output" },
		"a path that is not text": func(f *File) { f.Path = "a\x00b" },
	} {
		f := File{Path: "a/b.jpg", SHA256: strings.Repeat("0", 64), Tip: strings.Repeat("ab", 32)}
		change(&f)
		line, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newManifestReader(bytes.NewReader(line)).file(); errors.Is(err, ErrDamaged) != (name != "right") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"path":"2024/03/2024-03-05 LCD-1/a.jpg","size":3,"sha256":"` + strings.Repeat("a", 64) + `","tip":"ab","frame":0}` + "\n"))
	f.Add([]byte("{}\n\n{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := newManifestReader(strings.NewReader(string(text)))
		for {
			records, err := m.records(2)
			if err != nil || len(records) == 0 {
				return
			}
			if len(records) > 2 {
				t.Fatalf("%d records instead of 2", len(records))
			}
			for _, listed := range records {
				for _, file := range listed {
					if file.Tip != listed[0].Tip || !filepath.IsLocal(file.Path) || file.Size < 0 {
						t.Fatalf("accepted %+v", file)
					}
				}
			}
		}
	})
}

func TestAPipeIsNoArchive(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "noggin-2025-01.tar.zst")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(pipe); !errors.Is(err, ErrDamaged) {
		t.Errorf("a pipe is opened: %v", err)
	}
}
