package seal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"noggin/batch/forms"
	"noggin/batch/validate"
	"noggin/storage"
)

// leavesPage is the number of leaves that are compared at a time, which bounds the memory;
// tests lower it.
var leavesPage = 500

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

// leafAt is a leaf and where it is.
type leafAt struct {
	leaf
	at  storage.SealedLeaf
	nth int // of the record's leaves; -1: it stands under another record
}

// compared is what is compared of the records of a page of leaves.
type compared struct {
	whole  map[string]bool     // those whose leaves are all compared
	astray map[string][]leafAt // leaves of the page that stand under another record, by their own
}

// checkLeaves compares the leaves of a page with the rows and files of their records. All
// leaves of a record are compared with its first one, so that each record is read once,
// however many versions it has.
func (c *evidence) checkLeaves(ctx context.Context, page []storage.SealedLeaf) error {
	if len(page) == 0 {
		return nil
	}
	of := compared{map[string]bool{}, map[string][]leafAt{}}
	for _, s := range page {
		of.whole[s.Tip] = true
		l, err := parseLeaf(s.Leaf)
		switch {
		case err != nil:
			c.report(s, s.Tip, flaw{"leaf", err.Error()})
		case l.Kind == kindLog:
		case l.Tip != s.Tip || string(l.claim()) != string(s.Claim):
			c.report(s, l.Tip, flaw{"leaf_column", "stands under " + s.Tip})
			if l.Tip != s.Tip {
				of.astray[l.Tip] = append(of.astray[l.Tip], leafAt{l, s, -1})
			}
		}
	}
	before, err := c.DB.SealedBefore(ctx, c.logs, page[0], slices.Collect(maps.Keys(of.whole)))
	if err != nil {
		return err
	}
	for _, tip := range before {
		delete(of.whole, tip)
	}
	tips := slices.AppendSeq(slices.Collect(maps.Keys(of.whole)), maps.Keys(of.astray))
	slices.Sort(tips)
	tips = slices.Compact(tips)
	sizes, err := c.DB.BodyBytes(ctx, tips)
	for err == nil && len(tips) > 0 {
		n := within(tips, sizes)
		err, tips = c.checkTwice(ctx, tips[:n], of), tips[n:]
	}
	return err
}

// checkTwice compares records. What differs is compared a second time, with rows that are
// read again, as a run may have changed them meanwhile.
func (c *evidence) checkTwice(ctx context.Context, tips []string, of compared) error {
	differ := map[string]bool{}
	if err := c.compare(ctx, tips, of, func(l leafAt, _ string, _ flaw) { differ[l.Tip] = true }); err != nil || len(differ) == 0 {
		return err
	}
	return c.compare(ctx, slices.Sorted(maps.Keys(differ)), of, func(l leafAt, inspection string, f flaw) {
		c.report(l.at, named(l.Tip, inspection), f)
	})
}

// report adds a flaw of a leaf to the findings. As a record is compared with its first leaf,
// its flaws may come before those of leaves that are before them.
func (c *evidence) report(at storage.SealedLeaf, record string, f flaw) {
	c.problem(f.check, flaws[f.check].message, "", flaws[f.check].remedy)
	finding, places := c.found[f.check], c.places[f.check]
	if slices.Contains(doubts, f.check) {
		finding.Severity = validate.SeverityWarning
	}
	i, _ := slices.BinarySearchFunc(places, at, func(a, b storage.SealedLeaf) int {
		return cmp.Or(cmp.Compare(a.LogID, b.LogID), cmp.Compare(a.Position, b.Position), -1)
	})
	log := slices.IndexFunc(c.logs, func(l storage.SealLog) bool { return l.ID == at.LogID })
	if i < maxExamples && log >= 0 { // else a new log began meanwhile
		example := fmt.Sprintf("%s leaf %d, record %s: %s", c.logs[log].Origin, at.Position, record, f.what)
		finding.Examples = slices.Insert(finding.Examples, i, example)[:min(len(places)+1, maxExamples)]
		c.places[f.check] = slices.Insert(places, i, at)[:min(len(places)+1, maxExamples)]
	}
}

// compare hands each flaw of the leaves of records to tell.
func (c *evidence) compare(ctx context.Context, tips []string, of compared, tell func(l leafAt, inspection string, f flaw)) error {
	records, leaves, err := c.recordsOf(ctx, tips)
	if err != nil {
		return err
	}
	leaves = slices.DeleteFunc(leaves, func(l leafAt) bool { return !of.whole[l.Tip] })
	for _, tip := range tips {
		leaves = append(leaves, of.astray[tip]...)
	}
	unlike, err := c.unlikeRows(ctx, records)
	if err != nil {
		return err
	}
	looks, err := c.readFiles(ctx, leaves, records)
	if err != nil {
		return err
	}
	for _, l := range leaves {
		r := records[l.Tip]
		found := compareRows(l.leaf, r)
		if n := len(r.leaves); n > 0 && l.nth == n-1 { // once a record
			found = append(found, unproved(r)...)
		}
		if f, ok := unlike[l.Tip]; ok && l.nth == r.last[r.Versions[r.current].BodySHA256] {
			found = append(found, f)
		}
		for _, f := range append(found, c.compareFiles(l.leaf, r, looks)...) {
			inspection := ""
			if len(r.Versions) > 0 {
				inspection = r.Versions[0].Inspection
			}
			tell(l, inspection, f)
		}
	}
	return nil
}

// compareRows compares a leaf with the rows of its record.
func compareRows(l leaf, r *record) (found []flaw) {
	if len(r.Versions) == 0 {
		return []flaw{{"record", "the record or its versions are gone"}}
	}
	received, with := cmp.Or(r.received[l.BodySHA256], l.FetchedAt), r.bodies[l.BodySHA256]
	// After a restore a version is fetched again, later than its leaf says.
	misdated := slices.IndexFunc(with, func(i int) bool {
		return timeText(&r.Versions[i].FetchedAt) < received || timeText(r.Versions[i].ModifiedAt) != l.ModifiedAt
	})
	switch {
	case len(with) == 0:
		what := "no version has the body: SHA-256 " + l.BodySHA256 + " was sealed"
		if i := slices.IndexFunc(r.Versions, func(v storage.SealVersion) bool { return v.SID == l.SID }); i >= 0 {
			what = fmt.Sprintf("version %d (sid %s) has another body: SHA-256 %s was sealed", r.Versions[i].Version, l.SID, l.BodySHA256)
		}
		found = append(found, flaw{"body", what})
	case !slices.ContainsFunc(with, func(i int) bool {
		v := r.Versions[i]
		return v.SID == l.SID && v.Kind == l.Kind && v.SHA256 == v.BodySHA256
	}):
		v := r.Versions[with[0]]
		found = append(found, flaw{"body", fmt.Sprintf("version %d says sid %s, kind %s, SHA-256 %s; sealed was sid %s, kind %s, SHA-256 %s",
			v.Version, v.SID, v.Kind, v.SHA256, l.SID, l.Kind, l.BodySHA256)})
	case misdated >= 0:
		v := r.Versions[with[misdated]]
		found = append(found, flaw{"time", fmt.Sprintf("version %d says fetched %s, modified %q; sealed was fetched %s, modified %q",
			v.Version, timeText(&v.FetchedAt), timeText(v.ModifiedAt), received, l.ModifiedAt)})
	}
	for _, a := range l.Attachments {
		if slices.ContainsFunc(r.filesOf(a), func(f *storage.SealFile) bool { return f.Size == a.Size }) {
			continue
		}
		what := fmt.Sprintf("attachment %s is gone", a.Tip)
		if i, ok := r.named[a.Tip]; ok {
			f := r.Files[i]
			what = fmt.Sprintf("%s has %d bytes with SHA-256 %s, and was sealed with %d bytes and %s", f.Path, f.Size, f.SHA256, a.Size, a.SHA256)
		}
		found = append(found, flaw{"attachment", what})
	}
	return found
}

// unproved is what a record has and no leaf says, or only an earlier one than the last.
func unproved(r *record) (found []flaw) {
	if r.current < 0 {
		return nil
	}
	now := r.Versions[r.current]
	sealed := r.has(now.BodySHA256)
	switch newer, surely := r.replacedBy(now.BodySHA256); {
	case newer == nil:
	case sealed && slices.ContainsFunc(r.Versions, func(v storage.SealVersion) bool { return v.BodySHA256 == newer.BodySHA256 }): // else a backup was restored
		check := map[bool]string{true: "current_older", false: "current_again"}[surely]
		found = append(found, flaw{check, fmt.Sprintf("its current version %d was modified %q, the one that was sealed last %q", now.Version, timeText(now.ModifiedAt), newer.ModifiedAt)})
	case !sealed && !now.Complete && !r.Due:
		found = append(found, flaw{"unsealed_answer", fmt.Sprintf("version %d has a body with SHA-256 %s", now.Version, now.BodySHA256)})
	}
	if r.Due || !now.Complete {
		return found
	}
	for _, v := range r.Versions {
		if (v.Current || v.Whole) && !r.has(v.BodySHA256) {
			found = append(found, flaw{"unproved", fmt.Sprintf("version %d has a body with SHA-256 %s", v.Version, v.BodySHA256)})
		}
	}
	for _, f := range r.Files {
		if f.Complete && !r.proves(f.Tip, f.SHA256) {
			sealable := f.Last == nil || f.ArchiveID == nil && slices.ContainsFunc(r.Versions, func(v storage.SealVersion) bool {
				return v.Kind == kindVersion && f.First <= v.Version && v.Version <= *f.Last
			})
			found = append(found, flaw{map[bool]string{true: "unproved", false: "unsealed_former"}[sealable], fmt.Sprintf("%s has SHA-256 %s", f.Path, f.SHA256)})
		}
	}
	return found
}

// unlikeRows returns the records whose row in noggin_data is not what the body of their
// current version says. Columns of rows that an older noggin filled are left alone: they
// obeyed other rules.
func (c *evidence) unlikeRows(ctx context.Context, records map[string]*record) (map[string]flaw, error) {
	answers, columns, unlike := map[string]json.RawMessage{}, map[string]map[string]*string{}, map[string]flaw{}
	other := flaw{"payload", "the payload in noggin_data is not what the body says"}
	for tip, r := range records {
		if r.current < 0 || !r.Versions[r.current].Whole || !r.has(r.Versions[r.current].BodySHA256) {
			continue
		}
		v := r.Versions[r.current]
		form, known := c.Types.ByCode(v.Form) // of another host, it may be unknown here
		record, err := forms.ParseRecord(form, v.Body)
		if err != nil {
			unlike[tip] = other
			continue
		}
		answers[tip] = record.Stored
		if known && r.leaves[r.last[v.BodySHA256]].BodySource == fromAPI {
			columns[tip] = columnsOf(record)
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
