package commands

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"noggin/commands/cmdline"
	"noggin/storage/storagetest"
)

func TestLostRepliesOfTheDatabaseRepeatNothing(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(60, 300), "max_requests_per_second = 100")
	database := d.postgres.URL("noggin_db")
	proxy := storagetest.NewProxy(t, database)
	d.configure(proxy.URL(database), "max_requests_per_second = 100")
	var commits atomic.Int64
	proxy.LoseReply(func(statement string) bool {
		return strings.HasPrefix(strings.ToUpper(strings.TrimSpace(statement)), "COMMIT") && commits.Add(1)%5 == 0
	})
	for range 2 {
		if code := d.run("process", "--until-empty", "--quiet"); code != cmdline.ExitDone {
			t.Errorf("exit code %d", code)
		}
	}
	if proxy.Lost() == 0 {
		t.Error("no reply was lost")
	}
	proxy.LoseReply(nil)
	d.finishOff()
	d.verify()
}

func TestADatabaseThatFailsOverLosesNothing(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(60, 300), "max_requests_per_second = 60")
	admin := d.open("postgres")
	// Where connections lead to is a standby, which takes no writes until it is promoted.
	standby := func(setting string) {
		for _, statement := range []string{
			`ALTER DATABASE noggin_db ` + setting,
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'noggin process'`,
		} {
			if _, err := admin.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd, done := d.start("process", "--until-empty", "--quiet")
	for range sized(1, 5) {
		before := d.incomplete()
		for d.incomplete() >= before {
			time.Sleep(10 * time.Millisecond)
		}
		standby(`SET default_transaction_read_only = on`)
		time.Sleep(2 * time.Second)
		standby(`RESET default_transaction_read_only`)
	}
	<-done
	if code := cmd.ProcessState.ExitCode(); code != cmdline.ExitDone {
		t.Errorf("the run did not outlive the failover: exit code %d", code)
	}
	d.finishOff()
	d.verify()
	d.uncounted()
}

func TestAFullDiskOfTheDatabaseLosesNothing(t *testing.T) {
	t.Parallel()
	d := newDrill(t, sized(120, 300), "") // three runs leave at most 33 records each claimed
	volume := filepath.Join(d.folder, "volume")
	if err := os.Mkdir(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", volume, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("no small volume can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(volume, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	d.moveTables(volume)
	// The ballast leaves room for a few records.
	var left syscall.Statfs_t
	if err := syscall.Statfs(volume, &left); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(volume, "ballast")
	if err := os.WriteFile(ballast, make([]byte, left.Bavail*uint64(left.Bsize)-256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if code := d.run("process", "--until-empty", "--quiet"); code != cmdline.ExitDatabase {
			t.Errorf("with the database's disk full: exit code %d", code)
		}
	}
	d.says("free space on the volume of the database's server")
	if n := d.count(`SELECT count(*) FROM noggin_schema.noggin_data WHERE retry_count > 0 OR permanently_failed`); n > 0 {
		t.Errorf("%d records were counted against", n)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	d.finishOff()
	d.verify()
	d.noTemporaryFiles()
}

// moveTables puts the database onto another volume.
func (d *drill) moveTables(volume string) {
	d.t.Helper()
	var data string
	if err := d.sql.QueryRowContext(d.t.Context(), `SHOW data_directory`).Scan(&data); err != nil {
		d.t.Fatal(err)
	}
	var owner syscall.Stat_t
	if err := syscall.Stat(data, &owner); err != nil {
		d.t.Fatal(err)
	}
	for _, folder := range []string{filepath.Dir(d.folder), d.folder} { // the server has to get there
		if err := os.Chmod(folder, 0o755); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := os.Chown(volume, int(owner.Uid), int(owner.Gid)); err != nil {
		d.t.Fatal(err)
	}
	if err := d.sql.Close(); err != nil { // a database in use cannot be moved
		d.t.Fatal(err)
	}
	admin := d.open("postgres")
	for _, statement := range []string{`CREATE TABLESPACE small LOCATION '` + volume + `'`, `ALTER DATABASE noggin_db SET TABLESPACE small`} {
		if _, err := admin.ExecContext(d.t.Context(), statement); err != nil {
			d.t.Fatal(err)
		}
	}
	d.sql = d.open("noggin_db")
}
