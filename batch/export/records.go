package export

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"noggin/batch/files"
	"noggin/storage"
)

// job is a record on its way into the bag.
type job struct {
	record storage.ExportRecord
	number int
	work   string
	entry  Entry
	err    error
	ready  chan struct{}
}

var batch = 16 // records that are read from the database at a time; tests lower it

// records exports the records on all cores. They come into the bag in their order.
func (r *run) records(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	workers := max(2, runtime.GOMAXPROCS(0))
	todo, ordered := make(chan *job), make(chan *job, 2*workers)
	group.Go(func() error {
		defer close(ordered)
		defer close(todo)
		return r.plan(ctx, func(j *job) error {
			for _, to := range []chan *job{ordered, todo} {
				select {
				case to <- j:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		})
	})
	for range workers {
		group.Go(func() error {
			for j := range todo {
				j.entry, j.err = r.makeRecord(ctx, j.record, j.number, j.work)
				close(j.ready)
			}
			return nil
		})
	}
	group.Go(func() error {
		for j := range ordered {
			select {
			case <-j.ready:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if j.err != nil {
				return j.err
			}
			if err := r.commit(j); err != nil {
				return err
			}
			r.Progress(Progress{Done: r.summary.Records, Total: r.summary.Selected, Bytes: r.summary.Bytes})
		}
		return nil
	})
	return group.Wait()
}

// plan reads the records behind those that are in the bag already.
func (r *run) plan(ctx context.Context, begin func(*job) error) error {
	var tips []string
	numbers := map[string]int{}
	flush := func() error {
		found, err := r.DB.ExportRecords(ctx, tips)
		if err != nil {
			return err
		}
		byTip := map[string]storage.ExportRecord{}
		for _, record := range found {
			byTip[record.Tip] = record
		}
		for _, tip := range tips {
			record, ok := byTip[tip]
			if !ok {
				r.Log.Warn("a record that was selected is gone", "tip", tip)
				continue
			}
			j := &job{record: record, number: numbers[tip], work: fmt.Sprintf("%s/%06d", workFolder, numbers[tip]), ready: make(chan struct{})}
			if err := begin(j); err != nil {
				return err
			}
		}
		tips = tips[:0]
		clear(numbers)
		return nil
	}
	err := r.eachSelected(func(n int, tip string, answered bool) error {
		if !answered || n <= r.kept {
			return nil
		}
		tips, numbers[tip] = append(tips, tip), n
		if len(tips) < batch {
			return nil
		}
		return flush()
	})
	if err != nil || len(tips) == 0 {
		return err
	}
	return flush()
}

// commit brings a record into the bag. The journal has it before the folder gets its
// name, so that a folder that no journal has never stays behind.
func (r *run) commit(j *job) error {
	j.entry.Number = j.number
	line, err := json.Marshal(j.entry)
	if err != nil {
		return err
	}
	if _, err := r.journal.Write(append(line, '\n')); err != nil {
		return files.WrapDisk("write", filepath.Join(r.scratchDir, journalFile), err)
	}
	if !r.zipped {
		if err := r.name(j); err != nil {
			return err
		}
		return r.note(j.entry)
	}
	for _, f := range j.entry.Files {
		file, err := r.scratch.Open(path.Join(j.work, f.Path))
		if err != nil {
			return err
		}
		_, sum, err := r.bag.File(path.Join(j.entry.Folder, f.Path), func(w io.Writer) error { _, err := io.Copy(w, file); return err })
		files.Release(file)
		if err == nil && sum != f.SHA256 {
			err = fmt.Errorf("read %s back: %w", f.Path, files.ErrDiffers)
		}
		if err != nil {
			return files.WrapDisk("write", r.target, err)
		}
	}
	r.count(j.entry)
	return r.scratch.RemoveAll(j.work)
}

// name gives the work folder of a record its name in the bag.
func (r *run) name(j *job) error {
	if err := r.top.MkdirAll(path.Dir(j.entry.Folder), 0o755); err != nil {
		return files.WrapDisk("create a folder in", r.target, err)
	}
	if err := r.top.RemoveAll(j.entry.Folder); err != nil {
		return files.WrapDisk("remove a folder of", r.target, err)
	}
	if err := r.top.Rename(path.Join(scratchName, j.work), j.entry.Folder); err != nil {
		return files.WrapDisk("name a folder in", r.target, err)
	}
	return nil
}

// note lists the files of a record that is in the bag's folder.
func (r *run) note(e Entry) error {
	for _, f := range e.Files {
		if err := r.bag.List(path.Join(e.Folder, f.Path), f.Size, f.SHA256); err != nil {
			return err
		}
	}
	r.count(e)
	return nil
}

func (r *run) count(e Entry) {
	s := &r.summary
	s.Records++
	for _, f := range e.Files {
		s.Files, s.Bytes = s.Files+1, s.Bytes+f.Size
	}
	for _, problem := range e.Problems {
		if s.ProblemCount++; len(s.Problems) < mostProblems {
			s.Problems = append(s.Problems, e.InspectionID+": "+problem)
		}
	}
}
