package batch

import (
	"bytes"
	"database/sql"
	"reflect"
	"strings"
	"testing"

	_ "github.com/lib/pq"

	"noggin/storage/storagetest"
)

// PostgreSQL keeps a payload with its keys in another order and its numbers
// written out. A report that is renewed from there must not differ.
func TestJSONBTakesEveryPayloadAndGivesTheSameReport(t *testing.T) {
	db, err := sql.Open("postgres", storagetest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	payloads := map[string][]string{"LCD": {
		hostilePayload,
		`{"\u0000":"\ud800","lcdInspectionId":"a\u0000b","x":"` + "\xff" + `","jobNumber":-0.00e-3,"runNumber":1.50E2,"mass":1e-999,` +
			`"b":1e1000,"c":1e999999,"d":-1e-99999,"e":` + strings.Repeat("9", 1000) + `,"f":1e-20000,"g":0e99999999999}`,
		`{"deep":` + strings.Repeat(`[{"a":`, maxDepth/2-1) + "1" + strings.Repeat("}]", maxDepth/2-1) + `}`,
	}}
	for _, code := range formCodes {
		payloads[code] = append(payloads[code], string(sample(t, code)))
	}
	for code, all := range payloads {
		for _, raw := range all {
			in := reportOf(t, code, raw)
			var kept string
			if err := db.QueryRowContext(t.Context(), "SELECT CAST($1 AS jsonb)", string(in.Record.Stored)).Scan(&kept); err != nil {
				t.Errorf("%s %.60s: %v", code, raw, err)
				continue
			}
			again := reportOf(t, code, kept)
			if first, second := written(t, in), written(t, again); !bytes.Equal(first, second) {
				t.Errorf("%s: from the answer\n%s\nfrom the database\n%s", code, first, second)
			}
			in.Record.Stored, again.Record.Stored = nil, nil
			in.Record.values, again.Record.values = nil, nil
			if !reflect.DeepEqual(in.Record, again.Record) {
				t.Errorf("%s: from the answer\n%+v\nfrom the database\n%+v", code, in.Record, again.Record)
			}
		}
	}
}
