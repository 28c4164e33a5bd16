package storage

import "slices"

// Status is a value of noggin_data.processing_status. SQL texts spell it out, because
// PostgreSQL uses a partial index only for the same literal.
type Status string

// The statuses of a record.
const (
	StatusPending     Status = "pending"     // not fetched yet, or to be fetched again
	StatusAPISuccess  Status = "api_success" // the answer is stored, the attachments are not
	StatusComplete    Status = "complete"
	StatusPartial     Status = "partial"     // some attachments failed
	StatusFailed      Status = "failed"      // all attachments failed
	StatusAPIFailed   Status = "api_failed"  // the API gave no answer
	StatusInterrupted Status = "interrupted" // the run ended first; the record did not fail
	StatusSkipped     Status = "skipped"     // taken out of the queue by an operator
)

var statuses = []Status{
	StatusPending, StatusAPISuccess, StatusComplete, StatusPartial, StatusFailed, StatusAPIFailed, StatusInterrupted, StatusSkipped,
}

// Statuses returns all statuses, in the order of a record's life.
func Statuses() []Status { return slices.Clone(statuses) }

// IsFailure reports whether the last attempt at the record failed.
func (s Status) IsFailure() bool {
	return s == StatusPartial || s == StatusFailed || s == StatusAPIFailed
}

// IsFinal reports whether no run takes the record by itself.
func (s Status) IsFinal() bool { return s == StatusComplete || s == StatusSkipped }

// AttachmentStatus is a value of attachments.attachment_status.
type AttachmentStatus string

// The statuses of an attachment.
const (
	AttachmentPending  AttachmentStatus = "pending"
	AttachmentComplete AttachmentStatus = "complete"
	AttachmentFailed   AttachmentStatus = "failed"
)

// Validation is a value of attachments.attachment_validation_status: the result of
// the check of an attachment's content.
type Validation string

// The results of the check of an attachment's content.
const (
	ValidationValid   Validation = "valid"
	ValidationSuspect Validation = "suspect" // kept, although the check failed
	ValidationFailed  Validation = "validation_failed"
	ValidationNone    Validation = "not_validated" // not checked yet, or no check exists for its kind
)

// CircuitState says whether requests go to the API.
type CircuitState string

// The states of the circuit.
const (
	CircuitClosed   CircuitState = "closed"    // requests go out
	CircuitOpen     CircuitState = "open"      // no request goes out until open_until
	CircuitHalfOpen CircuitState = "half_open" // a few probes go out
)
