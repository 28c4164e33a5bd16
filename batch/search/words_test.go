package search

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"noggin/batch/forms"
	"noggin/storage"
)

func TestAQueryIsWordsThatMustAllOccur(t *testing.T) {
	for text, want := range map[string]string{
		"LCD - 045289":                 "lcd & 045289",
		"  frayed   REPLACED, frayed ": "frayed & replaced",
		"repl*":                        "repl:*",
		"a:* | !b & (c) <-> 'd' \\":    "a & b & c & d",
		"100% O'Brien_x":               "100 & o & brien & x",
		"Zoë Öl ＡＢＣ１２":                 "zoe & ol & abc12",
		"\u202eמסגר\u200f":             "מסגר",
		"שלום\u200d עולם":              "שלום & עולם",
		"bad\xffutf \x00nul":           "bad & utf & nul",
		strings.Repeat("é", 150):       strings.Repeat("e", 150),
		strings.Repeat("x", 10_000):    strings.Repeat("x", maxWord),
		"ΟΔΟΣ οδος οδοσ":               "οδοσ",
	} {
		if got, err := Query(text); got != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]error{"": ErrNoWords, "%": ErrNoWords, ":*": ErrNoWords, "\u202e'\"\\": ErrNoWords} {
		if got, err := Query(text); got != "" || !errors.Is(err, want) {
			t.Errorf("%q: got %q, %v; want %v", text, got, err, want)
		}
	}
	var many strings.Builder
	for i := range maxQueryWords + 1 {
		many.WriteString(string(rune(0x4e00+i)) + " ")
	}
	if _, err := Query(many.String()); !errors.Is(err, ErrTooManyWords) {
		t.Errorf("%d words give %v", maxQueryWords+1, err)
	}
}

// PostgreSQL refuses a document of a megabyte, so that the record could not be stored.
func TestADocumentIsBounded(t *testing.T) {
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	form, _ := types.ByCode("LCD")
	var long strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&long, "%s%d ", strings.Repeat("w", 180), i)
	}
	raw, err := json.Marshal(map[string]string{"lcdInspectionId": "LCD - 045289", "comments": long.String(), "zzz": "last"})
	if err != nil {
		t.Fatal(err)
	}
	record, err := forms.ParseRecord(form, raw)
	if err != nil {
		t.Fatal(err)
	}
	if doc := Document(form, record, storage.Stored{}); len(doc) >= 1<<20 || len(doc) < 900_000 || !strings.Contains(doc, "045289") {
		t.Errorf("%d bytes", len(doc))
	}
}

func TestADocumentHasDetailsOtherFieldsAndShortNumbers(t *testing.T) {
	form := forms.ObjectType{Code: "X", IDField: "id", Checklist: []forms.Question{{Label: "Straps", Details: []forms.PlainField{{Field: "why", Label: "Why"}}}}}
	record, err := forms.ParseRecord(form, []byte(`{"id": "LCD - 045289", "why": "frayed", "more": "seen /media/file?ns=a&tip=b gate"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Document(form, record, storage.Stored{}), "lcd 45289 045289 frayed seen gate"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzWordsAreSafeAndAlike(f *testing.F) {
	for _, text := range []string{"LCD - 045289", ":*", "a\u0301", "\xff", "ß ſ İ ı", "٣٤", "x*y"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var found list
		found.seen, found.most = map[string]bool{}, maxWords
		found.addText(text)
		words(text, func(word string, _ bool) bool {
			if strings.ContainsAny(word, " '\\:*&|!()<>\x00\t\n") || !utf8.ValidString(word) || len(word) > maxWord {
				t.Errorf("%q has the word %q", text, word)
			}
			if !found.seen[word] && len(found.seen) < maxWords {
				t.Errorf("%q is not found by its own word %q", text, word)
			}
			words(word, func(again string, _ bool) bool {
				if again != word {
					t.Errorf("the word %q of %q becomes %q", word, text, again)
				}
				return true
			})
			return true
		})
	})
}

// Every answer that the sample forms hold is found, and nothing of the addresses of their
// attachments is.
func TestADocumentHasTheIDsNamesAndAnswers(t *testing.T) {
	types, err := forms.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := filepath.Glob("../../api/apitest/samples/*.json")
	if err != nil || len(samples) != 6 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, sample := range samples {
		raw, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		form, _ := types.ByCode(strings.TrimSuffix(filepath.Base(sample), ".json"))
		record, err := forms.ParseRecord(form, raw)
		if err != nil {
			t.Fatal(err)
		}
		names := storage.Names{}
		for _, ref := range record.References[1:] {
			names[storage.EntityKey{Type: ref.EntityType, Hash: ref.Hash}] = "Name of " + ref.Field
		}
		has := map[string]bool{}
		for word := range strings.FieldsSeq(Document(form, record, storage.Stored{Names: names})) {
			has[word] = true
		}
		want := func(text string) {
			words(text, func(word string, _ bool) bool {
				if !has[word] {
					t.Errorf("%s: %q of %q is not found", form.Code, word, text)
				}
				return true
			})
		}
		want(record.InspectionID)
		want(record.References[0].Hash)
		for _, ref := range record.References[1:] {
			want("Name of " + ref.Field)
		}
		for _, f := range form.Fields {
			if text := f.Text(record.Values); !f.IsHTML() {
				want(text)
			}
		}
		for _, q := range form.Checklist {
			answer, _ := q.Answer(record.Values)
			want(answer)
		}
		if strings.Contains(string(raw), "Chains &amp; dogs") {
			want("chains dogs worn")
		}
		for _, ref := range record.Attachments {
			if has[ref.Tip] {
				t.Errorf("%s: the attachment %s is a word", form.Code, ref.Tip)
			}
		}
		var meta struct {
			Meta struct{ SID string } `json:"$meta"`
		}
		if err := json.Unmarshal(raw, &meta); err != nil || has[meta.Meta.SID] || has["media"] {
			t.Errorf("%s: the version or an address is a word, %v", form.Code, err)
		}
	}
}
