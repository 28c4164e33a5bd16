package names

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"noggin/batch/csvfile"
	"noggin/storage"
)

// UnknownExport says what WriteUnknown writes.
type UnknownExport struct {
	EntityType string // "": every type, with the column entity_type
	// Filled are names that a person filled in but did not import. The export keeps
	// them.
	Filled map[storage.EntityKey]string
}

// WriteUnknown writes the unknown hashes as a CSV file, the most frequent first.
// People fill in its column name. WriteUnknown returns the number of hashes and the
// number of filled-in names that it kept.
func WriteUnknown(ctx context.Context, db *storage.DB, w io.Writer, export UnknownExport) (count, kept int, err error) {
	out := csv.NewWriter(w)
	header := []string{"hash", "name", "first_seen_tip", "inspection_id", "occurrences", "last_seen"}
	if export.EntityType == "" {
		header = append(header, "entity_type")
	}
	if err := out.Write(header); err != nil {
		return 0, 0, fmt.Errorf("write unknown hashes: %w", err)
	}
	err = db.EachUnknown(ctx, export.EntityType, func(u storage.UnknownHash) error {
		name, filled := export.Filled[storage.EntityKey{Type: u.Type, Hash: u.Hash}]
		if filled {
			kept++
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
		out.Flush()
		err = out.Error()
	}
	if err != nil {
		return count, kept, fmt.Errorf("write unknown hashes: %w", err)
	}
	return count, kept, nil
}

// ReadFilled reads an export of unknown hashes and returns the names that a person
// filled in. The entity type is that of the export; "" stands for every type.
// Errors: ErrUnusableFile, that of the stream.
func ReadFilled(r io.Reader, entityType string) (map[storage.EntityKey]string, error) {
	reader, err := newNameReader(r)
	if err != nil {
		return nil, err
	}
	filled := map[storage.EntityKey]string{}
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return filled, nil
		}
		if _, bad := errors.AsType[*csvfile.RowError](err); bad {
			continue // an import will report it
		}
		if err != nil {
			return nil, err
		}
		if row.Name != "" {
			filled[storage.EntityKey{Type: cmp.Or(entityType, plainKind(row.SourceKind)), Hash: row.Hash}] = row.Name
		}
	}
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
