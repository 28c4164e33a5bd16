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
