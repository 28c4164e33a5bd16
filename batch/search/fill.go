package search

import (
	"context"

	"noggin/batch/forms"
	"noggin/storage"
)

// fillPage is how many records one transaction of Fill looks at; tests lower it.
var fillPage = 500

// Fill writes the words of the records that were there before an upgrade, until all have
// them or ctx ends. Another host that is at it makes it end at once.
func Fill(ctx context.Context, db *storage.DB, types *forms.ObjectTypes) error {
	for {
		_, more, err := db.FillSearch(ctx, fillPage, func(r storage.Unsearchable, names storage.Names) string {
			form, ok := types.ByCode(r.ObjectType)
			if !ok { // Its form was taken out of the configuration: its fields are nameless, but can be found.
				form = forms.ObjectType{Code: r.ObjectType}
			}
			record, err := forms.ParseRecord(form, r.Payload)
			if err != nil {
				return "" // Its payload came another way than from the API.
			}
			return Document(form, record, storage.Stored{Names: names})
		})
		if err != nil || !more {
			return err
		}
	}
}
