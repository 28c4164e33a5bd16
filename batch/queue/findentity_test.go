package queue_test

import (
	"errors"
	"strings"
	"testing"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/queue"
	"noggin/storage"
)

func TestAnEntityIsFoundAsPeopleNameIt(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	m.Execute(`INSERT INTO noggin_schema.entity_hashes (hash_value, entity_type, entity_name)
		VALUES ('a1', 'team', 'Kewdale'), ('a2', 'team', 'Kewdale East'), ('a3', 'team', 'KEWDALE'), ('a4', 'team', 'صيانة'), ('abcdef0123', 'team', '12345678')`)
	m.Execute(`INSERT INTO noggin_schema.unknown_hashes (hash_value, entity_type) VALUES ('12345678aa', 'team')`)
	for text, want := range map[string]string{
		"kewdale":                   "a3 a1", // one name, though two hashes have it
		" Kewdale  EAST ":           "a2",
		"kewd":                      "a3 a1 a2 ambiguous",
		"صيا":                       "a4",
		"ABCDEF01":                  "abcdef0123",
		"12345678":                  "abcdef0123", // a name before a hash
		"12345678a":                 "12345678aa",
		"":                          "",
		"  ":                        "",
		"%":                         "",
		"a\xff":                     "",
		"a\x00":                     "",
		"'; DROP TABLE x; --":       "",
		strings.Repeat("x", 10_000): "",
	} {
		found, err := queue.FindEntities(t.Context(), m.DB, "team", text)
		if err != nil {
			t.Fatal(errors.Join(err, errors.New(text)))
		}
		var got []string
		for _, e := range found {
			got = append(got, e.Hash)
		}
		if len(found) > 0 && !queue.OneEntity(found) {
			got = append(got, "ambiguous")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%.40q is %q, want %q", text, got, want)
		}
	}
	if queue.OneEntity(nil) || queue.OneEntity([]storage.Entity{{Hash: "a"}, {Hash: "b"}}) || !queue.OneEntity([]storage.Entity{{Hash: "a"}}) {
		t.Error("none, or two hashes without a name, are one")
	}
}
