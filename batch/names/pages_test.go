package names_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"

	"noggin/api"
	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/names"
	"noggin/batch/process"
)

// Names of another type are looked for after an upgrade from version 1.
func TestAllPagesOfRecordsGetNamesOfAnotherType(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, apitest.Options{Records: 5, Forms: []string{"LCD"}, Photos: apitest.None})
	m.MustRun(process.Options{UntilEmpty: true})
	m.Execute(`INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name)
		SELECT DISTINCT hash_value, 'trailer', 'DOLLY' FROM noggin_schema.record_hashes WHERE column_name = 'vehicle'`)
	m.Execute(`UPDATE noggin_schema.noggin_data SET names_stale = false`)
	m.Execute(`UPDATE noggin_schema.names_recheck SET after = ''`)
	healNames(m)
	if n := m.Value(`SELECT count(*) FROM noggin_schema.noggin_data WHERE vehicle = 'DOLLY'`); n != "5" {
		t.Errorf("%s of 5 records show the name", n)
	}
}

func TestEveryUnknownHashIsAskedAbout(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, apitest.Options{Records: 5, Forms: []string{"LCD"}, Photos: apitest.None})
	m.MustRun(process.Options{UntilEmpty: true})
	unknown := m.Value(`SELECT count(DISTINCT hash_value) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL`)
	f := names.Fetcher{DB: m.DB, Types: m.Types, Kinds: names.DefaultConfig(), Concurrency: 1, Object: func(context.Context, string) ([]byte, error) {
		return nil, &api.Error{Kind: api.KindNotFound, Status: http.StatusNotFound}
	}}
	s, _, err := f.Fetch(t.Context(), "", 1000)
	if err != nil || strconv.Itoa(s.Asked) != unknown || s.NotFound != s.Asked {
		t.Errorf("of %s hashes: %+v, %v", unknown, s, err)
	}
}

// A kind of object may fail each time, such as one that the token may not read.
func TestHashesThatFailEachTimeHoldUpNoOther(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]*api.Error{
		"an answer that is none":                  {Class: api.ClassBroken, Kind: api.KindBrokenAnswer, Status: http.StatusOK},
		"a refusal that nobody came to judge yet": {Class: api.ClassForbidden, Kind: api.KindPermission, Status: http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := batchtest.NewQueue(t, apitest.Options{Records: 5, Forms: []string{"LCD"}, Photos: apitest.None})
			m.MustRun(process.Options{UntilEmpty: true})
			m.Execute(`UPDATE noggin_schema.unknown_hashes SET occurrence_count = CASE WHEN entity_type = 'vehicle' THEN 1 ELSE 9 END`)
			vehicle := func(hash string) bool {
				return m.Value(`SELECT bool_or(entity_type = 'vehicle') FROM noggin_schema.unknown_hashes WHERE hash_value = '`+hash+`'`) == "true"
			}
			f := names.Fetcher{DB: m.DB, Types: m.Types, Kinds: names.DefaultConfig(), Concurrency: 1, Object: func(_ context.Context, tip string) ([]byte, error) {
				if !vehicle(tip) {
					return nil, failure
				}
				return []byte(`{"assetName": "TRUCK ` + tip[:4] + `"}`), nil
			}}
			unknown, err := strconv.Atoi(m.Value(`SELECT count(DISTINCT hash_value) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL`))
			batchtest.Must(t, err)
			named := 0
			for range unknown { // one at a time, all were asked about once
				s, _, err := f.Fetch(t.Context(), "", 1)
				if err != nil || s.Asked != 1 {
					t.Fatalf("%+v, %v", s, err)
				}
				named += s.Named
			}
			if left := m.Value(`SELECT count(*) FROM noggin_schema.unknown_hashes WHERE resolved_at IS NULL AND entity_type = 'vehicle'`); named == 0 || left != "0" {
				t.Errorf("after each hash had its turn %d have names and %s vehicles have none", named, left)
			}
		})
	}
}
