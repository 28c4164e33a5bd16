package setup

import (
	"errors"
	"slices"
	"testing"
)

func TestWhatIsMissingComesWithTheCommandThatMakesIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ said, url, want string }{
		{`pq: role "noggin" does not exist (28000)`, "postgres:///noggin_db", "to make it, on the database's host: `sudo -u postgres createuser --createdb noggin`"},
		{`pq: database "noggin_db" does not exist (3D000)`, "postgres://keeper@127.0.0.1/noggin_db", "to make it, on the database's host: `sudo -u postgres createdb --owner keeper noggin_db`"},
		{`pq: database "a b" does not exist (3D000)`, "postgres://keeper@127.0.0.1/a%20b", ""},
		{`pq: database "noggin_db" does not exist (3D000)`, "postgres://x;reboot@127.0.0.1/noggin_db", ""},
		{`pq: password authentication failed for user "noggin" (28P01)`, "postgres://noggin@127.0.0.1/noggin_db", ""},
	} {
		var want []string
		if test.want != "" {
			want = []string{test.want}
		}
		if got := howToMake(errors.New(test.said), test.url); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", test.said, got, want)
		}
	}
}
