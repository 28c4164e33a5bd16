package copies

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"noggin/batch/copies/place"
	"noggin/batch/files"
	"noggin/storage"
)

// VerifyOptions say which copies are verified, and how.
type VerifyOptions struct {
	Deep bool // read every copy back
	// Part of Parts: each copy always belongs to the same part. 0: all.
	Part, Parts int
}

// VerifySummary is what `copy verify` found. Copies with a problem are due again.
type VerifySummary struct {
	RunID   int64  `json:"run_id"`
	Target  string `json:"target"`
	Deep    bool   `json:"deep"`
	Part    int    `json:"part,omitempty"` // of all; 0: all
	Checked int64  `json:"checked"`
	Bytes   int64  `json:"bytes"`
	Missing int64  `json:"missing"`
	Damaged int64  `json:"damaged"`
	Problems
}

// Verify compares the copies with what the database has of them: presence, size, and the
// SHA-256 that the target keeps; deep: their content.
func (c *Copier) Verify(ctx context.Context, run int64, opts VerifyOptions) (VerifySummary, error) {
	summary := VerifySummary{RunID: run, Target: c.Target(), Deep: opts.Deep, Part: opts.Part, Problems: Problems{First: []Problem{}}}
	id, to, err := c.openTarget(ctx)
	if err != nil {
		return summary, err
	}
	defer files.Release(to)
	var saving errgroup.Group            // the results of a page, while the next one is verified
	defer func() { _ = saving.Wait() }() // after an error, which counts more
	var after storage.CopyKey
	for {
		page, err := c.DB.CopiesAfter(ctx, id, after, opts.Part, opts.Parts, batchSize)
		if err != nil {
			return summary, err
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].CopyKey
		checked, err := c.verifyPage(ctx, to, page, opts, &summary)
		if err == nil {
			err = saving.Wait()
		}
		if err != nil {
			return summary, err
		}
		saving.Go(func() error { return c.DB.SaveChecked(ctx, id, checked) })
	}
	err = saving.Wait()
	if err == nil && opts.Deep && opts.Part <= 1 { // without deep, every run looks for them
		err = c.verifyLog(ctx, to, &summary)
	}
	if err != nil || opts.Parts > 0 {
		return summary, err
	}
	return summary, c.DB.WalkAgain(ctx, id) // for files that no trigger made due
}

// verifyPage verifies some copies and returns what was found, to be recorded.
func (c *Copier) verifyPage(ctx context.Context, to target, page []storage.Copy, opts VerifyOptions, summary *VerifySummary) ([]storage.CheckedCopy, error) {
	checked := make([]storage.CheckedCopy, len(page))
	for i := range page {
		checked[i].CopyKey, checked[i].Deep = page[i].CopyKey, opts.Deep
	}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var ended error
	each(c.Config.Concurrency, len(page), func(i int) {
		if working.Err() != nil {
			return
		}
		o := object(page[i].Kind, page[i].CopyKey, page[i].Size)
		err := verifyOne(working, to, o, opts.Deep)
		away := isAway(working, to, err)
		mu.Lock()
		defer mu.Unlock()
		if away || working.Err() != nil {
			if ended == nil {
				ended = err
			}
			cancel()
			return
		}
		summary.Checked++
		summary.Bytes += o.Size
		if err == nil {
			return
		}
		checked[i].Problem = err.Error()
		if errors.Is(err, files.ErrMissing) {
			summary.Missing++
		} else {
			summary.Damaged++
		}
		summary.add(c.Log, page[i].Path, "a copy: "+err.Error())
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.report(Progress{Phase: "verifying", Done: summary.Checked, Bytes: summary.Bytes})
	return checked, ended
}

func verifyOne(ctx context.Context, to target, o place.Object, deep bool) error {
	if !deep {
		return to.Look(ctx, o)
	}
	content, err := to.Read(ctx, o)
	if err != nil {
		return err
	}
	defer files.Release(content)
	return place.Compare(ctx, o, content)
}
