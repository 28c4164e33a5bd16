package validate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"noggin/storage"
)

// oldestServer is the first PostgreSQL with CREATE OR REPLACE TRIGGER and date_bin,
// which schema.sql uses.
const oldestServer = 140000

// maxClockSkew is the difference between the clocks of this host and the server from
// which there is a warning. noggin's work does not depend on this host's clock, but
// people compare logs by it, and tokens expire by it.
const maxClockSkew = 10 * time.Second

// Database checks the server, the role's rights and the schema.
func (v *Validator) Database(ctx context.Context) (*Area, error) {
	a := NewArea("database")
	return a, a.Done(ctx, v.database(ctx, a))
}

func (v *Validator) database(ctx context.Context, a *Area) error {
	server, err := v.DB.Server(ctx)
	if err != nil {
		return err
	}
	a.Fact(fmt.Sprintf("PostgreSQL %s, database %s, role %s", server.Version, server.Database, server.Role))
	checkServer(a, server)
	if err := v.DB.CheckSchema(ctx); err != nil {
		return err
	}
	if len(server.NoRights) > 0 {
		a.Add(Finding{
			Severity: SeverityError, Check: "rights", Message: "role " + server.Role + " lacks rights", Count: int64(len(server.NoRights)),
			Examples: firstFew(server.NoRights), Remedy: "as the owner of the tables: GRANT ALL ON ALL TABLES IN SCHEMA … TO " + server.Role,
		})
	}
	if len(server.NotOwned) > 0 {
		a.Add(Finding{
			Severity: SeverityWarning, Check: "owner", Message: "tables belong to another role: `noggin maintain weekly` and `noggin init-db` cannot work on them",
			Count: int64(len(server.NotOwned)), Examples: firstFew(server.NotOwned), Remedy: "as their owner: REASSIGN OWNED BY … TO " + server.Role,
		})
	}
	if len(server.Creators) > 0 {
		a.Add(Finding{
			Severity: SeverityWarning, Check: "create_functions", Message: "others may create functions that an operator's session may run in place of PostgreSQL's",
			Count: int64(len(server.Creators)), Examples: firstFew(server.Creators), Remedy: "as the owner of the schema: REVOKE CREATE ON SCHEMA … FROM …",
		})
	}
	if err := v.checkPlain(ctx, a); err != nil {
		return err
	}
	if server.Standby || server.ReadOnly {
		return nil
	}
	if !server.CanCreate {
		a.Warn("schema", "the schema was not compared with schema.sql: role "+server.Role+" may not create schemas in the database",
			"as the owner of the database: GRANT CREATE ON DATABASE "+server.Database+" TO "+server.Role)
		return nil
	}
	differences, err := v.DB.CompareSchema(ctx, v.Schema)
	if err != nil {
		return err
	}
	if len(differences) == 0 {
		a.Fact(fmt.Sprintf("schema version %d, equal to schema.sql", storage.SchemaVersion))
	}
	addDifferences(a, differences)
	return nil
}

func checkServer(a *Area, s storage.Server) {
	if s.VersionNumber < oldestServer {
		a.Error("version", "PostgreSQL "+s.Version+" is too old: noggin needs 14 or newer", "upgrade PostgreSQL")
	}
	if s.Encoding != "UTF8" {
		a.Error("encoding", "the database's encoding is "+s.Encoding+": it cannot store every name", "create a database with encoding UTF8 and restore a backup into it")
	}
	switch {
	case s.Standby:
		a.Error("read_only", "the server is a standby: nothing can be written", "set [database] url to the primary server")
	case s.ReadOnly:
		a.Error("read_only", "transactions of this role are read-only: nothing can be written", "as the owner: ALTER ROLE "+s.Role+" RESET default_transaction_read_only")
	}
	if skew := time.Duration(s.ClockAhead * float64(time.Second)); skew.Abs() > maxClockSkew {
		a.Warn("clock", fmt.Sprintf("the clocks of this host and of the database server differ by %s", skew.Abs().Round(time.Second)), "set both clocks by NTP: timedatectl")
	}
}

// checkPlain checks the settings that a session of psql has.
func (v *Validator) checkPlain(ctx context.Context, a *Area) error {
	zone := v.Location.String()
	plain, err := v.DB.Plain(ctx, zone)
	if err != nil {
		return err
	}
	if !plain.SameZone {
		a.Warn("timezone", fmt.Sprintf("psql works in time zone %s, noggin in %s: their days differ", plain.Zone, zone),
			"`noggin init-db` gives the role that zone in this database; timezone in the configuration names another")
	} else {
		a.Fact("time zone " + zone)
	}
	if slices.Contains(plain.SearchPath, v.DB.SchemaName()) {
		if len(plain.SearchPath) > 1 {
			a.Warn("search_path", "the role's search_path has other schemas than noggin's: functions of others may run in psql", "`noggin init-db`")
		}
		return nil
	}
	a.Warn("search_path", "the schema is not in the role's search_path: in psql every table needs the schema's name", "`noggin init-db`")
	return nil
}

// addDifferences adds a finding for each state. What makes noggin's work wrong is an
// error; what makes it slow is a warning.
func addDifferences(a *Area, differences []storage.SchemaDifference) {
	const repair = "`noggin init-db --repair`"
	for _, group := range []struct {
		severity, check, message, remedy, state string
		kinds                                   []string
	}{
		{SeverityError, "schema_missing", "objects of the schema are missing", repair + " puts back all but constraints; for those: ALTER TABLE … ADD, as in schema.sql", storage.SchemaMissing, []string{"table", "column", "constraint", "trigger", "function", "view"}},
		{SeverityError, "triggers_disabled", "triggers are disabled", repair, storage.SchemaDisabled, nil},
		{SeverityError, "indexes_invalid", "indexes are invalid: PostgreSQL updates them, but does not use them", "REINDEX INDEX …, or DROP INDEX … and then " + repair, storage.SchemaInvalid, nil},
		{SeverityWarning, "indexes_missing", "indexes are missing: statements that need them are slow", repair, storage.SchemaMissing, []string{"index"}},
		{SeverityWarning, "schema_different", "objects of the schema differ from schema.sql", repair + " renews functions, triggers and views; DROP a differing index first; ALTER a differing column, as in schema.sql", storage.SchemaDifferent, nil},
		{SeverityWarning, "constraints_unvalidated", "constraints are not validated", "ALTER TABLE … VALIDATE CONSTRAINT …", storage.SchemaUnvalidated, nil},
	} {
		f := Finding{Severity: group.severity, Check: group.check, Message: group.message, Remedy: group.remedy}
		for _, d := range differences {
			if d.State == group.state && (group.kinds == nil || slices.Contains(group.kinds, d.Kind)) {
				f.Examples = append(f.Examples, d.Kind+" "+d.Name)
			}
		}
		if f.Count = int64(len(f.Examples)); f.Count > 0 {
			f.Examples = firstFew(f.Examples)
			a.Add(f)
		}
	}
}

func firstFew(list []string) []string { return list[:min(len(list), maxExamples)] }

// Data checks the rules of the data.
func (v *Validator) Data(ctx context.Context) (*Area, error) {
	a := NewArea("data")
	return a, a.Done(ctx, v.data(ctx, a))
}

func (v *Validator) data(ctx context.Context, a *Area) error {
	if err := v.DB.CheckSchema(ctx); err != nil {
		return err
	}
	checks := storage.Checks(v.Types.Codes(), v.Types.DocumentFields())
	for _, c := range checks {
		found, err := v.DB.Violations(ctx, c)
		if err != nil {
			return err
		}
		if found.Count == 0 {
			continue
		}
		f := Finding{Severity: SeverityError, Check: c.Name, Message: c.Message, Count: found.Count, Examples: found.Examples, Remedy: dataRemedies[c.Name]}
		if c.Warning {
			f.Severity = SeverityWarning
		}
		if v.Fix && c.Fixable {
			if f.Fixed, err = v.fix(ctx, c, found.Count); err != nil {
				return err
			}
		}
		a.Add(f)
	}
	a.Fact(fmt.Sprintf("%d checks of records, attachments, names and counts", len(checks)))
	return nil
}

// fix mends the violations of a check and returns how many it mended.
func (v *Validator) fix(ctx context.Context, c storage.Check, before int64) (int64, error) {
	v.Log.Info("mending: "+c.Message, "check", c.Name, "found", before)
	changed, err := v.DB.Fix(ctx, c, v.DefaultObjectType)
	if err != nil {
		return 0, err
	}
	after, err := v.DB.Violations(ctx, c)
	if err != nil {
		return 0, err
	}
	v.Log.Info("mended", "check", c.Name, "rows", changed, "left", after.Count)
	return max(0, before-after.Count), nil
}

const (
	fixData    = "`noggin validate data --fix`"
	processTip = "`noggin process --tip TIP` (fetches the record again)"
)

// dataRemedies are the commands that mend the violations of a check, or other advice, by
// the check's name.
var dataRemedies = map[string]string{
	"missing_inspection_id":        "mend the inspection on the platform, then " + processTip,
	"missing_inspection_date":      "mend the inspection on the platform, then " + processTip,
	"no_attachment_complete":       "`noggin report attachments` shows why; `noggin retry-failed` tries again now",
	"complete_without_attachments": fixData + " (queues them again)",
	"answer_without_rows":          fixData + " (queues them again)",
	"sequences_behind":             fixData + " (moves them behind the last row)",
	"complete_without_report":      fixData + " (queues them again)",
	"fetched_without_answer":       processTip,
	"unexpected_id":                "`noggin report tip TIP`, and compare with the platform: the export or the tip in it may be wrong",
	"unexpected_date":              "`noggin report tip TIP`, and compare with the platform: the export or the tip in it may be wrong",
	"version_without_answer":       "restore the table record_versions from a backup; the current answer is in the column payload",
	"stuck_claims":                 "`noggin process` takes the due ones; " + fixData + " frees the others",
	"crashing":                     "`noggin report tip TIP`, and the journal of those runs",
	"given_up_early":               "`noggin retry-failed --permanent` (tries them again)",
	"permanently_failed_status":    fixData + ", or `noggin retry-failed --permanent`",
	"unknown_form":                 "add an [[object_type]] table for it to the configuration",
	"unknown_hashes_flag":          fixData + ", then `noggin hashes resolve`",
	"archived_nowhere":             "if they were archived by hand, keep those archives; otherwise: `noggin process --tip TIP`",
	"duplicate_tips":               fixData + " keeps the latest of each; then: ALTER TABLE noggin_data ADD PRIMARY KEY (tip)",
	"duplicate_inspection_ids":     "compare them with `noggin report tip INSPECTION-ID`; `noggin process --tip TIP` fetches each again, in case the platform has corrected them",
	"attachment_count":             fixData + " (counts them, and queues records that lack some)",
	"completed_count":              fixData + " (counts them)",
	"complete_without_file":        fixData + " (queues them again)",
	"complete_without_hash":        processTip,
	"complete_but_invalid":         processTip,
	"kept_pages":                   fixData + " (fetches them again, and keeps the pages)",
	"suspect_attachments":          "`noggin process --tip TIP` asks for them again, and keeps a whole file beside the suspect one",
	"suspect_beside_whole":         "look at both files; the attachment itself stays what it was. `noggin process --tip TIP --refresh --media` compares again",
	"suspect_alone":                "`noggin process --tip TIP` asks for them again, and keeps a whole file beside the suspect one",
	"unvalidated_pictures":         "look at them: `noggin report attachments` lists them",
	"shared_file":                  "`noggin process --tip TIP`, for each of the records",
	"orphaned_attachments":         fixData + " (puts their records into the queue)",
	"lost_archive":                 "`noggin archive list`",
	"orphaned_references":          fixData + " (puts their records into the queue)",
	"names_not_applied":            "`noggin hashes resolve`",
	"resolved_without_name":        fixData + " (lists them as unknown)",
	"unlisted_unknown":             fixData + " (lists them)",
	"record_counts":                fixData + " (counts again)",
	"file_counts":                  fixData + " (counts again)",
}
