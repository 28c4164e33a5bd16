package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// benchFolder compares copy run to a folder with a copy that is flushed once and not hashed,
// and with the least that keeps its promise: each file read, hashed, written and flushed. It
// compares copy verify --deep with openssl on the same copies.
func benchFolder(ctx context.Context, b *bench) error {
	target := filepath.Join(b.folder, "target")
	m, err := b.newMirror(ctx, nil, fmt.Sprintf("[copy]\nto = %q\n", target))
	if err != nil {
		return err
	}
	defer m.close()
	records := b.size(250)
	output := filepath.Join(m.folder, "output")
	if err := m.photographed(ctx, output, records, 1); err != nil {
		return err
	}
	files := strconv.Itoa(records * (archivedPhotos + 1))
	all := float64(records) * archivedPhotos * photoBytes / 1e6
	r := m.newRates()
	for round := range b.rounds {
		// Nothing is removed: see [mirror.close].
		plain, each := fmt.Sprintf("%s-plain%d", target, round), fmt.Sprintf("%s-each%d", target, round)
		r.do(func() error { return errors.Join(os.Mkdir(target, 0o755), os.Mkdir(each, 0o755)) })
		for _, table := range []string{"copy_targets", "copies_due", "copies"} {
			r.do(func() error { return m.exec(ctx, `DELETE FROM noggin_schema.`+table) })
		}
		r.noggin(ctx, "copy", all, "copied    "+files+" files", "copy", "run")
		r.shell(ctx, "plain", all, `cp -r "$1" "$2" && sync -f "$2"`, output, plain)
		r.shell(ctx, "each", all, `cd "$1" && find . -type d -print0 | (cd "$2" && xargs -0 mkdir -p) &&
			find . -type f -print0 | TO="$2" xargs -0 -P 8 -n 16 sh -c 'cp --parents "$@" "$TO" && openssl dgst -sha256 "$@" > /dev/null && cd "$TO" && sync "$@"' sh`,
			output, each)
		r.noggin(ctx, "verify", all, files, "copy", "verify", "--deep")
		r.shell(ctx, "openssl", all, hashed, target, "64")
		r.do(func() error { return os.Rename(target, fmt.Sprintf("%s-%d", target, round)) })
	}
	r.beside(fmt.Sprintf("copy run to a folder, %.1f GB", all/1000), "copy",
		[2]string{"each", "cp, openssl and sync of each file"}, [2]string{"plain", "cp -r, sync -f"})
	r.beside("copy verify --deep", "verify", [2]string{"openssl", "openssl, both cores"})
	return r.err
}
