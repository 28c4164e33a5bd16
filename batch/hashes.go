package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"noggin/storage"
)

// AutoType stands for an entity type where each row's own kind decides.
const AutoType = "auto"

// Bounds of what an import keeps to be shown.
const (
	maxBadRows    = 100
	maxLeftKinds  = 50
	maxSourceName = 255
)

// NameImportOptions say how a file of names is imported.
type NameImportOptions struct {
	EntityType string // or [AutoType]
	Source     string // the file's name, kept with each name
	DryRun     bool
}

// BadRow is a row that could not be used.
type BadRow struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// NameImportSummary is what an import of names did, or in a dry run would do. Its
// JSON form is documented with the command.
type NameImportSummary struct {
	Layout    string               `json:"layout"`
	DryRun    bool                 `json:"dry_run"`
	Rows      int                  `json:"rows"`
	New       int64                `json:"new"`
	Changed   int64                `json:"changed"`
	Unchanged int64                `json:"unchanged"`
	Types     []storage.TypeCounts `json:"types"`
	NoName    int                  `json:"skipped_without_name"`
	Repeated  int64                `json:"skipped_repeated"`
	LeftOut   int                  `json:"skipped_other_kinds"`
	LeftKinds map[string]int       `json:"other_kinds,omitempty"` // with how many rows
	Elsewhere int                  `json:"rows_of_another_kind"`  // taken as the named type all the same
	Bad       int64                `json:"bad"`                   // rows
	BadRows   []BadRow             `json:"bad_rows"`              // the first of them
	Resolved  int64                `json:"unknown_hashes_resolved"`
	Marked    int64                `json:"records_to_renew"`
}

// Skipped is how many rows were left out although nothing is wrong with them.
func (s NameImportSummary) Skipped() int64 { return int64(s.NoName) + s.Repeated + int64(s.LeftOut) }

// ErrNoKinds says that the rows of a file do not tell what they are.
var ErrNoKinds = errors.New("no column of the file tells what each row is: name the type instead of auto")

// ImportNames reads a CSV file of names from r into the database; see
// [storage.DB.ImportNames]. Errors: ErrUnusableFile, ErrNoKinds, those of r and of
// the database; rows that can't be used are no error, but counted.
func ImportNames(ctx context.Context, db *storage.DB, types *ObjectTypes, kinds Hashes, r io.Reader, opts NameImportOptions) (NameImportSummary, error) {
	reader, err := NewNameReader(r)
	if err != nil {
		return NameImportSummary{}, err
	}
	layout, hasKinds := reader.Layout()
	if opts.EntityType == AutoType && !hasKinds {
		return NameImportSummary{}, ErrNoKinds
	}
	i := nameImport{
		ctx: ctx, reader: reader, entityType: opts.EntityType, hasKinds: hasKinds,
		kinds:   kinds.kindTypes(layout, types.EntityTypes()),
		summary: NameImportSummary{Layout: layout, DryRun: opts.DryRun, BadRows: []BadRow{}, LeftKinds: map[string]int{}},
	}
	done, err := db.ImportNames(ctx, storage.ImportOptions{Source: firstOf(opts.Source, maxSourceName), DryRun: opts.DryRun}, i.next)
	if err != nil {
		return i.summary, err
	}
	i.take(done)
	return i.summary, nil
}

// nameImport turns the rows of a file into names, and counts the others.
type nameImport struct {
	ctx        context.Context
	reader     *NameReader
	entityType string
	hasKinds   bool
	kinds      kindTypes
	summary    NameImportSummary
}

// next returns the next name; its errors are those of the stream.
func (i *nameImport) next() (storage.NamedHash, error) {
	for {
		if i.ctx.Err() != nil {
			return storage.NamedHash{}, context.Cause(i.ctx)
		}
		row, err := i.reader.Next()
		if bad, ok := errors.AsType[*RowError](err); ok {
			i.summary.Rows++
			i.bad(bad.Line, bad.Reason)
			continue
		}
		if err != nil {
			return storage.NamedHash{}, err
		}
		i.summary.Rows++
		if row.Name == "" {
			i.summary.NoName++
			continue
		}
		if entityType := i.typeOf(row); entityType != "" {
			return storage.NamedHash{Line: row.Line, Type: entityType, Hash: row.Hash, Name: row.Name}, nil
		}
		i.leaveOut(row.SourceKind)
	}
}

// typeOf is the type of a row's name, empty to leave it out.
func (i *nameImport) typeOf(row NameRow) string {
	if !i.hasKinds {
		return i.entityType
	}
	entityType, _ := i.kinds.typeOf(row.SourceKind)
	if i.entityType == AutoType {
		return entityType
	}
	if entityType != i.entityType && entityType != "" {
		i.summary.Elsewhere++
	}
	return i.entityType
}

func (i *nameImport) leaveOut(kind string) {
	i.summary.LeftOut++
	kind = strings.TrimSpace(firstOf(kind, 100))
	if _, seen := i.summary.LeftKinds[kind]; !seen && len(i.summary.LeftKinds) >= maxLeftKinds {
		kind = "…"
	}
	i.summary.LeftKinds[kind]++
}

func (i *nameImport) bad(line int, reason string) {
	i.summary.Bad++
	if len(i.summary.BadRows) < maxBadRows {
		i.summary.BadRows = append(i.summary.BadRows, BadRow{line, reason})
	}
}

// take adds what the database found.
func (i *nameImport) take(done storage.NameImport) {
	s := &i.summary
	s.Types = append([]storage.TypeCounts{}, done.Types...)
	for _, t := range done.Types {
		s.New, s.Changed, s.Unchanged = s.New+t.New, s.Changed+t.Changed, s.Unchanged+t.Unchanged
	}
	s.Repeated, s.Resolved, s.Marked = done.Repeated, done.Resolved, done.Marked
	for _, c := range done.Contradictions {
		i.bad(c.Line, fmt.Sprintf("line %d has another name for the same hash, which counts", c.Later))
	}
	s.Bad += done.Contradicted - int64(len(done.Contradictions))
	slices.SortFunc(s.BadRows, func(a, b BadRow) int { return a.Line - b.Line })
}

// SetName gives one hash a name; see [storage.DB.ImportNames].
func SetName(ctx context.Context, db *storage.DB, entityType, hash, name string) (storage.NameImport, error) {
	given := false
	return db.ImportNames(ctx, storage.ImportOptions{Source: "set"}, func() (storage.NamedHash, error) {
		if given {
			return storage.NamedHash{}, io.EOF
		}
		given = true
		return storage.NamedHash{Type: entityType, Hash: hash, Name: name}, nil
	})
}

// ParseName checks and cleans a name as a file's would be; the error says what is
// wrong with it.
func ParseName(s string) (string, error) {
	name, reason := cleanName(s)
	if reason == "" && name == "" {
		reason = "is empty"
	}
	if reason != "" {
		return "", errors.New(reason)
	}
	return name, nil
}
