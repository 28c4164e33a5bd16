package health

import (
	"maps"
	"slices"

	"noggin/api"
	"noggin/storage"
)

// errorAdvice says what to do about each error_type of processing_errors. The first
// four follow the operations manual's "Common Errors and Actions".
var errorAdvice = map[string]string{
	api.KindConnection:     "check the network and that the API is up; retried by itself",
	api.KindAuthentication: "the token was rejected: `noggin validate api` says why; replace it",
	api.KindRateLimit:      "the API asks for fewer requests: lower [processing] concurrency or set max_requests_per_second",
	api.KindCutBody:        "attachments arrive incomplete: check the network, and `noggin report attachments`; retried by itself",
	api.KindTLS:            "the API's certificate is not trusted: check the host's clock, CA certificates and [api] base_url",
	api.KindTimeout:        "the API is slow or the network stalls: raise [api] timeout if it persists; retried by itself",
	api.KindTooSlow:        "an answer took longer than [processing] max_transfer_time, or than a run may last: raise the former if the network is slow, or give the record a run without --max-time (`noggin process --tip TIP`); retried by itself",
	api.KindServerError:    "the API has trouble of its own: if it persists, tell Noggin support; retried by itself",
	api.KindPermission:     "the token may not read these records: ask the Noggin administrator, then `noggin retry-failed --permanent`",
	api.KindNotFound:       "the platform does not have these records: check their tips with `noggin report tip TIP`; `noggin skip --permanent --error-type not_found --reason TEXT` takes them off the queue",
	api.KindBadRequest:     "the API refuses these tips or forms: check [api] base_url and the records' object_type",
	api.KindBadReference:   "a media reference cannot be used: look at the record with `noggin report tip TIP`; tell Noggin support",
	api.KindBrokenAnswer:   "the answer is not the record that noggin asked for: check [api] base_url; `noggin report errors --details` shows what came",
	api.KindHTMLPage:       "a web page came in place of an answer: the API is under maintenance, or a proxy answers for it; retried by itself. Of attachments also text, XML and JSON: a field that holds these needs `kind = \"document\"` in its [[object_type]] table",
	api.KindTooLarge:       "larger than [processing] max_payload_bytes or max_attachment_bytes: raise the limit if it is genuine",
	api.KindRedirect:       "the API moved: check [api] base_url and media_service_url",
	storage.ErrorLost:      "an archive was given up with its files: `noggin archive list` has the reason, `noggin report tip TIP` the files; what the platform still has was fetched again",
	"validation":           "attachments arrive broken: check them with `noggin report attachments`; one that comes twice with the same bytes is kept as suspect",
	"disk":                 "the output volume is full, read-only or not mounted, or noggin has no right to a file or folder there: `noggin validate quick`, `noggin maintain emergency`",
	"database":             "the database was unavailable: `noggin validate database`",
	"internal":             "read the journal of that time: `sudo journalctl -u 'noggin-*'`",
}

// Advice says what to do about errors of a type.
func Advice(errorType string) string {
	if advice, ok := errorAdvice[errorType]; ok {
		return advice
	}
	return "look at one of its records with `noggin report tip TIP`"
}

// ErrorTypes returns the types of errors that have advice, sorted.
func ErrorTypes() []string { return slices.Sorted(maps.Keys(errorAdvice)) }
