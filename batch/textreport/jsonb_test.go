package textreport

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"strings"
	"testing"

	_ "github.com/lib/pq"

	"noggin/api/apitest"
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
	const levels = 249 // two each: as deep as a payload may be
	payloads := map[string][]string{"LCD": {
		hostilePayload,
		`{"\u0000":"\ud800","lcdInspectionId":"a\u0000b","x":"` + "\xff" + `","jobNumber":-0.00e-3,"runNumber":1.50E2,"mass":1e-999,` +
			`"b":1e1000,"c":1e999999,"d":-1e-99999,"e":` + strings.Repeat("9", 1000) + `,"f":1e-20000,"g":0e99999999999}`,
		`{"deep":` + strings.Repeat(`[{"a":`, levels) + "1" + strings.Repeat("}]", levels) + `}`,
	}}
	for _, code := range formCodes {
		payloads[code] = append(payloads[code], string(apitest.Sample(code)))
	}
	for code, all := range payloads {
		for _, raw := range all {
			in := reportOf(t, code, raw)
			var kept string
			if err := db.QueryRowContext(t.Context(), "SELECT CAST($1 AS jsonb)", string(in.record.Stored)).Scan(&kept); err != nil {
				t.Errorf("%s %.60s: %v", code, raw, err)
				continue
			}
			again := reportOf(t, code, kept)
			if first, second := written(t, in), written(t, again); !bytes.Equal(first, second) {
				t.Errorf("%s: from the answer\n%s\nfrom the database\n%s", code, first, second)
			}
			in.record.Stored, again.record.Stored = nil, nil
			in.record.Values, again.record.Values = nil, nil
			first, err := json.Marshal(in.record)
			second, errAgain := json.Marshal(again.record)
			if err != nil || errAgain != nil || !bytes.Equal(first, second) {
				t.Errorf("%s: from the answer\n%+v\nfrom the database\n%+v", code, in.record, again.record)
			}
		}
	}
}
