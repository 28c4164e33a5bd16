package copies

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"noggin/batch/archive"
	"noggin/batch/archive/watch"
	"noggin/storage"
)

// AllArchives stands for the names of all archives.
const AllArchives = "all"

// Unseen is an archive that is not seen here, in which files were left.
type Unseen struct {
	Name  string `json:"name"`
	Why   string `json:"why"`
	Away  bool   `json:"not_mounted"` // else another host sees it
	Files int64  `json:"files"`       // that were left
}

// nameLost makes names of the archives that the options call lost. The error is
// [storage.ErrNoArchive] where there is none of a name.
func (r *restorer) nameLost(ctx context.Context) error {
	for _, given := range r.opts.LostArchives {
		if given == AllArchives {
			r.allLost = true
			continue
		}
		row, err := r.DB.ArchiveByName(ctx, archive.FullName(given))
		if err != nil {
			return err
		}
		r.lost = append(r.lost, row.Name)
	}
	return nil
}

// staysIn tells whether the files of an archive stay in it: it is whole, or it is not seen
// here and nobody said that it is lost. Each is looked for once. The error is one of the
// database.
func (r *restorer) staysIn(ctx context.Context, name string) (stays bool, err error) {
	if stays, known := r.stays[name]; known {
		return stays, nil
	}
	row, err := r.DB.ArchiveByName(ctx, name)
	if err != nil && !errors.Is(err, storage.ErrNoArchive) {
		return false, err
	}
	if err == nil && row.Problem == nil {
		stays = r.isSeen(ctx, row) && archive.IsWhole(r.Paths, row) || r.unseen[name] != nil
	}
	r.stays[name] = stays
	return stays, nil
}

// isSeen tells whether this host can tell what became of an archive. It notes one of which
// it cannot, unless it was said to be lost.
func (r *restorer) isSeen(ctx context.Context, row storage.Archive) bool {
	look := watch.Look(ctx, []storage.Archive{row}, r.Paths.Archive, r.DB.Host(), time.Now())[0]
	why := ""
	switch look.Sight {
	case watch.Elsewhere:
		why = "the host " + row.Host + " sees it"
	case watch.Unmounted:
		why = fmt.Sprintf("its folder %s %s", look.Folder(), look.Why)
	default:
		return true
	}
	if !r.allLost && !slices.Contains(r.lost, row.Name) {
		r.unseen[row.Name] = &Unseen{Name: row.Name, Why: why, Away: look.Sight == watch.Unmounted}
	}
	return false
}

// countLeft counts a file that stays in its archive.
func (r *restorer) countLeft(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if unseen := r.unseen[name]; unseen != nil {
		unseen.Files++
		return
	}
	r.summary.InArchives++
}

// listUnseen puts the archives that are not seen here into the summary.
func (r *restorer) listUnseen() {
	for _, unseen := range r.unseen {
		if unseen.Files > 0 {
			r.summary.Unseen = append(r.summary.Unseen, *unseen)
		}
	}
	slices.SortFunc(r.summary.Unseen, func(a, b Unseen) int { return cmp.Compare(a.Name, b.Name) })
}
