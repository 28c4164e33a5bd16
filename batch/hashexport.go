package batch

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"noggin/storage"
)

// UnknownExport says what WriteUnknown writes.
type UnknownExport struct {
	EntityType string // "": of every type, with the column entity_type
	// Filled are names that were filled in before but not imported: they are kept.
	Filled map[storage.EntityKey]string
}

// WriteUnknown writes the unknown hashes as a CSV file with the column name to be
// filled in, the most frequent first. It returns how many there are, and how many of
// the filled-in names it kept.
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
			GuardFormula(u.Hash), GuardFormula(name), GuardFormula(valueOf(u.FirstSeenTip)), GuardFormula(valueOf(u.InspectionID)),
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

// ReadFilled reads the names that somebody filled in in an export of unknown hashes
// of the type, or of every type for "". Errors: ErrUnusableFile, that of the stream.
func ReadFilled(r io.Reader, entityType string) (map[storage.EntityKey]string, error) {
	reader, err := NewNameReader(r)
	if err != nil {
		return nil, err
	}
	filled := map[storage.EntityKey]string{}
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return filled, nil
		}
		if _, bad := errors.AsType[*RowError](err); bad {
			continue // an import will report it
		}
		if err != nil {
			return nil, err
		}
		key := storage.EntityKey{Type: entityType, Hash: row.Hash}
		if entityType == "" {
			key.Type = plainKind(row.SourceKind)
		}
		if row.Name != "" {
			filled[key] = row.Name
		}
	}
}

// UnknownFileName is the manual's name for the file of the unknown hashes of a type:
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

// formulaStart are the characters that make a spreadsheet take a cell for a
// formula.
const formulaStart = "=+-@\t\r\n"

// GuardFormula makes a value safe in a CSV file that is opened in a spreadsheet:
// one that could be taken for a formula gets an apostrophe in front, and so does
// one that already looks guarded, so that UnguardFormula gives back exactly what
// was there.
func GuardFormula(s string) string {
	if looksLikeFormula(strings.TrimLeft(s, "'")) {
		return "'" + s
	}
	return s
}

// UnguardFormula undoes GuardFormula; what was never guarded stays as it is,
// unless it is itself an apostrophe before a formula.
func UnguardFormula(s string) string {
	if strings.HasPrefix(s, "'") && looksLikeFormula(strings.TrimLeft(s, "'")) {
		return s[1:]
	}
	return s
}

func looksLikeFormula(s string) bool {
	return s != "" && strings.IndexByte(formulaStart, s[0]) >= 0
}
