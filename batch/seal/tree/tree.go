// Package tree is the Merkle tree of the log: the tiles that hold its hashes, what a new
// leaf adds to them, the root that leaves alone give, and the signed state of the log.
package tree

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"noggin/storage"
)

// tileHeight is the height of a tile: 256 hashes.
const tileHeight = 8

// Read reads tiles of a log; missing ones are left out.
type Read func(wanted []storage.SealTile) ([]storage.SealTile, error)

// Tiles reads the tiles of one tree and keeps the last ones that it read.
type Tiles struct {
	read   Read
	cached map[storageTile][]byte
}

type storageTile struct {
	level  int
	number int64
}

// maxTiles bounds the tiles in memory, at 8 KB each.
const maxTiles = 1024

// NewTiles returns the tiles that read reads.
func NewTiles(read Read) *Tiles { return &Tiles{read: read, cached: map[storageTile][]byte{}} }

// Height is part of tlog.TileReader.
func (t *Tiles) Height() int { return tileHeight }

// SaveTiles is part of tlog.TileReader.
func (t *Tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles is part of tlog.TileReader. Tiles that are missing or too short are an error.
func (t *Tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var missing []storage.SealTile
	for _, w := range wanted {
		if len(t.cached[storageTile{w.L, w.N}]) < w.W*tlog.HashSize {
			missing = append(missing, storage.SealTile{Level: w.L, Number: w.N})
		}
	}
	if len(missing) > 0 {
		found, err := t.read(missing)
		if err != nil {
			return nil, err
		}
		if len(t.cached)+len(found) > maxTiles {
			clear(t.cached)
			if len(missing) < len(wanted) {
				return t.ReadTiles(wanted)
			}
		}
		for _, f := range found {
			t.cached[storageTile{f.Level, f.Number}] = f.Hashes
		}
	}
	data := make([][]byte, len(wanted))
	for i, w := range wanted {
		hashes := t.cached[storageTile{w.L, w.N}]
		if len(hashes) < w.W*tlog.HashSize {
			return nil, fmt.Errorf("the log's tree in the database lacks hashes of its leaves from %d on: `noggin validate evidence` says what is wrong with the log",
				w.N<<(tileHeight*(w.L+1)))
		}
		data[i] = hashes[:w.W*tlog.HashSize]
	}
	return data, nil
}

// growth is a tree to which leaves are added.
type growth struct {
	old   tlog.Tree
	size  int64
	inner tlog.HashReader // of the old tree
	added map[int64]tlog.Hash
}

// grow prepares to add leaves to a tree, whose hashes the tiles must prove.
func grow(old tlog.Tree, stored *Tiles) *growth {
	return &growth{old: old, size: old.N, inner: tlog.TileHashReader(old, stored), added: map[int64]tlog.Hash{}}
}

// ReadHashes is part of tlog.HashReader.
func (g *growth) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	var old []int64
	var at []int
	for i, index := range indexes {
		if h, ok := g.added[index]; ok {
			hashes[i] = h
		} else {
			old, at = append(old, index), append(at, i)
		}
	}
	if len(old) == 0 {
		return hashes, nil
	}
	found, err := g.inner.ReadHashes(old)
	for i, h := range found {
		hashes[at[i]] = h
	}
	return hashes, err
}

// add adds a leaf.
func (g *growth) add(text string) error {
	hashes, err := tlog.StoredHashes(g.size, []byte(text), g)
	if err != nil {
		return err
	}
	first := tlog.StoredHashIndex(0, g.size)
	for i, h := range hashes {
		g.added[first+int64(i)] = h
	}
	g.size++
	return nil
}

// Append adds leaves to a tree, whose hashes the tiles must prove, and gives them their
// positions. It returns the grown tree and the tiles that are new or have more hashes.
func Append(old tlog.Tree, stored *Tiles, leaves []storage.SealedLeaf) (grown tlog.Tree, changed []storage.SealTile, err error) {
	g := grow(old, stored)
	for i := range leaves {
		leaves[i].Position = g.size
		if err := g.add(leaves[i].Leaf); err != nil {
			return grown, nil, err
		}
	}
	if grown, err = g.tree(); err != nil {
		return grown, nil, err
	}
	changed, err = g.tiles()
	return grown, changed, err
}

// tree returns the grown tree.
func (g *growth) tree() (tlog.Tree, error) {
	hash, err := tlog.TreeHash(g.size, g)
	return tlog.Tree{N: g.size, Hash: hash}, err
}

// tiles returns the tiles that are new or have more hashes than before.
func (g *growth) tiles() ([]storage.SealTile, error) {
	var changed []storage.SealTile
	for _, t := range tlog.NewTiles(tileHeight, g.old.N, g.size) {
		hashes, err := tlog.ReadTileData(t, g)
		if err != nil {
			return nil, err
		}
		changed = append(changed, storage.SealTile{Level: t.L, Number: t.N, Hashes: hashes})
	}
	return changed, nil
}

// Edge computes the root of a tree from its leaves alone, in their order, and keeps only
// the roots of its perfect subtrees, the largest first.
type Edge struct {
	Size  int64 // how many leaves
	roots []tlog.Hash
}

// Add adds the next leaf.
func (e *Edge) Add(leafText string) {
	h := tlog.RecordHash([]byte(leafText))
	for n := e.Size; n&1 == 1; n >>= 1 {
		h = tlog.NodeHash(e.roots[len(e.roots)-1], h)
		e.roots = e.roots[:len(e.roots)-1]
	}
	e.roots = append(e.roots, h)
	e.Size++
}

// EdgeAt is the edge that a tree, whose hashes the tiles must prove, had at a size.
func EdgeAt(tree tlog.Tree, size int64, stored *Tiles) (*Edge, error) {
	e := &Edge{Size: size}
	var indexes []int64
	done := int64(0)
	for level := 62; level >= 0; level-- {
		if size&(1<<level) != 0 {
			indexes = append(indexes, tlog.StoredHashIndex(level, done>>level))
			done += 1 << level
		}
	}
	if len(indexes) == 0 {
		return e, nil
	}
	var err error
	e.roots, err = tlog.TileHashReader(tree, stored).ReadHashes(indexes)
	return e, err
}

// Root is the hash of the tree so far.
func (e *Edge) Root() tlog.Hash {
	if e.Size == 0 {
		root, _ := tlog.TreeHash(0, nil) // of no leaves: reads nothing, never fails
		return root
	}
	h := e.roots[len(e.roots)-1]
	for i := len(e.roots) - 2; i >= 0; i-- {
		h = tlog.NodeHash(e.roots[i], h)
	}
	return h
}
