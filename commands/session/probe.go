package session

import (
	"time"

	"noggin/api"
)

// ExplainProbe says what an answer of the API means, and what to do.
func ExplainProbe(e *api.Error, expiry, now time.Time) (message, remedy string) {
	const newToken = "get a new token from the Noggin administrator, test it with `noggin validate api --token-file FILE`, then put it into [api] bearer_token_file"
	switch e.Kind {
	case api.KindAuthentication:
		if !expiry.IsZero() && expiry.Before(now) {
			return "the API rejected the token (401): it has expired", newToken
		}
		return "the API rejected the token (401): it has expired, was cut or changed while it was copied, or is not one of this namespace",
			"compare token and [api] namespace with the platform's; else " + newToken
	case api.KindPermission:
		return "the API knows the token but does not permit the request (403): wrong [api] namespace, or the token lacks the right to this form",
			"compare [api] namespace; ask the Noggin administrator for the right to read inspections"
	case api.KindTLS:
		return "the API's certificate is not trusted: " + e.Error(), "see whether a proxy stands between, or install its certificate authority (update-ca-certificates); is this host's clock right?"
	case api.KindTimeout:
		return "the API did not answer in time: " + e.Error(), "see the network and the firewall between, then the platform's status page"
	case api.KindConnection:
		return "the API cannot be reached: " + e.Error(), "see [api] base_url, then name resolution, network, proxy ($HTTPS_PROXY) and firewall"
	case api.KindServerError:
		return "the API has a fault of its own: " + e.Error(), "wait, and see the platform's status page; nothing is lost, runs carry on by themselves"
	case api.KindRateLimit:
		return "the API is being asked too often: " + e.Error(), "wait; lower [processing] max_requests_per_second if it happens often"
	case api.KindHTMLPage:
		return "a web page answered instead of the API: " + e.Error(), "see [api] base_url; during maintenance of the platform, wait"
	case api.KindRedirect:
		return "the API sends us elsewhere: " + e.Error(), "see [api] base_url: a login page or another address answers there"
	default:
		return "the API's answer cannot be used: " + e.Error(), "see [api] base_url and namespace"
	}
}
