package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"noggin/api/apitest"
	"noggin/batch/archive/format"
	"noggin/batch/batchtest"
)

// forgery is an archive that somebody wrote in the place of ours. Each file has its own
// frame.
type forgery struct {
	manifest bytes.Buffer
	out      bytes.Buffer
}

func (f *forgery) frame(t testing.TB, write func(w *tar.Writer) error) (offset int64) {
	t.Helper()
	offset = int64(f.out.Len())
	z, err := zstd.NewWriter(&f.out)
	batchtest.Must(t, err)
	w := tar.NewWriter(z)
	batchtest.Must(t, write(w))
	batchtest.Must(t, w.Flush())
	batchtest.Must(t, z.Close())
	return offset
}

// add adds a file whose manifest line is m and whose content is read from r.
func (f *forgery) add(t testing.TB, m format.File, size int64, r io.Reader) {
	t.Helper()
	m.Frame = f.frame(t, func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: m.Path, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		_, err := io.CopyN(w, r, size)
		return err
	})
	line, err := json.Marshal(m)
	batchtest.Must(t, err)
	f.manifest.Write(append(line, '\n'))
}

func (f *forgery) replace(t testing.TB, path string) {
	t.Helper()
	at := f.frame(t, func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x" + format.ManifestExt, Size: int64(f.manifest.Len()), Mode: 0o644}); err != nil {
			return err
		}
		_, err := w.Write(f.manifest.Bytes())
		return err
	})
	locator := append([]byte("\x5e\x2a\x4d\x18\x10\x00\x00\x00noggin 1"), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint64(locator[16:], uint64(at))
	f.out.Write(locator)
	batchtest.Must(t, os.WriteFile(path, f.out.Bytes(), 0o600))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// forgeable is a shelf with one archive of one record, and the lines of its manifest.
func forgeable(t *testing.T) (s *shelf, archive Created, lines []format.File) {
	t.Helper()
	s = newShelf(t, apitest.Options{Records: 1, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 2000, Max: 3000}, Days: 2, FirstDay: time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)})
	archive = s.mustCreate(everything).Archives[0]
	batchtest.Must(t, format.EachGroup(t.Context(), archive.Path, func(_ *format.Reader, records [][]format.File) error {
		for _, r := range records {
			lines = append(lines, r...)
		}
		return nil
	}))
	return s, archive, lines
}

func TestAForgedArchiveRestoresNothingThatTheDatabaseDoesNotKnow(t *testing.T) {
	t.Parallel()
	s, archive, lines := forgeable(t)
	const forged = "a forged photograph"
	for name, forge := range map[string]func(f *forgery, m format.File){
		"another content with its own hash": func(f *forgery, m format.File) {
			m.Size, m.SHA256 = int64(len(forged)), sumOf(forged)
			f.add(t, m, m.Size, strings.NewReader(forged))
		},
		"another content under the true hash": func(f *forgery, m format.File) {
			f.add(t, m, int64(len(forged)), strings.NewReader(forged))
		},
		"another path": func(f *forgery, m format.File) {
			m.Path = filepath.Dir(m.Path) + "/other.jpg"
			m.Size, m.SHA256 = int64(len(forged)), sumOf(forged)
			f.add(t, m, m.Size, strings.NewReader(forged))
		},
		"an unknown record": func(f *forgery, m format.File) {
			m.Tip, m.Size, m.SHA256 = strings.Repeat("ab", 32), int64(len(forged)), sumOf(forged)
			f.add(t, m, m.Size, strings.NewReader(forged))
		},
		"far more content": func(f *forgery, m format.File) { f.add(t, m, 64<<20, zeros{}) },
		"a symbolic link": func(f *forgery, m format.File) {
			m.Frame = f.frame(t, func(w *tar.Writer) error {
				return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: m.Path, Linkname: "/etc/passwd"})
			})
			line, _ := json.Marshal(m)
			f.manifest.Write(append(line, '\n'))
		},
		"nothing": func(*forgery, format.File) {},
		"one file again and again": func(f *forgery, _ format.File) {
			other := lines[0]
			other.Path = "a/b.jpg"
			f.add(t, other, 3, strings.NewReader("abc"))
			other.Tip = strings.Repeat("ab", 32)
			f.add(t, other, 3, strings.NewReader("abc"))
		},
	} {
		var f forgery
		for _, m := range lines {
			forge(&f, m)
		}
		f.replace(t, archive.Path)
		for _, target := range []string{archive.Name, lines[0].Tip} {
			dir := t.TempDir()
			summary, err := s.Restore(t.Context(), RestoreOptions{Target: target, To: dir})
			if err != nil || summary.Files != 0 || summary.LeftOutCount+summary.NotHeld == 0 || len(hashes(t, dir)) != 0 {
				t.Errorf("%s, %s: %+v, %v, %v", name, target, summary, err, hashes(t, dir))
			}
		}
		summary, err := s.Restore(t.Context(), RestoreOptions{Target: archive.Name, InPlace: true})
		if err != nil || summary.Files != 0 || summary.LeftOutCount+summary.NotHeld == 0 || len(s.onDisk()) != 0 {
			t.Errorf("%s in place: %+v, %v, %v", name, summary, err, s.onDisk())
		}
	}
	if n := s.scalar(`SELECT count(*) FROM attachments WHERE archive_id IS NULL`); n != 0 {
		t.Errorf("the database has %d files back", n)
	}
}

// A frame of 130 kB that decompresses to 4 GB writes no more than the file's own size.
func TestAFrameThatExpandsWritesNoMoreThanTheFile(t *testing.T) {
	t.Parallel()
	s, archive, lines := forgeable(t)
	var f forgery
	f.add(t, lines[0], 512<<20, zeros{})
	f.replace(t, archive.Path)
	dir := t.TempDir()
	var most int64
	watch, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for watch.Err() == nil {
			_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
				if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
					most = max(most, info.Size())
				}
				return nil
			})
			time.Sleep(time.Millisecond)
		}
	}()
	summary, err := s.Restore(t.Context(), RestoreOptions{Target: archive.Name, To: dir})
	stop()
	<-ended
	if err != nil || summary.Files != 0 || most > lines[0].Size+1 {
		t.Errorf("%d bytes written, %+v, %v", most, summary, err)
	}
}

// The sizes of two files in a frame add up to less than nothing.
func TestAFrameWithImpossibleSizesIsNotReadOver(t *testing.T) {
	t.Parallel()
	s, archive, lines := forgeable(t)
	var f forgery
	z, err := zstd.NewWriter(&f.out)
	batchtest.Must(t, err)
	for _, size := range []int64{512, math.MaxInt64} {
		batchtest.Must(t, tar.NewWriter(z).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "other", Size: size, Mode: 0o644}))
		if size == 512 {
			_, err = z.Write(make([]byte, size))
			batchtest.Must(t, err)
		}
	}
	batchtest.Must(t, z.Close())
	lines[0].Frame = 0
	line, err := json.Marshal(lines[0])
	batchtest.Must(t, err)
	f.manifest.Write(append(line, '\n'))
	f.replace(t, archive.Path)
	summary, err := s.Restore(t.Context(), RestoreOptions{Target: archive.Name, To: t.TempDir()})
	if err != nil || summary.LeftOutCount != 1 || !strings.Contains(summary.LeftOut[0].Reason, "far more than the record") {
		t.Errorf("%+v, %v", summary, err)
	}
}

// endsAfter is a context that is cancelled once it was asked a number of times.
type endsAfter struct {
	context.Context
	left *atomic.Int32
}

func (c endsAfter) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// An archive that another run wrote is read back, and a file of it expands far.
func TestASignalInsideAFileThatExpandsEndsTheReadingAndDamagesNothing(t *testing.T) {
	t.Parallel()
	s, archive, lines := forgeable(t)
	var f forgery
	lines[0].Size = 512 << 20
	f.add(t, lines[0], lines[0].Size, zeros{})
	f.replace(t, archive.Path)
	known, err := s.DB.ArchiveByName(t.Context(), archive.Name)
	batchtest.Must(t, err)
	var left atomic.Int32
	left.Store(50)
	ctx := endsAfter{context.Background(), &left}
	_, err = (&creation{Archiver: s.Archiver}).readBack(ctx, known, format.Contents{})
	if !errors.Is(err, context.Canceled) || errors.Is(err, format.ErrDamaged) || left.Load() < -10 {
		t.Errorf("%v, asked %d times more", err, -left.Load())
	}
	if _, err := os.Stat(archive.Path); err != nil {
		t.Error(err)
	}
}

func TestAnArchiveWithOtherBytesUnderTheTrueHashIsDamaged(t *testing.T) {
	t.Parallel()
	_, archive, lines := forgeable(t)
	var f forgery
	for _, m := range lines {
		f.add(t, m, m.Size, zeros{})
	}
	f.replace(t, archive.Path)
	_, err := format.Verify(t.Context(), archive.Path, nil)
	if !errors.Is(err, format.ErrDamaged) || !strings.Contains(err.Error(), lines[0].Path+" has SHA-256 ") {
		t.Errorf("error %v", err)
	}
}
