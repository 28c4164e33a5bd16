package apitest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Kinds of things that have a tip or a sid.
const (
	kindRecord = iota + 1
	kindAttachment
	kindEntity
	kindVersion // of a record: sub is the version's number
	kindEntityVersion
	kindType
)

// mark is what a tip or sid stands for.
type mark struct {
	kind  int
	class int // the entity's type
	sub   int // the number of an attachment or a version within its record
	index int
}

// codec turns marks into tips and back, so no table of tips is needed. A tip is an
// encrypted block, which looks random, and a second block which proves that the first
// is of this world.
type codec struct{ hide, prove cipher.Block }

func newCodec(seed uint64) codec {
	block := func(purpose string) cipher.Block {
		key := sha256.Sum256(fmt.Appendf(nil, "%s %d", purpose, seed))
		b, err := aes.NewCipher(key[:16])
		if err != nil {
			panic(err) // the key's length is right
		}
		return b
	}
	return codec{block("hide"), block("prove")}
}

func (c codec) encode(m mark) string {
	var b [32]byte
	b[0], b[1] = byte(m.kind), byte(m.class)
	binary.BigEndian.PutUint32(b[4:], uint32(m.sub))
	binary.BigEndian.PutUint64(b[8:], uint64(m.index))
	c.hide.Encrypt(b[:16], b[:16])
	c.prove.Encrypt(b[16:], b[:16])
	return hex.EncodeToString(b[:])
}

func (c codec) decode(tip string) (mark, bool) {
	var b, proof [32]byte
	if len(tip) != 64 {
		return mark{}, false
	}
	if _, err := hex.Decode(b[:], []byte(tip)); err != nil {
		return mark{}, false
	}
	c.prove.Encrypt(proof[16:], b[:16])
	if [16]byte(proof[16:]) != [16]byte(b[16:]) {
		return mark{}, false
	}
	c.hide.Decrypt(b[:16], b[:16])
	return mark{
		kind:  int(b[0]),
		class: int(b[1]),
		sub:   int(binary.BigEndian.Uint32(b[4:])),
		index: int(binary.BigEndian.Uint64(b[8:])),
	}, true
}

// Purposes of draws. Fields of a form draw by their position, far below the first of
// these.
const (
	drawDay = 1 << 20 << iota
	drawPhotos
	drawSlot
	drawZone
	drawClock
	drawSize
	drawKind
	drawName
	drawFault
	drawExport
)

// draw returns a random number, always the same for the same index and purpose.
func (w *World) draw(index int, purpose uint64) uint64 {
	return mix(w.opts.Seed, uint64(index), purpose)
}

// mix hashes numbers into one (splitmix64 over each in turn).
func mix(numbers ...uint64) uint64 {
	var h uint64 = 0x9e3779b97f4a7c15
	for _, n := range numbers {
		h += n + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// fraction maps a hash to [0, 1).
func fraction(h uint64) float64 { return float64(h>>11) / (1 << 53) }
