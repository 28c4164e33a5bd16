package export

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"path"
	"slices"

	"noggin/batch/files"
	"noggin/batch/textreport"
	"noggin/storage"
)

// photos makes the thumbnails and lists the attachments.
func (m *making) photos(ctx context.Context, view *recordView) error {
	for _, a := range m.record.Stored.Attachments {
		i := slices.IndexFunc(m.record.Files, func(f storage.File) bool { return f.Former == "" && f.AttachmentTip == a.Tip })
		label := cmp.Or(storage.ValueOf(a.Filename), fmt.Sprintf("attachment %d", a.Sequence))
		if i < 0 {
			view.Photos = append(view.Photos, photo(storage.File{AttachmentTip: a.Tip}, label, "", "", image.Point{}, "not mirrored: "+string(a.Status)))
			if !m.NoPhotos {
				m.problem("%s is not in this export: it was not mirrored (%s)", label, a.Status)
			}
			continue
		}
		shown, err := m.photo(ctx, m.record.Files[i], label)
		if err != nil {
			return err
		}
		view.Photos = append(view.Photos, shown)
	}
	for _, f := range m.record.Files {
		if f.Former == "" {
			continue
		}
		shown, err := m.photo(ctx, f, path.Base(f.Path))
		if err != nil {
			return err
		}
		view.Former = append(view.Former, shown)
	}
	return nil
}

func (m *making) photo(ctx context.Context, f storage.File, label string) (*photoView, error) {
	name := m.name[f.Path]
	if name == "" {
		missing := "missing"
		if !m.wanted(f) {
			missing = "left out"
		}
		return photo(f, label, "", "", image.Point{}, missing), nil
	}
	source, err := m.dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer files.Release(source)
	var size image.Point
	var small bytes.Buffer
	size, err = m.thumbnails.write(ctx, &small, source)
	if errors.Is(err, errNoThumbnail) {
		return photo(f, label, name, "", image.Point{}, ""), nil
	}
	if err != nil {
		return nil, err
	}
	thumb := "thumbs/" + path.Base(name) + ".jpg"
	if f.Former != "" {
		thumb = "former/thumbs/" + path.Base(name) + ".jpg"
	}
	err = m.write(thumb, kindThumbnail, func(w io.Writer) error { _, err := w.Write(small.Bytes()); return err })
	return photo(f, label, name, thumb, size, ""), err
}

// listFiles lists every original file, also those that are not in the export.
func (m *making) listFiles(view *recordView) {
	for _, f := range m.record.Files {
		name := m.name[f.Path]
		v := fileView{Base: &view.base, Name: textreport.Clean(path.Base(f.Path)), Href: name, Shown: isShown(name), SHA256: f.SHA256, Tip: textreport.Clean(f.AttachmentTip), Size: grouped(f.Size)}
		switch {
		case name == "" && m.wanted(f):
			v.Note = "not in this export"
		case name == "":
			v.Note = "left out"
		case path.Base(name) != path.Base(f.Path):
			v.Note = "here as " + path.Base(name)
		}
		view.Files = append(view.Files, v)
	}
	for _, f := range m.entry.Files {
		if f.Kind == kindAnswer {
			view.Files = append(view.Files, fileView{Base: &view.base, Name: f.Path, Href: f.Path, SHA256: f.SHA256, Size: grouped(f.Size), Note: "as the platform answered"})
		}
	}
}
