package validate

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"

	"noggin/api"
	"noggin/batch/files"
	"noggin/batch/validate"
	"noggin/commands/cmdline"
	"noggin/commands/config"
)

// forOthersToWrite is the permission that the configuration and the token's file must
// not give: whoever changes the configuration decides where the token is sent.
const forOthersToWrite = 0o002

var tenant = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// config checks the configuration, which was read already, and what it names.
func (v *validation) config() *validate.Area {
	cfg := v.session.Config
	a := validate.NewArea(areaConfig)
	a.Fact("configuration from " + cfg.Source())
	for _, path := range []string{cfg.Path, cfg.Credentials.BearerTokenFile} {
		if info, err := os.Stat(path); path != "" && err == nil && info.Mode().Perm()&forOthersToWrite != 0 {
			a.Error("permissions", path+" can be changed by others", "chmod o-w "+files.ShellQuoted(path))
		}
	}
	v.checkAPIConfig(a, cfg)
	if cfg.API.Namespace != "" && !tenant.MatchString(cfg.API.Namespace) {
		a.Warn("namespace", fmt.Sprintf("[api] namespace has %d characters (not shown): a tenant is 64 hexadecimal digits", len(cfg.API.Namespace)),
			"compare it with the platform's")
	}
	for _, address := range []string{cfg.API.BaseURL, cfg.API.MediaServiceURL} {
		if u, err := url.Parse(address); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			a.Warn("https", "the token is sent to "+u.Host+" in the clear: http", "use https:// in [api] base_url and media_service_url, and then remove insecure_http")
		}
	}
	if mode := cfg.Storage.Unverified(); mode != "" {
		a.Warn("sslmode", "[database] url has sslmode "+mode+": whoever answers in the place of the database's server is believed",
			"write sslmode=verify-full into [database] url, and sslrootcert with the server's authority if the system does not know it")
	}
	v.validator.Folders(a)
	v.validator.Disk(a)
	a.Checked = true
	return a
}

// checkAPIConfig reports what is missing to talk to the API.
func (v *validation) checkAPIConfig(a *validate.Area, cfg *config.Config) {
	const remedy = "correct it; every key is explained in config.example.toml"
	token, err := cfg.Credentials.Token()
	if err != nil {
		a.Error("token", err.Error(), strings.Join(append(cmdline.Hints(err), "test it: `noggin validate api`"), "; "))
		token = "none" // so that the rest is told too
	}
	v.session.Secrets.Add(string(token))
	client := cfg.API
	client.BearerToken = string(token)
	if _, err := api.New(client, nil); err != nil {
		for _, p := range config.Messages(err) {
			if strings.Contains(p, " is not set: ") {
				a.Error("api", p, "`sudo noggin setup` asks for it, and tries it; "+remedy)
				continue
			}
			a.Error("api", p, remedy)
		}
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
