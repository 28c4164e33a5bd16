package storagetest

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
)

func TestCopiesOfWhatWasPreparedAreApart(t *testing.T) {
	t.Parallel()
	made, key := 0, rand.Text()
	prepare := func(url string) error {
		made++
		return execute(url, "CREATE TABLE t (n int UNIQUE)")
	}
	for range 2 {
		if err := execute(Prepared(t, key, prepare), "INSERT INTO t VALUES (1)"); err != nil {
			t.Error(err)
		}
	}
	if made != 1 {
		t.Errorf("prepared %d times", made)
	}
}

func TestATemplateThatWasNotFinishedIsMadeAgain(t *testing.T) {
	t.Parallel()
	server, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name, broken := "noggin_template_"+strings.ToLower(rand.Text()), errors.New("broken")
	if err := makeTemplate(server, name, func(url string) error {
		return errors.Join(execute(url, "CREATE TABLE t (n int)"), broken)
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	made := 0
	for range 2 { // as two processes
		if err := makeTemplate(server, name, func(url string) error {
			made++
			return execute(url, "CREATE TABLE t (n int)")
		}); err != nil {
			t.Fatal(err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}
