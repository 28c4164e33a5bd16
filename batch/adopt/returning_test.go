package adopt_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
)

var (
	refresh = process.Options{Refresh: true, UntilEmpty: true}
	compare = process.Options{Refresh: true, Media: true, UntilEmpty: true}
)

// song is an MP3: nothing in it proves its end.
var song = apitest.Fault{Kind: "body", Value: "ID3\x04\x00\x00\x00\x00\x02\x00TIT2\x00\x00\x00\x05\x00\x00\x00Song" + strings.Repeat("\x00", 300), On: apitest.OnMedia}

const (
	replacing = "INSERT ON noggin_schema.former_files"
	naming    = "UPDATE OF file_path ON noggin_schema.attachments"
)

// replacedBefore is a mirror of one record with two attachments, the first of which was
// replaced before it was mirrored: a cache may serve bytes that noggin never saw.
func replacedBefore(t *testing.T) (m *batchtest.Mirror, record, attachment string) {
	t.Helper()
	m = batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
	m.Refresh = process.DefaultRefresh()
	r := m.Server.Record(0)
	m.Server.Edit(r.Tip, apitest.Edit{Replace: []string{r.Attachments[0].Tip}})
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.Complete != 1 {
		t.Fatalf("summary %+v\n%s", s, m.Logged)
	}
	return m, r.Tip, r.Attachments[0].Tip
}

// isServed checks that the attachment is the one that the platform serves, and that the text
// report on disk is the recorded one.
func isServed(t *testing.T, m *batchtest.Mirror, attachment, when string) {
	t.Helper()
	if sum := m.Value(`SELECT coalesce(max(file_hash_sha256), 'none') FROM noggin_schema.attachments WHERE attachment_tip = '` + attachment + `'`); sum != m.Server.MediaSHA256(attachment) {
		t.Errorf("%s, the attachment is not the one that is served\n%s", when, m.Logged)
	}
	text, err := os.ReadFile(filepath.Join(m.Output, m.Value(`SELECT report_path FROM noggin_schema.noggin_data`)))
	sum := sha256.Sum256(text)
	if err != nil || hex.EncodeToString(sum[:]) != m.Value(`SELECT report_hash_sha256 FROM noggin_schema.noggin_data`) {
		t.Errorf("%s, the text report is not the recorded one: %v\n%s", when, err, text)
	}
}

// photographs are the references of the record's field, as the platform answers.
func photographs(m *batchtest.Mirror, record string) (references []any) {
	m.T.Helper()
	var answer map[string]any
	batchtest.Must(m.T, json.Unmarshal(m.Server.Payload(record), &answer))
	references, _ = answer["attachments"].([]any)
	return references
}

// place moves references at the platform.
func place(m *batchtest.Mirror, record string, photographs, loader []any) {
	m.Server.Edit(record, apitest.Edit{Set: map[string]any{"attachments": photographs, "loaderPhotoAttachment": loader}})
}

// A run that is killed after it named a file has written the text report as well.
func TestTheTextReportOfAKilledRunIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for _, opts := range []process.Options{compare, {Refresh: true, Media: true, UntilEmpty: true, Adopt: true}} {
		m, _, attachment := replacedBefore(t)
		m.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
		dieBeforeTheResult(m, replacing, compare)
		m.Server.ClearFaults()
		m.MustRun(opts)
		m.MustRun(process.Options{}) // a run with --adopt heals nothing
		everyFileIsRecorded(t, m)
		isServed(t, m, attachment, "after the next run")
		if s := m.MustRun(compare); s.RecordsRenewed != 0 {
			t.Errorf("it is written once more: %+v", s)
		}
	}
}

// What a killed run named of an attachment that moved to another question has that one's name.
func TestAFileOfAMovedAttachmentThatAKilledRunNamedIsRecorded(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *batchtest.Mirror, record string, references []any){
		"a cache serves the former bytes": func(m *batchtest.Mirror, _ string, _ []any) {
			m.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
		},
		"the attachment is removed": func(m *batchtest.Mirror, record string, references []any) {
			place(m, record, references[1:], nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
			record := m.Server.Record(0)
			moved, references := record.Attachments[0].Tip, photographs(m, record.Tip)
			m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{moved}})
			place(m, record.Tip, references[1:], references[:1])
			m.MustRun(refresh)
			dieBeforeTheResult(m, replacing, compare)
			change(m, record.Tip, references)
			m.MustRun(refresh)
			everyFileIsRecorded(t, m)
			if of := m.Value(`SELECT coalesce(max(attachment_tip), 'none') FROM noggin_schema.former_files WHERE path LIKE '%\_loader\_photo\_001-v2.jpg'`); of != moved {
				t.Errorf("it is recorded of %s, want %s", of, moved)
			}
		})
	}
}

// Only what the platform served last may become current by its name alone.
func TestBytesThatWereReplacedDoNotReturnFromACache(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(m *batchtest.Mirror, record, attachment string){
		"a killed first download named them": func(m *batchtest.Mirror, _, _ string) {
			dieBeforeTheResult(m, naming, process.Options{Batch: 1})
		},
		"a killed comparison named them": func(m *batchtest.Mirror, record, attachment string) {
			m.MustRun(process.Options{Batch: 1})
			m.Server.Edit(record, apitest.Edit{Replace: []string{attachment}})
			dieBeforeTheResult(m, replacing, compare)
		},
		"they returned out of an archive": func(m *batchtest.Mirror, record, _ string) {
			references := photographs(m, record)
			dieBeforeTheResult(m, naming, process.Options{Batch: 1})
			place(m, record, references[1:], nil)
			m.MakeDue()
			m.MustRun(process.Options{UntilEmpty: true})
			m.Execute(`INSERT INTO noggin_schema.archives (name, path, month) VALUES ('x', '/x', '2025-01');
				UPDATE noggin_schema.attachments SET archive_id = (SELECT max(id) FROM noggin_schema.archives);
				UPDATE noggin_schema.former_files SET archive_id = (SELECT max(id) FROM noggin_schema.archives) WHERE kind <> 'report';
				UPDATE noggin_schema.noggin_data SET archived = true`)
			place(m, record, references, nil)
			m.MustRun(compare)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 2))
			m.Refresh = process.DefaultRefresh()
			record := m.Server.Record(0)
			attachment := record.Attachments[0].Tip
			begin(m, record.Tip, attachment)
			m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{attachment}})
			m.MakeDue()
			m.MustRun(process.Options{UntilEmpty: true})
			m.MustRun(compare)
			isServed(t, m, attachment, "after they were replaced")
			m.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
			m.MustRun(compare)
			isServed(t, m, attachment, "after a cache served them")
			m.Server.ClearFaults()
			m.MustRun(compare)
			isServed(t, m, attachment, "at last")
		})
	}
}

func TestAnAttachmentReturnsWithTheBytesThatWereCurrent(t *testing.T) {
	t.Parallel()
	m, record, attachment := replacedBefore(t)
	references := photographs(m, record)
	m.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
	dieBeforeTheResult(m, replacing, compare) // these never were
	m.Server.ClearFaults()
	place(m, record, references[1:], nil)
	m.MustRun(refresh)
	everyFileIsRecorded(t, m)
	if former := strings.Fields(m.Value(`SELECT string_agg(hash_sha256, ' ') FROM noggin_schema.former_files WHERE attachment_tip = '` + attachment + `'`)); len(former) != 2 {
		t.Fatalf("former files %s", former)
	}
	place(m, record, references, nil)
	m.MustRun(compare)
	isServed(t, m, attachment, "after it returned")
}

// The text report of a killed run lists what it named. A second run, with --adopt, copied it
// and was killed as well.
func TestACopyOfTheReportOfAKilledRunMakesNoBytesFormer(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
	record := m.Server.Record(0)
	attachment := record.Attachments[0].Tip
	m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{attachment}})
	m.MustRun(refresh)
	dieBeforeTheResult(m, replacing, compare)
	m.Server.SetFaults(apitest.Fault{Status: 503, On: apitest.OnMedia})
	adopt := process.Options{Refresh: true, Adopt: true, UntilEmpty: true}
	dieBeforeTheResult(m, replacing, adopt)
	m.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
	m.MustRun(adopt)
	m.Server.ClearFaults()
	m.MustRun(compare)
	everyFileIsRecorded(t, m)
	isServed(t, m, attachment, "when it is served")
}

// Former bytes may be those of a cache. Those that come on two days, and none of the
// attachment's own between them, are what the platform has.
func TestFormerBytesBecomeCurrentWhenTheyComeOnTwoDays(t *testing.T) {
	t.Parallel()
	m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 2))
	record := m.Server.Record(0)
	changed := record.Attachments[0].Tip
	isCurrent := func(sum, when string) {
		t.Helper()
		if got := m.Value(`SELECT file_hash_sha256 FROM noggin_schema.attachments WHERE attachment_tip = '` + changed + `'`); got != sum {
			t.Errorf("%s, the attachment is not the one that is wanted\n%s", when, m.Logged)
		}
	}
	first := m.Server.MediaSHA256(changed)
	m.Server.Edit(record.Tip, apitest.Edit{Replace: []string{changed}})
	m.MustRun(compare)
	second := m.Server.MediaSHA256(changed)
	isCurrent(second, "after the edit")
	stale := apitest.Fault{Kind: "stale", On: apitest.OnMedia, Tips: []string{changed}}

	for range 2 {
		m.Server.SetFaults(stale)
		for range 2 {
			if s := m.MustRun(compare); s.NotCompared != 1 {
				t.Errorf("former bytes: %+v", s)
			}
		}
		m.Server.ClearFaults()
		m.MustRun(compare)
		m.PassDays("1")
		isCurrent(second, "with its own bytes in between")
	}
	m.Server.SetFaults(stale)
	m.MustRun(compare)
	isCurrent(second, "on the first day")
	m.PassDays("1.3")
	if s := m.MustRun(process.Options{UntilEmpty: true}); s.AttachmentsDownloaded != 1 || s.NotCompared != 0 {
		t.Errorf("the timer's run of the next day: %+v", s)
	}
	isCurrent(first, "on the second day")
	everyFileIsRecorded(t, m)

	m.Server.ClearFaults()
	m.MustRun(compare)
	isCurrent(first, "on the first day with the others")
	m.PassDays("1.3")
	m.MustRun(process.Options{UntilEmpty: true})
	isCurrent(second, "at last")
	if s := m.MustRun(compare); s.AttachmentsDownloaded != 0 || s.NotCompared != 0 {
		t.Errorf("one more comparison: %+v", s)
	}
	everyFileIsRecorded(t, m)
	if n := m.Value(`SELECT count(DISTINCT hash_sha256) || ' of ' || count(*) FROM noggin_schema.former_files WHERE attachment_tip = '` + changed + `'`); n != "2 of 3" {
		t.Errorf("%s former files, want both of the past and one that was current twice", n)
	}
	for version, want := range map[int][]string{1: {first}, 2: {first, second}} {
		stored, err := m.DB.StoredVersion(t.Context(), record.Tip, version, nil)
		batchtest.Must(t, err)
		shown := map[string]bool{}
		for _, a := range stored.Attachments {
			if a.Tip == changed {
				shown[*a.SHA256] = true
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(shown)); !slices.Equal(got, want) {
			t.Errorf("version %d shows %s, want %s", version, got, want)
		}
	}
}

// A cache served bytes that noggin never saw: they became current, and the true ones former.
func TestTheTrueBytesReturnAfterACacheServedUnknownOnes(t *testing.T) {
	t.Parallel()
	m, _, attachment := replacedBefore(t)
	m.Server.SetFaults(apitest.Fault{Kind: "stale", On: apitest.OnMedia})
	m.MustRun(compare)
	m.Server.ClearFaults()
	dieBeforeTheResult(m, "UPDATE OF former_served_at ON noggin_schema.attachments", compare)
	m.MustRun(process.Options{UntilEmpty: true}) // begins with the records of runs that died
	m.MustRun(compare)
	m.PassDays("1.3")
	dieBeforeTheResult(m, replacing, process.Options{UntilEmpty: true})
	m.MakeDue()
	m.MustRun(process.Options{UntilEmpty: true})
	isServed(t, m, attachment, "on the second day")
	everyFileIsRecorded(t, m)
}

// What was current once is as good on its second day as it was then, also where nothing proves
// that it is whole, as it does for the attachment's own.
func TestFormerBytesThatProveNothingBecomeCurrentAsWell(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, batchtest.PhotoWorld(1, 1))
	m.Refresh = process.DefaultRefresh()
	m.Server.SetFaults(song)
	m.MustRun(process.Options{UntilEmpty: true})
	m.Server.ClearFaults()
	m.MustRun(compare)
	const validated = `SELECT attachment_status || ' ' || attachment_validation_status FROM noggin_schema.attachments`
	if got := m.Value(validated); got != "complete valid" {
		t.Fatalf("the attachment is %s\n%s", got, m.Logged)
	}
	m.Server.SetFaults(song)
	if s := m.MustRun(compare); s.NotCompared != 1 {
		t.Errorf("on the first day: %+v", s)
	}
	m.PassDays("1.3")
	m.MustRun(process.Options{UntilEmpty: true})
	if got := m.Value(validated); got != "complete not_validated" {
		t.Errorf("on the second day, the attachment is %s\n%s", got, m.Logged)
	}
	if s := m.MustRun(compare); s.NotCompared != 0 {
		t.Errorf("from then on: %+v", s)
	}
	everyFileIsRecorded(t, m)
}

// Bytes that do not become current are kept all the same, where their file was lost.
func TestALostFormerFileIsBackWhenItsBytesAreServed(t *testing.T) {
	t.Parallel()
	stale := apitest.Fault{Kind: "stale", On: apitest.OnMedia}
	lose := func(m *batchtest.Mirror, query string) {
		batchtest.Must(m.T, os.Remove(filepath.Join(m.Output, m.Value(query))))
	}
	const current, former = `SELECT file_path FROM noggin_schema.attachments`, `SELECT path FROM noggin_schema.former_files WHERE kind <> 'report'`
	for name, prepare := range map[string]func(m *batchtest.Mirror, record, attachment string){
		"of a former one": func(m *batchtest.Mirror, record, attachment string) {
			m.Server.Edit(record, apitest.Edit{Replace: []string{attachment}})
			m.MustRun(compare)
			lose(m, former)
			m.Server.SetFaults(stale)
		},
		"of the attachment, of which a cache served former ones": func(m *batchtest.Mirror, record, attachment string) {
			m.Server.Edit(record, apitest.Edit{Replace: []string{attachment}})
			m.MustRun(compare)
			lose(m, current)
			m.Server.SetFaults(stale)
			m.MustRun(process.Options{Selector: m.Only(0)})
			m.Server.ClearFaults()
		},
		"of a suspect": func(m *batchtest.Mirror, _, _ string) {
			m.Server.SetFaults(song)
			m.MustRun(compare)
			lose(m, former)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewComplete(t, batchtest.PhotoWorld(1, 1))
			record := m.Server.Record(0)
			prepare(m, record.Tip, record.Attachments[0].Tip)
			before := m.Value(current)
			if s := m.MustRun(compare); s.NotCompared != 1 || m.Value(current) != before {
				t.Errorf("summary %+v, %s is current, before %s", s, m.Value(current), before)
			}
			everyFileIsRecorded(t, m)
		})
	}
}
