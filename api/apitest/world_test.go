package apitest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSameSeedMakesTheSameWorld(t *testing.T) {
	o := Options{Seed: 7, Records: 24, PDFShare: 0.3}
	a, b, other := newWorld(o), newWorld(o), newWorld(Options{Seed: 8, Records: 24})
	for r := range a.Records() {
		if string(a.Payload(r.Tip)) != string(b.Payload(r.Tip)) {
			t.Fatalf("record %d differs between two worlds of one seed", r.Index)
		}
		if _, ok := other.find(r.Tip); ok {
			t.Fatalf("record %d is found in a world of another seed", r.Index)
		}
		for _, att := range r.Attachments {
			if a.MediaSHA256(att.Tip) != b.MediaSHA256(att.Tip) {
				t.Fatalf("media %s differs between two worlds of one seed", att.Tip)
			}
		}
	}
}

func TestRecordsAreAllDifferent(t *testing.T) {
	w := newWorld(Options{Records: 3000})
	seen := map[string]bool{}
	for r := range w.Records() {
		keys := []string{r.Tip, r.InspectionID}
		for _, a := range r.Attachments {
			keys = append(keys, a.Tip)
			if w.recordOf(a.Tip) != r.Tip {
				t.Fatalf("attachment %s is not %s's", a.Tip, r.Tip)
			}
		}
		for _, k := range keys {
			if seen[k] {
				t.Fatalf("%s occurs twice", k)
			}
			seen[k] = true
		}
	}
}

func TestDocumentShowsWhatTheRecordSays(t *testing.T) {
	w := newWorld(Options{Records: 60})
	for r := range w.Records() {
		doc, err := parseDocument(w.Payload(r.Tip))
		if err != nil {
			t.Fatal(err)
		}
		var meta struct{ Tip, CreatedDate, ModifiedDate string }
		if err := json.Unmarshal(doc.get("$meta"), &meta); err != nil || meta.Tip != r.Tip {
			t.Fatalf("$meta of %s: %+v, %v", r.Tip, meta, err)
		}
		for _, instant := range []string{meta.CreatedDate, meta.ModifiedDate} {
			if _, err := time.Parse(time.RFC3339, instant); err != nil {
				t.Error(err)
			}
		}
		if got := doc.text(w.shapeOf(r.Index).form.IDField); got != r.InspectionID {
			t.Errorf("inspection id %q, want %q", got, r.InspectionID)
		}
		if got := doc.text("date"); !strings.HasPrefix(got, r.Day.Format(time.DateOnly)+"T00:00:00.000+") {
			t.Errorf("date %q, want midnight of %s", got, r.Day)
		}
		var refs []string
		eachMedia(doc, func(_ string, list []string) { refs = append(refs, list...) })
		var want []string
		for _, a := range r.Attachments {
			want = append(want, a.Ref)
		}
		if !slices.Equal(refs, want) {
			t.Errorf("%s shows media %v, want %v", r.InspectionID, refs, want)
		}
	}
}

func TestInspectionIDsLookAsDocumented(t *testing.T) {
	w := newWorld(Options{Records: 6})
	want := []string{"LCD - 000001", "LCS - 000001", "C - 000001", "TA - 00001", "SO - 00001", "FL - Inspection - 00001"}
	for i, id := range want {
		if got := w.Record(i).InspectionID; got != id {
			t.Errorf("record %d has id %q, want %q", i, got, id)
		}
	}
}

func TestEveryFieldOfASampleTurnsUp(t *testing.T) {
	w := newWorld(Options{Records: 600, Photos: Range{0, 20}})
	for i, s := range w.shapes {
		missing := map[string]bool{}
		for _, f := range s.fields {
			missing[f.name] = true
		}
		for index := i; index < w.Len(); index += len(w.shapes) {
			r := w.Record(index)
			for _, name := range w.document(&r).fields() {
				delete(missing, name)
			}
		}
		if len(missing) > 0 {
			t.Errorf("%s never shows %v", s.form.Code, slices.Sorted(maps.Keys(missing)))
		}
	}
}

func TestOneAnswerToEachQuestion(t *testing.T) {
	w := newWorld(Options{Records: 60})
	questions := map[string]map[int]int{} // form → answers of a question → how many
	for _, s := range w.shapes {
		questions[s.form.Code] = map[int]int{}
		for _, f := range s.fields {
			if f.fill == fillAnswer && f.place == 0 {
				questions[s.form.Code][f.size]++
			}
		}
	}
	for code, want := range map[string]map[int]int{
		"LCD": {1: 4, 2: 1}, "LCS": {1: 4, 2: 1, 3: 22}, "CCC": {1: 19}, "TA": {2: 1, 3: 4, 4: 2}, "SO": {1: 4}, "FPI": {2: 20},
	} {
		if !maps.Equal(questions[code], want) {
			t.Errorf("%s has questions by number of answers %v, want %v", code, questions[code], want)
		}
	}
	for r := range w.Records() {
		doc := w.document(&r)
		yes := map[int]int{}
		for _, f := range w.shapeOf(r.Index).fields {
			if f.fill == fillAnswer && f.size > 1 && string(doc.get(f.name)) == "true" {
				yes[f.group]++
			}
		}
		for group, n := range yes {
			if n != 1 {
				t.Errorf("%s: question at field %d has %d answers", r.InspectionID, group, n)
			}
		}
	}
}

func TestPhotosFollowTheirRange(t *testing.T) {
	for name, tc := range map[string]struct {
		photos   Range
		mean     float64
		low, top int
		average  float64
	}{
		"uniform":    {Range{0, 6}, 0, 0, 6, 3},
		"with mean":  {Range{0, 6}, 2.5, 0, 6, 2.5},
		"fixed":      {Fixed(3), 0, 3, 3, 3},
		"none":       {None, 0, 0, 0, 0},
		"as default": {Range{}, 0, 0, 6, 3},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 2000
			w := newWorld(Options{Records: n, Forms: []string{"LCD"}, Photos: tc.photos, PhotosMean: tc.mean})
			total, low, top := 0, 1<<30, 0
			for i := range n {
				k := len(w.placements(i, change{}))
				total, low, top = total+k, min(low, k), max(top, k)
			}
			average := float64(total) / n
			if low != tc.low || top != tc.top || average < tc.average-0.15 || average > tc.average+0.15 {
				t.Errorf("from %d to %d, %.2f on average", low, top, average)
			}
		})
	}
}

func TestTipsOfOthersAreNotOfThisWorld(t *testing.T) {
	w := newWorld(Options{Records: 10})
	r := w.Record(9)
	flipped := []byte(r.Tip)
	flipped[0] ^= 1
	for _, tip := range []string{"", "x", strings.Repeat("0", 64), string(flipped), strings.ToUpper(r.Tip)[:63], w.codec.encode(mark{kind: kindRecord, index: 10})} {
		if _, ok := w.find(tip); ok {
			t.Errorf("found a record under %q", tip)
		}
	}
}

func TestADocumentIsAnObject(t *testing.T) {
	for _, text := range []string{"", "[]", "1", "nul"} {
		if _, err := parseDocument([]byte(text)); err == nil || strings.Contains(err.Error(), "%!") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
