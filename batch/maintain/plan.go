package maintain

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"noggin/batch/archive/format"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/storage"
)

// PlanStep is a step of a recovery: its purpose, and the commands to copy.
type PlanStep struct {
	Title    string   `json:"title"`
	Notes    []string `json:"notes"`
	Commands []string `json:"commands"`
	RunBy    []string `json:"run_by"` // the user who runs each command
}

// runBy says who runs a command of a plan. Only root stops and starts units.
func runBy(command string) string {
	if strings.HasPrefix(command, "systemctl ") {
		return "root"
	}
	return "noggin"
}

// RestorePlan is the operations manual's "Recovery from Data Corruption" with the
// paths and names of this installation.
type RestorePlan struct {
	Backup   string     `json:"backup"`
	TakenAt  time.Time  `json:"taken_at"`
	Records  int64      `json:"records"`
	Verified *time.Time `json:"verified_at"`
	Steps    []PlanStep `json:"steps"`
}

// gapMargin is added to the gap between backup and failure, as the clocks of hosts
// differ. To import or register a file twice does no harm.
const gapMargin = time.Hour

// planner holds the values of a plan.
type planner struct {
	backup   Backup
	database string // that the configuration names
	paths    files.Paths
	noggin   string   // the command, with --config if it is needed
	exports  []string // of the environment variables of libpq
	server   string   // those that name the server, for another user's shell
	passfile string   // that libpq reads
	user     string   // shell-quoted role of the configuration, or ""
	password bool     // the configuration has a password, which is not printed
	programs string   // folder of PostgreSQL's programs
	stamp    string   // the time of the plan, for names
	since    string   // files that changed later are in the gap
}

// PlanRestore returns the plan for a backup, which is found by path or by name. An
// empty path means the newest backup. It takes the place of the database that the
// configuration names, whichever it was made of. noggin is the command to print.
// PlanRestore needs no database.
func PlanRestore(ctx context.Context, paths files.Paths, database storage.Config, path, noggin string, now time.Time) (RestorePlan, error) {
	b, err := (&Maintenance{Paths: paths, Database: database}).findBackup(path)
	if err != nil {
		return RestorePlan{}, err
	}
	if b.Broken != "" {
		return RestorePlan{}, fmt.Errorf("%s cannot be used: %s: choose another, `noggin maintain backups` lists them", b.Path(), b.Broken)
	}
	if b.Schema != database.Schema {
		return RestorePlan{}, fmt.Errorf("%s has the schema %s, and the configuration names %s: choose another backup, or set [database] schema", b.Path(), b.Schema, database.Schema)
	}
	name, err := database.DatabaseName()
	if err != nil {
		return RestorePlan{}, err
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
		backup: b, database: name, paths: paths, noggin: noggin, passfile: "~/.pgpass", programs: filepath.Dir(program), stamp: now.Format("20060102_150405"),
		since: b.TakenAt.Add(-gapMargin).In(now.Location()).Format("2006-01-02 15:04:05 -0700"),
	}
	environ, err := database.Environment(nil, "")
	if err != nil {
		return RestorePlan{}, err
	}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		export := "export " + name + "=" + files.ShellQuoted(value)
		switch name {
		case "PGPASSWORD":
			p.password = true
			continue
		case "PGUSER":
			// Else it is whoever asks for the plan, perhaps root; noggin runs these commands.
			if !database.NamesUser() {
				continue
			}
			p.user = files.ShellQuoted(value)
		case "PGHOST", "PGHOSTADDR", "PGPORT":
			p.server += export + "; "
		case "PGPASSFILE":
			p.passfile = files.ShellQuoted(value)
		case "PGSSLMODE", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT":
		default:
			continue
		}
		p.exports = append(p.exports, export)
	}
	steps := slices.Concat(p.secure(), p.restore(), p.closeGap())
	for i, step := range steps {
		for _, command := range step.Commands {
			steps[i].RunBy = append(steps[i].RunBy, runBy(command))
		}
	}
	return RestorePlan{Backup: b.Path(), TakenAt: b.TakenAt, Records: b.Rows["noggin_data"], Verified: b.VerifiedAt, Steps: steps}, nil
}

// secure stops every job and keeps a copy of the present state.
func (p planner) secure() []PlanStep {
	kept := files.ShellQuoted(p.kept())
	return []PlanStep{
		{
			Title: "Stop everything, on every host",
			Notes: []string{
				"Continue when a command fails because the database fails.",
				"If the server is new: make role and database (README, \"Install it\", step 2) and run `" + p.noggin + " init-db` first.",
				"The mask holds after a reboot too. Without systemd: move /etc/cron.d/noggin away.",
				"To give up before a database is renamed: `sudo systemctl unmask noggin.target` and `sudo systemctl start noggin.target` on every host, and `" + p.noggin + " maintain resume`.",
			},
			Commands: []string{
				p.noggin + ` maintain pause --reason "restoring the database"`,
				"systemctl stop noggin.target",
				"systemctl mask noggin.target",
			},
		},
		{
			Title: "Keep the present state, even if it is corrupt, and its names",
			Notes: []string{"Continue when a command fails because the database fails."},
			Commands: []string{
				p.noggin + " maintain backup --to " + kept,
				p.noggin + " hashes list all --known --format csv --raw > " + kept + "/names.csv",
			},
		},
		{
			Title: "See how far the corruption goes, and that the backup is good",
			Notes: []string{"If the database no longer knows the backup: add --sha256 and what the log said when it was written, not what the manifest says."},
			Commands: []string{
				p.noggin + " report database",
				p.noggin + " maintain verify-backup " + files.ShellQuoted(p.backup.Path()),
			},
		},
	}
}

func (p planner) kept() string { return filepath.Join(p.paths.Backups, "before_restore_"+p.stamp) }

// restore replaces the database by the backup. The corrupt database stays under
// another name.
func (p planner) restore() []PlanStep {
	b := p.backup
	short := forms.FirstOf(p.database, 38) // PostgreSQL cuts names at 63 bytes
	restored, aside := short+"_restored_"+p.stamp, short+"_corrupt_"+p.stamp
	program := func(name string) string { return files.ShellQuoted(filepath.Join(p.programs, name)) }
	rename := func(from, to string) string {
		return program("psql") + " --dbname=postgres --set=ON_ERROR_STOP=1 --command=" +
			files.ShellQuoted(fmt.Sprintf(`ALTER DATABASE %s RENAME TO %s`, sqlQuoted(from), sqlQuoted(to)))
	}
	notes := []string{"In one shell: the role of [database] url must be allowed to create databases."}
	if p.password {
		notes = append(notes, "The password is in your configuration: put it into "+p.passfile+", or export PGPASSWORD.")
	}
	create := program("createdb") + " --template=template0 --encoding=" + files.ShellQuoted(b.Encoding) + " --lc-collate=" + files.ShellQuoted(b.Collate) +
		" --lc-ctype=" + files.ShellQuoted(b.CharType)
	if p.user != "" {
		create += " --owner=" + p.user
	}
	create += " -- " + files.ShellQuoted(restored)
	var other []string
	if b.Database != p.database {
		other = []string{"The backup is of the database " + b.Database + ". It takes the place of " + p.database + ", which the configuration names."}
	}
	return []PlanStep{
		{
			Title: "Restore the backup beside the corrupt database",
			Notes: notes,
			Commands: append(slices.Clone(p.exports), create,
				program("pg_restore")+" "+strings.Join(restoreOptions(), " ")+" --single-transaction --dbname="+files.ShellQuoted(conninfo(restored))+" "+files.ShellQuoted(b.Path())),
		},
		{
			Title: "Put it in the place of the corrupt database",
			Notes: append(other,
				"No program may be connected to either database. If the message names other sessions, a noggin still runs.",
				"The corrupt database stays as "+aside+"; drop it (dropdb) when you are sure."),
			Commands: []string{rename(p.database, aside), rename(restored, p.database)},
		},
		{
			Title: "Complete the schema, pause what was restored, and look at it",
			Notes: []string{
				"The backup has the schema " + b.Schema + " alone. Other schemas, such as another noggin's, and the rights of other roles stay in the corrupt database.",
				"As the user postgres, copy these schemas: " + p.server + program("pg_dump") + " --exclude-schema=" + b.Schema + " " + files.ShellQuoted(conninfo(aside)) +
					" | " + program("psql") + " " + files.ShellQuoted(conninfo(p.database)),
				"The rights: \"A role that only reads\" in `man noggin-operations`.",
				fmt.Sprintf("It should have %s.", health.Plural(b.Rows["noggin_data"], "record")),
				"A backup has no statistics: without them, PostgreSQL reads whole tables where it needs a few rows.",
			},
			Commands: []string{
				p.noggin + " init-db",
				p.noggin + ` maintain pause --reason "closing the gap after a restore"`,
				p.noggin + " maintain analyze",
				p.noggin + " report status",
				p.noggin + " validate data",
			},
		},
	}
}

// closeGap repeats what happened between the backup and now.
func (p planner) closeGap() []PlanStep {
	return []PlanStep{
		{
			Title: "Register the archives that are newer than the backup",
			Notes: []string{
				"Also register archives that were written to another folder with --to.",
				"What the restored database does not know of them is left out, and fetched again if the API still has it.",
				"If nobody else could write into the folder, take the archives' word for it: archive register --add-unknown.",
			},
			Commands: []string{"find " + files.ShellQuoted(p.paths.Archive) + " -maxdepth 1 -name 'noggin-*" + format.Ext + "' -newerct " + files.ShellQuoted(p.since) +
				" -print0 | xargs -0 -r -n 1 " + p.noggin + " archive register"}, // xargs fails if one of them does, find -exec does not
		},
		{
			Title: "Import the CSV files again that are newer than the backup",
			Notes: []string{"Records that are known already stay as they are. Exit code 3 means that rows are rejected, as they were before, or that a file holds names: those come back below."},
			Commands: []string{p.noggin + " maintain resume", "find " + files.ShellQuoted(p.paths.Processed) + " -type f -newerct " + files.ShellQuoted(p.since) +
				" -print0 | xargs -0 -r sh -c " + files.ShellQuoted(p.noggin+` import-csv "$@" || [ $? = 3 ]`) + " sh"},
		},
		{
			Title: "Fetch what is missing, but adopt the files that are on disk",
			Notes: []string{
				"Records that were skipped since then are due again: skip them first, from the lists in " + p.paths.Reports + ".",
				"Records that are permanently failed stay so: `noggin report failed --permanent`.",
				"The second command asks for every complete record once, as any of them may have changed since the backup. It may be interrupted, and it may be done in parts: add --from and --until.",
				"Until it has ended, leave the timers stopped: a run without --adopt replaces text reports of later versions that were still to be read.",
			},
			Commands: []string{
				p.noggin + " process --adopt --until-empty",
				p.noggin + " process --adopt --refresh",
			},
		},
		{
			Title: "Bring back names that are newer than the backup, and compare the files",
			Notes: []string{
				"Not earlier: this renews text reports, and those that are newer than the backup were still to be read.",
				"If names.csv could not be written: import the files of names since then again, with `noggin hashes import TYPE FILE`.",
			},
			Commands: []string{
				p.noggin + " hashes import auto " + files.ShellQuoted(p.kept()+"/names.csv"),
				p.noggin + " validate files",
			},
		},
		{
			Title: "Back up what was restored",
			Notes: []string{"Until then `noggin report status` says that the run of the restored backup died: that run had not ended when the backup was made."},
			Commands: []string{
				p.noggin + " maintain backup",
			},
		},
		{
			Title: "Start again, on every host",
			Notes: []string{
				"`noggin seal` needs the checkpoints in " + p.paths.Checkpoints + ". If they are lost, first: `" + p.noggin + " copy restore --checkpoints`.",
				"Without systemd: move /etc/cron.d/noggin back.",
			},
			Commands: []string{"systemctl unmask noggin.target", "systemctl start noggin.target"},
		},
	}
}

// conninfo is the name of a database that is no option and no connection string, whatever
// its characters.
func conninfo(database string) string {
	return "dbname='" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(database) + "'"
}

func sqlQuoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
