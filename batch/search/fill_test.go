package search_test

import (
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/process"
	"noggin/batch/search"
)

func TestEveryRecordGetsItsWordsAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	m := batchtest.NewQueue(t, apitest.Options{Records: 5, Forms: []string{"LCD"}, Photos: apitest.None})
	m.MustRun(process.Options{UntilEmpty: true})
	const words = `SELECT string_agg(record_tip || document::text, E'\n' ORDER BY record_tip) FROM noggin_schema.record_search`
	before := m.Value(words)
	m.Execute(`DELETE FROM noggin_schema.record_search`)
	m.Execute(`UPDATE noggin_schema.search_fill SET after = ''`)
	batchtest.Must(t, search.Fill(t.Context(), m.DB, m.Types))
	if after := m.Value(words); after != before {
		t.Errorf("the words are\n%s, want those of the run:\n%s", after, before)
	}
}
