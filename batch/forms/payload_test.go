package forms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"noggin/api/apitest"
)

func parse(t testing.TB, ot ObjectType, raw string) Record {
	t.Helper()
	r, err := ParseRecord(ot, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSamplesAreTakenApart(t *testing.T) {
	const (
		vehicle     = "68d6f14cacaa5012b0cf43a694ac0217574225b45aa9b1d7ddf9f7887f97c458"
		asset       = "be704ce2bc73117d3ca8556dd28085481de1073dfebfa6fab3a71704ccac11b9"
		loadColumns = "driver_loader_name=Pat Example inspected_by=Pat Example job_number=6000 load_compliance=Compliant run_number=1065106"
	)
	for _, c := range []struct {
		code, id, columns, vehicle string
		references, attachments    int
		stubs                      string // of the first and the last attachment
	}{
		{"LCD", "LCD - 045289", loadColumns, vehicle, 7, 3, "loader_photo photo"},
		{"LCS", "LCS - 002197", loadColumns, vehicle, 7, 3, "photo signature"},
		{"CCC", "C - 003825", "inspected_by=Sam Example job_number=6000 run_number=1065106", asset, 6, 14, "skid_plate_t1 trailer_legs_t3"},
		{"TA", "TA - 00003", "inspected_by=Pat Example", vehicle, 3, 0, ""},
		{"SO", "SO - 00095", "", "c9e99256672c050fc90c3bf2f2781ca9c709eac8c45d63c037612e32deefc4d2", 5, 8, "observation1 observation4"},
		{"FPI", "FL - Inspection - 00515", "inspected_by=Jo Example", asset, 2, 23, "damage photo"},
	} {
		t.Run(c.code, func(t *testing.T) {
			raw := apitest.Sample(c.code)
			r := parse(t, form(t, c.code), string(raw))
			if !bytes.Equal(r.Stored, raw) {
				t.Error("a payload without anything to mend was changed")
			}
			if r.InspectionID != c.id || r.InspectionDate != "2025-09-17" || !strings.Contains(string(raw), `"tip": "`+r.Tip) {
				t.Errorf("id %q, date %q, tip %q", r.InspectionID, r.InspectionDate, r.Tip)
			}
			if want := time.Date(2025, 9, 17, 4, 4, 11, 371e6, time.UTC); r.CreatedAt != want {
				t.Errorf("created %v", r.CreatedAt)
			}
			var columns []string
			for _, k := range slices.Sorted(maps.Keys(r.Columns)) {
				columns = append(columns, k+"="+r.Columns[k])
			}
			if got := strings.Join(columns, " "); got != c.columns {
				t.Errorf("columns %q", got)
			}
			if len(r.References) != c.references || len(r.Attachments) != c.attachments {
				t.Errorf("%d references, %d attachments", len(r.References), len(r.Attachments))
			}
			for _, ref := range r.References {
				if ref.Column == "vehicle" && (ref.Hash != c.vehicle || ref.EntityType != "vehicle") {
					t.Errorf("vehicle %+v", ref)
				}
			}
			if n := len(r.Attachments); n > 0 {
				if got := r.Attachments[0].Stub + " " + r.Attachments[n-1].Stub; got != c.stubs {
					t.Errorf("stubs %q", got)
				}
			}
			for _, a := range r.Attachments {
				if !strings.HasSuffix(a.Ref, "&tip="+a.Tip) || a.Tip == "" {
					t.Errorf("attachment %+v", a)
				}
			}
			// LCS's sample ticks both Yes and No of one question, which is the
			// report's to show: it fills no column.
			if len(r.Warnings) > 0 {
				t.Errorf("warnings %q", r.Warnings)
			}
		})
	}
}

func TestTheInspectionDayIsTheSitesOwn(t *testing.T) {
	for value, want := range map[string]string{
		`"2025-09-17T00:00:00.000+08:00"`: "2025-09-17",
		`"2025-09-17T23:59:59-11:00"`:     "2025-09-17",
		`"2025-09-17"`:                    "2025-09-17",
		`" 2025-09-17 00:00 "`:            "2025-09-17",
		`"2024-02-29"`:                    "2024-02-29",
		`"2025-02-29T00:00:00Z"`:          "",
		`"0000-01-01"`:                    "",
		`"2025-09-170"`:                   "",
		`"17/09/2025"`:                    "",
		`1758038400000`:                   "",
		`["2025-09-17"]`:                  "",
		`null`:                            "",
		`""`:                              "",
	} {
		r := parse(t, form(t, "LCD"), `{"$meta":{},"lcdInspectionId":"x","date":`+value+`}`)
		if r.InspectionDate != want {
			t.Errorf("%s: got %q, want %q", value, r.InspectionDate, want)
		}
		if warned := len(r.Warnings) > 0; warned != (want == "") {
			t.Errorf("%s: warnings %q", value, r.Warnings)
		}
	}
}

func TestLoadComplianceIsReadFromItsPair(t *testing.T) {
	const yes, no = "isYourLoadCompliantWithTheLoadRestraintGuide2004Ye", "isYourLoadCompliantWithTheLoadRestraintGuide2004No"
	for _, c := range []struct{ yes, no, want string }{
		{"true", "false", "Compliant"},
		{"false", "true", "Not compliant"},
		{"null", `"true"`, "Not compliant"},
		{"true", "true", "Contradictory"},
		{"false", "false", ""},
		{"null", "null", ""},
	} {
		r := parse(t, form(t, "LCD"), fmt.Sprintf(`{"%s":%s,"%s":%s}`, yes, c.yes, no, c.no))
		if got := r.Columns["load_compliance"]; got != c.want {
			t.Errorf("%s/%s: got %q, want %q", c.yes, c.no, got, c.want)
		}
		if warned := strings.Contains(strings.Join(r.Warnings, "\n"), "contradictory"); warned != (c.want == "Contradictory") {
			t.Errorf("%s/%s: warnings %q", c.yes, c.no, r.Warnings)
		}
	}
}

func TestColumnsTakeWhateverTypeArrives(t *testing.T) {
	r := parse(t, form(t, "LCD"), `{"lcdInspectionId":45289,"inspectedBy":"a\u0000b\ud800","jobNumber":6.0e3,"runNumber":true,"driverLoaderName":["Pat",null,"Jo"]}`)
	want := map[string]string{"inspected_by": "a\uFFFDb\uFFFD", "job_number": "6000", "run_number": "Yes", "driver_loader_name": "Pat, Jo"}
	if !maps.Equal(r.Columns, want) {
		t.Errorf("columns %q", r.Columns)
	}
	if r.InspectionID != "45289" {
		t.Errorf("id %q", r.InspectionID)
	}
	r = parse(t, form(t, "LCD"), `{"lcdInspectionId":["x"],"inspectedBy":""}`)
	if r.InspectionID != "" || len(r.Columns) != 0 || r.Tip != "" || !r.CreatedAt.IsZero() {
		t.Errorf("got %+v", r)
	}
}

func TestReferencesAreTipsAndTheRestIsText(t *testing.T) {
	upper := strings.ToUpper(someTip)
	r := parse(t, form(t, "SO"), `{"vehicleS":["`+upper+`","tip_1",7,"Truck 7 (hire)"],"inspectedBy":"Pat Example","siteManager":"","department":"Yard 3, west"}`)
	want := []Reference{
		{"vehicleS", 0, "vehicle", "vehicle", someTip},
		{"vehicleS", 1, "vehicle", "vehicle", "tip_1"},
	}
	if !slices.Equal(r.References, want) {
		t.Errorf("references %+v", r.References)
	}
	if want := map[string]string{"department": "Yard 3, west", "inspected_by": "Pat Example"}; !maps.Equal(r.Columns, want) {
		t.Errorf("columns %q", r.Columns)
	}
	if warnings := strings.Join(r.Warnings, "\n"); !strings.Contains(warnings, `vehicleS is not a reference: "Truck 7 (hire)"`) {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestEveryMediaReferenceIsFoundOnceAndBadOnesAreNotLost(t *testing.T) {
	const ns = "9359f3bb2efa7aabd0264fb67fb1d99f91871778e9b887179d6b2debaa251ec6"
	ref := func(tip string) string { return "/media/file?ns=" + ns + "&tip=" + tip }
	r := parse(t, form(t, "LCD"), `{
		"zNew":{"deep":["`+ref("deep")+`"]},
		"aNewAttachments":"`+ref("bare")+`",
		"commentsActions":"<p>see /media/file?ns=`+ns+`&tip=mentioned</p>",
		"attachments":["`+ref("one")+`","`+ref("one")+`","`+ref("two")+`",null,5,"`+ref("a%00b")+`","`+ref("x&tip=y")+`","file:///etc/passwd","https://evil.example/media/file?tip=three"],
		"loaderPhotoAttachment":["`+ref("two")+`"]}`)
	var got []string
	for _, a := range r.Attachments {
		got = append(got, a.Field+":"+a.Stub+":"+a.Tip)
	}
	want := []string{
		"loaderPhotoAttachment:loader_photo:two", "attachments:photo:one", "attachments:photo:", "attachments:photo:",
		"attachments:photo:", "attachments:photo:three", "aNewAttachments:a_new:bare", "zNew:z_new:deep",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	warnings := strings.Join(r.Warnings, "\n")
	if !strings.Contains(warnings, "without a usable tip, 3 times, first: ") || !strings.Contains(warnings, "attachments holds no media reference") {
		t.Errorf("warnings %q", r.Warnings)
	}
	if strings.Contains(warnings, ns) {
		t.Error("a warning holds the namespace")
	}
}

func TestStoredKeepsAllThatJSONBTakesAndMendsTheRest(t *testing.T) {
	long := strings.Repeat("9", 2000)
	for in, want := range map[string]string{
		`{"a":"x\u0000y"}`:                            `{"a":"x` + "\uFFFD" + `y"}`,
		`{"\u0000":1}`:                                `{"` + "\uFFFD" + `":1}`,
		`{"a":"\ud83d\ude00 \ud83d"}`:                 `{"a":"😀 ` + "\uFFFD" + `"}`,
		"{\"a\":\"\xff\"}":                            `{"a":"` + "\uFFFD" + `"}`,
		`{"a":"\\u0000"}`:                             `{"a":"\\u0000"}`,
		`{"a":"\"\\\/<é"}`:                            `{"a":"\"\\\/<é"}`,
		`{"a":1e999999,"b":-1E-999999}`:               `{"a":"1e999999","b":"-1E-999999"}`,
		`{"a":1e99999999999999999999}`:                `{"a":"1e99999999999999999999"}`,
		`{"a":[1.50,-0,12345678901234567890.12,1e5]}`: `{"a":[1.50,-0,12345678901234567890.12,1e5]}`,
		`{"a":` + long + `}`:                          `{"a":"` + long + `"}`,
		" {\n\"b\" : 1, \"a\":null}\n":                " {\n\"b\" : 1, \"a\":null}\n",
	} {
		got, err := storedJSON([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%.80s: got %.80s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "null", "[]", `"x"`, "{", `{"a":1}x`, "<html>", `{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + "}"} {
		if _, err := ParseRecord(ObjectType{}, []byte(in)); err == nil {
			t.Errorf("%.20s: no error", in)
		}
	}
}

func TestNumbersReadAsPostgreSQLPrintsThem(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "-0.0": "0.0", "1.50": "1.50", "1e5": "100000", "1E+2": "100", "1.5e0": "1.5",
		"1.25e1": "12.5", "12.5e-3": "0.0125", "-1e-2": "-0.01", "0e3": "0", "2287.3": "2287.3", "100e-2": "1.00",
	} {
		if got, ok := plainNumber(in); !ok || got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestTips(t *testing.T) {
	for in, want := range map[string]string{
		strings.ToUpper(someTip): someTip, "Abc_-9": "Abc_-9", "": "", "a b": "", "é": "", someTip + "0": "", "a/b": "",
	} {
		if got, ok := ParseTip(in); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v", in, got, ok)
		}
	}
}

func TestTheNamespaceIsTakenOutHoweverItIsSpelled(t *testing.T) {
	const ns = "9359f3bb2efa7aabd0264fb67fb1d99f91871778e9b887179d6b2debaa251ec6"
	for in, want := range map[string]string{
		"/media/file?ns=" + ns + "&tip=a": "/media/file?ns=(namespace)&tip=a", "/media?tip=a&NS=" + strings.ToUpper(ns): "/media?tip=a&ns=(namespace)",
		"?u=%2Fmedia%3Fns%3D" + ns + "%26tip": "?u=%2Fmedia%3Fns=(namespace)%26tip", "tip%3Da%26NS%3D" + ns: "tip%3Da%26ns=(namespace)", "?u=/media&ns%3d" + ns: "?u=/media&ns=(namespace)", "two ns=" + ns + ", ns=" + ns: "two ns=(namespace), ns=(namespace)",
		"the columns=12345678, ns=short": "the columns=12345678, ns=short", "%2Fcolumns%3D12345678": "%2Fcolumns%3D12345678",
	} {
		if got := WithoutNamespace(in); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestVersionsAndBareAnswersAreTold(t *testing.T) {
	r := parse(t, form(t, "LCD"), `{"$meta":{"sid":"s3","parent":["s2","",null,"s1"]},"lcdInspectionId":"","photos":[[],{"a":null}]}`)
	if r.SID != "s3" || !slices.Equal(r.Parents, []string{"s2", "s1"}) || !r.Bare() {
		t.Errorf("%q after %q, bare %v", r.SID, r.Parents, r.Bare())
	}
	if r = parse(t, form(t, "LCD"), `{"$meta":{"parent":"s1"},"photos":[{"a":0}]}`); r.Bare() || !slices.Equal(r.Parents, []string{"s1"}) {
		t.Errorf("bare %v, parents %q", r.Bare(), r.Parents)
	}
	long := strings.Repeat("é", 101)
	if r = parse(t, form(t, "LCD"), `{"lcdInspectionId":"`+long+`"}`); r.InspectionID != long[:200] || !strings.Contains(strings.Join(r.Warnings, "\n"), "lcdInspectionId has 202 bytes: cut to 200") {
		t.Errorf("%s, %q", r.InspectionID, r.Warnings)
	}
}

// badForJSONB finds what PostgreSQL refuses: NUL and surrogate escapes.
var badForJSONB = regexp.MustCompile(`(^|[^\\])(\\\\)*\\u(0000|[dD][89a-fA-F])`)

func FuzzPayload(f *testing.F) {
	for _, code := range formCodes {
		f.Add(apitest.Sample(code))
	}
	f.Add([]byte(`{"$meta":{"tip":5,"createdDate":"0000-01-01T00:00:00Z"},"date":"9999-99-99","attachments":[{"a":"/media/x?tip=1"}],"vehicle":[[1e5]]}`))
	f.Add([]byte(`{"a":"\u0000\ud800","\ud800":1e-99999,"jobNumber":-0.0e-7}`))
	f.Add([]byte("{\"inspectedBy\":\"\xff\\u0000\"}"))
	types, err := New(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, ot := range types.All() {
			r, err := ParseRecord(ot, raw)
			if err != nil {
				return
			}
			if !json.Valid(r.Stored) || !utf8.Valid(r.Stored) || bytes.IndexByte(r.Stored, 0) >= 0 || badForJSONB.Match(r.Stored) {
				t.Fatalf("jsonb would refuse %q", r.Stored)
			}
			for _, text := range append([]string{r.Tip, r.InspectionID}, slices.Collect(maps.Values(r.Columns))...) {
				if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
					t.Fatalf("a column would refuse %q", text)
				}
			}
			again, err := ParseRecord(ot, r.Stored)
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("read back: %+v\nwas %+v, %v", again, r, err)
			}
		}
	})
}
