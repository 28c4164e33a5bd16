package export

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"
	"testing"
)

// quarters is a picture with a red, a green, a blue and a white quarter, from the top
// left on.
func quarters(w, h int) *image.RGBA {
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{255, 0, 0, 255}
			switch {
			case x >= w/2 && y < h/2:
				c = color.RGBA{0, 255, 0, 255}
			case x < w/2 && y >= h/2:
				c = color.RGBA{0, 0, 255, 255}
			case y >= h/2:
				c = color.RGBA{255, 255, 255, 255}
			}
			p.SetRGBA(x, y, c)
		}
	}
	return p
}

// corner names the colour of a thumbnail's top left quarter.
func corner(t *testing.T, thumb []byte) (name string, size image.Point) {
	t.Helper()
	p, err := jpeg.Decode(bytes.NewReader(thumb))
	if err != nil {
		t.Fatal(err)
	}
	size = p.Bounds().Size()
	r, g, b, _ := p.At(size.X/4, size.Y/4).RGBA()
	switch {
	case r > 0xa000 && g < 0x6000:
		return "red", size
	case g > 0xa000 && r < 0x6000:
		return "green", size
	case b > 0xa000 && r < 0x6000:
		return "blue", size
	}
	return "white", size
}

// withExif puts an Exif segment with the orientation behind the start of a JPEG.
func withExif(picture []byte, orientation byte, order binary.AppendByteOrder, mark string) []byte {
	exif := append([]byte("Exif\x00\x00"), mark...)
	exif = order.AppendUint16(exif, 42)
	exif = order.AppendUint32(exif, 8)
	exif = order.AppendUint16(exif, 1)
	exif = order.AppendUint16(exif, 0x0112)
	exif = order.AppendUint16(exif, 3)
	exif = order.AppendUint32(exif, 1)
	exif = order.AppendUint16(exif, uint16(orientation))
	exif = append(exif, 0, 0, 0, 0, 0, 0)
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+2))
	out := append(bytes.Clone(picture[:2]), segment...)
	return append(append(out, exif...), picture[2:]...)
}

func encodeJPEG(t *testing.T, p image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAThumbnailIsSmallAndUpright(t *testing.T) {
	picture := encodeJPEG(t, quarters(160, 80))
	// What is at the top left when the picture is shown, by the Exif orientation.
	for orientation, want := range map[byte]string{1: "red", 2: "green", 3: "white", 4: "blue", 5: "red", 6: "blue", 7: "white", 8: "green", 9: "red"} {
		for mark, order := range map[string]binary.AppendByteOrder{"MM": binary.BigEndian, "II": binary.LittleEndian} {
			var thumb bytes.Buffer
			size, err := newThumbnails().write(t.Context(), &thumb, bytes.NewReader(withExif(picture, orientation, order, mark)))
			if err != nil {
				t.Fatal(err)
			}
			got, shown := corner(t, thumb.Bytes())
			wanted := image.Pt(160, 80)
			if orientation >= 5 && orientation <= 8 {
				wanted = image.Pt(80, 160)
			}
			if got != want || shown != wanted || size != shown {
				t.Errorf("orientation %d, %s: %s at the top left, %v pixels, said %v", orientation, mark, got, shown, size)
			}
		}
	}
}

func TestEveryKindOfPictureGetsAThumbnail(t *testing.T) {
	var asPNG, asGIF, huge bytes.Buffer
	if err := errors.Join(png.Encode(&asPNG, quarters(100, 60)), gif.Encode(&asGIF, quarters(100, 60), nil), jpeg.Encode(&huge, quarters(4000, 200), nil)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		picture []byte
		want    image.Point
	}{"PNG": {asPNG.Bytes(), image.Pt(100, 60)}, "GIF": {asGIF.Bytes(), image.Pt(100, 60)}, "large JPEG": {huge.Bytes(), image.Pt(480, 24)}} {
		var thumb bytes.Buffer
		if _, err := newThumbnails().write(t.Context(), &thumb, bytes.NewReader(c.picture)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, size := corner(t, thumb.Bytes()); got != "red" || size != c.want {
			t.Errorf("%s: %s, %v", name, got, size)
		}
	}
}

// bomb is a PNG of a few bytes that says it has so many pixels.
func bomb(w, h uint32) []byte {
	header := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), w), h), 8, 6, 0, 0, 0)
	out := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), 13)
	return binary.BigEndian.AppendUint32(append(out, header...), crc32.ChecksumIEEE(header))
}

func TestAPictureThatWouldTakeMuchMemoryGetsAnIcon(t *testing.T) {
	progressive := encodeJPEG(t, quarters(64, 64))
	at := bytes.Index(progressive, []byte{0xff, 0xc0})
	progressive[at+1] = 0xc2
	binary.BigEndian.PutUint16(progressive[at+5:], 4000)
	binary.BigEndian.PutUint16(progressive[at+7:], 4000) // 16 megapixels, 64 MB; but all coefficients are kept
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, picture := range map[string][]byte{
		"a bomb": bomb(30_000, 30_000), "the largest": bomb(1<<31-1, 1<<31-1), "progressive": progressive,
		"no picture": []byte("%PDF-1.7"), "nothing": nil, "cut": encodeJPEG(t, quarters(64, 64))[:200],
	} {
		if _, err := newThumbnails().write(t.Context(), io.Discard, bytes.NewReader(picture)); !errors.Is(err, errNoThumbnail) {
			t.Errorf("%s: %v", name, err)
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d MB were allocated", used>>20)
	}
}

func TestAThumbnailWaitsForMemoryAndEndsWithItsContext(t *testing.T) {
	s := newThumbnails()
	if !s.memory.TryAcquire(pictureMemory) {
		t.Fatal("no memory")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.write(ctx, io.Discard, bytes.NewReader(encodeJPEG(t, quarters(64, 64)))); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func FuzzThumbnail(f *testing.F) {
	f.Add(bomb(3, 3))
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x10Exif\x00\x00MM\x00*\x00\x00\x00\x08"))
	f.Add([]byte("RIFF\x10\x00\x00\x00WEBPVP8 "))
	f.Fuzz(func(t *testing.T, picture []byte) {
		_, err := newThumbnails().write(t.Context(), io.Discard, bytes.NewReader(picture))
		if err != nil && !errors.Is(err, errNoThumbnail) {
			t.Error(err)
		}
	})
}

// A photograph of a telephone: 12 megapixels.
func BenchmarkThumbnail(b *testing.B) {
	var photo bytes.Buffer
	whole := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	for i := range whole.Y {
		whole.Y[i] = byte(i * 7 >> 3)
	}
	if err := jpeg.Encode(&photo, whole, nil); err != nil {
		b.Fatal(err)
	}
	thumbnails := newThumbnails()
	for b.Loop() {
		if _, err := thumbnails.write(b.Context(), io.Discard, bytes.NewReader(photo.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAPictureWith16BitsAChannelCountsAllItsBytes(t *testing.T) {
	for _, model := range []color.Model{color.RGBA64Model, color.NRGBA64Model} {
		if got := decodedSize(image.Config{ColorModel: model, Width: 100, Height: 100}, jpegFacts{}); got != 80_000 {
			t.Errorf("%d bytes instead of 80000", got)
		}
	}
}
