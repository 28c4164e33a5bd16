package names

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"noggin/batch/csvfile"
	"noggin/batch/forms"
	"noggin/storage"
)

// AutoType takes the place of an entity type: each row's own kind decides.
const AutoType = "auto"

const (
	maxBadRows    = 100 // in the summary
	maxLeftKinds  = 50  // in the summary
	maxShownKind  = 100 // bytes
	maxSourceName = 255 // characters
)

// ImportOptions say how a file of names is imported.
type ImportOptions struct {
	EntityType string // or [AutoType]
	Source     string // the file's name, kept with each name
	DryRun     bool
	// AnyHash takes a new hash that is not 64 hexadecimal digits, see [import] any_tip.
	AnyHash bool
	// AnyType imports names also when most of them belong to another type.
	AnyType bool
}

// BadRow is a row that cannot be used.
type BadRow struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// ImportSummary tells what an import of names did, or what a dry run would do. The
// help of the command documents its JSON form.
type ImportSummary struct {
	Layout    string               `json:"layout"`
	DryRun    bool                 `json:"dry_run"`
	Rows      int                  `json:"rows"`
	New       int64                `json:"new"`
	Changed   int64                `json:"changed"`
	Unchanged int64                `json:"unchanged"`
	Types     []storage.TypeCounts `json:"types"`
	NoName    int                  `json:"skipped_without_name"`
	Repeated  int64                `json:"skipped_repeated"`
	Headers   int                  `json:"skipped_headers"` // rows that repeat the header
	LeftOut   int                  `json:"skipped_other_kinds"`
	LeftKinds map[string]int       `json:"other_kinds,omitempty"` // rows of each kind
	Elsewhere int                  `json:"rows_of_another_kind"`  // imported as the named type all the same
	OtherType string               `json:"other_type,omitempty"`  // of a dry run: why the import needs a confirmation
	Unended   bool                 `json:"no_line_end"`           // at the end: the file may have been cut
	Bad       int64                `json:"bad"`                   // rows
	BadRows   []BadRow             `json:"bad_rows"`              // the first of them
	Resolved  int64                `json:"unknown_hashes_resolved"`
	Marked    int64                `json:"records_to_renew"`
}

// Skipped is the number of good rows that were left out.
func (s ImportSummary) Skipped() int64 {
	return int64(s.NoName) + s.Repeated + int64(s.Headers) + int64(s.LeftOut)
}

// ErrNoKinds says that the rows of a file have no kind.
var ErrNoKinds = errors.New("no column of the file tells what each row is: name the type instead of auto")

// Import reads a CSV file of names from r into the database, see
// [storage.DB.ImportNames]. A row that cannot be used is counted and is no error.
// Errors: ErrUnusableFile, ErrNoKinds, [storage.OtherTypeError], those of r and of the
// database.
func Import(ctx context.Context, db *storage.DB, types *forms.ObjectTypes, kinds Config, r io.Reader, opts ImportOptions) (ImportSummary, error) {
	reader, err := newNameReader(r)
	if err != nil {
		return ImportSummary{}, err
	}
	if opts.EntityType == AutoType && !reader.hasKinds() {
		return ImportSummary{}, ErrNoKinds
	}
	i := nameImport{
		ctx: ctx, db: db, reader: reader, anyHash: opts.AnyHash, entityType: opts.EntityType, types: types.EntityTypes(),
		kinds:   kinds.kindTypes(reader.layout, types.EntityTypes()),
		summary: ImportSummary{Layout: reader.layout, DryRun: opts.DryRun, BadRows: []BadRow{}, LeftKinds: map[string]int{}},
	}
	target := storage.ImportOptions{Source: forms.FirstOf(opts.Source, maxSourceName), DryRun: opts.DryRun}
	if opts.EntityType != AutoType && !opts.AnyType {
		target.Only = opts.EntityType
	}
	done, err := db.ImportNames(ctx, target, i.next)
	if err != nil {
		return i.summary, err
	}
	i.summary.Unended = reader.rows.Unended()
	i.take(done)
	return i.summary, nil
}

// nameImport turns the rows of a file into names and counts the other rows.
type nameImport struct {
	ctx        context.Context
	db         *storage.DB
	reader     *nameReader
	anyHash    bool
	entityType string
	types      []string // that there are
	kinds      kindTypes
	summary    ImportSummary
}

// next returns the next name; its errors are those of the stream.
func (i *nameImport) next() (storage.NamedHash, error) {
	for {
		if i.ctx.Err() != nil {
			return storage.NamedHash{}, context.Cause(i.ctx)
		}
		row, err := i.reader.Next()
		if bad, ok := errors.AsType[*csvfile.RowError](err); ok {
			i.summary.Rows++
			i.bad(bad.Line, bad.Reason)
			continue
		}
		if err != nil {
			return storage.NamedHash{}, err
		}
		i.summary.Rows++
		if row.Hash == "" {
			i.summary.Headers++
			continue
		}
		if row.Name == "" {
			i.summary.NoName++
			continue
		}
		if ok, err := i.isHash(row.Hash); err != nil {
			return storage.NamedHash{}, err
		} else if !ok {
			i.bad(row.Line, "its hash "+csvfile.QuotedStart(row.Hash)+" is not known, and a new one has 64 hexadecimal digits")
			continue
		}
		entityType := i.typeOf(row)
		switch {
		case entityType != "":
			return storage.NamedHash{Line: row.Line, Type: entityType, Hash: row.Hash, Name: row.Name}, nil
		case i.reader.layout == layoutNames:
			i.bad(row.Line, noSuchType(row.SourceKind, i.types))
		default: // the configuration says so
			i.leaveOut(row.SourceKind)
		}
	}
}

// isHash tells a hash from the words that a table holds too: its total, a name.
func (i *nameImport) isHash(text string) (bool, error) {
	if i.anyHash || forms.IsPlatformTip(text) {
		return true, nil
	}
	return i.db.KnowsHash(i.ctx, text)
}

// typeOf is the entity type of a row; an empty one leaves the row out.
func (i *nameImport) typeOf(row nameRow) string {
	if !i.reader.hasKinds() {
		return i.entityType
	}
	entityType := i.kinds.typeOf(row.SourceKind)
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
	kind = strings.TrimSpace(forms.FirstOf(kind, maxShownKind))
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

// take adds the counts of the database to the summary.
func (i *nameImport) take(done storage.NameImport) {
	s := &i.summary
	s.Types = append([]storage.TypeCounts{}, done.Types...)
	for _, t := range done.Types {
		s.New, s.Changed, s.Unchanged = s.New+t.New, s.Changed+t.Changed, s.Unchanged+t.Unchanged
	}
	if done.OtherType != nil {
		s.OtherType = done.OtherType.Error()
	}
	s.Repeated, s.Resolved, s.Marked = done.Repeated, done.Resolved, done.Marked
	for _, c := range done.Contradictions {
		i.bad(c.Line, fmt.Sprintf("line %d has another name for the same hash, which counts", c.Later))
	}
	s.Bad += done.Contradicted - int64(len(done.Contradictions))
	slices.SortFunc(s.BadRows, func(a, b BadRow) int { return a.Line - b.Line })
}

// SetName gives one hash a name, see [storage.DB.ImportNames].
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

// ParseName checks and cleans a name, by the same rules as an import. The error
// says what is wrong with it.
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
