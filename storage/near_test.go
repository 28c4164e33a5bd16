package storage

import (
	"slices"
	"strings"
	"testing"
)

func TestNeighboursTellWhichBeginningIsUnique(t *testing.T) {
	t.Parallel()
	db := testDB(t)
	whole := func(digits string) string { return digits + strings.Repeat("0", 64-len(digits)) }
	foreign(t, db, `INSERT INTO noggin_schema.noggin_data (tip, object_type, processing_status) VALUES ('`+whole("0123456789a")+`', 'LCD', 'pending'), ('`+whole("0123456789ab")+`', 'LCD', 'pending')`)
	foreign(t, db, `INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name) VALUES ('`+whole("0123456788")+`', 'team', 'A'), ('`+whole("0123456788")+`', 'vehicle', 'A')`)
	foreign(t, db, `INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type) VALUES ('`+whole("9")+`', 'team'), ('0123456789abc', 'team')`)
	near, err := db.TipNeighbours(t.Context(), []string{whole("0123456789a")})
	if want := []string{whole("0123456788"), "0123456789abc", whole("0123456789ab")}; err != nil || !equalSets(near, want) {
		t.Errorf("%q, %v; want %q", near, err, want)
	}
	if near, err := db.TipNeighbours(t.Context(), nil); err != nil || len(near) != 0 {
		t.Errorf("of none: %q, %v", near, err)
	}
	for digits, want := range map[string][]string{
		"01234567":   {whole("0123456788")}, // a hash of 13 digits is not named by its beginning
		"9000":       {whole("9")},
		"012345678f": {}, "%": {}, "0123456789abc": {},
	} {
		if found, err := db.HashesBeginning(t.Context(), digits, 3); err != nil || !slices.Equal(found, want) {
			t.Errorf("%s: %q, %v; want %q", digits, found, err, want)
		}
	}
}

func equalSets(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
