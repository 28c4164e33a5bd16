package health_test

import (
	"testing"

	"noggin/batch/health"
)

func TestANumberStandsWithItsNoun(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		health.Plural(int64(1), "record"):              "1 record",
		health.Plural(0, "record"):                     "0 records",
		health.Plural(1656, "record"):                  "1,656 records",
		health.Plural(2, "hash"):                       "2 hashes",
		health.Plural(3, "copy"):                       "3 copies",
		health.Plural(1, "file waits|files wait"):      "1 file waits",
		health.Plural(2345, "file waits|files wait"):   "2,345 files wait",
		health.Plural(int64(2), "new leaf|new leaves"): "2 new leaves",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
