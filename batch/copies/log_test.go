package copies

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/batch/batchtest"
	"noggin/batch/copies/place"
	"noggin/batch/copies/place/s3test"
	"noggin/batch/files"
)

// seal writes files as `noggin seal` leaves them.
func (w *world) seal(names ...string) {
	w.T.Helper()
	w.copier.Paths.Checkpoints = w.paths.Backups + "-checkpoints"
	for _, name := range names {
		at := filepath.Join(w.copier.Paths.Checkpoints, name)
		batchtest.Must(w.T, os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte("text of "+name), 0o644))
	}
}

func (w *world) logIs(want ...string) {
	w.T.Helper()
	have := tree(w.T, w.target)
	for _, name := range want {
		content, err := os.ReadFile(filepath.Join(w.copier.Paths.Checkpoints, name))
		batchtest.Must(w.T, err)
		sum := sha256.Sum256(content)
		key := "checkpoints/" + name + "." + hex.EncodeToString(sum[:])
		if !strings.HasSuffix(key, have[key]) || have[key] == "" {
			w.T.Errorf("there is no copy of %s: %q", name, have[key])
		}
		delete(have, key)
	}
	for key := range have {
		if strings.HasPrefix(key, "checkpoints/") {
			w.T.Errorf("the target also has %s", key)
		}
	}
}

func TestTheLogIsCopiedVerifiedAndRestored(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"folder", "bucket"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			if kind == "bucket" {
				w.inBucket(s3test.Start(t), false)
			}
			published := []string{
				"example.com_a/leaves-000000000000-000000000003.jsonl", "example.com_a/checkpoint-000000000003", "example.com_a/checkpoint-000000000003.tsr",
				"example.com_a_2/checkpoint-000000000001",
			}
			w.seal(published...)
			// The next leaves have no checkpoint yet, and the rest is not of the log.
			w.seal("example.com_a/leaves-000000000003-000000000009.jsonl", "example.com_a/leaves-1-2.jsonl.unpublished", "example.com_a-1234.pub", "example.com_a/.noggin-1.part",
				"example.com_a/checkpoint-000000000003.tsr.part", "example.com_a/checkpoint-000000000002.damaged")
			if s := w.run(); s.Log != 4 || s.Copied != 3 || s.Count != 0 {
				t.Fatalf("%+v", s)
			}
			w.logIs(published...)
			w.seal("example.com_a/checkpoint-000000000009")
			published = append(published, "example.com_a/checkpoint-000000000009", "example.com_a/leaves-000000000003-000000000009.jsonl")
			if s := w.run(); s.Log != 2 || s.Count != 0 {
				t.Errorf("after the next checkpoint: %+v", s)
			}
			w.logIs(published...)
			if s := w.run(); s.Log != 0 || s.Count != 0 {
				t.Errorf("again: %+v", s)
			}
			// A damaged copy is found, and replaced from its original.
			rotten := filepath.Join(w.target, "checkpoints", published[1]+"."+tree(t, w.copier.Paths.Checkpoints)[published[1]])
			text, err := os.ReadFile(rotten)
			batchtest.Must(t, err)
			text[3] ^= 1
			batchtest.Must(t, os.WriteFile(rotten, text, 0o644))
			if s, err := w.copier.Verify(t.Context(), 1, VerifyOptions{Deep: true, Part: 1, Parts: 1}); err != nil || s.Damaged != 1 || s.Checked != 9 || s.First[0].Path != published[1] {
				t.Errorf("%+v, %v", s, err)
			}
			if s, err := w.copier.Verify(t.Context(), 1, VerifyOptions{Deep: true}); err != nil || s.Count != 0 || s.Checked != 9 {
				t.Errorf("after mending: %+v, %v", s, err)
			}
			w.logIs(published...)

			before, folder := tree(t, w.copier.Paths.Checkpoints), w.copier.Paths.Checkpoints
			for name := range before {
				if slices.ContainsFunc([]string{".unpublished", ".pub", ".tsr.part", ".damaged"}, func(end string) bool { return strings.HasSuffix(name, end) }) {
					delete(before, name)
				}
			}
			batchtest.Must(t, os.RemoveAll(folder))
			s, err := w.copier.RestoreLog(t.Context(), folder)
			if err != nil || s.Files != 6 || s.Count != 0 {
				t.Fatalf("%+v, %v", s, err)
			}
			if after := tree(t, folder); !reflect.DeepEqual(after, before) {
				t.Errorf("restored are\n%v, want\n%v", after, before)
			}
			batchtest.Must(t, os.WriteFile(filepath.Join(folder, published[0]), []byte("other"), 0o644))
			if s, err := w.copier.RestoreLog(t.Context(), folder); err != nil || s.Files != 5 || s.Count != 1 || !strings.Contains(s.First[0].What, "in the way") {
				t.Errorf("with another file in the way: %+v, %v", s, err)
			}
			// A damaged copy keeps no other from coming back.
			rotten = filepath.Join(w.target, "checkpoints", published[0]+"."+before[published[0]])
			text, err = os.ReadFile(rotten)
			batchtest.Must(t, err)
			text[3] ^= 1
			batchtest.Must(t, os.WriteFile(rotten, text, 0o644))
			if s, err := w.copier.RestoreLog(t.Context(), t.TempDir()); err != nil || s.Files != 5 || s.Count != 1 || !strings.Contains(s.First[0].What, "its copy cannot be used") {
				t.Errorf("with a damaged copy: %+v, %v", s, err)
			}
		})
	}
}

// puts notes with which options objects are put.
type puts struct {
	target
	opts []place.PutOptions
}

func (p *puts) Put(ctx context.Context, o place.Object, opts place.PutOptions, content io.Reader) (place.Stored, error) {
	p.opts = append(p.opts, opts)
	return p.target.Put(ctx, o, opts, content)
}

func TestTheLogIsLockedAsPhotographsAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.inBucket(s3test.Start(t), true)
	w.copier.Config.Retain = "1 day"
	w.seal("example.com_a/checkpoint-000000000003")
	to, err := w.copier.openThere(t.Context())
	batchtest.Must(t, err)
	defer files.Release(to)
	noted := &puts{target: to}
	stored, err := w.copier.putLog(t.Context(), noted, "example.com_a/checkpoint-000000000003")
	if err != nil || len(noted.opts) != 1 || time.Until(noted.opts[0].Retain) < 23*time.Hour || !noted.opts[0].Doubt {
		t.Errorf("%+v, %+v, %v", stored, noted.opts, err)
	}
}

// A log that began anew under its old name has files of the same names and sizes.
func TestAnotherFileOfTheSameNameIsCopiedBesideTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	name := "example.com_a/checkpoint-000000000003"
	w.seal(name)
	w.run()
	at := filepath.Join(w.copier.Paths.Checkpoints, name)
	first := tree(t, w.target)
	batchtest.Must(t, os.WriteFile(at, []byte("TEXT OF "+name), 0o644), os.Chtimes(at, time.Now().Add(time.Minute), time.Now().Add(time.Minute)))
	if s := w.run(); s.Log != 1 || s.Count != 0 {
		t.Errorf("%+v", s)
	}
	if now := tree(t, w.target); len(now) != len(first)+1 {
		t.Errorf("the target has %d files, want %d", len(now), len(first)+1)
	}
	// The older one gets the name.
	folder := t.TempDir()
	s, err := w.copier.RestoreLog(t.Context(), folder)
	text, readErr := os.ReadFile(filepath.Join(folder, name))
	if err != nil || s.Files != 1 || s.Count != 1 || string(text) != "text of "+name {
		t.Errorf("%+v, %v, %q, %v", s, err, text, readErr)
	}
}

func TestATargetWithoutALogAndOneThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	if s, err := w.copier.RestoreLog(t.Context(), t.TempDir()); err != nil || s.Files != 0 || s.Count != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	batchtest.Must(t, os.Remove(filepath.Join(w.target, place.MarkerName)))
	if _, err := w.copier.RestoreLog(t.Context(), t.TempDir()); !errors.Is(err, place.ErrAway) {
		t.Error(err)
	}
}
