package export

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/draw"
	"golang.org/x/image/webp"
	"golang.org/x/sync/semaphore"
)

const (
	thumbnailSide    = 480 // pixels of the longer side, at most
	thumbnailQuality = 80
	// pictureMemory is how many bytes all pictures that are decoded at a time may take.
	// A larger picture gets an icon. A JPEG of 48 megapixels is
	// counted as 192 MB.
	pictureMemory = 192 << 20
)

// errNoThumbnail says why a picture gets an icon.
var errNoThumbnail = errors.New("no thumbnail")

// thumbnails makes small pictures. Many goroutines may use it.
type thumbnails struct{ memory *semaphore.Weighted }

func newThumbnails() *thumbnails { return &thumbnails{semaphore.NewWeighted(pictureMemory)} }

// decoder reads one kind of picture.
type decoder struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

// decoders are those of the kinds that get thumbnails, by their first bytes.
var decoders = []struct {
	magic string
	decoder
}{
	{"\xff\xd8\xff", decoder{jpeg.DecodeConfig, jpeg.Decode}},
	{"\x89PNG\r\n\x1a\n", decoder{png.DecodeConfig, png.Decode}},
	{"GIF8", decoder{gif.DecodeConfig, gif.Decode}},
	{"RIFF????WEBP", decoder{webp.DecodeConfig, webp.Decode}},
}

// find returns the decoder for a file that begins with head.
func find(head []byte) (decoder, bool) {
	for _, d := range decoders {
		found := len(head) >= len(d.magic)
		for i := 0; found && i < len(d.magic); i++ {
			found = d.magic[i] == '?' || d.magic[i] == head[i]
		}
		if found {
			return d.decoder, true
		}
	}
	return decoder{}, false
}

// write writes a thumbnail of the picture as a JPEG to w, upright as the picture's Exif
// says. The error wraps errNoThumbnail if the picture cannot have one.
func (t *thumbnails) write(ctx context.Context, w io.Writer, picture io.ReadSeeker) (size image.Point, err error) {
	defer func() {
		if p := recover(); p != nil { // a decoder that a forged picture brought down
			err = fmt.Errorf("%w: %v", errNoThumbnail, p)
		}
	}()
	head := make([]byte, 12)
	n, err := io.ReadFull(picture, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return size, err
	}
	d, ok := find(head[:n])
	if !ok {
		return size, errNoThumbnail
	}
	begin := func() error { _, err := picture.Seek(0, io.SeekStart); return err }
	if err := begin(); err != nil {
		return size, err
	}
	about := lookAtJPEG(picture)
	if err := begin(); err != nil {
		return size, err
	}
	config, err := d.config(picture)
	if err != nil {
		return size, fmt.Errorf("%w: %w", errNoThumbnail, err)
	}
	cost := decodedSize(config, about)
	if config.Width <= 0 || config.Height <= 0 || cost > pictureMemory {
		return size, fmt.Errorf("%w: %d × %d pixels would take %d MB", errNoThumbnail, config.Width, config.Height, cost>>20)
	}
	if err := t.memory.Acquire(ctx, cost); err != nil {
		return size, context.Cause(ctx)
	}
	defer t.memory.Release(cost)
	if err := begin(); err != nil {
		return size, err
	}
	whole, err := d.decode(picture)
	if err != nil {
		return size, fmt.Errorf("%w: %w", errNoThumbnail, err)
	}
	small := turned(shrunk(whole), about.orientation)
	return small.Bounds().Size(), jpeg.Encode(w, small, &jpeg.Options{Quality: thumbnailQuality})
}

// decodedSize is how many bytes a decoded picture takes at most.
func decodedSize(c image.Config, about jpegFacts) int64 {
	perPixel := int64(4) // enough for a JPEG and its colours
	switch c.ColorModel {
	case color.GrayModel:
		perPixel = 1
	case color.CMYKModel, color.NRGBA64Model, color.RGBA64Model, color.Gray16Model:
		perPixel = 8
	}
	if about.progressive { // all coefficients are kept until the end, 4 bytes each
		perPixel *= 5
	}
	if c.Width <= 0 || c.Height <= 0 || int64(c.Width) > math.MaxInt32 || int64(c.Height) > math.MaxInt32 {
		return math.MaxInt64
	}
	pixels := int64(c.Width) * int64(c.Height)
	if pixels > math.MaxInt64/perPixel {
		return math.MaxInt64
	}
	return pixels * perPixel
}

// shrunk returns a small copy of the picture on white ground.
func shrunk(whole image.Image) *image.RGBA {
	from := whole.Bounds()
	scale := min(1, float64(thumbnailSide)/float64(max(from.Dx(), from.Dy())))
	side := func(n int) int { return max(1, int(math.Round(float64(n)*scale))) }
	small := image.NewRGBA(image.Rect(0, 0, side(from.Dx()), side(from.Dy())))
	draw.Draw(small, small.Bounds(), image.White, image.Point{}, draw.Src)
	// A picture that is much larger is first thinned out to four times the size: that is
	// fast, and the second step takes out what it leaves.
	if scale < 1./8 {
		thin := image.NewRGBA(image.Rect(0, 0, 4*small.Rect.Dx(), 4*small.Rect.Dy()))
		draw.Draw(thin, thin.Bounds(), image.White, image.Point{}, draw.Src)
		draw.ApproxBiLinear.Scale(thin, thin.Bounds(), whole, from, draw.Over, nil)
		whole, from = thin, thin.Bounds()
	}
	draw.BiLinear.Scale(small, small.Bounds(), whole, from, draw.Over, nil)
	return small
}

// turned returns the picture as the Exif orientation, from 1 to 8, wants it to be shown.
func turned(p *image.RGBA, orientation int) *image.RGBA {
	if orientation < 2 || orientation > 8 {
		return p
	}
	w, h := p.Rect.Dx(), p.Rect.Dy()
	if orientation >= 5 {
		w, h = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			var from image.Point
			switch orientation {
			case 2:
				from = image.Pt(w-1-x, y)
			case 3:
				from = image.Pt(w-1-x, h-1-y)
			case 4:
				from = image.Pt(x, h-1-y)
			case 5:
				from = image.Pt(y, x)
			case 6:
				from = image.Pt(y, w-1-x)
			case 7:
				from = image.Pt(h-1-y, w-1-x)
			case 8:
				from = image.Pt(h-1-y, x)
			}
			out.SetRGBA(x, y, p.RGBAAt(from.X, from.Y))
		}
	}
	return out
}
