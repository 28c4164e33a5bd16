package commands

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"noggin/batch/batchtest"
	"noggin/storage"
)

func securitySection(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## SECURITY\n")
	if !found {
		t.Fatal("the guide has no section SECURITY")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// Every promise of the guide's section has its test.
func TestTheTestsThatTheGuideNamesAreThere(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\bTest\w+`).FindAllString(securitySection(t), -1)
	if len(named) < 10 {
		t.Errorf("the guide names only %v", named)
	}
	for _, name := range named {
		if !tests[name] {
			t.Errorf("there is no %s", name)
		}
	}
}

// The role that the guide makes reads everything, and changes and locks nothing.
func TestTheGuidesReaderOnlyReads(t *testing.T) {
	t.Parallel()
	cfg := storage.DefaultConfig()
	cfg.URL = batchtest.Database(t)
	_ = batchtest.InitDatabase(t, cfg, "test")
	owner, err := sql.Open("postgres", cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	var database, role string
	if err := owner.QueryRow("SELECT current_database(), current_user").Scan(&database, &role); err != nil {
		t.Fatal(err)
	}
	_, statements, found := strings.Cut(securitySection(t), "psql noggin_db <<SQL\n")
	statements, _, ended := strings.Cut(statements, "    SQL\n")
	if !found || !ended {
		t.Fatal("the guide has no SQL for a reader")
	}
	reader := "reader_" + database
	statements = strings.NewReplacer("noggin_db", database, "noggin_reader", reader, "ROLE noggin ", "ROLE "+role+" ").Replace(statements)
	if _, err := owner.Exec(statements); err != nil {
		t.Fatalf("%v in %s", err, statements)
	}
	t.Cleanup(func() {
		again, err := sql.Open("postgres", cfg.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if _, err := again.Exec("DROP OWNED BY " + reader + "; DROP ROLE " + reader); err != nil {
			t.Error(err)
		}
	})
	if _, err := owner.Exec("ALTER ROLE " + reader + " PASSWORD 'reads'; CREATE TABLE noggin_schema.later (n int)"); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(reader, "reads")
	conn, err := sql.Open("postgres", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, allowed := range []string{"SELECT count(*) FROM noggin_data", "SELECT * FROM queue_depth", "SELECT count(*) FROM noggin_schema.later"} {
		if _, err := conn.Exec(allowed); err != nil {
			t.Errorf("%s: %v", allowed, err)
		}
	}
	for _, refused := range []string{
		"INSERT INTO noggin_data (tip, object_type) VALUES ('x', 'LCD')", "UPDATE circuit SET state = 'open'", "DELETE FROM runs", "TRUNCATE samples",
		"LOCK TABLE names_lock IN ROW EXCLUSIVE MODE", "BEGIN; LOCK TABLE maintenance_lock IN SHARE UPDATE EXCLUSIVE MODE", "SELECT * FROM noggin_data FOR UPDATE",
		"CREATE TABLE noggin_schema.mine (n int)", "CREATE TABLE public.mine (n int)", "SELECT nextval('runs_id_seq')",
	} {
		if _, err := conn.Exec(refused); err == nil {
			t.Errorf("%s is allowed", refused)
		}
	}
}
