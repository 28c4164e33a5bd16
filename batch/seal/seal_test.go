package seal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
	"noggin/storage"
)

func TestEachVersionIsSealedOnce(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 12)
	first := s.seal()
	if first.Leaves != 12 || first.Records != 12 || first.Size != 12 || !first.Complete() || first.Origin != "example.com/inspections" {
		t.Fatalf("the first run: %+v", first)
	}
	want := []string{"example.com_inspections/checkpoint-000000000012", "example.com_inspections/leaves-000000000000-000000000012.jsonl"}
	if got := s.published(); !slices.Equal(got, want) {
		t.Errorf("published are %q", got)
	}
	if again := s.seal(); again.Leaves != 0 || again.Size != 12 || again.Root != first.Root {
		t.Errorf("a run with nothing due: %+v", again)
	}
	s.edit(3)
	third := s.seal()
	if third.Leaves != 3 || third.Size != 15 {
		t.Errorf("after three edits: %+v", third)
	}
	if got := s.published(); len(got) != 4 || got[3] != "example.com_inspections/leaves-000000000012-000000000015.jsonl" {
		t.Errorf("published are %q", got)
	}
	// Files that are lost and come back with the same bytes prove nothing new.
	s.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'pending'; UPDATE noggin_schema.noggin_data SET processing_status = 'interrupted', next_retry_at = now()`)
	s.MustRun(process.Options{UntilEmpty: true})
	if again := s.seal(); again.Records != 12 || again.Leaves != 0 || again.Size != 15 {
		t.Errorf("with files that came again: %+v", again)
	}
	if due := s.Value(`SELECT count(*) FROM noggin_schema.seal_due`); due != "0" {
		t.Errorf("%s marks are left", due)
	}
}

// A version whose attachments are under way is sealed with all of them, later.
func TestAnEditIsSealedOnceItsAttachmentsAreThere(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	record := s.Server.Record(0)
	s.Server.Edit(record.Tip, apitest.Edit{Add: []string{record.Attachments[0].Field}})
	s.Server.AddFault(apitest.Fault{Status: 404, On: apitest.OnMedia})
	s.Execute(`UPDATE noggin_schema.refreshes SET due_at = now()`)
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true})
	if got := s.seal(); got.Records != 2 || got.Leaves != 2 {
		t.Errorf("without its attachments: %+v", got)
	}
	s.Server.ClearFaults()
	s.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'pending' WHERE attachment_status <> 'complete';
		UPDATE noggin_schema.noggin_data SET processing_status = 'interrupted', next_retry_at = now() WHERE processing_status <> 'complete'`)
	s.MustRun(process.Options{UntilEmpty: true})
	if got := s.seal(); got.Records != 1 || got.Leaves != 1 {
		t.Errorf("with them: %+v", got)
	}
}

func TestRecordsFromBeforeTheVersionsAreSealedFromTheirRows(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 3)
	s.Execute(`DELETE FROM noggin_schema.record_versions; UPDATE noggin_schema.noggin_data SET version = NULL`)
	if got := s.seal(); got.Leaves != 3 {
		t.Fatalf("%+v", got)
	}
	if leaf := s.Value(`SELECT leaf FROM noggin_schema.seal_leaves LIMIT 1`); !strings.Contains(leaf, `"body_source":"database"`) {
		t.Errorf("the leaf is %s", leaf)
	}
}

func TestADamagedBodyIsNotSealedAndStaysDue(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 3)
	s.Execute(`UPDATE noggin_schema.record_versions SET hash_sha256 = repeat('0', 64) WHERE record_tip = (SELECT min(record_tip) FROM noggin_schema.record_versions)`)
	for range 2 {
		if got := s.seal(); got.DamagedCount != 1 || got.Size != 2 || got.Complete() || len(got.Damaged) != 1 {
			t.Fatalf("%+v", got)
		}
	}
}

// A summary names the first damaged versions, of one batch and of all, and counts the others.
func TestASummaryNamesTheFirstDamagedVersions(t *testing.T) {
	t.Parallel()
	const damaged = maxDamaged + 2
	s := newSealed(t, damaged)
	s.Execute(`UPDATE noggin_schema.record_versions SET hash_sha256 = repeat('0', 64)`)
	for name, size := range map[string]int{"in one batch": 1, "one a batch": bodyBudget} {
		s.Execute(`UPDATE noggin_schema.record_versions SET size_bytes = ` + strconv.Itoa(size))
		got := s.seal()
		want := strings.Split(s.Value(`SELECT string_agg(tip || ' version 1', ',' ORDER BY tip COLLATE "C") FROM noggin_schema.noggin_data`), ",")
		if got.DamagedCount != damaged || !slices.Equal(got.Damaged, want[:maxDamaged]) || got.Size != 0 {
			t.Errorf("%s: %d are damaged, named are %q, want %q", name, got.DamagedCount, got.Damaged, want[:maxDamaged])
		}
	}
}

// stop ends a run at a step, as kill -9 does.
type stop struct{}

// kill runs the sealer and ends it at the nth time that it reaches a step.
func (s *sealed) kill(step string) (reached bool) {
	s.T.Helper()
	defer func() {
		s.sealer.step = nil
		if what := recover(); what != nil {
			if _, ok := what.(stop); !ok {
				panic(what)
			}
			reached = true
		}
	}()
	s.sealer.step = func(name string) {
		if name == step {
			panic(stop{})
		}
	}
	_, err := s.sealer.Run(s.T.Context(), 1, "")
	if err != nil {
		s.T.Fatal(err)
	}
	return false
}

func TestAKilledRunIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 8)
	s.sealer.Config.Publish = `cp "$1" "$(dirname "$1")/../../outbox"`
	outbox := filepath.Join(filepath.Dir(s.sealer.Checkpoints), "outbox")
	if err := os.Mkdir(outbox, 0o755); err != nil {
		t.Fatal(err)
	}
	size := int64(8)
	for _, step := range []string{"appended", "leaves", "checkpoint", "handed over"} {
		if !s.kill(step) {
			t.Fatalf("no run reaches %s", step)
		}
		last, before := "", "" // what is flushed last, and what was when the checkpoint is handed over
		stop := files.WatchFlushes(s.sealer.Checkpoints, func(_, path string) { last = path })
		s.sealer.step = func(reached string) {
			if reached == "checkpoint" {
				before = last
			}
		}
		got := s.seal()
		stop()
		if got.Size != size || !got.Complete() {
			t.Errorf("after a kill at %s: %+v", step, got)
		}
		if before != filepath.Dir(got.Checkpoint) {
			t.Errorf("after a kill at %s the checkpoint is handed over before its name is on disk; flushed last is %q", step, before)
		}
		if text := read(t, filepath.Join(outbox, checkpointName(size))); text != read(t, got.Checkpoint) {
			t.Errorf("after a kill at %s the outbox has %s", step, text)
		}
		s.edit(2)
		size += 2
	}
	s.seal()
	if got := s.seal(); got.Size != size {
		t.Errorf("at last: %+v", got)
	}
}

func TestLeavesAreWrittenBeforeTheirCheckpoint(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 1)
	var seen []string
	s.sealer.step = func(string) { seen = append(seen, strings.Join(s.published(), " ")) }
	s.seal()
	leaves, checkpoint := "example.com_inspections/"+leavesName(0, 1), "example.com_inspections/"+checkpointName(1)
	want := []string{"", leaves, checkpoint + " " + leaves}
	if !slices.Equal(seen, want) {
		t.Errorf("published at each step: %q, want %q", seen, want)
	}
}

func TestRunsAtTheSameTimeSealEachVersionOnce(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 12)
	for range 3 {
		var runs errgroup.Group
		for range 4 {
			runs.Go(func() error {
				_, err := s.sealer.Run(t.Context(), 1, "")
				return err
			})
		}
		if err := runs.Wait(); err != nil {
			t.Fatal(err)
		}
		s.edit(3)
	}
	last := s.seal()
	if got := s.Value(`SELECT count(*) || ' ' || count(DISTINCT claim) || ' ' || max(position) FROM noggin_schema.seal_leaves`); got != "21 21 20" || last.Size != 21 {
		t.Errorf("leaves, claims and the last position are %s, of %+v", got, last)
	}
	if area := s.look(last.Checkpoint); len(area.Findings) > 0 {
		t.Errorf("found %+v", area.Findings)
	}
}

func TestARestoredBackupIsCompletedFromTheKeptLeaves(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 6)
	s.seal()
	s.backUp()
	s.edit(2)
	before := s.seal()
	s.edit(1)
	last := s.seal()
	if before.Size != 8 || last.Size != 9 {
		t.Fatalf("%+v, %+v", before, last)
	}
	for name, lose := range map[string]func(){
		"an older backup": s.restore,
		"no database": func() {
			s.Execute(`TRUNCATE noggin_schema.` + strings.Join(sealTables, `, noggin_schema.`))
		},
	} {
		lose()
		s.Execute(`INSERT INTO noggin_schema.seal_due (record_tip) SELECT tip FROM noggin_schema.noggin_data ON CONFLICT DO NOTHING`)
		got := s.seal()
		if got.Restored == 0 || got.Size != last.Size || got.Root != last.Root || got.Leaves != 0 || !got.Complete() {
			t.Errorf("after the restore of %s: %+v", name, got)
		}
		if note := s.Value(`SELECT note FROM noggin_schema.seal_checkpoints ORDER BY tree_size DESC LIMIT 1`); note != read(t, last.Checkpoint) {
			t.Errorf("after the restore of %s the checkpoint is %s", name, note)
		}
	}
	// Leaves that a killed run left, before a restore after which the log goes another way,
	// are none of the kept ones.
	s.backUp()
	s.edit(1)
	if !s.kill("leaves") {
		t.Fatal("no run reaches the leaves")
	}
	s.restore()
	s.edit(2)
	other := s.seal()
	if aside := "example.com_inspections/" + leavesName(9, 10) + setAsideSuffix; !slices.Contains(s.published(), aside) {
		t.Errorf("published are %q, without %s", s.published(), aside)
	}
	s.Execute(`TRUNCATE noggin_schema.` + strings.Join(sealTables, `, noggin_schema.`))
	if got := s.seal(); got.Restored != other.Size || got.Root != other.Root {
		t.Errorf("completed beside leaves of a killed run: %+v, want %+v", got, other)
	}
}

// What is taken back has more leaves than one transaction appends, and each reply to a
// COMMIT is lost.
func TestMoreLeavesThanABatchHasAreTakenBack(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 1)
	r := &run{Sealer: s.sealer}
	var err error
	if r.key, err = loadKey(s.sealer.Config, ""); err != nil {
		t.Fatal(err)
	}
	var leaves []storage.SealedLeaf
	for n := range batchRecords + 1 {
		l := leaf{Format: leafFormat, Kind: kindVersion, Tip: strconv.Itoa(n)}
		leaves = append(leaves, storage.SealedLeaf{Tip: l.Tip, Claim: l.claim(), Leaf: l.text()})
	}
	batchtest.Must(t, r.settle(t.Context(), ""), s.DB.Append(t.Context(), func(tx *storage.SealTx) error { return r.appendLeaves(tx, anywhere, leaves, nil) }), r.publish(t.Context()))
	s.Execute(`TRUNCATE noggin_schema.` + strings.Join(sealTables, `, noggin_schema.`))
	s.sealer.DB = s.losing()
	if got := s.seal(); got.Restored != batchRecords+1 || got.Size != batchRecords+1 || got.Root != r.summary.Root {
		t.Errorf("%+v, and it was %+v", got, r.summary)
	}
	if n := s.Value(`SELECT count(*) FROM noggin_schema.seal_leaves`); n != strconv.Itoa(batchRecords+1) {
		t.Errorf("%s leaves", n)
	}
}

// A log is begun and appended to once although each reply to a COMMIT is lost, so that
// everything is tried again.
func TestALostReplyAppendsNothingTwice(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 6)
	s.sealer.DB = s.losing()
	if got := s.seal(); got.Origin != "example.com/inspections" || got.Size != 6 || got.Leaves != 6 || got.Records != 6 {
		t.Errorf("the first log: %+v", got)
	}
	s.edit(2)
	last := s.seal()
	if last.Size != 8 || last.Leaves != 2 || last.Records != 2 {
		t.Errorf("after two edits: %+v", last)
	}
	held := s.hold(last.Checkpoint)
	got, err := s.sealer.Run(t.Context(), 1, "the key was shown to somebody")
	if err != nil || got.Origin != "example.com/inspections/2" || got.Size != 1 {
		t.Errorf("another log: %+v, %v", got, err)
	}
	if n := s.Value(`SELECT count(*) || ' ' || count(DISTINCT claim) FROM noggin_schema.seal_leaves`); n != "9 9" {
		t.Errorf("leaves and claims are %s", n)
	}
	if area := s.look(held); len(area.Findings) > 0 {
		t.Errorf("found %+v", area.Findings)
	}
}

// The try that follows a lost reply finds the records of the next batch due.
func TestALostReplyLeavesNoBatchUncounted(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 3)
	s.Execute(`UPDATE noggin_schema.record_versions SET size_bytes = ` + strconv.Itoa(bodyBudget)) // one a batch
	s.sealer.DB = s.losing()
	if got := s.seal(); got.Size != 3 || got.Leaves != 3 || got.Records != 3 {
		t.Errorf("%+v", got)
	}
}

// A backup from before the last log knows only the log before it.
func TestTheLastLogIsTakenBackBesideAnOlderOne(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	s.seal()
	s.backUp()
	if got, err := s.sealer.Run(t.Context(), 1, "the key was shown to somebody"); err != nil || got.Size != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	s.edit(1)
	last := s.seal()
	s.restore()
	if got := s.seal(); got.Origin != "example.com/inspections/2" || got.Restored != 2 || got.Root != last.Root {
		t.Errorf("%+v, and it was %+v", got, last)
	}
}

func TestARunGoesOnInNoLogThatAnotherReplaced(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	s.Execute(`UPDATE noggin_schema.record_versions SET size_bytes = ` + strconv.Itoa(bodyBudget)) // one a batch
	s.sealer.step = func(string) {
		s.sealer.step = nil
		other := &run{Sealer: s.sealer}
		var err error
		if other.key, err = loadKey(s.sealer.Config, ""); err == nil {
			err = other.settle(t.Context(), "somebody wants another one")
		}
		if err != nil {
			t.Error(err)
		}
	}
	if got, err := s.sealer.Run(t.Context(), 1, ""); err == nil || !strings.Contains(err.Error(), "another run began the log example.com/inspections/2 meanwhile") || got.Leaves != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got := s.seal(); got.Origin != "example.com/inspections/2" || got.Leaves != 1 {
		t.Errorf("the next run: %+v", got)
	}
}

// A folder that lost leaves gets them again while the database has them.
func TestLeavesThatTheFolderLostAreWrittenAgain(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	s.seal()
	s.edit(1)
	folder := filepath.Dir(s.seal().Checkpoint)
	batchtest.Must(t, os.Remove(filepath.Join(folder, leavesName(0, 2))))
	s.seal()
	if whole := filepath.Base(folder) + "/" + leavesName(0, 3); !slices.Contains(s.published(), whole) {
		t.Errorf("published are %q, without %s", s.published(), whole)
	}
}

func TestWithoutTheKeptLeavesANewLogBeginsOpenly(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 6)
	s.seal()
	s.backUp()
	s.edit(2)
	last := s.seal()
	s.restore()
	if err := os.Remove(filepath.Join(filepath.Dir(last.Checkpoint), leavesName(6, 8))); err != nil {
		t.Fatal(err)
	}
	got := s.seal()
	if got.Complete() || got.Origin != "example.com/inspections/2" || !strings.Contains(got.NewLog, "the database has 6 leaves of the log example.com/inspections, of which a checkpoint of 8 leaves was published") {
		t.Fatalf("%+v", got)
	}
	leaf := s.Value(`SELECT leaf FROM noggin_schema.seal_leaves WHERE log_id = 2 AND position = 0`)
	if !strings.Contains(leaf, `"kind":"log"`) || !strings.Contains(leaf, `"previous":"example.com/inspections\n8\n`) || !strings.Contains(leaf, "an older backup was restored") {
		t.Errorf("the new log begins with %s", leaf)
	}
	s.edit(1)
	// The version that the lost leaves sealed is sealed again, with the one that replaced it.
	if next := s.seal(); !next.Complete() || next.Origin != got.Origin || next.Leaves != 2 || next.Size != got.Size+2 {
		t.Errorf("the next run: %+v", next)
	}
}

// Whoever may write into the database alone does not get the key's signature under the
// name, size and root of his choice.
func TestTheKeySignsOnlyLogsOfItsOwnName(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	s.seal()
	s.edit(1)
	for _, origin := range []string{"example.com/other", "..", "example.com/inspections/02", "example.com/inspections\n1000\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="} {
		s.Execute(`TRUNCATE noggin_schema.seal_leaves, noggin_schema.seal_tiles, noggin_schema.seal_checkpoints;
			UPDATE noggin_schema.seal_logs SET origin = '` + origin + `'`)
		if _, err := s.sealer.Run(t.Context(), 1, ""); !errors.Is(err, errFork) {
			t.Errorf("a log of the name %q: %v", origin, err)
		}
		if n := s.Value(`SELECT count(*) FROM noggin_schema.seal_checkpoints`); n != "0" {
			t.Errorf("a log of the name %q has %s checkpoints", origin, n)
		}
	}
	for origin, want := range map[string]bool{"a/7": true, "a/7/2": true, "a/7/1": false, "a/7/02": false, "a/72": false, "a": false} {
		if isLogOf(origin, "a/7") != want {
			t.Errorf("a log %s of the key a/7: want %v", origin, want)
		}
	}
}

func TestALogThatDoesNotContinueThePublishedOneIsNotAppendedTo(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"a checkpoint of its own": `UPDATE noggin_schema.seal_checkpoints SET note = replace(note, E'\n6\n', E'\n7\n')`,
		"no leaves": `TRUNCATE noggin_schema.seal_leaves, noggin_schema.seal_tiles, noggin_schema.seal_checkpoints;
			INSERT INTO noggin_schema.seal_due SELECT tip FROM noggin_schema.noggin_data ON CONFLICT DO NOTHING`,
		"other tiles": `UPDATE noggin_schema.seal_tiles SET hashes = decode(repeat('00', length(hashes)), 'hex')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t, 6)
			first := s.seal()
			s.edit(1)
			s.Execute(change)
			if name == "no leaves" {
				if got := s.seal(); got.Root == first.Root || got.Restored != 6 || got.Size != 7 {
					t.Errorf("%+v", got) // they come back from the folder
				}
				return
			}
			if _, err := s.sealer.Run(t.Context(), 1, ""); err == nil {
				t.Error("it was appended to")
			} else if name == "a checkpoint of its own" && !errors.Is(err, errFork) {
				t.Errorf("it ends with %v", err)
			}
			got, err := s.sealer.Run(t.Context(), 1, "the tables were damaged")
			if err != nil || got.Origin != "example.com/inspections/2" || got.Complete() {
				t.Errorf("with --new-log: %+v, %v", got, err)
			}
		})
	}
}

// What was published is not forgotten because the disk does not show it at the moment.
func TestACheckpointThatCannotBeReadIsNoneThatIsMissing(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 3)
	s.seal()
	s.backUp()
	s.edit(1)
	newest := s.seal().Checkpoint
	s.restore()
	away := filepath.Join(t.TempDir(), "away")
	if err := errors.Join(os.Rename(newest, away), os.Symlink(newest, newest)); err != nil {
		t.Fatal(err)
	}
	before := s.published()
	if summary, err := s.sealer.Run(t.Context(), 1, ""); !errors.Is(err, syscall.ELOOP) || !slices.Equal(s.published(), before) {
		t.Errorf("%+v, %v: published are %q, and were %q", summary, err, s.published(), before)
	}
	if err := errors.Join(os.Remove(newest), os.Rename(away, newest)); err != nil {
		t.Fatal(err)
	}
	if summary := s.seal(); summary.Restored == 0 || summary.NewLog != "" {
		t.Errorf("when it can be read again: %+v", summary)
	}
}

func TestAFailedPublicationIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	s.sealer.Config.Publish = `echo "no route to the notary" >&2; exit 7`
	got := s.seal()
	if got.Complete() || got.Published || !strings.Contains(got.PublishError, "exit status 7: no route to the notary") {
		t.Fatalf("%+v", got)
	}
	s.sealer.Config.Publish = `test "$(basename "$1")" = checkpoint-000000000002`
	if got := s.seal(); !got.Published || !got.Complete() {
		t.Errorf("the next run: %+v", got)
	}
	if got := s.seal(); got.Published {
		t.Error("a checkpoint was published twice")
	}
}

// A command that hangs does not keep a checkpoint from the next run, nor a run from its end.
func TestAPublicationThatHangsIsEndedAndTriedAgain(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	s.sealer.Config.Publish, s.sealer.limit = `exec sleep 60`, 200*time.Millisecond
	if got := s.seal(); got.Complete() || got.Published || got.PublishError != "[seal] publish: it took more than 200ms" {
		t.Fatalf("%+v", got)
	}
	s.sealer.Config.Publish, s.sealer.limit = "true", 0
	if got := s.seal(); !got.Published || !got.Complete() {
		t.Errorf("the next run: %+v", got)
	}
	if example := read(t, "../../config.example.toml"); !strings.Contains(example, fmt.Sprintf("after %.0f minutes it is ended", publishTime.Minutes())) {
		t.Errorf("config.example.toml does not say that the command is ended after %s", publishTime)
	}
}

func TestThePublisherGetsTheCheckpointAndNoSecret(t *testing.T) {
	t.Setenv("NOGGIN_BEARER_TOKEN", "secret")
	t.Setenv("SSH_AUTH_SOCK", "/agent")
	r := &run{Sealer: &Sealer{Config: Config{Publish: `test "$NOGGIN_BEARER_TOKEN $SSH_AUTH_SOCK $1" = " /agent /the checkpoint"`}, Log: slog.New(slog.DiscardHandler)}}
	if err := r.runPublish(t.Context(), "/the checkpoint"); err != nil {
		t.Error(err)
	}
}

func TestTheKeyIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := Config{KeyFile: filepath.Join(dir, "key")}
	if _, err := loadKey(c, ""); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
	public, made, err := Init(c, filepath.Join(dir, "checkpoints"), "a/b")
	if err != nil || !made {
		t.Fatal(err)
	}
	if again, made, err := Init(c, filepath.Join(dir, "checkpoints"), "other"); again != public || made || err != nil {
		t.Errorf("a second init: %s, %v, %v", again, made, err)
	}
	if info, err := os.Stat(c.KeyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	if keys, err := publicKeys(filepath.Join(dir, "checkpoints")); err != nil || !slices.Equal(keys, []string{public}) {
		t.Errorf("kept keys: %q, %v", keys, err)
	}
	if err := os.Chmod(c.KeyFile, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(c, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	named := Config{KeyFile: filepath.Join(dir, credentialName)} // a name makes no credential of it
	if err := os.WriteFile(named.KeyFile, []byte(read(t, c.KeyFile)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(named, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key with the name of the credential that others may read: %v", err)
	}
	credentials := t.TempDir()
	if err := os.WriteFile(filepath.Join(credentials, credentialName), []byte(read(t, c.KeyFile)), 0o440); err != nil {
		t.Fatal(err)
	}
	if k, err := loadKey(c, credentials); err != nil || k.verifier != public {
		t.Errorf("the credential: %v", err)
	}
	if _, _, err := Init(Config{KeyFile: filepath.Join(dir, "other")}, dir, "with space"); !errors.Is(err, ErrBadName) {
		t.Errorf("a bad name: %v", err)
	}
	if err := os.WriteFile(c.KeyFile, []byte("PRIVATE+KEY+x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(c, ""); err == nil || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("a damaged key: %v", err)
	}
	if err := errors.Join(os.Remove(c.KeyFile), syscall.Mkfifo(c.KeyFile, 0o600), syscall.Mkfifo(filepath.Join(dir, "checkpoints", "x.pub"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(c, ""); err == nil {
		t.Error("a pipe is a key")
	}
	if _, err := publicKeys(filepath.Join(dir, "checkpoints")); !errors.Is(err, files.ErrObstacle) {
		t.Errorf("a pipe beside the checkpoints: %v", err)
	}
}

func TestWhatABatchHasNoRoomForIsSealedWithTheNext(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 5)
	s.Execute(`UPDATE noggin_schema.record_versions SET size_bytes = ` + strconv.Itoa(bodyBudget*2/3))
	if got := s.seal(); got.Records != 5 || got.Leaves != 5 || got.Size != 5 {
		t.Errorf("%+v", got)
	}
}

func TestABatchHasBodiesWithinTheBudget(t *testing.T) {
	sizes := map[string]int64{"a": bodyBudget + 1, "b": bodyBudget / 2, "c": bodyBudget / 2, "d": 1}
	for _, test := range []struct {
		tips []string
		want int
	}{{[]string{"a"}, 1}, {[]string{"a", "b"}, 1}, {[]string{"b", "c"}, 2}, {[]string{"b", "c", "d"}, 2}, {[]string{"d", "x", "y"}, 3}} {
		if got := within(test.tips, sizes); got != test.want {
			t.Errorf("of %q a batch has %d, want %d", test.tips, got, test.want)
		}
	}
}

// What was kept beside the attachments of the current version is in the log too: an export
// hands it over, and its receiver looks for it there.
func TestDoubtfulBytesBesideTheCurrentVersionAreSealed(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 2)
	if first := s.seal(); first.Leaves != 2 {
		t.Fatalf("the first run: %+v", first)
	}
	s.Server.AddFault(apitest.Fault{Kind: "cut-picture", On: apitest.OnMedia})
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true, Media: true})
	const unsealed = `SELECT count(*) FROM noggin_schema.former_files f WHERE NOT EXISTS (
		SELECT FROM noggin_schema.seal_leaves l WHERE l.record_tip = f.record_tip AND strpos(l.leaf, f.hash_sha256) > 0)`
	if n := s.Value(unsealed); n == "0" {
		t.Fatal("nothing was kept beside: the test shows nothing")
	}
	if again := s.seal(); again.Leaves != 2 {
		t.Errorf("after the comparison: %+v", again)
	}
	if n := s.Value(unsealed); n != "0" {
		t.Errorf("%s files are not in the log", n)
	}
	if area := s.look(); len(area.Findings) > 0 {
		t.Errorf("found %+v", area.Findings)
	}
}

// A version that was sealed and then got other bytes is sealed with them, also when another
// version has become the current one meanwhile.
func TestBytesOfAVersionThatWasSealedBeforeAreSealed(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 1)
	record := s.Server.Record(0)
	replace := func() { s.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[0].Tip}}) }
	replace()
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true})
	s.seal() // version 2 with the bytes of version 1
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true, Media: true})
	replace()
	s.Server.AddFault(apitest.Fault{Kind: "stale", On: apitest.OnRecord}) // edited between answer and attachment
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true, Media: true})
	s.Server.ClearFaults()
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true})
	const unsealed = `SELECT count(*) FROM noggin_schema.former_files f WHERE kind <> 'report' AND NOT EXISTS (
		SELECT FROM noggin_schema.seal_leaves l WHERE l.record_tip = f.record_tip AND strpos(l.leaf, f.hash_sha256) > 0)`
	if n := s.Value(unsealed); n == "0" {
		t.Fatal("everything is sealed already: the test shows nothing")
	}
	s.seal()
	if n := s.Value(unsealed); n != "0" {
		t.Errorf("%s files are not in the log", n)
	}
	if area := s.look(); len(area.Findings) > 0 {
		t.Errorf("found %+v", area.Findings)
	}
}

// An attachment that only an answer from before the current one names is in the log too.
func TestAnAttachmentThatOnlyAnOlderAnswerNamesIsSealed(t *testing.T) {
	t.Parallel()
	s := newSealed(t, 1)
	record := s.Server.Record(0)
	s.Server.Edit(record.Tip, apitest.Edit{Add: []string{record.Attachments[0].Field}})
	attachments := s.Server.Record(0).Attachments
	s.Server.Edit(record.Tip, apitest.Edit{Remove: []string{attachments[len(attachments)-1].Tip}})
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true})
	s.seal()
	s.Server.AddFault(apitest.Fault{Kind: "stale"})
	s.MustRun(process.Options{UntilEmpty: true, Refresh: true})
	if n := s.Value(`SELECT count(*) FROM noggin_schema.former_files WHERE kind = 'attachment'`); n != "1" {
		t.Fatalf("%s former attachments: the test shows nothing", n)
	}
	s.seal()
	if n := s.Value(`SELECT count(*) FROM noggin_schema.former_files f WHERE NOT EXISTS (
		SELECT FROM noggin_schema.seal_leaves l WHERE l.record_tip = f.record_tip AND strpos(l.leaf, f.hash_sha256) > 0) AND f.kind <> 'report'`); n != "0" {
		t.Errorf("%s files are not in the log", n)
	}
	if area := s.look(); len(area.Findings) > 0 {
		t.Errorf("found %+v", area.Findings)
	}
}

// After a restored backup, an older checkpoint would let the log go another way than the
// published one.
func TestADamagedNewestCheckpointIsRefused(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(text string) string{
		"cut":     func(text string) string { return text[:40] },
		"empty":   func(string) string { return "" },
		"changed": func(text string) string { return strings.Replace(text, "\n9\n", "\n8\n", 1) },
		"its key": func(text string) string { return strings.Replace(text, "\u2014 example.com", "\u2014 example.org", 1) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t, 6)
			s.seal()
			s.backUp()
			s.edit(3)
			newest := s.seal().Checkpoint
			good := read(t, newest)
			s.restore()
			damaged := damage(good)
			if damaged == good {
				t.Fatal("nothing is damaged")
			}
			batchtest.Must(t, os.WriteFile(newest, []byte(damaged), 0o644))
			leaves := s.published()
			for range 2 {
				if got, err := s.sealer.Run(t.Context(), 1, ""); err == nil || !strings.Contains(err.Error(), newest+" may be the newest checkpoint and is damaged") || got.Leaves != 0 {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			if n := s.Value(`SELECT count(*) FROM noggin_schema.seal_leaves`); n != "6" || !slices.Equal(s.published(), leaves) {
				t.Errorf("%s leaves, %q", n, s.published())
			}
			batchtest.Must(t, os.WriteFile(newest, []byte(good), 0o644))
			if got := s.seal(); got.Restored != 3 || got.Size != 9 || !got.Complete() {
				t.Errorf("with the good one: %+v", got)
			}
			// An older one that is damaged is not the newest.
			batchtest.Must(t, os.WriteFile(filepath.Join(filepath.Dir(newest), checkpointName(6)), nil, 0o644))
			if got := s.seal(); got.Size != 9 || !got.Complete() {
				t.Errorf("%+v", got)
			}
		})
	}
}
