package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"noggin/batch/archive/watch"
	"noggin/batch/claims"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/storage"
)

// losePage is how many records are claimed together; tests lower it.
var losePage = 100

// LostSummary is what `archive forget --lost` did.
type LostSummary struct {
	RunID  int64  `json:"run_id"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
	storage.LostOfArchive
	Busy int `json:"busy"` // records in the hands of another run
}

// Losing returns how many files an archive holds that is to be given up, and what is odd
// about that. It is an error when the archive, or a copy of its files, is there.
func (a *Archiver) Losing(ctx context.Context, name string) (held int, odd string, err error) {
	archive, err := a.lost(ctx, name)
	if err != nil {
		return 0, "", err
	}
	if look := watch.Look(ctx, []storage.Archive{archive}, a.Paths.Archive, a.DB.Host(), time.Now())[0]; look.Sight == watch.Unmounted {
		odd = "its folder " + look.Folder() + " " + look.Why
	}
	held, err = a.DB.CountFilesIn(ctx, archive.ID)
	return held, odd, err
}

// lost returns the archive, if neither it nor a copy of its files is there.
func (a *Archiver) lost(ctx context.Context, name string) (storage.Archive, error) {
	archive, err := a.archiveNamed(ctx, name)
	if err != nil {
		return archive, err
	}
	at, err := a.findFile(archive)
	if err == nil {
		return archive, fmt.Errorf("forget %s: it is not lost, it is in %s: `noggin archive verify %s` looks at it", archive.Name, at, archive.Name)
	}
	if !errors.Is(err, files.ErrMissing) {
		return archive, err
	}
	for _, at := range watch.Places(archive, a.Paths.Archive) {
		if _, err := os.Stat(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return archive, fmt.Errorf("forget %s: nobody can tell whether it is lost: %w; where its volume failed, unmount it first", archive.Name, files.WrapDisk("look at", at, err))
		}
	}
	if look := watch.Look(ctx, []storage.Archive{archive}, a.Paths.Archive, a.DB.Host(), time.Now())[0]; look.Sight == watch.Elsewhere {
		return archive, fmt.Errorf("forget %s: it is not lost, the host %s saw it at %s; where that host is gone, what it saw counts for %.0f hours", archive.Name, archive.Host, archive.SeenAt.Format("2006-01-02 15:04"), watch.SeenWithin.Hours())
	}
	copied, err := a.DB.CopiedOfArchive(ctx, archive.ID)
	if err == nil && len(copied) > 0 {
		where, forget := make([]string, len(copied)), make([]string, len(copied))
		for i, c := range copied {
			where[i] = health.Plural(c.Files, "of its files has|of its files have") + " a copy in " + c.Name()
			forget[i] = fmt.Sprintf("`noggin copy forget %s`", files.ShellQuoted(c.Name()))
		}
		err = fmt.Errorf("forget %s: %s: run `noggin copy restore --lost-archive %s` first; of a second place that is gone: %s", archive.Name, strings.Join(where, ", "), archive.Name, strings.Join(forget, " or "))
	}
	return archive, err
}

// Lose records that an archive and the files in it are lost. Each record says so from then
// on, and is due again, to fetch what the platform still has. The archive stays recorded,
// as lost once nothing is left of it. Lose may be repeated, and goes on where it was
// interrupted. The reason is the first one then.
func (a *Archiver) Lose(ctx context.Context, name, reason string) (LostSummary, error) {
	s := LostSummary{Reason: reason}
	err := a.alone(ctx, "archive forget", func(keeper *claims.Keeper) error {
		s.RunID = keeper.Run
		archive, err := a.lost(ctx, name)
		if err != nil {
			return err
		}
		s.Name = archive.Name
		if s.Reason, err = a.DB.BeginLoss(ctx, archive.ID, reason); err != nil {
			return err
		}
		after := ""
		for {
			records, err := a.DB.RecordsIn(ctx, archive.ID, after, losePage)
			if err != nil || len(records) == 0 && s.Busy > 0 {
				return err
			}
			if len(records) == 0 { // last: it ends the alarm that the archive is missing
				return a.DB.MarkLost(ctx, archive.ID)
			}
			tips := make([]string, len(records))
			for i, r := range records {
				tips[i], after = r.Tip, max(after, r.Tip)
			}
			if err := a.loseOf(ctx, keeper, archive, tips, &s); err != nil {
				return err
			}
		}
	})
	return s, err
}

func (a *Archiver) loseOf(ctx context.Context, keeper *claims.Keeper, archive storage.Archive, tips []string, s *LostSummary) error {
	held, err := keeper.Take(ctx, tips, "")
	if err != nil {
		return err
	}
	defer keeper.GiveBack(ctx)
	owned := make([]storage.Claim, 0, len(held))
	for _, claim := range held {
		owned = append(owned, claim)
	}
	s.Busy += len(tips) - len(owned)
	lost, err := a.DB.LoseFiles(ctx, s.RunID, archive.ID, owned, "files were lost with the archive "+archive.Name+": "+s.Reason)
	s.Records, s.Files, s.Former, s.Queued = s.Records+lost.Records, s.Files+lost.Files, s.Former+lost.Former, s.Queued+lost.Queued
	a.report(Progress{Phase: "recording what is lost", Done: s.Records, Total: archive.Records})
	return err
}
