package process_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

// answers returns the bodies of a record's versions, by number.
func answers(m *batchtest.Mirror, tip string) []string {
	m.T.Helper()
	var found []string
	text := m.Value(`SELECT coalesce(string_agg(encode(answer, 'hex'), ' ' ORDER BY version), '') FROM noggin_schema.record_versions WHERE record_tip = '` + tip + `'`)
	for _, one := range strings.Fields(text) {
		raw, err := hex.DecodeString(one)
		if err != nil {
			m.T.Fatal(err)
		}
		unzip, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			m.T.Fatal(err)
		}
		body, err := io.ReadAll(unzip)
		if err != nil {
			m.T.Fatal(err)
		}
		found = append(found, string(body))
	}
	return found
}

const recordState = `SELECT concat_ws(' ', processing_status, 'v' || version, retry_count, permanently_failed, completed_at IS NOT NULL, claimed_by) FROM noggin_schema.noggin_data`

func TestAnUnchangedRecordIsAskedAtEachStepAndNothingMoves(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
	const moving = `SELECT concat_ws(' ', processing_status, updated_at, processed_at, report_hash_sha256, version) FROM noggin_schema.noggin_data`
	before := m.Value(moving)
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Claimed != 0 {
		t.Errorf("it is asked again at once: %+v", s)
	}
	m.Server.ResetStats()
	for step, days := range []string{"2", "7", "30"} {
		m.PassDays(days)
		s := m.MustRun(process.Options{UntilEmpty: true})
		if s.AskedAgain != 1 || s.Unchanged != 1 || s.Claimed != 1 || s.Unsuccessful() != 0 {
			t.Errorf("step %d: summary %+v\n%s", step, s, m.Logged)
		}
		want := 0
		if step == 2 {
			want = 2 // the last step compares the attachments
		}
		if n := m.MediaRequests(); n != want {
			t.Errorf("step %d: %d requests for media, want %d", step, n, want)
		}
	}
	m.PassDays("400")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Claimed != 0 {
		t.Errorf("after the last step: %+v", s)
	}
	if after := m.Value(moving); after != before {
		t.Errorf("the record moved from %s to %s", before, after)
	}
	if n := len(answers(m, m.Server.Record(0).Tip)); n != 1 {
		t.Errorf("%d versions of a record that never changed", n)
	}
	m.CheckFiles()
}

func TestAnEditBecomesAVersionBesideTheFormerOne(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 3))
	record := m.Server.Record(0)
	tip := record.Tip
	first := string(m.Server.Payload(tip))
	report := m.FilesEnding("_inspection_data.txt")[0]
	former, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	removed := m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_tip = '` + record.Attachments[2].Tip + `'`)
	m.Server.Edit(tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-77", "lcdInspectionId": "LCD - 999999"}, Add: []string{"attachments"}, Remove: []string{record.Attachments[2].Tip}})
	m.PassDays("2")
	s := m.MustRun(process.Options{UntilEmpty: true})
	if s.Changed != 1 || s.Complete != 1 || s.AttachmentsDownloaded != 1 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	if got := answers(m, tip); len(got) != 2 || got[0] != first || got[1] != string(m.Server.Payload(tip)) {
		t.Errorf("%d versions, not the two that were served", len(got))
	}
	if state := m.Value(recordState); state != "complete v2 0 f t" {
		t.Errorf("the record is %s", state)
	}
	copied, err := os.ReadFile(strings.TrimSuffix(report, ".txt") + ".v1.txt")
	if err != nil || !bytes.Equal(copied, former) {
		t.Errorf("the former report: %v", err)
	}
	if now, err := os.ReadFile(report); err != nil || !bytes.Contains(now, []byte("J-77")) || !bytes.Contains(now, []byte("Versions (2)")) {
		t.Errorf("the report shows no edit: %v\n%s", err, now)
	}
	if _, err := os.Stat(filepath.Join(m.Output, removed)); err != nil {
		t.Errorf("the removed attachment: %v", err)
	}
	former4 := m.Value(`SELECT string_agg(concat_ws(' ', kind, first_version, last_version, attachment_sequence), ', ' ORDER BY kind) FROM noggin_schema.former_files`)
	if former4 != "attachment 1 1 3, report 1 1 0" {
		t.Errorf("former files: %s", former4)
	}
	if numbers := m.Value(`SELECT string_agg(attachment_sequence::text, ' ' ORDER BY attachment_sequence) FROM noggin_schema.attachments`); numbers != "1 2 4" {
		t.Errorf("the current attachments have the numbers %s, want 1 2 4", numbers)
	}
	// The removed one comes back with its number and file.
	m.Server.ResetStats()
	m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'pending'`)
	m.Server.Edit(tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-78"}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Changed != 1 || s.Complete != 1 || s.AttachmentsDownloaded != 0 {
		t.Errorf("summary %+v", s)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.former_files WHERE kind = 'report'`); n != "2" {
		t.Errorf("%s former reports", n)
	}
}

// What failed before the record was complete does not hasten its end when an edit fails.
func TestAnEditBeginsItsOwnCountOfFailures(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	m.Execute(`UPDATE noggin_schema.noggin_data SET retry_count = ` + strconv.Itoa(m.Retry.MaxAttempts-1))
	m.Server.Edit(m.Server.Record(0).Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-77"}})
	m.Server.AddFault(apitest.Fault{Kind: "hostile-media"})
	m.PassDays("2")
	m.MustRun(process.Options{UntilEmpty: true})
	if state := m.Value(recordState); state != "partial v2 1 f t" {
		t.Errorf("the record is %s\n%s", state, m.Logged)
	}
}

func TestAFormerReportTakesTheFirstNameThatNothingElseHas(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	report := m.FilesEnding("_inspection_data.txt")[0]
	former, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(report, ".txt") + ".v1"
	if err := errors.Join(os.Mkdir(name+".txt", 0o755), os.WriteFile(name+"-2.txt", []byte("of a database that was lost"), 0o600)); err != nil {
		t.Fatal(err)
	}
	m.Server.Edit(m.Server.Record(0).Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-77"}})
	m.PassDays("2")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Changed != 1 || s.Complete != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if got, err := os.ReadFile(name + "-3.txt"); err != nil || !bytes.Equal(got, former) {
		t.Errorf("the former report: %v", err)
	}
	if got := m.Value(`SELECT path FROM noggin_schema.former_files`); filepath.Base(got) != filepath.Base(name)+"-3.txt" {
		t.Errorf("the former report is recorded as %q\n%s", got, m.Logged)
	}
	// The name of one that is in an archive does not return, though a restored database takes
	// the report for that of the same version.
	m.Execute(`INSERT INTO noggin_schema.archives (name, path, month) VALUES ('a', '/a', '2025-01');
		UPDATE noggin_schema.former_files SET archive_id = (SELECT max(id) FROM noggin_schema.archives);
		UPDATE noggin_schema.noggin_data SET report_version = 1, archived = true`)
	batchtest.Must(t, os.Remove(name+"-3.txt"))
	if former, err = os.ReadFile(report); err != nil {
		t.Fatal(err)
	}
	m.Server.Edit(m.Server.Record(0).Tip, apitest.Edit{Set: map[string]any{"jobNumber": "J-78"}})
	m.PassDays("2")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Changed != 1 || s.Complete != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if got, err := os.ReadFile(name + "-4.txt"); err != nil || !bytes.Equal(got, former) {
		t.Errorf("the second former report: %v", err)
	}
	if n := m.Value(`SELECT count(DISTINCT hash_sha256) || ' ' || count(archive_id) FROM noggin_schema.former_files`); n != "2 1" {
		t.Errorf("former reports, and those in an archive: %s, want 2 1", n)
	}
}

func TestAPhotographThatMovesToAnotherQuestionIsShownThere(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, apitest.Options{Records: 1, Forms: []string{"FPI"}, Photos: apitest.Fixed(2), MediaBytes: apitest.Range{Min: 500, Max: 900}})
	record := m.Server.Record(0)
	one, other := record.Attachments[0], record.Attachments[1]
	const fields = `SELECT string_agg(concat_ws(' ', attachment_sequence, field_name), ', ' ORDER BY attachment_sequence) FROM noggin_schema.attachments`
	if one.Field == other.Field || m.Value(fields) != "1 "+one.Field+", 2 "+other.Field {
		t.Fatalf("the attachments are in %s", m.Value(fields))
	}
	photos := func() (lines []string) {
		report, err := os.ReadFile(m.FilesEnding("_inspection_data.txt")[0])
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(report)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Photos: "); ok {
				lines = append(lines, strings.TrimSpace(name))
			}
		}
		return lines
	}
	before := photos()
	m.Server.Edit(record.Tip, apitest.Edit{Set: map[string]any{one.Field: []string{other.Ref}, other.Field: []string{one.Ref}}})
	m.PassDays("2")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Changed != 1 || s.Complete != 1 || s.AttachmentsDownloaded != 0 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	if got, want := m.Value(fields), "1 "+other.Field+", 2 "+one.Field; got != want {
		t.Errorf("the attachments are in %s, want %s", got, want)
	}
	if after := photos(); len(before) != 2 || len(after) != 2 || after[0] != before[1] || after[1] != before[0] {
		t.Errorf("the report shows %q, and before the edit %q", after, before)
	}
}

func TestOlderAndReducedAnswersAreKeptAndChangeNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"stale", "reduced"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
			tip := m.Server.Record(0).Tip
			row := m.Value(`SELECT md5(concat_ws(' ', payload, inspection_id, inspection_date, version)) FROM noggin_schema.noggin_data`)
			m.Server.AddFault(apitest.Fault{Kind: kind})
			for _, way := range []func(){
				func() { m.PassDays("2") },
				func() { m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'pending'`) },
			} {
				way()
				s := m.MustRun(process.Options{UntilEmpty: true})
				if s.AskedAgain != 1 || s.Older+s.Reduced != 1 || s.Unsuccessful() != 0 {
					t.Errorf("summary %+v\n%s", s, m.Logged)
				}
				if state := m.Value(recordState); state != "complete v1 0 f t" && state != "complete v1 0 f f" {
					t.Errorf("the record is %s", state)
				}
			}
			if s := m.MustRun(process.Options{Selector: m.Only(0)}); s.Complete != 1 || s.Older+s.Reduced != 1 {
				t.Errorf("process --tip: %+v", s)
			}
			m.Server.ResetStats() // neither answer names the photograph
			if s := m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true}); s.Complete != 1 || s.NotCompared != 1 || m.MediaRequests() != 0 {
				t.Errorf("process --refresh --media: %d requests for attachments, %+v", m.MediaRequests(), s)
			}
			if now := m.Value(`SELECT md5(concat_ws(' ', payload, inspection_id, inspection_date, version)) FROM noggin_schema.noggin_data`); now != row {
				t.Error("the current version changed")
			}
			if got := answers(m, tip); len(got) != 2 {
				t.Errorf("%d versions, want the current and the one that came", len(got))
			}
			want := map[string]string{"stale": "older", "reduced": "reduced"}[kind]
			if got := m.Value(`SELECT kind FROM noggin_schema.record_versions WHERE version = 2`); got != want {
				t.Errorf("version 2 is %s", got)
			}
			if due := m.Value(`SELECT due_at - now() FROM noggin_schema.refreshes`); !strings.HasPrefix(due, "23:5") && !strings.HasPrefix(due, "1 day") {
				t.Errorf("it is asked again in %s", due)
			}
			m.CheckFiles()
		})
	}
}

// Else records that became complete while [refresh] after was empty would never be asked
// for again.
func TestARunSetsWhenRecordsAreAskedForAgainThatNeverWere(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(2, 1))
	due := func(after []time.Duration, want string) {
		t.Helper()
		m.Refresh.After = after
		m.MustRun(process.Options{UntilEmpty: true})
		if n := m.Value(`SELECT count(due_at) FROM noggin_schema.refreshes`); n != want {
			t.Errorf("after %v: %s records are asked for again, want %s", after, n, want)
		}
	}
	due(nil, "0")
	due(process.DefaultRefresh().After, "2")
}

func TestWhatTheAPINoLongerGivesStaysComplete(t *testing.T) {
	t.Parallel()
	for _, status := range []int{404, 410, 403, 500} {
		for name, ask := range map[string]func(m *batchtest.Mirror){
			"refresh": func(m *batchtest.Mirror) { m.PassDays("2") },
			"operator's update": func(m *batchtest.Mirror) {
				m.Execute(`UPDATE noggin_schema.noggin_data SET processing_status = 'pending' WHERE tip = '` + m.Server.Record(0).Tip + `'`)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := batchtest.NewComplete(t, batchtest.PhotoWorld(2, 1))
				tip := m.Server.Record(0).Tip
				m.Server.AddFault(apitest.Fault{Status: status, On: apitest.OnRecord, Tips: []string{tip}})
				const state = `SELECT concat_ws(' ', d.processing_status, d.retry_count, d.permanently_failed, r.missing_since IS NOT NULL, r.gone_at IS NOT NULL, r.returned_at IS NOT NULL, r.due_at > now())
					FROM noggin_schema.noggin_data d JOIN noggin_schema.refreshes r ON r.record_tip = d.tip WHERE d.tip = '`
				missing := map[bool]string{true: "f", false: "t"}[status == 500]
				for day, want := range []string{"complete 0 f " + missing + " f f t", "complete 0 f " + missing + " " + missing + " f t"} {
					ask(m)
					if day > 0 {
						m.PassDays("2")
					}
					if s := m.MustRun(process.Options{UntilEmpty: true}); s.Unsuccessful() != 0 {
						t.Errorf("day %d: summary %+v\n%s", day, s, m.Logged)
					}
					if got := m.Value(state + tip + `'`); got != want {
						t.Errorf("day %d: the record is %s, want %s\n%s", day, got, want, m.Logged)
					}
				}
				m.Server.ClearFaults()
				m.PassDays("2")
				if s := m.MustRun(process.Options{UntilEmpty: true}); s.Unsuccessful() != 0 {
					t.Errorf("summary %+v", s)
				}
				if got, want := m.Value(state+tip+`'`), "complete 0 f f "+missing+" "+missing; !strings.HasPrefix(got, want) {
					t.Errorf("back again: the record is %s, want %s", got, want)
				}
				m.CheckFiles()
			})
		}
	}
}

func TestOtherBytesUnderTheSameTipStandBesideTheFormerOnes(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
	record := m.Server.Record(0)
	before := m.Value(`SELECT file_path FROM noggin_schema.attachments WHERE attachment_tip = '` + record.Attachments[0].Tip + `'`)
	m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{record.Attachments[0].Tip}})
	if s := m.MustRun(process.Options{Refresh: true, UntilEmpty: true}); s.Changed != 1 || s.AttachmentsDownloaded != 0 {
		t.Errorf("without --media: %+v", s)
	}
	if s := m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true}); s.Unchanged != 1 || s.AttachmentsDownloaded != 1 || s.Complete != 1 {
		t.Errorf("with --media: %+v\n%s", s, m.Logged)
	}
	if got := m.Value(`SELECT path || ' ' || kind || ' ' || attachment_tip FROM noggin_schema.former_files WHERE kind <> 'report'`); got != before+" attachment "+record.Attachments[0].Tip {
		t.Errorf("former: %s, want %s", got, before)
	}
	if _, err := os.Stat(filepath.Join(m.Output, before)); err != nil {
		t.Error(err)
	}
	// A cache that serves the former bytes does not bring them back.
	m.Server.AddFault(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
	if s := m.MustRun(process.Options{Refresh: true, Media: true, UntilEmpty: true}); s.AttachmentsDownloaded != 0 || s.Unsuccessful() != 0 || s.NotCompared != 1 {
		t.Errorf("a stale attachment: %+v", s)
	}
}

func TestAnEditedRecordWhoseNewAttachmentFailsIsPartial(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(2, 1))
	tip := m.Server.Record(0).Tip
	edited := m.Server.Edit(tip, apitest.Edit{Add: []string{"attachments"}})
	added := edited.Attachments[len(edited.Attachments)-1].Tip
	m.Server.AddFault(apitest.Fault{Status: 404, Tips: []string{added}})
	m.PassDays("2")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Partial != 1 || s.Changed != 1 {
		t.Errorf("summary %+v\n%s", s, m.Logged)
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.refreshes WHERE due_at IS NULL AND record_tip = '` + tip + `'`); n != "1" {
		t.Error("a record in the queue is to be asked again as well")
	}
	for range m.Retry.MaxAttempts { // the platform has a day to serve it
		m.MakeDue()
		m.MustRun(process.Options{UntilEmpty: true})
	}
	if got := m.Value(`SELECT concat_ws(' ', retry_count, permanently_failed) FROM noggin_schema.noggin_data WHERE tip = '` + tip + `'`); got != "6 f" {
		t.Errorf("failures, and whether it is given up: %s", got)
	}
	m.Server.ClearFaults()
	m.MakeDue()
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Errorf("summary %+v", s)
	}
	m.CheckFiles()
}

func TestEveryVersionOfARestlessMirrorIsFoundAgain(t *testing.T) {
	t.Parallel()
	o := batchtest.PhotoWorld(6, 1)
	m := batchtest.NewComplete(t, o)
	served := map[string][]string{}
	note := func() {
		for r := range m.Server.Records() {
			body := string(m.Server.Payload(r.Tip))
			if list := served[r.Tip]; len(list) == 0 || list[len(list)-1] != body {
				served[r.Tip] = append(list, body)
			}
		}
	}
	note()
	proxy := behindProxy(m)
	for round := range 4 {
		for i := range o.Records {
			r := m.Server.Record(i)
			edit := apitest.Edit{Set: map[string]any{"jobNumber": time.Duration(round*100 + i).String()}}
			if (i+round)%2 == 0 {
				edit.Add = []string{"attachments"}
			}
			m.Server.Edit(r.Tip, edit)
		}
		note()
		m.PassDays("2")
		if round%2 == 1 {
			loseClaim(proxy)
		}
		for _, err := range inTwoRuns(m) {
			if err != nil {
				t.Error(err)
			}
		}
		m.MustRun(process.Options{UntilEmpty: true})
	}
	for tip, want := range served {
		if got := answers(m, tip); len(got) != len(want) || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %d versions stored, %d served", tip[:8], len(got), len(want))
		}
	}
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data d JOIN noggin_schema.record_versions v ON v.record_tip = d.tip AND v.version = d.version
		WHERE d.version = 5 AND d.processing_status = 'complete' AND d.report_version = 5`); n != "6" {
		t.Errorf("%s records are complete with their newest version", n)
	}
	m.CheckFiles()
}

// A failure of the API makes no record complete that lacks a file.
func TestARecordThatLacksAFileIsNotCompleteAsTheAPIFails(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
	m.Execute(`UPDATE noggin_schema.attachments SET attachment_status = 'failed' WHERE attachment_sequence = 1;
		UPDATE noggin_schema.noggin_data SET processing_status = 'partial', next_retry_at = NULL`)
	m.Server.AddFault(apitest.Fault{Status: 503, On: apitest.OnRecord})
	_, _ = m.TryRun(process.Options{UntilEmpty: true})
	if status := m.Value(`SELECT processing_status FROM noggin_schema.noggin_data`); status == "complete" {
		t.Error("it is complete")
	}
}
