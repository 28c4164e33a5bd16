package batch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"noggin/storage"
)

// oldestServer is the first PostgreSQL that has all that schema.sql uses: CREATE OR
// REPLACE TRIGGER and date_bin came with 14.
const oldestServer = 140000

// maxClockSkew is how far this host's clock may be off before it is told. Nothing
// depends on it, but logs are compared by it, and tokens expire by it.
const maxClockSkew = 10 * time.Second

// Database looks at the server, the role's rights and the schema.
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
			Severity: SeverityError, Check: "rights", Message: "rights are missing to role " + server.Role, Count: int64(len(server.NoRights)),
			Examples: firstFew(server.NoRights), Remedy: "as the owner of the tables: GRANT ALL ON ALL TABLES IN SCHEMA … TO " + server.Role,
		})
	}
	if len(server.NotOwned) > 0 {
		a.Add(Finding{
			Severity: SeverityWarning, Check: "owner", Message: "tables are not the role's own: `noggin maintain` and `init-db` cannot work on them",
			Count: int64(len(server.NotOwned)), Examples: firstFew(server.NotOwned), Remedy: "as their owner: REASSIGN OWNED BY … TO " + server.Role,
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
		a.Fact(fmt.Sprintf("schema version %d, as schema.sql makes it", storage.SchemaVersion))
	}
	addDifferences(a, differences)
	return nil
}

func checkServer(a *Area, s storage.Server) {
	if s.VersionNumber < oldestServer {
		a.Error("version", "PostgreSQL "+s.Version+" is too old: noggin needs 14 or newer", "upgrade PostgreSQL")
	}
	if s.Encoding != "UTF8" {
		a.Error("encoding", "the database's encoding is "+s.Encoding+": not every name can be kept", "make the database anew with encoding UTF8, and restore a backup into it")
	}
	switch {
	case s.Standby:
		a.Error("read_only", "the server is a standby: nothing can be written", "name the primary in [database] url")
	case s.ReadOnly:
		a.Error("read_only", "transactions of this role are read-only: nothing can be written", "as the owner: ALTER ROLE "+s.Role+" RESET default_transaction_read_only")
	}
	if skew := time.Duration(s.ClockAhead * float64(time.Second)); skew.Abs() > maxClockSkew {
		a.Warn("clock", fmt.Sprintf("the clocks of this host and of the database's differ by %s", skew.Abs().Round(time.Second)), "let both hosts take their time from NTP: timedatectl")
	}
}

// checkPlain looks at what psql would see.
func (v *Validator) checkPlain(ctx context.Context, a *Area) error {
	plain, err := v.DB.Plain(ctx, v.Config.Timezone)
	if err != nil {
		return err
	}
	if !plain.SameZone {
		a.Warn("timezone", fmt.Sprintf("in psql a day is one of %s, in noggin one of %s", plain.Zone, v.Config.Timezone),
			fmt.Sprintf("set timezone in the configuration, or: ALTER ROLE CURRENT_USER SET timezone = '%s'", v.Config.Timezone))
	} else {
		a.Fact("time zone " + v.Config.Timezone)
	}
	if slices.Contains(plain.SearchPath, v.DB.SchemaName()) {
		return nil
	}
	a.Warn("search_path", "in psql noggin's tables need the schema's name in front: it is not in the role's search_path", "noggin init-db")
	return nil
}

// addDifferences tells how the schema differs, one finding a state. What noggin
// relies on to be right is an error, what it needs to be fast a warning.
func addDifferences(a *Area, differences []storage.SchemaDifference) {
	const remedy = "noggin init-db --repair"
	for _, group := range []struct {
		severity, check, message, state string
		kinds                           []string
	}{
		{SeverityError, "schema_missing", "objects of the schema are missing", storage.SchemaMissing, []string{"table", "column", "constraint", "trigger", "function", "view"}},
		{SeverityError, "triggers_disabled", "triggers are disabled", storage.SchemaDisabled, nil},
		{SeverityError, "indexes_invalid", "indexes are invalid: they are kept up to date, but not used", storage.SchemaInvalid, nil},
		{SeverityWarning, "indexes_missing", "indexes are missing: what needs them is slow", storage.SchemaMissing, []string{"index"}},
		{SeverityWarning, "schema_different", "objects of the schema are not as schema.sql makes them", storage.SchemaDifferent, nil},
		{SeverityWarning, "constraints_unvalidated", "constraints were never checked", storage.SchemaUnvalidated, nil},
	} {
		f := Finding{Severity: group.severity, Check: group.check, Message: group.message, Remedy: remedy}
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

// Data looks whether the database agrees with itself.
func (v *Validator) Data(ctx context.Context) (*Area, error) {
	a := NewArea("data")
	return a, a.Done(ctx, v.data(ctx, a))
}

func (v *Validator) data(ctx context.Context, a *Area) error {
	if err := v.DB.CheckSchema(ctx); err != nil {
		return err
	}
	checks := storage.Checks(v.Types.Codes())
	for _, c := range checks {
		found, err := v.DB.Violations(ctx, c)
		if err != nil {
			return err
		}
		if found.Count == 0 {
			continue
		}
		f := Finding{Severity: SeverityError, Check: c.Name, Message: c.Message, Count: found.Count, Examples: found.Examples, Remedy: c.Remedy}
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

// fix mends what a check found, and returns how much of that is mended now.
func (v *Validator) fix(ctx context.Context, c storage.Check, before int64) (int64, error) {
	v.Log.Info("mending: "+c.Message, "check", c.Name, "found", before)
	changed, err := v.DB.Fix(ctx, c, v.Config.Import.DefaultObjectType)
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
