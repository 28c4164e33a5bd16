package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
)

// Class says what a failure means for those who asked.
type Class int

// The classes of failure.
const (
	ClassOK          Class = iota
	ClassTransient         // may pass: connection, time-out, 5xx
	ClassRateLimited       // 429: everybody should wait
	ClassPermanent         // asking again will not help: 404, 410, 400
	ClassCredentials       // 401: the token or the namespace is not accepted
	ClassForbidden         // 403: permanent when single, credentials when all are; the run knows
	ClassBroken            // an answer that is none: a page, malformed, cut, another's
	ClassOwn               // our side: disk, database, the gate
	ClassCancelled         // we gave up ourselves
)

func (c Class) String() string {
	names := [...]string{"ok", "transient", "rate limited", "permanent", "credentials", "forbidden", "broken", "own", "cancelled"}
	if c < 0 || int(c) >= len(names) {
		return "unknown"
	}
	return names[c]
}

// Kinds of failure, the error_type in processing_errors.
const (
	KindConnection     = "connection"     // no connection, or it broke
	KindTLS            = "tls"            // the certificate is not trusted
	KindTimeout        = "timeout"        // no answer, or its body came to a halt
	KindServerError    = "server_error"   // 5xx
	KindRateLimit      = "rate_limit"     // 429
	KindAuthentication = "authentication" // 401
	KindPermission     = "permission"     // 403
	KindNotFound       = "not_found"      // 404, 410
	KindBadRequest     = "bad_request"    // any other 4xx
	KindBadReference   = "bad_reference"  // a tip or media reference that we do not ask for
	KindBrokenAnswer   = "broken_answer"  // 200, but not what was asked for
	KindHTMLPage       = "html_page"      // 200 with a page, as in maintenance
	KindCutBody        = "cut_body"       // the body ended too early
	KindTooLarge       = "too_large"      // more than max_payload_bytes or max_attachment_bytes
	KindRedirect       = "redirect"       // a redirect that we do not follow, or that led nowhere
	KindLocal          = "local"          // what was received could not be written
	KindNotSent        = "not_sent"       // the gate refused
	KindCancelled      = "cancelled"      // we gave up ourselves
)

// What goes wrong on our side of the wire. Each is wrapped with the particulars.
var (
	errStalled   = errors.New("the answer came to a halt")
	errTooLarge  = errors.New("the answer is too large")
	errRedirect  = errors.New("redirect not followed")
	errBroken    = errors.New("not the answer that was asked for")
	errHTML      = errors.New("an HTML page instead of an answer")
	errCut       = errors.New("the answer was cut short")
	errReference = errors.New("reference refused")
	errLocal     = errors.New("cannot keep what was received")
	errNotSent   = errors.New("request not sent")
	errCancelled = errors.New("cancelled")
)

var failures = []struct {
	err   error
	class Class
	kind  string
}{
	// First what we did ourselves: the connection's errors that follow from it
	// mean nothing.
	{errLocal, ClassOwn, KindLocal},
	{errCancelled, ClassCancelled, KindCancelled},
	{context.Canceled, ClassCancelled, KindCancelled},
	{errNotSent, ClassOwn, KindNotSent},
	{errReference, ClassPermanent, KindBadReference},
	{errTooLarge, ClassBroken, KindTooLarge},
	{errRedirect, ClassBroken, KindRedirect},
	{errHTML, ClassBroken, KindHTMLPage},
	{errBroken, ClassBroken, KindBrokenAnswer},
	{errStalled, ClassTransient, KindTimeout},
	{errCut, ClassBroken, KindCutBody},
	{io.ErrUnexpectedEOF, ClassBroken, KindCutBody},
}

// Classify decides what the end of a request means: from err, where there is one,
// else from the status. Everything that depends on the kind of a failure goes by
// its answer.
func Classify(status int, err error) (Class, string) {
	if err == nil {
		return classifyStatus(status)
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return f.class, f.kind
		}
	}
	var known *Error
	if errors.As(err, &known) {
		return known.Class, known.Kind
	}
	var untrusted *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.As(err, &untrusted):
		return ClassTransient, KindTLS
	case errors.As(err, &network) && network.Timeout():
		return ClassTransient, KindTimeout
	default:
		return ClassTransient, KindConnection
	}
}

func classifyStatus(status int) (Class, string) {
	switch status {
	case http.StatusOK:
		return ClassOK, ""
	case http.StatusUnauthorized:
		return ClassCredentials, KindAuthentication
	case http.StatusForbidden:
		return ClassForbidden, KindPermission
	case http.StatusNotFound, http.StatusGone:
		return ClassPermanent, KindNotFound
	case http.StatusTooManyRequests:
		return ClassRateLimited, KindRateLimit
	case http.StatusRequestTimeout:
		return ClassTransient, KindTimeout
	case http.StatusProxyAuthRequired, http.StatusMisdirectedRequest, http.StatusTooEarly:
		return ClassTransient, KindConnection // never reached the service itself
	}
	switch status / 100 {
	case 3:
		return ClassBroken, KindRedirect
	case 4:
		return ClassPermanent, KindBadRequest
	case 5:
		return ClassTransient, KindServerError
	default:
		return ClassBroken, KindBrokenAnswer
	}
}

// worthRepeating reports whether the same request may go better in a moment.
func worthRepeating(class Class, kind string) bool {
	switch kind {
	case KindTLS, KindTooLarge, KindRedirect: // so they will be in a moment
		return false
	}
	return class == ClassTransient || class == ClassRateLimited || class == ClassBroken
}

// unavailable reports whether a failure says that the API as a whole is not
// answering.
func unavailable(kind string) bool {
	switch kind {
	case KindConnection, KindTLS, KindTimeout, KindServerError, KindRateLimit, KindCutBody, KindHTMLPage:
		return true
	}
	return false
}
