package maintain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/batch/files"
)

// plant puts a dump that runs SQL of its own into the folder of backups, with a manifest
// of its own, as somebody who can write there. It returns the backup.
func plant(t *testing.T, m *Maintenance, like Backup, statement string) Backup {
	t.Helper()
	db, err := m.DB.NewScratch(t.Context(), "noggin_schema")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Drop(t.Context()) }()
	environ, err := m.Database.Environment(files.Environment(), db.Name)
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		program, err := findProgram(t.Context(), name, 0)
		if err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), program, args...)
		command.Env = environ
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
	}
	// An index on an expression runs its function when it is restored.
	run("psql", "--set=ON_ERROR_STOP=1", "--command", "CREATE SCHEMA noggin_schema; CREATE TABLE noggin_schema.bait AS SELECT 1 AS n;"+
		"CREATE FUNCTION noggin_schema.spring() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN IF current_database() <> '"+db.Name+"' THEN "+statement+"; END IF; END $f$;"+
		"CREATE FUNCTION noggin_schema.trap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $f$ BEGIN PERFORM noggin_schema.spring(); RETURN 1; END $f$;"+
		"CREATE INDEX ON noggin_schema.bait (noggin_schema.trap(n))")
	b := like
	b.File, b.TakenAt = strings.Replace(like.File, ".dump", "", 1)[:len(like.File)-len("20060102_150405.dump")]+"20990101_000000.dump", time.Now().Add(time.Hour)
	run("pg_dump", "--format=custom", "--schema=noggin_schema", "--file="+b.Path())
	text, err := os.ReadFile(b.Path())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	b.Bytes, b.SHA256 = int64(len(text)), hex.EncodeToString(sum[:])
	if err := errors.Join(os.Chmod(b.Path(), 0o640), b.writeManifest()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestADumpThatTheDatabaseDidNotRecordIsNotRestored(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 2)
	own := mustBackup(t, m)
	marker := "caught_" + strings.TrimSuffix(strings.ToLower(filepath.Base(filepath.Dir(m.Paths.Output))), "_")
	name, err := m.Database.DatabaseName()
	if err != nil {
		t.Fatal(err)
	}
	marker += "_" + strings.TrimPrefix(name, "noggin_test_")
	planted := plant(t, m, own, "EXECUTE 'ALTER DATABASE "+name+" SET noggin.caught = ''"+marker+"'''")
	caught := func() bool { return strings.Contains(psql(t, m, "SELECT setconfig FROM pg_db_role_setting"), marker) }

	effect, err := m.VerifyBackup(t.Context(), "", "")
	v, ok := effect.Details.(verification)
	if err != nil || !ok || v.Path != own.Path() || len(v.Warnings) == 0 || !strings.Contains(v.Warnings[0], "1 backup in ") {
		t.Errorf("the newest backup is told as %+v, %v", effect, err)
	}
	if _, err := m.VerifyBackup(t.Context(), planted.File, ""); err == nil || !strings.Contains(err.Error(), "--sha256") {
		t.Errorf("the planted dump: %v", err)
	}
	if _, err := m.VerifyBackup(t.Context(), planted.File, own.SHA256); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "its content has changed") {
		t.Errorf("the planted dump under the SHA-256 of another: %v", err)
	}
	lying := planted // its manifest says the SHA-256 of a dump that was recorded
	lying.SHA256 = own.SHA256
	if err := lying.writeManifest(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", planted.File} {
		if _, err := m.VerifyBackup(t.Context(), path, ""); !errors.Is(err, ErrIncomplete) {
			t.Errorf("the planted dump with a lying manifest: %v", err)
		}
	}
	if caught() {
		t.Fatal("the planted dump was restored")
	}
	// Rotation and an emergency count only what the database recorded.
	if err := planted.writeManifest(); err != nil {
		t.Fatal(err)
	}
	if counted, err := (&Emergency{Maintenance: m}).ownBackups(t.Context()); err != nil || len(counted) != 1 || counted[0].File != own.File {
		t.Errorf("an emergency counts %+v, %v", counted, err)
	}
	m.Config.KeepDaily, m.Config.KeepWeekly, m.Config.KeepMonthly = 1, 0, 0
	if _, err := m.Backup(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(planted.Path()); err != nil {
		t.Errorf("rotation took part in what it did not make: %v", err)
	}
	// Whoever knows the SHA-256 restores it.
	if _, err = m.VerifyBackup(t.Context(), planted.File, planted.SHA256); err == nil || !caught() {
		t.Errorf("with --sha256: %v: the trap of this test does not work", err)
	}

	// A role of its own reaches nothing of noggin's.
	role := "trial_" + name
	psql(t, m, "CREATE ROLE "+role+" LOGIN CREATEDB PASSWORD 'trial'")
	t.Cleanup(func() { psql(t, m, "DROP ROLE "+role) })
	address, err := url.Parse(m.Database.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User, address.Path = url.UserPassword(role, "trial"), "/postgres"
	m.Config.VerifyURL = address.String()
	if _, err := m.VerifyBackup(t.Context(), planted.File, planted.SHA256); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "must be owner") {
		t.Errorf("under another role: %v", err)
	}
	if _, err := m.VerifyBackup(t.Context(), own.File, ""); err != nil {
		t.Errorf("under another role: %v", err)
	}
}

// psql runs a statement as noggin.
func psql(t *testing.T, m *Maintenance, statement string) string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	program, err := findProgram(ctx, "psql", 0)
	if err != nil {
		t.Fatal(err)
	}
	environ, err := m.Database.Environment(files.Environment(), "")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, program, "--tuples-only", "--command", statement)
	command.Env = environ
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestADumpThatOthersCanChangeIsNotRestored(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 1)
	b := mustBackup(t, m)
	for name, spoil := range map[string]func() error{
		"mode": func() error { return os.Chmod(b.Path(), 0o660) },
		"link": func() error {
			return errors.Join(os.Rename(b.Path(), b.Path()+".moved"), os.Symlink(b.Path()+".moved", b.Path()))
		},
		"owner": func() error { return os.Chown(b.Path(), 12345, -1) },
	} {
		if name == "owner" && os.Geteuid() != 0 {
			continue
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.VerifyBackup(t.Context(), b.File, ""); err == nil {
			t.Errorf("%s: it was restored", name)
		}
		if name == "link" {
			if err := errors.Join(os.Remove(b.Path()), os.Rename(b.Path()+".moved", b.Path())); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Chmod(b.Path(), 0o640), os.Chown(b.Path(), os.Geteuid(), -1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.VerifyBackup(t.Context(), b.File, ""); err != nil {
		t.Error(err)
	}
}

// realProgram matches the folder of PostgreSQL's programs.
var realProgram = regexp.MustCompile(`/usr/[^ ']*/bin/`)

// No field of a manifest becomes a command of the restore plan.
func TestARestorePlanRunsNothingOfAManifest(t *testing.T) {
	t.Parallel()
	m := newMaintenance(t, 1)
	b := mustBackup(t, m)
	manifest, err := os.ReadFile(b.Path() + manifestSuffix)
	if err != nil {
		t.Fatal(err)
	}
	caught := filepath.Join(t.TempDir(), "caught")
	payloads := []string{
		"UTF8; touch " + caught, "UTF8\ntouch " + caught, "$(touch " + caught + ")", "`touch " + caught + "`", "' ; touch " + caught + " #",
		"\" ; touch " + caught + " #", "x\u2028touch " + caught, "-x --help", "host=203.0.113.1 dbname=x", "postgres://203.0.113.1/x", "a'b\\", "../../x",
		"17; touch " + caught, "17\u0085touch " + caught,
	}
	touch := t.TempDir() // the only program there
	if err := os.Symlink("/usr/bin/touch", filepath.Join(touch, "touch")); err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(manifest, &fields); err != nil {
		t.Fatal(err)
	}
	// A shell that only says what it would run: every program is a function that does nothing.
	const shell = `createdb() { :; }; noggin() { :; }; systemctl() { :; }; find() { :; }; xargs() { :; }; export -f createdb noggin systemctl find xargs
command_not_found_handle() { :; }
`
	for field := range fields {
		for _, payload := range payloads {
			changed := map[string]any{}
			for name, value := range fields {
				changed[name] = value
			}
			changed[field] = payload
			if field == "rows" {
				changed[field] = map[string]int64{payload: 1}
			}
			doc, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(b.Path()+manifestSuffix, doc, 0o600); err != nil {
				t.Fatal(err)
			}
			plan, err := PlanRestore(t.Context(), m.Paths, m.Database, b.Path(), "noggin", time.Now())
			if err != nil {
				continue // refused
			}
			var script strings.Builder
			script.WriteString(shell)
			for _, step := range plan.Steps {
				for _, command := range step.Commands {
					if strings.ContainsAny(command, "\n\r\u2028\u2029") || slices.Contains(strings.Fields(command), payload) && strings.HasPrefix(payload, "-") {
						t.Errorf("%s = %q: %q", field, payload, command)
					}
					if strings.Contains(command, "pg_restore") && !strings.Contains(command, "dbname='") && !strings.Contains(command, `dbname='\''`) {
						t.Errorf("%s = %q: pg_restore may take the name for a connection: %s", field, payload, command)
					}
					script.WriteString(realProgram.ReplaceAllString(command, "/nonexistent/") + "\n")
				}
			}
			shell := exec.CommandContext(t.Context(), "bash", "-c", script.String())
			shell.Dir, shell.Env = t.TempDir(), []string{"PATH=" + touch}
			_ = shell.Run() // the programs are missing
			if _, err := os.Stat(caught); err == nil {
				t.Fatalf("%s = %q ran", field, payload)
			}
		}
	}
}

// Every program that noggin runs gets the listed variables alone, also when it is only
// asked for its version.
func TestProgramsGetOnlyTheListedVariables(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pg_dump", "pg_restore"} {
		script := "#!/bin/sh\nenv >>" + dir + "/seen\necho '" + name + " (PostgreSQL) 1.0'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m := newMaintenance(t, 1)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, secret := range []string{"NOGGIN_BEARER_TOKEN", "NOGGIN_DATABASE_URL", "CREDENTIALS_DIRECTORY", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD_TOKEN", "NOGGIN_ANYTHING", "SOMETHING_ELSE"} {
		t.Setenv(secret, "s3cret-"+secret)
	}
	mustBackup(t, m)
	if _, err := m.VerifyBackup(t.Context(), "", ""); err != nil {
		t.Fatal(err)
	}
	seen, err := os.ReadFile(filepath.Join(dir, "seen"))
	if err != nil || len(seen) == 0 || strings.Contains(string(seen), "s3cret") {
		t.Errorf("the programs saw %s, %v", seen, err)
	}
}
