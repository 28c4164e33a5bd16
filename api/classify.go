package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
)

// Class says what a failure means for the caller.
type Class int

// The classes of failure.
const (
	ClassOK          Class = iota
	ClassTransient         // may pass: connection, time-out, 5xx
	ClassRateLimited       // 429: every call should wait
	ClassPermanent         // another attempt will not help: 404, 410, 400
	ClassCredentials       // 401: the API does not accept the token or the namespace
	ClassForbidden         // 403: for this object, or for all when the credentials lack the right
	ClassBroken            // 200 with something else: a page, malformed, cut, another object
	ClassOwn               // our side: disk, database, the gate
	ClassCancelled         // we cancelled it
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
	KindTimeout        = "timeout"        // no answer, or its body stopped
	KindServerError    = "server_error"   // 5xx
	KindRateLimit      = "rate_limit"     // 429
	KindAuthentication = "authentication" // 401
	KindPermission     = "permission"     // 403
	KindNotFound       = "not_found"      // 404, 410
	KindBadRequest     = "bad_request"    // any other 4xx
	KindBadReference   = "bad_reference"  // we refused the tip or the media reference, and sent nothing
	KindBrokenAnswer   = "broken_answer"  // 200, but not what was asked for
	KindHTMLPage       = "html_page"      // 200 with a page, as during maintenance
	KindCutBody        = "cut_body"       // the body ended too early
	KindTooLarge       = "too_large"      // more than max_payload_bytes or max_attachment_bytes
	KindTooSlow        = "too_slow"       // more than max_transfer_time, or than the run had
	KindRedirect       = "redirect"       // a redirect that we do not follow, or that led nowhere
	KindLocal          = "local"          // the answer could not be written
	KindNotSent        = "not_sent"       // the gate refused
	KindCancelled      = "cancelled"      // we cancelled it
)

// The failures that this package finds itself. Each is wrapped with details.
var (
	errStalled   = errors.New("the answer stopped arriving")
	errSlow      = errors.New("the answer arrives too slowly")
	errTooLarge  = errors.New("the answer is too large")
	errRedirect  = errors.New("redirect not followed")
	errBroken    = errors.New("not the answer that was asked for")
	errHTML      = errors.New("an HTML page instead of an answer")
	errPage      = errors.New("a page instead of an attachment")
	errCut       = errors.New("the answer was cut short")
	errReference = errors.New("reference refused")
	errLocal     = errors.New("cannot write the answer")
	// errOutOfFiles says that this process may open no more files or sockets.
	errOutOfFiles = errors.New("no socket left on this host: raise LimitNOFILE in the unit (ulimit -n), or lower [processing] concurrency")
	errNotSent    = errors.New("request not sent")
	errCancelled  = errors.New("cancelled")
	// errWithdrawn says that the gate ended an attempt that it had admitted.
	errWithdrawn = errors.New("the gate withdrew its permit")
)

var failures = []struct {
	err   error
	class Class
	kind  string
}{
	// Our own actions come first: the connection's errors that follow from them mean
	// nothing.
	{errLocal, ClassOwn, KindLocal},
	{errOutOfFiles, ClassOwn, KindLocal},
	{errCancelled, ClassCancelled, KindCancelled},
	{context.Canceled, ClassCancelled, KindCancelled},
	{errNotSent, ClassOwn, KindNotSent},
	{errReference, ClassPermanent, KindBadReference},
	{errTooLarge, ClassBroken, KindTooLarge},
	{errRedirect, ClassBroken, KindRedirect},
	{errHTML, ClassBroken, KindHTMLPage},
	{errPage, ClassBroken, KindHTMLPage},
	{errBroken, ClassBroken, KindBrokenAnswer},
	{errStalled, ClassTransient, KindTimeout},
	{errSlow, ClassTransient, KindTooSlow},
	{errCut, ClassBroken, KindCutBody},
	{io.ErrUnexpectedEOF, ClassBroken, KindCutBody},
}

// classify returns the class and kind of a request's end: from err or, when err is
// nil, from the status. No other code judges a failure.
func classify(status int, err error) (Class, string) {
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
		return ClassTransient, KindConnection // it never reached the service
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

// worthRepeating reports whether the same request may succeed in a moment.
func worthRepeating(class Class, kind string) bool {
	switch kind {
	case KindTLS, KindTooLarge, KindTooSlow, KindRedirect: // a moment does not change these
		return false
	}
	return class == ClassTransient || class == ClassRateLimited || class == ClassBroken
}

// unavailable reports whether a failure says that the whole API does not answer.
func unavailable(kind string) bool {
	switch kind {
	case KindConnection, KindTLS, KindTimeout, KindTooSlow, KindServerError, KindRateLimit, KindCutBody, KindHTMLPage:
		return true
	}
	return false
}
