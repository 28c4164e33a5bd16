package seal

import (
	"context"

	"noggin/storage"
)

// record is what the database has of a record.
type record struct {
	*storage.SealRecord
	*history // what every log says of it

	bodies  map[string][]int                  // the versions that have a body, by its SHA-256
	current int                               // the current version; -1: it is gone
	named   map[string]int                    // the first file of an attachment, by its tip
	same    map[[2]string][]*storage.SealFile // of an attachment, that have a SHA-256
}

func newRecord(stored *storage.SealRecord, leaves []leaf) *record {
	r := &record{stored, newHistory(leaves), map[string][]int{}, -1, map[string]int{}, map[[2]string][]*storage.SealFile{}}
	for i, v := range r.Versions {
		if v.Whole {
			r.bodies[v.BodySHA256] = append(r.bodies[v.BodySHA256], i)
		}
		if v.Current {
			r.current = i
		}
	}
	for i, f := range r.Files {
		if _, ok := r.named[f.Tip]; !ok {
			r.named[f.Tip] = i
		}
		r.same[[2]string{f.Tip, f.SHA256}] = append(r.same[[2]string{f.Tip, f.SHA256}], &r.Files[i])
	}
	return r
}

// recordsOf reads records, and returns their leaves too, those of each in their order.
func (c *evidence) recordsOf(ctx context.Context, tips []string) (records map[string]*record, all []leafAt, err error) {
	records = make(map[string]*record, len(tips))
	read, err := c.DB.SealRecords(ctx, tips)
	for tip, r := range read {
		var leaves []leaf
		for _, s := range r.Leaves {
			if l, err := parseLeaf(s.Leaf); err == nil && l.Tip == tip && l.Kind != kindLog {
				all, leaves = append(all, leafAt{l, s, len(leaves)}), append(leaves, l)
			}
		}
		records[tip] = newRecord(r, leaves)
	}
	return records, all, err
}

// filesOf are the files of an attachment that a leaf names.
func (r *record) filesOf(a leafFile) []*storage.SealFile { return r.same[[2]string{a.Tip, a.SHA256}] }
