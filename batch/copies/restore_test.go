package copies

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/archive"
	"noggin/batch/batchtest"
	"noggin/batch/copies/place"
	"noggin/batch/copies/place/s3test"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/storage"
)

// archived archives all records, whose files, three each, leave the disk.
func (w *world) archived(records int) (*archive.Archiver, archive.CreateSummary) {
	w.T.Helper()
	archiver := &archive.Archiver{DB: w.DB, Paths: w.paths, ClaimLease: w.Processing.ClaimLease, Log: w.Log}
	made, err := archiver.Create(w.T.Context(), archive.CreateOptions{Before: "2026-01-01"})
	if err != nil || len(made.Archives) != 1 || made.FilesRemoved != 3*records {
		w.T.Fatal(made, err)
	}
	return archiver, made
}

// Once an archive is not whole, its files come back from the second place.
func TestFilesOfADamagedArchiveComeBack(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(content []byte) []byte{
		"rotten":                        func(content []byte) []byte { content[len(content)/3] ^= 1; return content },
		"another archive, not verified": func(content []byte) []byte { return slices.Insert(content, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			w.run()
			before := tree(t, w.Output)
			archiver, made := w.archived(3)
			at := made.Archives[0].Path
			content, err := os.ReadFile(at)
			batchtest.Must(t, err, os.Chmod(at, 0o644), os.WriteFile(at, damage(content), 0o644))
			if name == "rotten" {
				if found, err := archiver.Verify(t.Context(), archive.VerifyOptions{}); err != nil || len(found.Archives) != 1 || found.Archives[0].OK {
					t.Fatal(found, err)
				}
				if _, err := archiver.Forget(t.Context(), made.Archives[0].Name); err == nil || !strings.Contains(err.Error(), "`noggin copy restore`: it is damaged") {
					t.Errorf("forgetting it: %v", err)
				}
			}
			r, err := w.copier.Restore(t.Context(), RestoreOptions{})
			if err != nil || r.Files != 9 || r.Unarchived != 9 || r.InArchives != 0 || r.Count != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			if after := tree(t, w.Output); !reflect.DeepEqual(after, before) {
				t.Errorf("restored are\n%v, want\n%v", after, before)
			}
			if _, err := archiver.Forget(t.Context(), made.Archives[0].Name); err != nil {
				t.Errorf("forgetting it, with every file on disk: %v", err)
			}
		})
	}
}

// An archive that only another host sees, or whose folder is not mounted, holds its files:
// they come back only when somebody says that it is lost.
func TestFilesStayInAnArchiveThatIsNotSeenHere(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		host, why string
		away      bool
	}{
		"another host sees it":      {"other", "the host other sees it", false},
		"its folder is not mounted": {"", "is not there", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			w.run()
			before := tree(t, w.Output)
			_, made := w.archived(3)
			lost := RestoreOptions{LostArchives: []string{AllArchives}}
			if r, err := w.copier.Restore(t.Context(), lost); err != nil || r.InArchives != 9 || r.Files != 0 {
				t.Errorf("one that is there, and said to be lost: %+v, %v", r, err)
			}
			batchtest.Must(t, os.Rename(w.paths.Archive, w.paths.Archive+".away"))
			if test.host != "" {
				w.Execute(`UPDATE noggin_schema.archives SET host = '` + test.host + `', seen_at = now()`)
			}
			r, err := w.copier.Restore(t.Context(), RestoreOptions{})
			if err != nil || r.Files != 0 || r.Unarchived != 0 || r.InArchives != 0 || len(r.Unseen) != 1 || r.Unseen[0].Files != 9 || r.Unseen[0].Away != test.away || !strings.Contains(r.Unseen[0].Why, test.why) {
				t.Errorf("%+v, %v", r, err)
			}
			if n := w.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE archived`); n != "3" {
				t.Errorf("%s records are archived, want 3", n)
			}
			lost.LostArchives[0] = "noggin-1999-01"
			if _, err := w.copier.Restore(t.Context(), lost); !errors.Is(err, storage.ErrNoArchive) {
				t.Errorf("an archive that never was: %v", err)
			}
			lost.LostArchives[0] = strings.TrimSuffix(made.Archives[0].Name, ".tar.zst")
			if r, err = w.copier.Restore(t.Context(), lost); err != nil || r.Files != 9 || r.Unarchived != 9 || len(r.Unseen) != 0 {
				t.Errorf("lost: %+v, %v", r, err)
			}
			if after := tree(t, w.Output); !reflect.DeepEqual(after, before) {
				t.Errorf("restored are\n%v, want\n%v", after, before)
			}
		})
	}
}

// A restore that misses a copy says so to the database: nobody goes on to believe in it.
func TestACopyThatARestoreMissesIsKnownToBeMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	keys := slices.Sorted(maps.Keys(tree(t, w.target)))
	archiver, made := w.archived(1)
	name := made.Archives[0].Name
	batchtest.Must(t, os.Remove(made.Archives[0].Path))
	if _, err := archiver.Lose(t.Context(), name, "no disk"); err == nil || !strings.Contains(err.Error(), "3 of its files have a copy in "+w.target+": run `noggin copy restore --lost-archive "+name+"` first; of a second place that is gone: `noggin copy forget") {
		t.Errorf("with its copies: %v", err)
	}
	batchtest.Must(t, os.Remove(filepath.Join(w.target, keys[0])), os.Remove(filepath.Join(w.target, keys[1])), os.WriteFile(filepath.Join(w.target, keys[2]), []byte("rotten"), 0o644))
	if r, err := w.copier.Restore(t.Context(), RestoreOptions{LostArchives: []string{name}}); err != nil || r.Count != 3 || r.Files != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := w.Value(`SELECT count(*) FROM noggin_schema.copies WHERE problem IS NOT NULL AND verified_at IS NULL`); n != "3" {
		t.Errorf("%s copies are known to have a problem", n)
	}
	if lost, err := archiver.Lose(t.Context(), name, "no disk"); err != nil || lost.Files != 3 {
		t.Errorf("without any: %+v, %v", lost, err)
	}
}

func TestARecordInOtherHandsIsNotRestoredFromALostArchive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.run()
	_, made := w.archived(2)
	batchtest.Must(t, os.Remove(made.Archives[0].Path))
	lost := RestoreOptions{LostArchives: []string{AllArchives}}
	run, err := w.DB.StartRun(t.Context(), "process", "")
	batchtest.Must(t, err)
	held, err := w.DB.ClaimTips(t.Context(), run, []string{w.Server.Record(0).Tip}, "", time.Hour)
	batchtest.Must(t, err)
	if r, err := w.copier.Restore(t.Context(), lost); err != nil || r.Busy != 1 || r.Files != 3 || r.Unarchived != 3 {
		t.Errorf("beside another run: %+v, %v", r, err)
	}
	batchtest.Must(t, w.DB.Release(t.Context(), run, held))
	unlock, err := w.DB.Lock(t.Context(), "archive create")
	batchtest.Must(t, err)
	if r, err := w.copier.Restore(t.Context(), lost); !errors.Is(err, storage.ErrLocked) || r.Files != 0 {
		t.Errorf("beside a run that archives: %+v, %v", r, err)
	}
	unlock()
	flushed := map[string]int{} // before the database has them on disk
	stop := files.WatchFlushes(w.Output, func(point, _ string) {
		if w.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE archived`) == "1" {
			flushed[point]++
		}
	})
	r, err := w.copier.Restore(t.Context(), lost)
	stop()
	if err != nil || r.Busy != 0 || r.Files != 3 || r.Unarchived != 3 || flushed["restored file"] != 3 || flushed["folder"] == 0 {
		t.Errorf("after them: %+v, %v, flushed: %v", r, err, flushed)
	}
}

// A photograph may take longer to come than a claim holds.
func TestALongRestoreKeepsItsClaims(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	w := newWorld(t, 1)
	w.inBucket(server, false)
	w.run()
	_, made := w.archived(1)
	batchtest.Must(t, os.Remove(made.Archives[0].Path))
	const expires = `SELECT coalesce(max(claim_expires_at)::text, '') FROM noggin_schema.noggin_data`
	var first sync.Once
	var renewed atomic.Bool
	behind, err := url.Parse(server.URL)
	batchtest.Must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(behind)
	slow := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if request.Method == http.MethodGet {
			first.Do(func() {
				taken := w.Value(expires)
				for until := time.Now().Add(30 * time.Second); time.Now().Before(until) && !renewed.Load(); time.Sleep(20 * time.Millisecond) {
					renewed.Store(w.Value(expires) > taken)
				}
			})
		}
		proxy.ServeHTTP(answer, request)
	}))
	t.Cleanup(slow.Close)
	w.copier.Config.Endpoint, w.copier.ClaimLease = slow.URL, time.Second
	w.Execute(`UPDATE noggin_schema.copy_targets SET endpoint = '` + slow.URL + `'`)
	r, err := w.copier.Restore(t.Context(), RestoreOptions{LostArchives: []string{AllArchives}})
	if err != nil || !renewed.Load() {
		t.Errorf("the claims are not renewed: %+v, %v", r, err)
	}
}

// A download that breaks off, or a proxy that answers in the place of the server, says nothing
// about a copy.
func TestACopyThatARestoreCannotReadIsBelievedInStill(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		restored func(RestoreSummary, error) bool
		object   http.HandlerFunc
		bucket   int // the answer to the second look for it
	}{
		"a cut connection": {
			func(r RestoreSummary, err error) bool { return err == nil && r.Count == 3 && r.Files == 0 },
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "2000")
				w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
				_, _ = w.Write([]byte("begun"))
			}, http.StatusOK,
		},
		"a proxy": {
			func(_ RestoreSummary, err error) bool { return errors.Is(err, place.ErrAway) },
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, http.StatusNotFound,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.run()
			archiver, made := w.archived(1)
			lost := made.Archives[0].Name
			batchtest.Must(t, os.Remove(made.Archives[0].Path))
			var looks atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
				switch {
				case request.Method != http.MethodHead:
					test.object(answer, request)
				case looks.Add(1) > 1:
					answer.WriteHeader(test.bucket)
				}
			}))
			t.Cleanup(server.Close)
			w.copier.Config.To, w.copier.Config.Endpoint = "s3://copies/mirror", server.URL
			w.copier.Keys = place.Keys{ID: "id", Secret: "secret"}
			w.Execute(`UPDATE noggin_schema.copy_targets SET url = 's3://copies/mirror', endpoint = '` + server.URL + `'`)
			if r, err := w.copier.Restore(t.Context(), RestoreOptions{LostArchives: []string{lost}}); !test.restored(r, err) || looks.Load() < 2 {
				t.Errorf("%d looks for the bucket, %+v, %v", looks.Load(), r, err)
			}
			if n := w.Value(`SELECT count(*) FROM noggin_schema.copies WHERE problem IS NOT NULL`); n != "0" {
				t.Errorf("%s copies are known to have a problem", n)
			}
			w.Execute(`INSERT INTO noggin_schema.copy_targets (url, endpoint) VALUES ('/usb disk', '');
				INSERT INTO noggin_schema.copies SELECT (jsonb_populate_record(c, jsonb_build_object('target_id', t.id))).*
				FROM noggin_schema.copies c, noggin_schema.copy_targets t WHERE t.url = '/usb disk'`)
			bucket := "s3://copies/mirror at " + server.URL
			_, err := archiver.Lose(t.Context(), lost, "no disk")
			if want := "3 of its files have a copy in " + bucket + ", 3 of its files have a copy in /usb disk: run"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
			if want := "`noggin copy forget '" + bucket + "'` or `noggin copy forget '/usb disk'`"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// A text report that was written anew after the backup of the database has the name of the
// one that the backup knows.
func TestAnUnknownCopyOfAKnownFileNeedsNothingMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.run()
	report := w.Value(`SELECT report_path FROM noggin_schema.noggin_data`)
	batchtest.Must(t, os.WriteFile(filepath.Join(w.target, "files", report)+fmt.Sprintf(".%x", sha256.Sum256([]byte("later"))), []byte("later"), 0o644))
	for _, there := range []int64{3, 2} {
		r, err := w.copier.Restore(t.Context(), RestoreOptions{AddUnknown: true})
		if err != nil || r.AlreadyThere != there || r.Unknown != 0 || r.Count != 1 || r.First[0].Path != report || !strings.Contains(r.First[0].What, "need not be moved") {
			t.Errorf("%+v, %v", r, err)
		}
		batchtest.Must(t, os.Remove(filepath.Join(w.Output, report)))
	}
}

// What was copied after the backup of the database is in the target only.
func TestFilesThatTheDatabaseDoesNotKnowComeBackOnDemand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.run()
	photo := w.Server.Record(0).Attachments[0].Tip
	w.Server.Edit(w.Server.Record(0).Tip, apitest.Edit{Remove: []string{photo}, Add: []string{"attachments"}})
	if s := w.MustRun(process.Options{Refresh: true, UntilEmpty: true}); s.Changed != 1 {
		t.Fatalf("%+v", s)
	}
	w.run()
	before := tree(t, w.Output)
	former := w.Value(`SELECT string_agg(path || hash_sha256, ' ' ORDER BY path) FROM noggin_schema.former_files`)
	if len(before) < 8 || former == "" {
		t.Fatalf("%v, former: %s", before, former)
	}
	// The restored database knows neither the former files nor a record that came later.
	w.Execute(`DELETE FROM noggin_schema.copies WHERE record_tip IN (SELECT record_tip FROM noggin_schema.former_files)
		AND (path, hash_sha256) IN (SELECT path, hash_sha256 FROM noggin_schema.former_files)`)
	w.Execute(`DELETE FROM noggin_schema.former_files`)
	later := "2025/03/2025-03-09 LCD-000099/LCD-000099_20250309_photo_001.jpg"
	sum := sha256.Sum256([]byte("later"))
	before[later] = hex.EncodeToString(sum[:])
	copied := filepath.Join(w.target, "files", later+"."+before[later])
	batchtest.Must(t, os.MkdirAll(filepath.Dir(copied), 0o755), os.WriteFile(copied, []byte("later"), 0o644))
	entries, err := os.ReadDir(w.Output)
	batchtest.Must(t, err)
	for _, entry := range entries {
		if entry.Name() != files.MarkerName {
			batchtest.Must(t, os.RemoveAll(filepath.Join(w.Output, entry.Name())))
		}
	}
	if r, err := w.copier.Restore(t.Context(), RestoreOptions{}); err != nil || r.Files != 6 || r.Unknown != 0 {
		t.Errorf("the known ones: %+v, %v", r, err)
	}
	r, err := w.copier.Restore(t.Context(), RestoreOptions{AddUnknown: true})
	if err != nil || r.Count != 0 || r.Unknown != int64(len(before)-6) || r.AlreadyThere != 6 {
		t.Errorf("the unknown ones: %+v, %v", r, err)
	}
	if after := tree(t, w.Output); !reflect.DeepEqual(after, before) {
		t.Errorf("restored are\n%v, want\n%v", after, before)
	}
	w.MustRun(process.Options{Adopt: true, Refresh: true, UntilEmpty: true})
	if again := w.Value(`SELECT string_agg(path || hash_sha256, ' ' ORDER BY path) FROM noggin_schema.former_files`); again != former {
		t.Errorf("former files are %s, want %s", again, former)
	}
}

// A clock that was ahead, or somebody who may write into the target, names a backup of a
// time to come.
func TestABackupWhoseTimeIsAheadIsNotTheNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	batchtest.Must(t, os.MkdirAll(w.paths.Backups, 0o755))
	const newest, ahead, never = "noggin_db_20260102_000000.dump", "noggin_db_20991231_000000.dump", "noggin_db_20269999_000000.dump"
	for _, name := range []string{newest, ahead, never} {
		sum := sha256.Sum256([]byte(name))
		at := filepath.Join(w.paths.Backups, name)
		batchtest.Must(t, os.WriteFile(at, []byte(name), 0o644), os.WriteFile(at+".json", []byte("{}"+name), 0o644),
			w.DB.RecordBackup(t.Context(), hex.EncodeToString(sum[:]), at, int64(len(name)), time.Now()))
	}
	w.run()
	back, err := w.copier.RestoreBackup(t.Context(), "", t.TempDir())
	if slices.Sort(back.PassedOver); err != nil || filepath.Base(back.Path) != newest || !slices.Equal(back.PassedOver, []string{never, ahead}) {
		t.Errorf("the newest: %+v, %v", back, err)
	}
	if back, err = w.copier.RestoreBackup(t.Context(), ahead, t.TempDir()); err != nil || filepath.Base(back.Path) != ahead || len(back.PassedOver) != 0 {
		t.Errorf("by its name: %+v, %v", back, err)
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for at, ahead := range map[string]bool{"20260102_115959": false, "20260102_120001": true} { // clocks differ a little, and time zones more
		if (foundBackup{at: at}).isAhead(now) != ahead {
			t.Errorf("%s is ahead: %t", at, !ahead)
		}
	}
	copied, err := filepath.Glob(filepath.Join(w.target, "backups", newest+".*"))
	batchtest.Must(t, err)
	for _, at := range copied {
		batchtest.Must(t, os.Remove(at))
	}
	if back, err = w.copier.RestoreBackup(t.Context(), "", t.TempDir()); err != nil || filepath.Base(back.Path) != ahead || !strings.Contains(w.Logged.String(), "the time of every backup in the target is ahead") {
		t.Errorf("where all are ahead: %+v, %v\n%s", back, err, w.Logged)
	}
}
