package seal

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"noggin/batch/files"
	"noggin/batch/seal/tree"
	"noggin/storage"
)

// publishTime is how long [seal] publish may take.
const publishTime = 10 * time.Minute

// publish reads back what the folder of checkpoints lacks, verifies it and writes it there:
// the leaves first, then the checkpoint. Then [seal] publish gets the checkpoint, unless it
// took it before.
func (r *run) publish(ctx context.Context) error {
	stored, err := r.DB.SealHead(ctx, r.log.ID)
	if err != nil {
		return err
	}
	r.summary.Origin = r.log.Origin
	if stored.Note == "" {
		return nil
	}
	head, err := r.head(stored, nil)
	if err != nil {
		return err
	}
	dir := filepath.Join(r.Checkpoints, folderName(r.log.Origin))
	r.summary.Size, r.summary.Root = head.N, base64.StdEncoding.EncodeToString(head.Hash[:])
	r.summary.Checkpoint = filepath.Join(dir, checkpointName(head.N))
	if err := r.writeLeaves(ctx, dir, head); err != nil {
		return err
	}
	r.reached("leaves")
	if err := r.writeCheckpoint(head); err != nil {
		return err
	}
	r.reached("checkpoint")
	return r.handOver(ctx, stored)
}

// writeCheckpoint writes the checkpoint, unless it is there.
func (r *run) writeCheckpoint(head tree.Checkpoint) error {
	at := r.summary.Checkpoint
	err := files.WriteNew(at, 0o644, func(w io.Writer) error { _, err := io.WriteString(w, head.Note); return err })
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if there, err := readSmall(at); err != nil || there != head.Note {
		return fmt.Errorf("another file has the name of the checkpoint: move %s elsewhere, the next run writes it", at)
	}
	return files.SyncFolder(filepath.Dir(at)) // a run that was killed may have named it and not flushed the name
}

// writeLeaves writes the leaves that the folder of the log lacks, if they give the root of
// the checkpoint.
func (r *run) writeLeaves(ctx context.Context, dir string, head tree.Checkpoint) error {
	if err := files.MakeFolders(dir); err != nil {
		return files.WrapDisk("create folder", dir, err)
	}
	k, err := readKeptLog(dir, verifiers(r.log.Verifier))
	if err == nil {
		err = k.readable()
	}
	if err != nil {
		return err
	}
	if err := setAside(&k); err != nil {
		return err
	}
	from := min(k.covered(), head.N)
	if from == head.N {
		return nil
	}
	e, err := tree.EdgeAt(head.Tree, from, r.tiles(ctx))
	if err != nil {
		return err
	}
	err = files.WriteNew(filepath.Join(dir, leavesName(from, head.N)), 0o644, func(w io.Writer) error {
		lines := bufio.NewWriterSize(w, 1<<16)
		if err := r.DB.EachLeaf(ctx, r.log.ID, from, head.N-1, func(l storage.SealedLeaf) error {
			if l.Position != e.Size || !isLeafText(l.Leaf) {
				return fmt.Errorf("%w: leaf %d in the database is missing or damaged", errFork, e.Size)
			}
			e.Add(l.Leaf)
			_, _ = lines.WriteString(l.Leaf) // Flush returns what went wrong
			return lines.WriteByte('\n')
		}); err != nil {
			return err
		}
		if e.Size != head.N || e.Root() != head.Hash {
			return fmt.Errorf("%w: the leaves from %d on do not give the root of the checkpoint of %d leaves: nothing was published; `noggin validate evidence` says what is wrong",
				errFork, from, head.N)
		}
		return lines.Flush()
	})
	if errors.Is(err, fs.ErrExist) { // another run verified and wrote them at this moment
		return nil
	}
	return err
}

// setAside renames leaves that no checkpoint in the folder covers. A run that was killed
// before it wrote the checkpoint left them, and the log may have gone another way since.
func setAside(k *keptLog) error {
	size := int64(0)
	if newest := k.newest(); newest != nil {
		size = newest.N
	}
	for i := len(k.leaves) - 1; i >= 0; i-- {
		if k.leaves[i].before <= size {
			continue
		}
		err := os.Rename(k.leaves[i].path, k.leaves[i].path+setAsideSuffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another run was here
			return files.WrapDisk("rename", k.leaves[i].path, err)
		}
		k.leaves = append(k.leaves[:i], k.leaves[i+1:]...)
	}
	return nil
}

// handOver gives the newest checkpoint to [seal] publish. A failure is no error of the run:
// the next one tries again.
func (r *run) handOver(ctx context.Context, head storage.SealHead) error {
	if r.Config.Publish == "" || head.PublishedAt != nil {
		return nil
	}
	err := r.runPublish(ctx, r.summary.Checkpoint)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.summary.PublishError = err.Error()
		r.Log.Error("the checkpoint was not published: the next run tries again", "checkpoint", r.summary.Checkpoint, "error", err)
	}
	r.reached("handed over")
	r.summary.Published = err == nil
	return r.DB.Published(ctx, head, r.summary.PublishError)
}

func (r *run) runPublish(ctx context.Context, path string) error {
	limit := cmp.Or(r.limit, publishTime)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took more than %s", limit))
	defer cancel()
	last := ""
	err := files.RunShellLine(ctx, "publish", r.Config.Publish, path, files.Environment(publishVariables...), func(text string) {
		last = text
		r.Log.Info("publish: " + last)
	})
	if err == nil {
		return nil
	}
	if last != "" {
		return fmt.Errorf("[seal] publish: %w: %s", err, last)
	}
	return fmt.Errorf("[seal] publish: %w", err)
}

// publishVariables are the variables that mailing, copying and signing programs read.
var publishVariables = []string{
	"SHELL", "SSH_AUTH_SOCK", "XDG_*", "RSYNC_*", "RCLONE_*", "AWS_*", "SSL_CERT_FILE", "SSL_CERT_DIR", "GNUPGHOME",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
}
