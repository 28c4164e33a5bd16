package seal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/validate"
	"noggin/storage"
)

// leavesPage is the number of leaves that are compared at a time, which bounds the memory;
// tests lower it.
var leavesPage = 500

// fileReaders is the number of records whose files are read at the same time.
const fileReaders = 4

// flaw is something that a leaf says and the mirror does not.
type flaw struct{ check, what string }

// flaws are the messages and remedies of the flaws.
var flaws = map[string]struct{ message, remedy string }{
	"leaf":            {"leaves in the database are damaged", rebuilt},
	"record":          {"records that were sealed are gone", "restore them from a backup of the database"},
	"body":            {"bodies that were sealed are gone or changed", "copy the row of record_versions back from a backup of the database"},
	"time":            {"versions have other times than were sealed", "copy the row of record_versions back from a backup of the database"},
	"attachment":      {"the database does not have attachments as they were sealed", "restore the rows and the files from backups of before the change"},
	"file":            {"files differ from what was sealed", "copy them back from an archive or a copy; `noggin validate files --deep --fix` fetches lost ones again"},
	"lost":            {"files that were sealed were given up with their archive", "an archive that turns up: `noggin archive register FILE`"},
	"payload":         {"payloads differ from the bodies that were sealed", "find out who changed them; `noggin process --tip TIP` stores the current answer again"},
	"columns":         {"columns differ from the bodies that were sealed", "find out who changed them, unless a form was changed in the configuration; `noggin process --tip TIP` stores the current answer again"},
	"unproved":        {"complete records have answers or files that no leaf has, and nothing says that they are to be sealed", "find out who put them there: what noggin itself stores is marked to be sealed"},
	"leaf_column":     {"leaves stand under another record than they say", rebuilt},
	"current_older":   {"the current answer of records is an earlier one than was sealed last", "find out who put it there; `noggin process --tip TIP` stores the platform's again"},
	"current_again":   {"the current answer of records is one from before the one that was sealed last: the platform gave it again, or somebody put it there", "`noggin process --tip TIP` asks the platform"},
	"unsealed_answer": {"records that were sealed have another answer, which is sealed once they are complete", "`noggin process --tip TIP` goes on with them; if it was not noggin that stored it, find out who did"},
	"unsealed_former": {"former files are of versions that the database does not have, or in an archive, and no leaf has them: they were found on disk, noggin did not seal what `archive register` brought, or somebody put them there", "compare them with older backups"},
}

// doubts are the flaws that a mirror may have of which nobody changed anything.
var doubts = []string{"current_again", "unsealed_answer", "unsealed_former"}

// rows are what the database has of the records of a page.
type rows struct {
	versions map[string][]version
	files    map[string][]storage.SealFile
	leaves   map[string][]leaf // of every log, the oldest first
	due      map[string]bool   // the next run seals it
}

// version is a stored version with the SHA-256 of its body.
type version struct {
	storage.SealVersion
	sum string
}

func (c *evidence) rowsOf(ctx context.Context, tips []string) (rows, error) {
	r := rows{map[string][]version{}, map[string][]storage.SealFile{}, map[string][]leaf{}, map[string]bool{}}
	read, err := c.DB.SealRecords(ctx, tips)
	for _, tip := range read.Due {
		r.due[tip] = true
	}
	for _, s := range read.Leaves {
		if l, err := parseLeaf(s.Leaf); err == nil {
			r.leaves[l.Tip] = append(r.leaves[l.Tip], l)
		}
	}
	for _, v := range read.Versions {
		sum := sha256.Sum256(v.Body)
		r.versions[v.Tip] = append(r.versions[v.Tip], version{v, hex.EncodeToString(sum[:])})
	}
	for _, f := range read.Files {
		r.files[f.RecordTip] = append(r.files[f.RecordTip], f)
	}
	return r, err
}

// checkLeaves compares leaves with the rows and files of their records.
func (c *evidence) checkLeaves(ctx context.Context, log storage.SealLog, page []storage.SealedLeaf) error {
	var leaves []leafAt
	for _, s := range page {
		l, err := parseLeaf(s.Leaf)
		switch {
		case err != nil:
			c.report(log, s.Position, s.Tip, flaw{"leaf", err.Error()})
		case l.Kind == kindLog:
		default:
			if l.Tip != s.Tip || string(l.claim()) != string(s.Claim) {
				c.report(log, s.Position, l.Tip, flaw{"leaf_column", "stands under " + s.Tip})
			}
			leaves = append(leaves, leafAt{l, s.Position})
		}
	}
	for len(leaves) > 0 {
		tips := tipsOf(leaves)
		sizes, err := c.DB.BodyBytes(ctx, tips)
		if err != nil {
			return err
		}
		n := within(tips, sizes)
		if err := c.checkTwice(ctx, log, leaves[:n]); err != nil {
			return err
		}
		leaves = leaves[n:]
	}
	return nil
}

// checkTwice compares leaves. What differs is compared a second time, with rows that are
// read again, as a run may have changed them meanwhile.
func (c *evidence) checkTwice(ctx context.Context, log storage.SealLog, leaves []leafAt) error {
	found, _, err := c.compare(ctx, leaves)
	if err != nil {
		return err
	}
	var again []leafAt
	for i, l := range leaves {
		if len(found[i]) > 0 {
			again = append(again, l)
		}
	}
	if len(again) == 0 {
		return nil
	}
	found, r, err := c.compare(ctx, again)
	if err != nil {
		return err
	}
	for i, l := range again {
		inspection := ""
		if versions := r.versions[l.Tip]; len(versions) > 0 {
			inspection = versions[0].Inspection
		}
		for _, f := range found[i] {
			c.report(log, l.position, named(l.Tip, inspection), f)
		}
	}
	return nil
}

// leafAt is a leaf and its position.
type leafAt struct {
	leaf
	position int64
}

func (c *evidence) report(log storage.SealLog, position int64, record string, f flaw) {
	c.problem(f.check, flaws[f.check].message, fmt.Sprintf("%s leaf %d, record %s: %s", log.Origin, position, record, f.what), flaws[f.check].remedy)
	if slices.Contains(doubts, f.check) {
		c.found[f.check].Severity = validate.SeverityWarning
	}
}

// compare returns the flaws of each leaf.
func (c *evidence) compare(ctx context.Context, leaves []leafAt) ([][]flaw, rows, error) {
	tips := tipsOf(leaves)
	slices.Sort(tips)
	r, err := c.rowsOf(ctx, slices.Compact(tips))
	if err != nil {
		return nil, r, err
	}
	unlike, err := c.unlikeRows(ctx, leaves, r)
	if err != nil {
		return nil, r, err
	}
	found := make([][]flaw, len(leaves))
	var mu sync.Mutex
	readers, reading := errgroup.WithContext(ctx)
	readers.SetLimit(fileReaders)
	for i, l := range leaves {
		found[i] = compareRows(l.leaf, r)
		if f, ok := unlike[l.Tip]; ok && len(r.versions[l.Tip]) > 0 {
			found[i] = append(found[i], f)
		}
		if c.output == nil {
			continue
		}
		readers.Go(func() error {
			wrong, n, bytes, err := c.compareFiles(reading, l.leaf, r)
			mu.Lock()
			defer mu.Unlock()
			found[i] = append(found[i], wrong...)
			c.files, c.bytes = c.files+n, c.bytes+bytes
			return err
		})
	}
	return found, r, readers.Wait()
}

func tipsOf(leaves []leafAt) []string {
	tips := make([]string, len(leaves))
	for i, l := range leaves {
		tips[i] = l.Tip
	}
	return tips
}

// compareRows compares a leaf with the rows of its record.
func compareRows(l leaf, r rows) (found []flaw) {
	versions := r.versions[l.Tip]
	if len(versions) == 0 {
		return []flaw{{"record", "the record or its versions are gone"}}
	}
	hasBody := func(v version) bool { return v.Body != nil && v.sum == l.BodySHA256 }
	received := firstReceived(r.leaves[l.Tip], l.BodySHA256)
	// After a restore a version is fetched again, later than its leaf says.
	misdated := slices.IndexFunc(versions, func(v version) bool {
		return hasBody(v) && (timeText(&v.FetchedAt) < received || timeText(v.ModifiedAt) != l.ModifiedAt)
	})
	at := slices.IndexFunc(versions, hasBody)
	switch bySID := slices.IndexFunc(versions, func(v version) bool { return v.SID == l.SID }); {
	case at >= 0 && !slices.ContainsFunc(versions, func(v version) bool {
		return hasBody(v) && v.SID == l.SID && v.Kind == l.Kind && v.SHA256 == v.sum
	}):
		v := versions[at]
		found = append(found, flaw{"body", fmt.Sprintf("version %d says sid %s, kind %s, SHA-256 %s; sealed was sid %s, kind %s, SHA-256 %s",
			v.Version, v.SID, v.Kind, v.SHA256, l.SID, l.Kind, l.BodySHA256)})
	case misdated >= 0:
		v := versions[misdated]
		found = append(found, flaw{"time", fmt.Sprintf("version %d says fetched %s, modified %q; sealed was fetched %s, modified %q",
			v.Version, timeText(&v.FetchedAt), timeText(v.ModifiedAt), received, l.ModifiedAt)})
	case at < 0 && bySID >= 0:
		found = append(found, flaw{"body", fmt.Sprintf("version %d (sid %s) has another body: SHA-256 %s was sealed", versions[bySID].Version, l.SID, l.BodySHA256)})
	case at < 0:
		found = append(found, flaw{"body", "no version has the body: SHA-256 " + l.BodySHA256 + " was sealed"})
	}
	for _, a := range l.Attachments {
		has := func(f storage.SealFile) bool { return f.Tip == a.Tip }
		at = slices.IndexFunc(r.files[l.Tip], func(f storage.SealFile) bool { return has(f) && f.SHA256 == a.SHA256 && f.Size == a.Size })
		if at >= 0 {
			continue
		}
		what := fmt.Sprintf("attachment %s is gone", a.Tip)
		if at = slices.IndexFunc(r.files[l.Tip], has); at >= 0 {
			f := r.files[l.Tip][at]
			what = fmt.Sprintf("%s has %d bytes with SHA-256 %s, and was sealed with %d bytes and %s", f.Path, f.Size, f.SHA256, a.Size, a.SHA256)
		}
		found = append(found, flaw{"attachment", what})
	}
	if of := r.leaves[l.Tip]; len(of) > 0 && of[len(of)-1].text() == l.text() { // once a record
		found = append(found, unproved(l.Tip, r)...)
	}
	return found
}

// unproved is what a record has and no leaf says, or only an earlier one than the last.
func unproved(tip string, r rows) (found []flaw) {
	versions, leaves := r.versions[tip], r.leaves[tip]
	at := slices.IndexFunc(versions, func(v version) bool { return v.Current })
	if at < 0 {
		return nil
	}
	now, sealed := versions[at], lastOf(leaves, versions[at].sum) >= 0
	switch newer, surely := replacedBy(leaves, now.sum); {
	case newer == nil:
	case sealed && slices.ContainsFunc(versions, func(v version) bool { return v.sum == newer.BodySHA256 }): // else a backup was restored
		check := map[bool]string{true: "current_older", false: "current_again"}[surely]
		found = append(found, flaw{check, fmt.Sprintf("its current version %d was modified %q, the one that was sealed last %q", now.Version, timeText(now.ModifiedAt), newer.ModifiedAt)})
	case !sealed && !now.Complete && !r.due[tip]:
		found = append(found, flaw{"unsealed_answer", fmt.Sprintf("version %d has a body with SHA-256 %s", now.Version, now.sum)})
	}
	if r.due[tip] || !now.Complete {
		return found
	}
	for _, v := range versions {
		if (v.Current || v.Body != nil) && lastOf(leaves, v.sum) < 0 {
			found = append(found, flaw{"unproved", fmt.Sprintf("version %d has a body with SHA-256 %s", v.Version, v.sum)})
		}
	}
	for _, f := range r.files[tip] {
		if f.Complete && !proves(leaves, f.Tip, f.SHA256) {
			sealable := f.Last == nil || f.ArchiveID == nil && slices.ContainsFunc(versions, func(v version) bool { return v.Kind == kindVersion && f.First <= v.Version && v.Version <= *f.Last })
			found = append(found, flaw{map[bool]string{true: "unproved", false: "unsealed_former"}[sealable], fmt.Sprintf("%s has SHA-256 %s", f.Path, f.SHA256)})
		}
	}
	return found
}

// compareFiles reads the files on disk that a leaf names. Files in archives are compared
// with their archives, which does not find those of records that no archive has anything of.
func (c *evidence) compareFiles(ctx context.Context, l leaf, r rows) (found []flaw, n, bytes int64, err error) {
	for _, a := range l.Attachments {
		if ctx.Err() != nil {
			return found, n, bytes, context.Cause(ctx)
		}
		at := slices.IndexFunc(r.files[l.Tip], func(f storage.SealFile) bool { return f.Tip == a.Tip && f.SHA256 == a.SHA256 })
		if at < 0 {
			continue
		}
		f := r.files[l.Tip][at]
		path := f.Path
		if f.ArchiveID != nil {
			switch {
			case f.Lost != "":
				found = append(found, flaw{"lost", path + " was lost with " + f.Lost})
			case !f.Held:
				found = append(found, flaw{"file", path + " is said to be in an archive, which has nothing of the record"})
			}
			continue
		}
		err := c.output.Verify(path, a.Size, a.SHA256)
		switch {
		case err == nil:
			n, bytes = n+1, bytes+a.Size
		case errors.Is(err, files.ErrNotMounted):
			return found, n, bytes, err
		case errors.Is(err, files.ErrMissing), errors.Is(err, os.ErrNotExist):
			found = append(found, flaw{"file", path + " is missing"})
		default:
			found = append(found, flaw{"file", strings.TrimPrefix(err.Error(), "verify ")})
		}
	}
	return found, n, bytes, nil
}

// unlikeRows returns the records whose row in noggin_data is not what the body of their
// current version says. Columns of rows that an older noggin filled are left alone: they
// obeyed other rules.
func (c *evidence) unlikeRows(ctx context.Context, leaves []leafAt, r rows) (map[string]flaw, error) {
	answers, columns, unlike := map[string]json.RawMessage{}, map[string]map[string]*string{}, map[string]flaw{}
	other := flaw{"payload", "the payload in noggin_data is not what the body says"}
	for _, l := range leaves {
		for _, v := range r.versions[l.Tip] {
			if !v.Current || v.Body == nil || v.sum != l.BodySHA256 {
				continue
			}
			form, known := c.Types.ByCode(v.Form) // of another host, it may be unknown here
			record, err := forms.ParseRecord(form, v.Body)
			if err != nil {
				unlike[l.Tip] = other
				continue
			}
			answers[l.Tip] = record.Stored
			if known && l.BodySource == fromAPI {
				columns[l.Tip] = columnsOf(record)
			}
		}
	}
	if len(answers) == 0 {
		return unlike, nil
	}
	differ, err := c.DB.UnlikeColumns(ctx, columns)
	if err != nil {
		return nil, err
	}
	for tip, names := range differ {
		unlike[tip] = flaw{"columns", "in noggin_data, the body does not say what stands in " + strings.Join(names, ", ")}
	}
	tips, err := c.DB.UnlikeBodies(ctx, answers)
	for _, tip := range tips {
		unlike[tip] = other
	}
	return unlike, err
}

// columnsOf are the columns of noggin_data that an answer fills. Names that stand for
// hashes are left out: they are not the answer's.
func columnsOf(record forms.Record) map[string]*string {
	columns := map[string]*string{
		"inspection_id": storage.Optional(record.InspectionID), "inspection_date": storage.Optional(record.InspectionDate),
		"driver_loader_name": nil, "job_number": nil, "run_number": nil, "load_compliance": nil,
	}
	for _, column := range []string{"vehicle", "trailer", "trailer2", "trailer3", "department", "team", "inspected_by"} {
		columns[column], columns[column+"_hash"] = nil, nil
		var hashes []string
		for _, r := range record.References {
			if r.Column == column {
				hashes = append(hashes, r.Hash)
			}
		}
		if len(hashes) > 0 {
			delete(columns, column)
			columns[column+"_hash"] = storage.Optional(strings.Join(hashes, ", "))
		}
	}
	for column, value := range record.Columns {
		columns[column] = &value
	}
	return columns
}
