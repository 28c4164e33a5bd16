package storagetest

import (
	"database/sql"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func count(t *testing.T, db *sql.DB, query string) int {
	t.Helper()
	var n int
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	first, second := open(t, Database(t)), open(t, Database(t))
	mustExec(t, first, "CREATE TABLE records (tip text)")
	if n := count(t, second, "SELECT count(*) FROM pg_tables WHERE tablename = 'records'"); n != 0 {
		t.Errorf("the second database has %d tables of the first", n)
	}
}

func TestServerThatIsNotForTestsIsRefused(t *testing.T) {
	t.Parallel()
	for value, wanted := range map[string]bool{"on": true, "": false} {
		s := Private(t, Options{Settings: map[string]string{testsSetting: value}})
		err := checkForTests(s.URL("postgres"))
		if (err == nil) != wanted {
			t.Errorf("with %s = %q: %v", testsSetting, value, err)
		}
		if err != nil && strings.Contains(err.Error(), s.password) {
			t.Errorf("the refusal tells the password: %v", err)
		}
	}
}

func TestTestsOfOtherProcessesShareTheServer(t *testing.T) {
	t.Parallel()
	s := Private(t, Options{})
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := func() ([]byte, error) {
		cmd := exec.Command(program, "-test.run", "^TestEachTestHasADatabaseOfItsOwn$")
		cmd.Env = append(os.Environ(), EnvURL+"="+s.URL("postgres"))
		return cmd.CombinedOutput()
	}
	if out, err := elsewhere(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := count(t, open(t, s.URL("postgres")), "SELECT count(*) FROM pg_database WHERE starts_with(datname, 'noggin_test_')"); n != 0 {
		t.Errorf("%d databases remain", n)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if out, err := elsewhere(); err == nil {
		t.Errorf("the other process has databases elsewhere when this server is stopped\n%s", out)
	}
}

func TestRestartKeepsDataAndAddress(t *testing.T) {
	t.Parallel()
	s := Private(t, Options{})
	if err := s.CreateDatabase("d"); err != nil {
		t.Fatal(err)
	}
	db := open(t, s.URL("d"))
	mustExec(t, db, "CREATE TABLE records (tip text)")
	for _, end := range []struct {
		name string
		end  func() error
	}{{"stop", s.Stop}, {"stop at once", s.StopImmediate}, {"kill", s.Kill}, {"none", func() error { return nil }}} {
		mustExec(t, db, "INSERT INTO records VALUES ('x')")
		before := count(t, db, "SELECT count(*) FROM records")
		if err := end.end(); err != nil {
			t.Fatalf("%s: %v", end.name, err)
		}
		if err := s.Restart(); err != nil {
			t.Fatalf("restart after %s: %v", end.name, err)
		}
		fresh := open(t, s.URL("d"))
		if after := count(t, fresh, "SELECT count(*) FROM records"); after != before {
			t.Errorf("after %s and restart %d rows, want %d", end.name, after, before)
		}
		db = fresh
	}
}
