package textreport

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"noggin/api/apitest"
	"noggin/batch/forms"
	"noggin/storage"
)

func form(t testing.TB, code string) forms.ObjectType {
	t.Helper()
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	ot, ok := types.ByCode(code)
	if !ok {
		t.Fatalf("no form %s", code)
	}
	return ot
}

func parse(t testing.TB, ot forms.ObjectType, raw string) forms.Record {
	t.Helper()
	r, err := forms.ParseRecord(ot, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var formCodes = []string{"LCD", "LCS", "CCC", "TA", "SO", "FPI"}

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "reports", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s (-update writes it anew):\n%s", path, got)
	}
}

// reportOf is the report of a finished record. Every attachment has a size and hash of
// its own, and some are in trouble.
func reportOf(t testing.TB, code, raw string) report {
	t.Helper()
	ot := form(t, code)
	r := parse(t, ot, raw)
	known := map[string]string{
		"vehicle 68d6f14cacaa": "PM 117, Kenworth \"T909\"", "vehicle be704ce2bc73": "Forklift 7",
		"trailer 3e5eca287d71": "TRL 0815", "team 89b6c50ee09d": "Kewdale – Tag", "person 26f7924a5a45": "O'Brien, Zoë",
	}
	names := storage.Names{}
	for _, ref := range r.References {
		if name, ok := known[ref.EntityType+" "+forms.FirstOf(ref.Hash, 12)]; ok {
			names[storage.EntityKey{Type: ref.EntityType, Hash: ref.Hash}] = name
		}
	}
	stored := storage.Stored{Names: names, Folder: forms.FolderName(r.InspectionDate, r.InspectionID, r.Tip)}
	for i, a := range r.Attachments {
		sum := sha256.Sum256([]byte(a.Tip))
		row := storage.Attachment{
			Tip: a.Tip, Sequence: i + 1, Field: a.Field, Size: storage.Optional(int64(i+1) * 123_456),
			SHA256: storage.Optional(hex.EncodeToString(sum[:])), Status: "complete", Validation: "valid",
			Filename: storage.Optional(forms.AttachmentName(forms.RecordName(r.InspectionID, r.Tip), r.InspectionDate, a.Stub, i+1, "jpg")),
		}
		switch i {
		case 1:
			row.Validation = "suspect"
		case 2:
			row = storage.Attachment{Tip: a.Tip, Sequence: 3, Field: a.Field, Status: "failed", Validation: "not_validated"}
		case 3:
			row.Archive = storage.Optional("noggin-2025-09.tar.zst")
		}
		stored.Attachments = append(stored.Attachments, row)
	}
	return report{form: ot, record: r, stored: stored}
}

func written(t testing.TB, r report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReportsOfTheSamples(t *testing.T) {
	for _, code := range formCodes {
		t.Run(code, func(t *testing.T) {
			golden(t, code+".txt", written(t, reportOf(t, code, string(apitest.Sample(code)))))
		})
	}
}

// The row of an attachment has the field of the current version, also in the report of a
// former one.
func TestAReportShowsPhotographsWhereItsOwnAnswerNamesThem(t *testing.T) {
	in := reportOf(t, "FPI", string(apitest.Sample("FPI")))
	if len(in.stored.Attachments) < 2 {
		t.Fatalf("the sample has %d attachments", len(in.stored.Attachments))
	}
	want := string(written(t, in))
	for i := range in.stored.Attachments {
		in.stored.Attachments[i].Field = "attachments"
	}
	in.out.Reset()
	if got := string(written(t, in)); got != want {
		t.Errorf("the report became\n%s", got)
	}
}

func TestAReportTellsOfVersionsAndOfARecordThatIsGone(t *testing.T) {
	in := reportOf(t, "TA", string(apitest.Sample("TA")))
	at := time.Date(2026, 3, 1, 4, 5, 6, 0, time.UTC)
	in.stored.Version, in.stored.GoneAt = 2, &at
	in.stored.Versions = []storage.VersionMark{
		{Version: 1, Kind: "version", FetchedAt: at.AddDate(0, 0, -9), SID: storage.Optional("first-sid")}, {Version: 2, Kind: "version", FetchedAt: at.AddDate(0, 0, -2), ModifiedAt: &at}, {Version: 3, Kind: "older", FetchedAt: at},
	}
	for status, gone := range map[int]string{404: "the platform has this inspection no longer, since 2026-03-01 04:05:06 UTC", 403: "the platform no longer permits to read this inspection, since 2026-03-01 04:05:06 UTC"} {
		in.stored.GoneStatus = status
		in.out.Reset()
		text := strings.Join(strings.Fields(string(written(t, in))), " ")
		for _, want := range []string{
			"Gone: " + gone, "Version: 2, ", "Versions (3)", " 1 - 2026-02-20 04:05:06 UTC sid first-sid 2 2026-03-01 04:05:06 UTC 2026-02-27 04:05:06 UTC shown here 3 - 2026-03-01 04:05:06 UTC older when it came",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in %s", want, text)
			}
		}
	}
	in.stored.Versions, in.stored.GoneAt = in.stored.Versions[:1], nil
	in.out.Reset()
	if text := string(written(t, in)); strings.Contains(text, "Versions (") || strings.Contains(text, "Gone:") {
		t.Errorf("of one version, which is there:\n%s", text)
	}
}

func TestTheFilesOfAReportAreReadBack(t *testing.T) {
	for _, code := range formCodes {
		in := reportOf(t, code, string(apitest.Sample(code)))
		var want []ListedFile
		for i, a := range in.stored.Attachments {
			if i == 4 {
				a.Sequence, a.Filename = 1000, storage.Optional(strings.Repeat("a long  name ", 9)+".jpg")
				in.stored.Attachments[i] = a
			}
			if a.SHA256 != nil {
				want = append(want, ListedFile{Tip: a.Tip, Name: *a.Filename, SHA256: *a.SHA256})
			}
		}
		slices.SortStableFunc(want, func(a, b ListedFile) int { return strings.Compare(a.Tip, b.Tip) })
		tip, listed := ReadFiles(bytes.NewReader(written(t, in)))
		slices.SortStableFunc(listed, func(a, b ListedFile) int { return strings.Compare(a.Tip, b.Tip) })
		if tip != in.record.Tip || !slices.Equal(listed, want) {
			t.Errorf("%s: %s with %+v, want %s with %+v", code, tip, listed, in.record.Tip, want)
		}
	}
	if tip, listed := ReadFiles(strings.NewReader("Tip of the day: none\n  1. a.jpg\nSHA-256 " + strings.Repeat("ab", 32) + "\n")); tip != "" || len(listed) > 0 {
		t.Errorf("of another text: %s, %+v", tip, listed)
	}
}

// Another version's attachments belong to its own report.
func TestTheReportOfAVersionListsWhatItsOwnAnswerNames(t *testing.T) {
	in := reportOf(t, "SO", string(apitest.Sample("SO")))
	var want, got bytes.Buffer
	listed := in.stored.Attachments
	if err := Write(&want, in.form, in.record, in.stored); err != nil || !strings.Contains(want.String(), "Attachments (8)") {
		t.Errorf("%v\n%s", err, &want)
	}
	in.stored.Attachments = append(slices.Clone(listed), storage.Attachment{Tip: "another", Sequence: 9, Field: listed[0].Field, Status: "complete"})
	if err := Write(&got, in.form, in.record, in.stored); err != nil || got.String() != want.String() {
		t.Errorf("%v\n%s", err, &got)
	}
}

const hostilePayload = `{
	"$meta": {"tip": "\u001b]0;evil\u0007", "createdDate": "yesterday", "errors": [{"message": "a\nb", "field": "x"}]},
	"lcdInspectionId": "../../LCD\u202e - \u0000 1\r\n\r\nAttachments (0)\n---------------",
	"date": "17 September",
	"inspectedBy": "\u001b[31mred\u001b[0m \u2066isolated\u2069",
	"vehicle": ["68d6f14cacaa5012b0cf43a694ac0217574225b45aa9b1d7ddf9f7887f97c458", "Truck 7\nTip: forged", 5],
	"team": "nobody-knows",
	"driver": "perhaps",
	"straps": "some", "noOfStraps": 1.20e1,
	"isYourLoadCompliantWithTheLoadRestraintGuide2004Ye": true,
	"isYourLoadCompliantWithTheLoadRestraintGuide2004No": true,
	"commentsActions": "<script>alert(1)</script><p>One <b>two</b> three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen</p><ul><li>first<li>second with so many words that the line has to be broken and goes on below its text</ul>",
	"aNewRichText": "<p>a</p><p>b &lt; c</p>",
	"aNewNumber": 1e3, "aNewObject": {"z": [1, true, null], "a": {"b": ""}}, "anEmptyOne": "",
	"aNewPhoto": ["/media/file?ns=9359f3bb2efa7aabd0264fb67fb1d99f91871778e9b887179d6b2debaa251ec6&tip=new"],
	"aMixture": ["/media/file?ns=9359f3bb2efa7aabd0264fb67fb1d99f91871778e9b887179d6b2debaa251ec6&tip=mixed", "and text"],
	"bad\u001b\nkey: x": "https://example.org/a-very-long-address-that-must-not-be-broken-anywhere-because-nobody-could-follow-it-then",
	"attachments": ["/media/file?ns=9359f3bb2efa7aabd0264fb67fb1d99f91871778e9b887179d6b2debaa251ec6", "file:///etc/passwd?tip=x"]
}`

func TestHostilePayloadsMakeHarmlessReports(t *testing.T) {
	in := reportOf(t, "LCD", hostilePayload)
	for _, ref := range in.record.References {
		in.stored.Names[storage.EntityKey{Type: ref.EntityType, Hash: ref.Hash}] = "line\nbreak \u202e\x1b[1m"
	}
	in.stored.Attachments[0].Filename = storage.Optional("a\nb\x1b.jpg")
	got := written(t, in)
	golden(t, "hostile.txt", got)
	if !utf8.Valid(got) || bytes.ContainsFunc(got, func(r rune) bool { return r != '\n' && isHarmful(r) }) {
		t.Error("the report holds control characters")
	}
	if bytes.Contains(got, []byte("9359f3bb2efa7aabd0264fb67fb1d99f")) {
		t.Error("the report holds the namespace")
	}
}

func TestReportOfAnEmptyPayload(t *testing.T) {
	golden(t, "empty.txt", written(t, report{form: form(t, "TA"), record: parse(t, form(t, "TA"), "{}")}))
}

func TestLongTextIsWrapped(t *testing.T) {
	in := reportOf(t, "LCD", `{"$meta":{},"contractorName":"`+strings.Repeat("wörter ", 5000)+`"}`)
	for line := range strings.Lines(string(written(t, in))) {
		if utf8.RuneCountInString(line) > pageWidth+1 {
			t.Fatalf("%d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
}

func TestManyFieldsAndAttachmentsTakeLittleTime(t *testing.T) {
	const n = 50_000
	values := make(map[string]any, n)
	stored := storage.Stored{Attachments: make([]storage.Attachment, n)}
	for i := range n {
		values["field"+strconv.Itoa(i)] = "x"
		stored.Attachments[i].Field = "photo" + strconv.Itoa(i)
	}
	began := time.Now()
	written(t, report{form: form(t, "TA"), record: forms.Record{Values: values}, stored: stored})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAReportThatCannotBeWrittenIsAnError(t *testing.T) {
	r := reportOf(t, "TA", "{}")
	if err := r.write(brokenWriter{}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
}

func FuzzTextReport(f *testing.F) {
	for _, code := range formCodes {
		f.Add(apitest.Sample(code))
	}
	f.Add([]byte(hostilePayload))
	f.Add([]byte("{\"inspectedBy\":\"\xff\\u0000\\u009b\"}"))
	types, err := forms.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, ot := range types.All() {
			r, err := forms.ParseRecord(ot, raw)
			if err != nil {
				return
			}
			text := written(t, report{form: ot, record: r})
			if !utf8.Valid(text) || bytes.ContainsFunc(text, isHarmful) {
				t.Fatalf("harmful report %q", text)
			}
		}
	})
}
