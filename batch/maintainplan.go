package batch

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"noggin/storage"
)

// PlanStep is a step of a recovery: what it is for, and the commands to copy.
type PlanStep struct {
	Title    string   `json:"title"`
	Notes    []string `json:"notes"`
	Commands []string `json:"commands"`
}

// RestorePlan is the operations manual's "Recovery from Data Corruption" with an
// installation's own values.
type RestorePlan struct {
	Backup   string     `json:"backup"`
	TakenAt  time.Time  `json:"taken_at"`
	Records  int64      `json:"records"`
	Verified *time.Time `json:"verified_at"`
	Steps    []PlanStep `json:"steps"`
}

// gapMargin is by how much files are looked for that are older than the backup:
// clocks of hosts differ, and importing or registering twice does no harm.
const gapMargin = time.Hour

// planner knows the values that a plan is made of.
type planner struct {
	backup   Backup
	paths    Paths
	noggin   string   // the command, with --config where it needs that
	exports  []string // libpq's variables
	password bool     // one is needed that is not to be printed
	programs string   // folder of PostgreSQL's own
	stamp    string   // of now, for names
	since    string   // files changed after that are in the gap
}

// PlanRestore makes the plan for the backup at path (or of that name, or the newest
// for ""). It needs no database. noggin is how the command is called here.
func PlanRestore(ctx context.Context, cfg Config, database storage.Config, path, noggin string, now time.Time) (RestorePlan, error) {
	b, err := (&Maintenance{Config: cfg, Database: database}).findBackup(path)
	if err != nil {
		return RestorePlan{}, err
	}
	if b.Broken != "" {
		return RestorePlan{}, fmt.Errorf("%s is no good: %s: take another", b.Path(), b.Broken)
	}
	version, _, _ := strings.Cut(b.ServerVersion, ".")
	major, err := strconv.Atoi(version)
	if err != nil {
		return RestorePlan{}, fmt.Errorf("the manifest of %s has no server version: %w", b.Path(), err)
	}
	program, err := findProgram(ctx, "pg_restore", major)
	if err != nil {
		return RestorePlan{}, err
	}
	p := planner{
		backup: b, paths: cfg.Paths, noggin: noggin, programs: filepath.Dir(program), stamp: now.Format("20060102_150405"),
		since: b.TakenAt.Add(-gapMargin).In(now.Location()).Format("2006-01-02 15:04:05 -0700"),
	}
	environ, err := database.Environment(nil, "")
	if err != nil {
		return RestorePlan{}, err
	}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		switch name {
		case "PGPASSWORD":
			p.password = true
		case "PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGSSLMODE", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT":
			p.exports = append(p.exports, "export "+name+"="+ShellQuoted(value))
		}
	}
	return RestorePlan{
		Backup: b.Path(), TakenAt: b.TakenAt, Records: b.Rows["noggin_data"], Verified: b.VerifiedAt,
		Steps: slices.Concat(p.secure(), p.restore(), p.closeGap()),
	}, nil
}

// secure stops everything and keeps what there is.
func (p planner) secure() []PlanStep {
	kept := ShellQuoted(p.kept())
	return []PlanStep{
		{
			Title: "Stop everything, on every host",
			Notes: []string{"Go on where a command fails because the database does."},
			Commands: []string{
				p.noggin + ` maintain pause --reason "restoring the database"`,
				"systemctl stop noggin.target",
			},
		},
		{
			Title: "Keep the present state, even if it is corrupt, and its names",
			Notes: []string{"Go on where a command fails because the database does."},
			Commands: []string{
				p.noggin + " maintain backup --to " + kept,
				p.noggin + " hashes list all --known --format csv > " + kept + "/names.csv",
			},
		},
		{
			Title: "See how far the corruption goes, and that the backup is good",
			Commands: []string{
				p.noggin + " report database",
				p.noggin + " maintain verify-backup " + ShellQuoted(p.backup.Path()),
			},
		},
	}
}

func (p planner) kept() string { return filepath.Join(p.paths.Backups, "before_restore_"+p.stamp) }

// restore puts the backup in the place of the database, which stays under another
// name.
func (p planner) restore() []PlanStep {
	b := p.backup
	short := firstOf(b.Database, 38) // PostgreSQL cuts names at 63 bytes
	restored, aside := short+"_restored_"+p.stamp, short+"_corrupt_"+p.stamp
	program := func(name string) string { return ShellQuoted(filepath.Join(p.programs, name)) }
	rename := func(from, to string) string {
		return program("psql") + " --dbname=postgres --set=ON_ERROR_STOP=1 --command=" +
			ShellQuoted(fmt.Sprintf(`ALTER DATABASE %s RENAME TO %s`, sqlQuoted(from), sqlQuoted(to)))
	}
	notes := []string{"As a role that may create databases."}
	if p.password {
		notes = append(notes, "The password is in your configuration: put it into ~/.pgpass, or export PGPASSWORD.")
	}
	create := program("createdb") + " --template=template0 --encoding=" + b.Encoding + " --lc-collate=" + ShellQuoted(b.Collate) +
		" --lc-ctype=" + ShellQuoted(b.CharType) + " " + ShellQuoted(restored)
	if user := p.user(); user != "" {
		create += " --owner=" + user
	}
	return []PlanStep{
		{
			Title: "Restore the backup beside the corrupt database",
			Notes: notes,
			Commands: append(slices.Clone(p.exports), create,
				program("pg_restore")+" "+strings.Join(restoreOptions(), " ")+" --single-transaction --dbname="+ShellQuoted(restored)+" "+ShellQuoted(b.Path())),
		},
		{
			Title: "Put it in the corrupt one's place",
			Notes: []string{
				"Nobody may be connected to either: a message that names other users means a noggin that still runs.",
				"The corrupt database stays as " + aside + "; drop it (dropdb) when you are sure.",
			},
			Commands: []string{rename(b.Database, aside), rename(restored, b.Database)},
		},
		{
			Title: "Complete the schema, pause what was restored, and look at it",
			Notes: []string{fmt.Sprintf("It should have %s.", plural(b.Rows["noggin_data"], "record"))},
			Commands: []string{
				p.noggin + " init-db",
				p.noggin + ` maintain pause --reason "closing the gap after a restore"`,
				p.noggin + " report status",
				p.noggin + " validate data",
			},
		},
	}
}

// user is the role of the configuration, as the exports name it.
func (p planner) user() string {
	for _, export := range p.exports {
		if user, ok := strings.CutPrefix(export, "export PGUSER="); ok {
			return user
		}
	}
	return ""
}

// closeGap brings back what happened after the backup.
func (p planner) closeGap() []PlanStep {
	return []PlanStep{
		{
			Title: "Make archives known that are newer than the backup",
			Notes: []string{"Those written elsewhere with --to too."},
			Commands: []string{"find " + ShellQuoted(p.paths.Archive) + " -maxdepth 1 -name 'noggin-*" + ArchiveExt + "' -newerct " + ShellQuoted(p.since) +
				" -exec " + p.noggin + ` archive register {} \;`},
		},
		{
			Title: "Bring back names that are newer than the backup",
			Notes: []string{"Where names.csv could not be written: import the files of names since then again, with noggin hashes import TYPE FILE."},
			Commands: []string{
				p.noggin + " hashes import auto " + ShellQuoted(p.kept()+"/names.csv"),
			},
		},
		{
			Title: "Import the CSV files again that are newer than the backup",
			Notes: []string{"Records that are known already stay as they are. Exit code 3 tells of rows rejected before."},
			Commands: []string{p.noggin + " maintain resume", "find " + ShellQuoted(p.paths.Processed) + " -type f -newerct " + ShellQuoted(p.since) +
				" -print0 | xargs -0 -r " + p.noggin + " import-csv"},
		},
		{
			Title: "Fetch what is missing, but adopt the files that are on disk",
			Notes: []string{
				"Records that were skipped since then are due again: skip them first, from the lists in " + p.paths.Reports + ".",
				"Records that are permanently failed stay so: noggin report failed --permanent.",
			},
			Commands: []string{
				p.noggin + " process --adopt --until-empty",
				p.noggin + " validate files",
			},
		},
		{
			Title: "Back up what was restored",
			Notes: []string{"Until then noggin report status shows the run that made the restored backup as died, and not that backup: it was not finished when it was dumped."},
			Commands: []string{
				p.noggin + " maintain backup",
			},
		},
		{
			Title:    "Start again, on every host",
			Commands: []string{"systemctl start noggin.target"},
		},
	}
}

// ShellQuoted makes one word of a shell command of any text.
func ShellQuoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@,+=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func sqlQuoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
