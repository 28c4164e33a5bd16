package export

import (
	"context"
	"fmt"
	"io"

	"noggin/batch/forms"
	"noggin/batch/textreport"
	"noggin/storage"
)

// mostChange is how much of a changed field a page shows, in bytes.
const mostChange = 4000

// versions notes the versions of a record, compares each with the one before, and with
// Payload writes the answers.
func (m *making) versions(ctx context.Context) (views []versionView, err error) {
	marks := m.record.Stored.Versions
	for _, mark := range marks {
		m.entry.Versions = append(m.entry.Versions, EntryVersion{
			Version: mark.Version, Kind: mark.Kind, SID: storage.ValueOf(mark.SID), SHA256: mark.SHA256, Size: mark.Size, FetchedAt: mark.FetchedAt.UTC(),
		})
	}
	if len(marks) < 2 && !m.Payload {
		return nil, nil
	}
	var before []byte
	for _, mark := range marks {
		body, found, err := m.DB.VersionBody(ctx, m.record.Tip, mark.Version)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && !found: // the database, not this version
			return nil, err
		case err != nil:
			m.problem("version %d: %v", mark.Version, err)
			continue
		case !found:
			m.problem("version %d was deleted from the database", mark.Version)
			continue
		}
		if m.Payload {
			if err := m.answer(fmt.Sprintf("answer-v%d.json", mark.Version), mark.Version, body); err != nil {
				return nil, err
			}
		}
		v := versionView{Title: fmt.Sprintf("Version %d, fetched %s", mark.Version, mark.FetchedAt.In(m.Location).Format("2006-01-02 15:04")), None: "the first"}
		switch {
		case mark.Version == m.record.Stored.Version:
			v.Title += ", current"
		case mark.Kind != "version":
			v.Title += ", " + mark.Kind + " when it came"
		}
		if before != nil {
			v.None = "no field differs"
			changes, err := forms.CompareVersions(before, body)
			if err != nil {
				m.problem("version %d cannot be compared: %v", mark.Version, err)
			}
			for _, c := range changes {
				v.Changes = append(v.Changes, forms.FieldChange{Field: textreport.Clean(c.Field), Before: shortened(c.Before), After: shortened(c.After)})
			}
		}
		if mark.Kind == "version" {
			before = body
		}
		views = append(views, v)
	}
	if len(marks) == 0 { // from before versions were kept
		return nil, m.answer("answer.json", m.record.Stored.Version, m.record.Stored.Payload)
	}
	if len(marks) < 2 {
		return nil, nil
	}
	return views, nil
}

func (m *making) answer(name string, version int, body []byte) error {
	err := m.write(name, kindAnswer, func(w io.Writer) error { _, err := w.Write(body); return err })
	if err == nil {
		m.entry.Files[len(m.entry.Files)-1].Version = version
	}
	return err
}

func shortened(text string) string {
	if cut := forms.FirstOf(text, mostChange); cut != text {
		text = cut + "…"
	}
	return textreport.Clean(text)
}
