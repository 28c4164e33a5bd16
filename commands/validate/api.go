package validate

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
	"noggin/batch/files"
	"noggin/batch/validate"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
)

// tokenWarning is how long before it expires a token is reported.
const tokenWarning = 14 * 24 * time.Hour

// api sends one request and explains its answer, as the manual's SOP-004 does.
func (v *validation) api(ctx context.Context) (*validate.Area, error) {
	cfg := v.session.Config
	a := validate.NewArea(areaAPI)
	client, err := files.Wait(ctx, v.apiClient) // the token's file may be a pipe
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		a.Reason = "there is nothing to ask with"
		if v.opts.has(areaConfig) && v.opts.tokenFile == "" {
			a.Reason += ": see config"
			return a, nil // told there
		}
		a.Error("configured", strings.Join(append([]string{err.Error()}, cmdline.Hints(err)...), "; "), "correct [api] in the configuration, or the token's file")
		return a, nil
	}
	expiry := checkExpiry(a, client.BearerToken, cfg.Now())
	c, err := api.New(client, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	form, ok := v.validator.Types.ByCode(cfg.Batch.Import.DefaultObjectType)
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
		message, remedy := session.ExplainProbe(failed, expiry, cfg.Now())
		a.Error("answer", message, remedy)
	default:
		a.Error("answer", err.Error(), "see what the message says")
	}
	return a, nil
}

// apiClient is the client's configuration, with the token that is to be tested.
func (v *validation) apiClient() (api.Config, error) {
	if v.opts.tokenFile == "" {
		return v.session.Client()
	}
	other := *v.session.Config
	other.Credentials = config.Credentials{BearerTokenFile: v.opts.tokenFile}
	return other.Client(v.session.Secrets, v.session.Version)
}

// checkExpiry reports a token that is a JWT and has expired or expires soon. It
// returns the zero time when the token does not say.
func checkExpiry(a *validate.Area, token string, now time.Time) (expiry time.Time) {
	expires, notBefore, ok := tokenTimes(token)
	if !ok {
		a.Fact(fmt.Sprintf("the token has %d characters and does not say when it expires", len(token)))
		return time.Time{}
	}
	const remedy = "get a new one from the Noggin administrator, and test it first: `noggin validate api --token-file FILE`"
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

// tokenTimes reads from when until when a JWT is valid; ok is false when token is no
// JWT. It verifies nothing: the API does.
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
