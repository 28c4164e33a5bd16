package batch

import (
	"maps"
	"slices"

	"noggin/api"
)

// errorAdvice is what to do about each error_type of processing_errors; the first
// four follow the operations manual's "Common Errors and Actions".
var errorAdvice = map[string]string{
	api.KindConnection:     "check the network and that the API is up; retried by itself",
	api.KindAuthentication: "the token was rejected: `noggin validate api` says why; replace it",
	api.KindRateLimit:      "the API asks for fewer requests: lower [processing] concurrency or set max_requests_per_second",
	api.KindCutBody:        "attachments arrive incomplete: check the network, and `noggin report attachments`; retried by itself",
	api.KindTLS:            "the API's certificate is not trusted: check the host's clock, CA certificates and [api] base_url",
	api.KindTimeout:        "the API is slow or the network stalls: raise [api] timeout if it persists; retried by itself",
	api.KindServerError:    "the API has trouble of its own: if it persists, tell Noggin support; retried by itself",
	api.KindPermission:     "the token may not read these records: ask the Noggin administrator, then `noggin retry-failed --permanent`",
	api.KindNotFound:       "the platform does not have these: check the tips with `noggin report tip`; accept them with `noggin skip`",
	api.KindBadRequest:     "the API refuses these tips or forms: check [api] base_url and the records' object_type",
	api.KindBadReference:   "an attachment's reference cannot be used: see the record with `noggin report tip`; tell Noggin support",
	api.KindBrokenAnswer:   "the answer was not the record asked for: check [api] base_url; see the excerpt in error_details",
	api.KindHTMLPage:       "a web page in place of an answer: maintenance of the API, or a proxy between; retried by itself",
	api.KindTooLarge:       "larger than [processing] max_payload_bytes or max_attachment_bytes: raise the limit if it is genuine",
	api.KindRedirect:       "the API moved: check [api] base_url and media_service_url",
	"validation":           "attachments arrive broken: check them with `noggin report attachments`; the same bytes twice are kept as suspect",
	"disk":                 "the output volume is full, read-only or not mounted: `noggin validate quick`, `noggin maintain emergency`",
	"database":             "the database was unavailable: `noggin validate database`",
	"internal":             "see the journal of that time: journalctl -u 'noggin-*'",
}

// Advice tells what to do about errors of a type.
func Advice(errorType string) string {
	if advice, ok := errorAdvice[errorType]; ok {
		return advice
	}
	return "see one of its records with `noggin report tip`"
}

// ErrorTypes returns the types of errors that there is advice about, in the order
// of the alphabet.
func ErrorTypes() []string { return slices.Sorted(maps.Keys(errorAdvice)) }
