// Package api is the client of the Noggin API. It fetches records and attachments,
// retries what may pass, and puts every failure into one of a few classes.
//
// It knows the wire. What is done with an answer (queue, files, circuit) is elsewhere
// and reaches in through the [Gate], which every attempt must pass.
//
//	Record, Media, Probe → call ─┬→ Gate.Admit → RoundTrip → handle → Gate.Done ─┬→ answer
//	                             └──────── wait (backoff, Retry-After) ←─────────┴→ *Error
//
// Invariants:
//
//   - Token and namespace go to the configured hosts only, and into no error.
//   - Every admitted attempt is reported to the gate exactly once. One whose permit ended
//     is admitted again, and is no failure.
//   - A record is returned only when it is one JSON object whose $meta.tip is the tip
//     that was asked for.
//   - An attachment shorter than its declared length is an error. The content itself
//     is not checked here.
//   - A record's content never chooses the host or the path of a request.
//   - Every request ends: header, body and each wait have a time limit, and a body has
//     a size limit.
//   - One function, classify, decides what a failure means.
//   - Redirects are followed for attachments only, at most five, without credentials
//     to hosts that are not configured.
package api
