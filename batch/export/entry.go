package export

import "time"

// Entry is what an export holds of a record: a line of data/records.jsonl.
type Entry struct {
	Number       int            `json:"number"` // in the order of the selection
	Tip          string         `json:"tip"`
	ObjectType   string         `json:"object_type"`
	InspectionID string         `json:"inspection_id"`
	Day          string         `json:"inspection_date"` // 2025-09-17, or empty
	Status       string         `json:"processing_status"`
	Vehicle      string         `json:"vehicle"`
	Trailers     []string       `json:"trailers"`
	Team         string         `json:"team"`
	Department   string         `json:"department"`
	Compliance   string         `json:"load_compliance"`
	Defects      int            `json:"defects"` // answers that say that something is not well
	Version      int            `json:"version"` // the current one
	Versions     []EntryVersion `json:"versions"`
	Photos       int            `json:"attachments"` // of the current version
	Folder       string         `json:"folder"`      // in the bag
	Files        []EntryFile    `json:"files"`
	Problems     []string       `json:"problems"` // what could not be exported, and why
	ExportedAt   time.Time      `json:"exported_at"`
	Leaves       *int           `json:"leaves"` // of it in the signed log when it was read; nil: an older noggin wrote the line
}

// EntryVersion is a version of a record.
type EntryVersion struct {
	Version   int       `json:"version"`
	Kind      string    `json:"kind"`
	SID       string    `json:"sid"`
	SHA256    string    `json:"sha256"` // of the answer as it was received
	Size      int64     `json:"size"`
	FetchedAt time.Time `json:"fetched_at"`
}

// The kinds of files.
const (
	kindAttachment   = "attachment"
	kindReport       = "report"
	kindFormer       = "former"  // an attachment of a former version
	kindSuspect      = "suspect" // bytes that came in place of an attachment and are not whole
	kindFormerReport = "former_report"
	kindAnswer       = "answer" // a version as the API gave it
	kindPage         = "page"
	kindThumbnail    = "thumbnail"
)

// EntryFile is a file of a record in the bag.
type EntryFile struct {
	Path          string `json:"path"` // in the record's folder
	Kind          string `json:"kind"`
	Size          int64  `json:"size"`
	SHA256        string `json:"sha256"`
	AttachmentTip string `json:"attachment_tip,omitempty"`
	Version       int    `json:"version,omitempty"`  // of an answer
	Mirrored      string `json:"mirrored,omitempty"` // its path below the output folder
}
