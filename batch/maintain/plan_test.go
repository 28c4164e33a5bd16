package maintain

import (
	"database/sql"
	"errors"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// planText returns the notes and commands of the plan for a backup.
func planText(t *testing.T, m *Maintenance, b Backup) (notes, commands string) {
	t.Helper()
	plan, err := PlanRestore(t.Context(), m.Paths, m.Database, b.Path(), "noggin", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var told, run []string
	for _, step := range plan.Steps {
		told, run = append(told, step.Notes...), append(run, step.Commands...)
	}
	return strings.Join(told, "\n"), strings.Join(run, "\n")
}

func TestARestorePlanIsForTheDatabaseOfTheConfiguration(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 1)
	b := mustBackup(t, m)
	notes, _ := planText(t, m, b)
	if strings.Contains(notes, "It takes the place of") || !strings.Contains(notes, "has the schema noggin_schema alone. Other schemas") ||
		!strings.Contains(notes, "pg_dump --exclude-schema=noggin_schema ") {
		t.Errorf("the notes are\n%s", notes)
	}
	address, err := url.Parse(m.Database.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/staging"
	m.Database.URL = address.String()
	notes, commands := planText(t, m, b)
	renames := 0
	for command := range strings.Lines(commands) {
		if strings.Contains(command, "ALTER DATABASE") {
			renames++
		}
	}
	if strings.Contains(commands, `"`+b.Database) || renames != 2 || !strings.Contains(commands, `ALTER DATABASE "staging" RENAME TO "staging_corrupt_`) ||
		!strings.Contains(commands, `RENAME TO "staging"`) || !strings.Contains(notes, "is of the database "+b.Database+". It takes the place of staging,") {
		t.Errorf("the plan with the backup of another database is\n%s%s", notes, commands)
	}
	m.Database.Schema = "another"
	if _, err := PlanRestore(t.Context(), m.Paths, m.Database, b.Path(), "noggin", time.Now()); err == nil ||
		!strings.Contains(err.Error(), "has the schema noggin_schema, and the configuration names another") {
		t.Errorf("a plan with the backup of another schema: %v", err)
	}
}

// root may ask for the plan, and the user noggin follows it.
func TestARestorePlanNamesNoRoleThatTheConfigurationDoesNot(t *testing.T) {
	for _, name := range []string{"PGUSER", "PGSERVICE", "PGPASSFILE"} {
		t.Setenv(name, "")
	}
	m := newMaintenance(t, 1)
	b := mustBackup(t, m)
	for login, named := range map[string]bool{"": false, "keeper@": true} {
		m.Database.URL = "postgres://" + login + "/" + b.Database + "?host=/run/postgresql&passfile=/etc/noggin/pgpass"
		_, commands := planText(t, m, b)
		if strings.Contains(commands, "PGUSER") != named || strings.Contains(commands, "--owner=") != named || named && !strings.Contains(commands, "--owner=keeper ") {
			t.Errorf("with %q before the host:\n%s", login, commands)
		}
		if !slices.Contains(strings.Split(commands, "\n"), "export PGPASSFILE=/etc/noggin/pgpass") {
			t.Errorf("the plan leaves out the file of passwords:\n%s", commands)
		}
	}
}

// A masked noggin.target can neither be started nor enabled.
func TestARestorePlanSaysHowToGiveItUp(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 1)
	plan, err := PlanRestore(t.Context(), m.Paths, m.Database, mustBackup(t, m).Path(), "noggin", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(plan.Steps[0].Notes, "\n"); !slices.Contains(plan.Steps[0].Commands, "systemctl mask noggin.target") ||
		!strings.Contains(notes, "`sudo systemctl unmask noggin.target` and `sudo systemctl start noggin.target` on every host, and `noggin maintain resume`") {
		t.Errorf("%+v", plan.Steps[0])
	}
}

// The command that copies other schemas stands where it can run, and runs in the shell of
// another user than the plan's other commands.
func TestARestorePlanCopiesOtherSchemasOnceTheDatabasesAreRenamed(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 1)
	plan, err := PlanRestore(t.Context(), m.Paths, m.Database, mustBackup(t, m).Path(), "noggin", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var copying string
	renames := 0
	for _, step := range plan.Steps {
		for _, note := range step.Notes {
			if _, command, is := strings.Cut(note, "copy these schemas: "); is {
				copying = command
			}
		}
		for _, command := range step.Commands {
			if strings.Contains(command, "ALTER DATABASE") {
				if renames++; copying != "" {
					t.Errorf("before the database is renamed: %s", copying)
				}
			}
		}
	}
	_, aside, _ := strings.Cut(copying, "dbname='\\''")
	aside, _, _ = strings.Cut(aside, "'")
	if renames != 2 || !strings.Contains(aside, "_corrupt_") {
		t.Fatalf("%d renames, other schemas: %q", renames, copying)
	}
	address, err := url.Parse(m.Database.URL)
	if err != nil {
		t.Fatal(err)
	}
	here := testPool(t, address.String())
	address.Path = "/" + aside
	if _, err := here.Exec(`CREATE DATABASE "` + aside + `"`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = here.Exec(`DROP DATABASE "` + aside + `" WITH (FORCE)`) })
	if _, err := testPool(t, address.String()).Exec("CREATE SCHEMA beside; CREATE TABLE beside.facts AS SELECT 7 AS fact"); err != nil {
		t.Fatal(err)
	}
	environ, err := m.Database.Environment(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", copying)
	cmd.Env = slices.DeleteFunc(environ, func(v string) bool {
		return strings.HasPrefix(v, "PGHOST") || strings.HasPrefix(v, "PGPORT=") || strings.HasPrefix(v, "PGDATABASE=")
	})
	out, err := cmd.CombinedOutput()
	var fact int
	if err := errors.Join(err, here.QueryRow("SELECT fact FROM beside.facts").Scan(&fact)); err != nil || fact != 7 {
		t.Errorf("%s: %d, %v\n%s", copying, fact, err, out)
	}
}

func testPool(t *testing.T, address string) *sql.DB {
	t.Helper()
	pool, err := sql.Open("postgres", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// libpq reads one file of passwords: ~/.pgpass is not read where another one is named.
func TestARestorePlanNamesTheFileOfPasswordsThatIsRead(t *testing.T) {
	for _, name := range []string{"PGSERVICE", "PGPASSFILE"} {
		t.Setenv(name, "")
	}
	m := newMaintenance(t, 1)
	b := mustBackup(t, m)
	for passfile, want := range map[string]string{"": "~/.pgpass", "&passfile=/etc/noggin/pgpass": "/etc/noggin/pgpass"} {
		m.Database.URL = "postgres://keeper:secret@/" + b.Database + "?host=/run/postgresql" + passfile
		if notes, _ := planText(t, m, b); !strings.Contains(notes, "The password is in your configuration: put it into "+want+", or export PGPASSWORD.") {
			t.Errorf("with %q:\n%s", passfile, notes)
		}
	}
}
