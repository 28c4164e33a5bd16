package commands

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"

	"noggin/api"
	"noggin/batch"
)

// forOthersToWrite is the permission that a file of ours must not give: who changes
// the configuration decides where the token is sent.
const forOthersToWrite = 0o002

var tenant = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// config looks at the configuration, which can be used, and at what it names.
func (v *validation) config(cfg *config) *batch.Area {
	a := batch.NewArea(areaConfig)
	a.Fact("configuration from " + cfg.source())
	for _, path := range []string{cfg.path, cfg.credentials.BearerTokenFile} {
		if info, err := os.Stat(path); path != "" && err == nil && info.Mode().Perm()&forOthersToWrite != 0 {
			a.Error("permissions", path+" can be changed by others", "chmod o-w "+path)
		}
	}
	v.checkAPIConfig(a, cfg)
	if cfg.api.Namespace != "" && !tenant.MatchString(cfg.api.Namespace) {
		a.Warn("namespace", fmt.Sprintf("[api] namespace has %d characters (not shown): a tenant is 64 hexadecimal digits", len(cfg.api.Namespace)),
			"compare it with the platform's")
	}
	for _, address := range []string{cfg.api.BaseURL, cfg.api.MediaServiceURL} {
		if u, err := url.Parse(address); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			a.Warn("https", "the token is sent to "+u.Host+" in the clear: http", "use https:// in [api] base_url and media_service_url")
		}
	}
	v.validator.Folders(a)
	v.validator.Disk(a)
	a.Checked = true
	return a
}

// checkAPIConfig tells what is missing to talk to the API.
func (v *validation) checkAPIConfig(a *batch.Area, cfg *config) {
	const remedy = "correct it; every key is explained in config.example.toml"
	token, err := cfg.credentials.token()
	if err != nil {
		a.Error("token", err.Error(), strings.Join(append(hintsOf(err), "test it: noggin validate api"), "; "))
		token = "none" // so that the rest is told too
	}
	v.env.err.secrets.add(string(token))
	client := cfg.api
	client.BearerToken = string(token)
	if _, err := api.New(client, nil); err != nil {
		for _, p := range messages(err) {
			a.Error("api", p, remedy)
		}
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
