package commands

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"noggin/api"
	"noggin/batch"
)

// tokenWarning is how long before a token expires it is told.
const tokenWarning = 14 * 24 * time.Hour

// api sends one request and explains its answer, as the manual's SOP-004 does.
func (v *validation) api(ctx context.Context, cfg *config) (*batch.Area, error) {
	a := batch.NewArea(areaAPI)
	client, err := v.apiClient(cfg)
	if err != nil {
		a.Reason = "there is nothing to ask with"
		if v.opts.has(areaConfig) && v.opts.tokenFile == "" {
			a.Reason += ": see config"
			return a, nil // told there
		}
		a.Error("configured", strings.Join(append([]string{err.Error()}, hintsOf(err)...), "; "), "correct [api] in the configuration, or the token's file")
		return a, nil
	}
	expiry := checkExpiry(a, client.BearerToken, cfg.now())
	c, err := api.New(client, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	form, ok := v.validator.Types.ByCode(cfg.batch.Import.DefaultObjectType)
	if !ok {
		form = v.validator.Types.All()[0]
	}
	started := time.Now()
	status, err := c.Probe(ctx, form.APIName)
	a.Checked = true
	var failed *api.Error
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil:
		a.Fact(fmt.Sprintf("the API answered in %d ms and takes the token (%d for a record that does not exist)", time.Since(started).Milliseconds(), status))
		if v.opts.tokenFile != "" {
			a.Fact("the token in " + v.opts.tokenFile + " works: put it in place")
		}
	case errors.As(err, &failed):
		message, remedy := explainProbe(failed, expiry, cfg.now())
		a.Error("answer", message, remedy)
	default:
		a.Error("answer", err.Error(), "see what the message says")
	}
	return a, nil
}

// apiClient is the client's configuration, with the token that is to be tested.
func (v *validation) apiClient(cfg *config) (api.Config, error) {
	if v.opts.tokenFile == "" {
		return v.env.apiConfig(cfg)
	}
	other := *cfg
	other.credentials = credentials{BearerTokenFile: v.opts.tokenFile}
	return v.env.apiConfig(&other)
}

// checkExpiry tells of a token that is a JWT and has expired, or will soon. The zero
// time says that the token does not tell.
func checkExpiry(a *batch.Area, token string, now time.Time) (expiry time.Time) {
	expires, notBefore, ok := tokenTimes(token)
	if !ok {
		a.Fact(fmt.Sprintf("the token has %d characters and does not say when it expires", len(token)))
		return time.Time{}
	}
	const remedy = "get a new one from the Noggin administrator, and test it first: noggin validate api --token-file FILE"
	day := expires.In(now.Location()).Format("2006-01-02 15:04")
	switch left := expires.Sub(now); {
	case !notBefore.IsZero() && now.Add(time.Minute).Before(notBefore):
		a.Error("token_expiry", "the token is not valid before "+notBefore.In(now.Location()).Format("2006-01-02 15:04"), "wait until then, or see whether this host's clock is right")
	case expires.IsZero():
		a.Fact("the token does not expire")
	case left <= 0:
		a.Error("token_expiry", "the token expired on "+day, remedy)
	case left < tokenWarning:
		a.Warn("token_expiry", fmt.Sprintf("the token expires on %s, in %d days", day, int(left.Hours()/24)), remedy)
	default:
		a.Fact("the token expires on " + day)
	}
	return expires
}

// tokenTimes reads when a JWT begins and ends to be valid; ok is false for a token
// that is none. Nothing is verified: that is the API's business.
func tokenTimes(token string) (expires, notBefore time.Time, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return expires, notBefore, false
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return expires, notBefore, false
	}
	var times struct {
		Expires   float64 `json:"exp"`
		NotBefore float64 `json:"nbf"`
	}
	if json.Unmarshal(claims, &times) != nil {
		return expires, notBefore, false
	}
	at := func(seconds float64) time.Time {
		if seconds <= 0 || seconds > math.MaxInt32*100 { // 6,800 years from 1970
			return time.Time{}
		}
		return time.Unix(int64(seconds), 0)
	}
	return at(times.Expires), at(times.NotBefore), true
}

// explainProbe says what an answer of the API means, and what to do.
func explainProbe(e *api.Error, expiry, now time.Time) (message, remedy string) {
	const newToken = "get a new token from the Noggin administrator, test it with noggin validate api --token-file FILE, then put it into [api] bearer_token_file"
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
