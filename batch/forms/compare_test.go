package forms

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestVersionsAreComparedFieldByField(t *testing.T) {
	before := `{"$meta":{"sid":"a"},"job":"1","gone":"x","same":[1,2],"tyres":[{"left":"worn","depth":3}],"photos":["/media/file?ns=0123456789abcdef&tip=p1","/media/file?ns=0123456789abcdef&tip=p2"]}`
	after := `{"photos":["/media/file?ns=0123456789abcdef&tip=p2","/media/file?ns=0123456789abcdef&tip=p3"],"same":[1,2],"tyres":[{"depth":3,"right":"worn"}],"job":"2","new":true,"$meta":{"sid":"b"}}`
	want := []FieldChange{
		{"gone", "x", ""}, {"job", "1", "2"}, {"new", "", "Yes"}, {"photos", "attachment p1", "attachment p3"}, {"tyres", "left: worn", "right: worn"},
	}
	got, err := CompareVersions([]byte(before), []byte(after))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if got, err := CompareVersions([]byte(before), []byte(before)); err != nil || len(got) != 0 {
		t.Errorf("a version differs from itself: %q, %v", got, err)
	}
}

func TestLongListsAreComparedInLittleTime(t *testing.T) {
	many := func(from int) []byte {
		texts := make([]string, 60_000)
		for i := range texts {
			texts[i] = strconv.Itoa(from + i)
		}
		return []byte(`{"numbers":[` + strings.Join(texts, ",") + `]}`)
	}
	began := time.Now()
	if _, err := CompareVersions(many(0), many(100_000)); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v, after %s", err, time.Since(began))
	}
}
