package tree

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"noggin/storage"
)

// The edge gives the same roots as the tree with all its hashes.
func TestTheRootFollowsFromTheLeavesAlone(t *testing.T) {
	stored := map[storageTile][]byte{}
	store := NewTiles(func(wanted []storage.SealTile) (found []storage.SealTile, err error) {
		for _, w := range wanted {
			if hashes := stored[storageTile{w.Level, w.Number}]; hashes != nil {
				found = append(found, storage.SealTile{Level: w.Level, Number: w.Number, Hashes: hashes})
			}
		}
		return found, nil
	})
	e := &Edge{}
	tree := tlog.Tree{Hash: e.Root()}
	for _, n := range []int64{1, 2, 3, 255, 256, 257, 1000, 66_000, 66_001} {
		g := grow(tree, store)
		for g.size < n {
			text := fmt.Sprint("leaf ", g.size)
			e.Add(text)
			if err := g.add(text); err != nil {
				t.Fatal(err)
			}
		}
		grown, err := g.tree()
		if err != nil {
			t.Fatal(err)
		}
		changed, err := g.tiles()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changed {
			stored[storageTile{c.Level, c.Number}] = c.Hashes
		}
		clear(store.cached)
		if grown.Hash != e.Root() || grown.N != e.Size {
			t.Fatalf("%d leaves: %v and %v", n, grown, e.Root())
		}
		for _, at := range []int64{0, 1, n / 2, n} {
			was, err := EdgeAt(grown, at, store)
			if err != nil {
				t.Fatal(err)
			}
			root, err := tlog.TreeHash(at, tlog.TileHashReader(grown, store))
			if err != nil || at > 0 && was.Root() != root {
				t.Fatalf("the root of %d of %d leaves: %v, %v, %v", at, n, was.Root(), root, err)
			}
		}
		proof, err := tlog.ProveRecord(n, n/2, tlog.TileHashReader(grown, store))
		if err != nil || tlog.CheckRecord(proof, n, grown.Hash, n/2, tlog.RecordHash(fmt.Append(nil, "leaf ", n/2))) != nil {
			t.Fatalf("the proof of leaf %d of %d: %v", n/2, n, err)
		}
		tree = grown
	}
}

// The cache is emptied when it is full, also of tiles that are wanted at that moment.
func TestAFullCacheLosesNoTile(t *testing.T) {
	tiles := NewTiles(func(wanted []storage.SealTile) (found []storage.SealTile, err error) {
		for _, w := range wanted {
			found = append(found, storage.SealTile{Number: w.Number, Hashes: bytes.Repeat([]byte{byte(w.Number)}, tlog.HashSize)})
		}
		return found, nil
	})
	for n := range int64(maxTiles + 10) {
		got, err := tiles.ReadTiles([]tlog.Tile{{H: tileHeight, W: 1}, {H: tileHeight, N: n, W: 1}})
		if err != nil || got[0][0] != 0 || got[1][0] != byte(n) || len(tiles.cached) > maxTiles {
			t.Fatalf("with %d tiles of %d: %v, %v", len(tiles.cached), n, got, err)
		}
	}
}
