package apitest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Content types of media.
const (
	typeJPEG = "image/jpeg"
	typePNG  = "image/png"
	typePDF  = "application/pdf"
)

const (
	patternSize = 1 << 20
	maxSegment  = 0xFFFF + 2 // a JPEG segment with its marker
)

// artefact is the content of one attachment. Its parts are slices of shared memory, so
// that even a large one costs a few hundred bytes.
type artefact struct {
	contentType string
	parts       [][]byte
}

func sizeOf(parts [][]byte) int {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// mediaStock holds the parts of all media of a world: a tiny picture of each type, and
// noise, which does not compress and pads a picture to its size. Readers skip the noise,
// as it is in a JPEG comment, a private PNG chunk or a PDF stream.
type mediaStock struct {
	noise []byte // patternSize, and its beginning once more, so that any slice is in one piece
	jpeg  []byte
	png   []byte
}

func newMediaStock(seed uint64) *mediaStock {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	noise := make([]byte, patternSize, patternSize+maxSegment)
	_, _ = rand.NewChaCha8(key).Read(noise) // it never fails
	return &mediaStock{
		noise: append(noise, noise[:maxSegment]...),
		jpeg:  encodeWith(func(w io.Writer) error { return jpeg.Encode(w, drawing(color.Gray{170}), nil) }),
		png:   encodeWith(func(w io.Writer) error { return png.Encode(w, drawing(color.White)) }),
	}
}

func encodeWith(encode func(io.Writer) error) []byte {
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		panic(err) // writing to memory
	}
	return b.Bytes()
}

// drawing is a dark stroke on a ground.
func drawing(ground color.Color) image.Image {
	img := image.NewGray(image.Rect(0, 0, 48, 32))
	for x := range 48 {
		for y := range 32 {
			img.Set(x, y, ground)
		}
		img.Set(x, 8+x*x/150, color.Black)
	}
	return img
}

// fillNoise returns n bytes of noise as slices of the pattern. The dice says where they
// begin.
func (s *mediaStock) fillNoise(n int, dice uint64) [][]byte {
	var parts [][]byte
	for at := int(dice % patternSize); n > 0; at = (at + maxSegment) % patternSize {
		k := min(n, maxSegment)
		parts = append(parts, s.noise[at:at+k])
		n -= k
	}
	return parts
}

// jpegOf is the tiny picture with comments behind its first marker. The label makes it
// differ from others. A size below the picture's own gives just the picture.
func (s *mediaStock) jpegOf(label string, size int, dice uint64) artefact {
	head, rest := s.jpeg[:2], s.jpeg[2:]
	first := append([]byte{0xFF, 0xFE, 0, byte(2 + len(label))}, label...)
	parts := [][]byte{head, first}
	for left := size - len(s.jpeg) - len(first); left >= 4; {
		k := min(left, maxSegment)
		if over := left - k; over > 0 && over < 4 {
			k -= 4 // leave room for one more whole segment
		}
		mark := []byte{0xFF, 0xFE, 0, 0}
		binary.BigEndian.PutUint16(mark[2:], uint16(k-2))
		parts = append(parts, mark)
		parts = append(parts, s.fillNoise(k-4, dice+uint64(left))...)
		left -= k
	}
	return artefact{typeJPEG, append(parts, rest)}
}

// pngOf is the tiny picture with a private chunk behind its header chunk.
func (s *mediaStock) pngOf(label string, size int, dice uint64) artefact {
	const header = 8 + 25 // signature and IHDR
	pad := max(size-len(s.png)-12, len(label))
	body := append([][]byte{[]byte("paDd"), []byte(label)}, s.fillNoise(pad-len(label), dice)...)
	sum := crc32.NewIEEE()
	for _, p := range body {
		sum.Write(p)
	}
	parts := [][]byte{s.png[:header], binary.BigEndian.AppendUint32(nil, uint32(pad))}
	parts = append(parts, body...)
	parts = append(parts, sum.Sum(nil), s.png[header:])
	return artefact{typePNG, parts}
}

// pdfOf is a page without content and a stream that nothing refers to.
func (s *mediaStock) pdfOf(label string, size int, dice uint64) artefact {
	build := func(pad int) ([]byte, []byte) {
		var b bytes.Buffer
		b.WriteString("%PDF-1.4\n% " + label + "\n")
		var offsets []int
		for i, object := range []string{
			"<</Type/Catalog/Pages 2 0 R>>",
			"<</Type/Pages/Kids[3 0 R]/Count 1>>",
			"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
			fmt.Sprintf("<</Length %010d>>stream\n", pad),
		} {
			offsets = append(offsets, b.Len())
			fmt.Fprintf(&b, "%d 0 obj%s", i+1, object)
			if i < 3 {
				b.WriteString("endobj\n")
			}
		}
		const after = "\nendstream endobj\n"
		var tail bytes.Buffer
		tail.WriteString(after + "xref\n0 5\n0000000000 65535 f \n")
		for _, o := range offsets {
			fmt.Fprintf(&tail, "%010d 00000 n \n", o)
		}
		fmt.Fprintf(&tail, "trailer<</Size 5/Root 1 0 R>>\nstartxref\n%010d\n%%%%EOF\n", b.Len()+pad+len(after))
		return b.Bytes(), tail.Bytes()
	}
	head, tail := build(0)
	pad := max(size-len(head)-len(tail), 0)
	head, tail = build(pad)
	return artefact{typePDF, slices.Concat([][]byte{head}, s.fillNoise(pad, dice), [][]byte{tail})}
}

// artefact makes the content of an attachment. Each revision has other bytes.
func (w *World) artefact(tip string, m mark, field string, revision int) artefact {
	dice := mix(w.opts.Seed, uint64(m.index), uint64(m.sub), drawSize)
	size := w.opts.MediaBytes.Min
	if span := w.opts.MediaBytes.Max - size; span > 0 {
		size += int(dice % uint64(span+1))
	}
	label := tip
	if revision > 0 {
		label += "-" + strconv.Itoa(revision)
	}
	switch {
	case field == "signature":
		return w.media.pngOf(label, size, dice)
	case fraction(mix(dice, drawKind)) < w.opts.PDFShare:
		return w.media.pdfOf(label, size, dice)
	default:
		return w.media.jpegOf(label, size, dice)
	}
}

// lookUpMedia finds an attachment that a record of this world shows or showed, as it was
// so many revisions ago.
func (w *World) lookUpMedia(tip string, ago int) (artefact, bool) {
	m, ok := w.codec.decode(tip)
	if !ok || m.kind != kindAttachment || m.index >= w.Len() {
		return artefact{}, false
	}
	c := w.changeOf(m.index)
	for _, p := range w.placements(m.index, c) {
		if p.seq == m.sub {
			return w.artefact(tip, m, p.field, max(0, c.revisions[p.seq]-ago)), true
		}
	}
	return artefact{}, false
}

// Media returns the bytes served under an attachment's tip, nil when there are none.
func (w *World) Media(tip string) []byte {
	a, _ := w.lookUpMedia(tip, 0)
	return slices.Concat(a.parts...)
}

// MediaSHA256 is the hash of these bytes in hex digits.
func (w *World) MediaSHA256(tip string) string {
	sum := sha256.Sum256(w.Media(tip))
	return hex.EncodeToString(sum[:])
}
