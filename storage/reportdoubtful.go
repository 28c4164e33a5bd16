package storage

import "context"

// doubtful are the complete attachments a that are not known to be whole: suspect ones,
// and pictures whose end nothing proved. The partial index attachments_doubtful has the
// same condition.
const doubtful = `a.attachment_status = 'complete' AND (a.attachment_validation_status = 'suspect'
	OR a.attachment_validation_status = 'not_validated' AND a.content_type LIKE 'image/%')`

// Doubtful counts the complete attachments that are not known to be whole.
type Doubtful struct {
	Suspect     int64 `db:"suspect" json:"suspect"`
	Unvalidated int64 `db:"unvalidated" json:"not_validated_pictures"`
}

// CountDoubtful counts the doubtful attachments.
func (db *DB) CountDoubtful(ctx context.Context) (n Doubtful, err error) {
	err = db.get(ctx, "count the doubtful attachments", &n, `
		SELECT count(*) FILTER (WHERE a.attachment_validation_status = 'suspect') AS suspect,
		       count(*) FILTER (WHERE a.attachment_validation_status <> 'suspect') AS unvalidated
		FROM noggin_schema.attachments a WHERE `+doubtful)
	return n, err
}

// DoubtfulAttachments returns the doubtful attachments, the suspect ones first and the
// latest of them first, at most limit of them.
func (db *DB) DoubtfulAttachments(ctx context.Context, limit int) ([]AttachmentStory, error) {
	var found []AttachmentStory
	err := db.selectAll(ctx, "list the doubtful attachments", &found, `
		SELECT `+attachmentStory+` FROM noggin_schema.attachments a WHERE `+doubtful+`
		ORDER BY a.attachment_validation_status DESC, a.download_started_at DESC NULLS LAST LIMIT $1`, limit)
	return found, err
}
