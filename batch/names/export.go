package names

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"noggin/batch/csvfile"
	"noggin/batch/forms"
	"noggin/storage"
)

// UnknownExport says what WriteUnknown writes.
type UnknownExport struct {
	EntityType string // "": every type, with the column entity_type
	// Filled are names that a person filled in but did not import. The export keeps
	// them.
	Filled map[storage.EntityKey]string
}

// ErrNameNotKept says that an export would lose a name that a person filled in.
var ErrNameNotKept = errors.New("a name that is filled in would be lost")

// WriteUnknown writes the unknown hashes as a CSV file, the most frequent first.
// People fill in its column name. WriteUnknown returns the number of hashes and the
// number of filled-in names that it kept. The error is [ErrNameNotKept] if it kept one
// neither so nor as a name that the hash has or had.
func WriteUnknown(ctx context.Context, db *storage.DB, w io.Writer, export UnknownExport) (count, kept int, err error) {
	out := csvfile.NewWriter(w)
	header := []string{"hash", "name", "first_seen_tip", "inspection_id", "occurrences", "last_seen"}
	if export.EntityType == "" {
		header = append(header, "entity_type")
	}
	if err := out.Write(header); err != nil {
		return 0, 0, fmt.Errorf("write unknown hashes: %w", err)
	}
	left := maps.Clone(export.Filled)
	err = db.EachUnknown(ctx, export.EntityType, func(u storage.UnknownHash) error {
		key := storage.EntityKey{Type: u.Type, Hash: u.Hash}
		name, filled := export.Filled[key]
		if filled {
			kept++
			delete(left, key)
		}
		count++
		row := []string{
			csvfile.GuardFormula(u.Hash), csvfile.GuardFormula(name), csvfile.GuardFormula(storage.ValueOf(u.FirstSeenTip)), csvfile.GuardFormula(storage.ValueOf(u.InspectionID)),
			strconv.FormatInt(u.Occurrences, 10), u.LastSeen.Format("2006-01-02 15:04:05"),
		}
		if export.EntityType == "" {
			row = append(row, u.Type)
		}
		return out.Write(row)
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return count, kept, fmt.Errorf("write unknown hashes: %w", err)
	}
	return count, kept, checkKnown(ctx, db, left)
}

// checkKnown returns [ErrNameNotKept] unless each hash has the name, or had it once.
func checkKnown(ctx context.Context, db *storage.DB, filled map[storage.EntityKey]string) error {
	if len(filled) == 0 {
		return nil
	}
	hashes := make([]string, 0, len(filled))
	for key := range filled {
		hashes = append(hashes, key.Hash)
	}
	known, err := db.NamesOfHashes(ctx, hashes)
	if err != nil {
		return err
	}
	for key, name := range filled {
		if !slices.Contains(known, storage.Entity{Hash: key.Hash, Name: name}) {
			return fmt.Errorf("%w: %q for the %s %s, which is not unknown any more", ErrNameNotKept, name, key.Type, key.Hash)
		}
	}
	return nil
}

// ReadFilled reads an export of the unknown hashes of a type, or of all for "", and
// returns the names that a person filled in. Errors: that the file is no such export,
// [csvfile.RowError] for the first row that an import would refuse, that of the stream.
func ReadFilled(r io.Reader, entityType string, types []string) (map[storage.EntityKey]string, error) {
	reader, err := newNameReader(r)
	switch {
	case err != nil:
		return nil, err
	case reader.rows.Column("first_seen_tip") < 0:
		return nil, fmt.Errorf("%w: it has no column first_seen_tip", csvfile.ErrUnusableFile)
	case entityType == "" && !reader.hasKinds():
		return nil, errors.New("it is an export of one type, not of all")
	case entityType != "" && reader.hasKinds():
		return nil, fmt.Errorf("it is an export of all types, not of the type %s", entityType)
	}
	filled := map[storage.EntityKey]string{}
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return filled, nil
		}
		if err != nil {
			return nil, err
		}
		if row.Name == "" {
			continue
		}
		key := storage.EntityKey{Type: cmp.Or(entityType, plainKind(row.SourceKind)), Hash: row.Hash}
		if !slices.Contains(types, key.Type) {
			return nil, reader.rows.Bad(noSuchType(row.SourceKind, types))
		}
		filled[key] = row.Name
	}
}

// noSuchType says that a row's entity_type is none of the types that there are.
func noSuchType(kind string, types []string) string {
	return fmt.Sprintf("its entity_type is %q: want one of %s", forms.FirstOf(kind, maxShownKind), strings.Join(types, ", "))
}

// UnknownFileName is the manual's name for the export of a type, such as
// unknown_vehicles.csv.
func UnknownFileName(entityType string) string {
	plural := entityType + "s"
	stem, y := strings.CutSuffix(entityType, "y")
	switch {
	case y && stem != "" && !strings.ContainsAny(stem[len(stem)-1:], "aeiou"):
		plural = stem + "ies"
	case strings.HasSuffix(entityType, "s"), strings.HasSuffix(entityType, "x"), strings.HasSuffix(entityType, "ch"), strings.HasSuffix(entityType, "sh"):
		plural = entityType + "es"
	}
	return "unknown_" + plural + ".csv"
}
