package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// benchVerify compares what reads every byte with openssl on both cores: validate files
// --deep on single files, archive verify on archives. archive register also decompresses an
// archive and hashes each of its files; openssl needs zstd for that.
func benchVerify(ctx context.Context, b *bench) error {
	m, err := b.newMirror(ctx, nil, "")
	if err != nil {
		return err
	}
	defer m.close()
	const months = 6
	records := b.size(500)
	pristine, archives := filepath.Join(m.folder, "pristine"), filepath.Join(m.folder, "archive")
	if err := m.photographed(ctx, pristine, records, months); err != nil {
		return err
	}
	const record = archivedPhotos * photoBytes / 1e6
	all, some := float64(records)*record, float64((records+months-1)/months)*record // some are of the first month
	first := filepath.Join(archives, "noggin-2024-03.tar.zst")
	r := m.newRates()
	for range b.rounds {
		r.do(func() error { return m.unarchived(ctx, pristine) })
		r.noggin(ctx, "deep", all, `"ok": true`, "validate", "files", "--deep", "--format", "json")
		r.shell(ctx, "files", all, hashed, filepath.Join(m.folder, "output"), "64")
		r.do(func() error {
			_, err := m.run(ctx, "archive", "create", "--before", "2100-01-01", "--no-progress")
			return err
		})
		r.shell(ctx, "warm up", all, hashed, archives, "1") // they were not in memory
		r.noggin(ctx, "verify", all, `"ok": true`, "archive", "verify", "--format", "json")
		r.shell(ctx, "archives", all, hashed, archives, "1")
		r.noggin(ctx, "register", some, "", "archive", "register", first)
		r.shell(ctx, "zstd", some, `openssl dgst -sha256 "$1" > /dev/null & zstd -dc "$1" | openssl dgst -sha256 > /dev/null && wait`, first)
	}
	r.beside("validate files --deep", "deep", [2]string{"files", "openssl, both cores"})
	r.beside(fmt.Sprintf("archive verify, %d archives", months), "verify", [2]string{"archives", "openssl, both cores"})
	r.beside("archive register, 1 archive", "register", [2]string{"zstd", "openssl beside zstd | openssl"})
	return r.err
}
