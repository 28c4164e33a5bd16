package queue

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"noggin/batch/csvfile"
	"noggin/batch/forms"
	"noggin/storage"
)

// skipBatch is how many records are listed, skipped or brought back at once.
const skipBatch = 1000

// skipColumns are the columns of the list of skipped records. The operations manual names
// the first three.
var skipColumns = []string{
	"tip", "inspection_id", "inspection_date", "expected_inspection_id", "expected_inspection_date", "object_type",
	"status_before", "retry_count", "next_retry_at", "permanently_failed", "last_error_message",
}

// ErrNoSkipList says that a file is not a list of [WriteSkipList].
var ErrNoSkipList = errors.New("not a list of skipped records")

// WriteSkipList writes the records to skip as a CSV file and returns their number: those
// of the selector that no run has claimed.
func WriteSkipList(ctx context.Context, db *storage.DB, s storage.Selector, w io.Writer) (n int, err error) {
	out := csvfile.NewWriter(w)
	if err := out.Write(skipColumns); err != nil {
		return 0, fmt.Errorf("write the list: %w", err)
	}
	after := ""
	for {
		rows, err := db.Skippable(ctx, s, after, skipBatch)
		if err != nil {
			return n, err
		}
		for _, r := range rows {
			if err := out.Write(skipFields(r)); err != nil {
				return n, fmt.Errorf("write the list: %w", err)
			}
		}
		n += len(rows)
		if len(rows) < skipBatch {
			return n, out.Flush()
		}
		after = rows[len(rows)-1].Tip
	}
}

func skipFields(r storage.SkipRow) []string {
	text := func(s *string) string { return csvfile.GuardFormula(storage.ValueOf(s)) }
	next := ""
	if r.NextRetryAt != nil {
		next = r.NextRetryAt.Format(time.RFC3339Nano)
	}
	return []string{
		csvfile.GuardFormula(r.Tip), text(r.InspectionID), storage.ValueOf(r.InspectionDate), text(r.ExpectedID),
		storage.ValueOf(r.ExpectedDate), r.ObjectType, string(r.Status), strconv.Itoa(r.RetryCount), next,
		strconv.FormatBool(r.PermanentlyFailed), text(r.LastError),
	}
}

// SkipListed takes the records of a list out of the queue. It returns how many it skipped,
// of how many that the list holds. The others have changed, or a run has claimed them.
func SkipListed(ctx context.Context, db *storage.DB, list io.Reader, reason string, progress func(done int)) (skipped, listed int, err error) {
	listed, err = eachSkipped(list, func(rows []storage.SkipRow, done int) error {
		n, err := db.Skip(ctx, rows, reason)
		skipped += n
		if progress != nil {
			progress(done)
		}
		return err
	})
	return skipped, listed, err
}

// UnskipListed gives the records of a list that are still skipped their former state. It
// returns how many it restored, of how many that the list holds. It reads the whole list
// first, so a damaged one changes nothing.
func UnskipListed(ctx context.Context, db *storage.DB, list io.ReadSeeker, progress func(done int)) (restored, listed int, err error) {
	if _, err := CountSkipList(list); err != nil {
		return 0, 0, err
	}
	if _, err := list.Seek(0, io.SeekStart); err != nil {
		return 0, 0, fmt.Errorf("read the list again: %w", err)
	}
	listed, err = eachSkipped(list, func(rows []storage.SkipRow, done int) error {
		n, err := db.Unskip(ctx, rows)
		restored += n
		if progress != nil {
			progress(done)
		}
		return err
	})
	return restored, listed, err
}

// eachSkipped calls each with the rows of a list in batches, and with the number of rows
// so far. It returns the number of all rows.
func eachSkipped(list io.Reader, each func(rows []storage.SkipRow, done int) error) (n int, err error) {
	in := csv.NewReader(list)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil || !slices.Equal(header, skipColumns) {
		return 0, ErrNoSkipList
	}
	rows := make([]storage.SkipRow, 0, skipBatch)
	for {
		fields, err := in.Read()
		if err == nil {
			var row storage.SkipRow
			if row, err = parseSkipRow(fields); err != nil {
				line, _ := in.FieldPos(0)
				return n, fmt.Errorf("%w: line %d: %w", ErrNoSkipList, line, err)
			}
			rows = append(rows, row)
			n++
		}
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return n, fmt.Errorf("%w: %w", ErrNoSkipList, err)
		}
		if len(rows) == skipBatch || end && len(rows) > 0 {
			if err := each(rows, n); err != nil {
				return n, err
			}
			rows = rows[:0]
		}
		if end {
			return n, nil
		}
	}
}

func parseSkipRow(fields []string) (r storage.SkipRow, err error) {
	text := func(i int) *string { return storage.Optional(csvfile.UnguardFormula(fields[i])) }
	r = storage.SkipRow{
		Tip: csvfile.UnguardFormula(fields[0]), InspectionID: text(1), InspectionDate: storage.Optional(fields[2]), ExpectedID: text(3),
		ExpectedDate: storage.Optional(fields[4]), ObjectType: fields[5], Status: storage.Status(fields[6]), LastError: text(10),
	}
	if _, ok := forms.ParseTip(r.Tip); !ok {
		return r, fmt.Errorf("%q is not a tip", r.Tip)
	}
	if !slices.Contains(storage.Statuses(), r.Status) || r.Status.IsFinal() {
		return r, fmt.Errorf("a record with the status %q cannot be skipped", r.Status)
	}
	var errs [3]error
	r.RetryCount, errs[0] = strconv.Atoi(fields[7])
	r.PermanentlyFailed, errs[1] = strconv.ParseBool(fields[9])
	if fields[8] != "" {
		var at time.Time
		at, errs[2] = time.Parse(time.RFC3339Nano, fields[8])
		r.NextRetryAt = &at
	}
	return r, errors.Join(errs[:]...)
}

// CountSkipList reads a whole list and counts its records by their former status.
func CountSkipList(list io.Reader) (map[storage.Status]int, error) {
	counts := map[storage.Status]int{}
	_, err := eachSkipped(list, func(rows []storage.SkipRow, _ int) error {
		for _, r := range rows {
			counts[r.Status]++
		}
		return nil
	})
	return counts, err
}
