package storage

import (
	"slices"
	"strings"
	"testing"
)

func TestHashesAreCountedListedAndFound(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	storedRecords(t, db, 2)
	importNames(t, db, ImportOptions{Source: "v.csv"}, NamedHash{2, "vehicle", "aa", "100% TRUCK_1"}, NamedHash{3, "trailer", "aab", "Zoë's"})
	healAll(t, db, 7)
	foreign(t, db, `INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type, resolved_at) VALUES ('old', 'vehicle', now() - interval '8 days')`)
	stats, err := db.HashStats(t.Context())
	want := []HashCounts{{"team", 0, 1, 0, 2}, {"trailer", 1, 0, 0, 0}, {"vehicle", 1, 0, 1, 0}}
	if err != nil || !slices.Equal(stats.Types, want) || stats.Records != 2 || stats.Stale != 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	find := func(f HashFilter) string {
		var found []string
		if err := db.EachHash(t.Context(), f, func(r HashRow) error {
			found = append(found, r.Type+" "+r.Hash)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(found, ", ")
	}
	for _, tt := range []struct {
		filter HashFilter
		want   string
	}{
		{HashFilter{}, "vehicle aa, trailer aab, team bb"},
		{HashFilter{Unknown: true}, "team bb"},
		{HashFilter{Known: true, Limit: 1}, "vehicle aa"},
		{HashFilter{Type: "trailer"}, "trailer aab"},
		{HashFilter{Text: "AA"}, "vehicle aa, trailer aab"},
		{HashFilter{Text: "truck_"}, "vehicle aa"},
		{HashFilter{Text: "%"}, "vehicle aa"},
		{HashFilter{Text: "_"}, "vehicle aa"},
		{HashFilter{Text: "zoë"}, "trailer aab"},
		{HashFilter{Hash: "aa"}, "vehicle aa"},
		{HashFilter{Unused: true}, "trailer aab"},
		{HashFilter{Unused: true, Type: "vehicle"}, ""},
	} {
		if got := find(tt.filter); got != tt.want {
			t.Errorf("%+v: found %q, want %q", tt.filter, got, tt.want)
		}
	}
	uses, total, err := db.HashUses(t.Context(), "aa", 1)
	if err != nil || total != 2 || len(uses) != 1 || *uses[0].InspectionID != "LCD - 1" || uses[0].Field != "vehicle" {
		t.Errorf("uses %+v of %d, %v", uses, total, err)
	}
	if err := db.CountUnknown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var unknown []UnknownHash
	for _, kind := range []string{"", "vehicle"} {
		if err := db.EachUnknown(t.Context(), kind, func(u UnknownHash) error { unknown = append(unknown, u); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(unknown) != 1 || unknown[0].Occurrences != 2 || *unknown[0].InspectionID != "LCD - 1" {
		t.Errorf("unknown %+v", unknown)
	}
}
