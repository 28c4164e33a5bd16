package commands

import (
	"testing"

	"noggin/batch/process"
)

func TestEveryRecordThatWasAskedAgainIsTold(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]process.Summary{
		"":                                  {},
		"1,002: 1,000 unchanged, 2 changed": {AskedAgain: 1002, Unchanged: 1000, Changed: 2},
		"12: 6 unchanged, 0 changed, 1 reduced, 1 older, 3 gone, 1 without an answer": {AskedAgain: 12, Unchanged: 6, Reduced: 1, Older: 1, Gone: 3},
	} {
		if got := askedAgain(s); got != want {
			t.Errorf("%+v tells %q, want %q", s, got, want)
		}
	}
}
