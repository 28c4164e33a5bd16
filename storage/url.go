package storage

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/lib/pq"
)

// libpqOnly are parameters that libpq knows and lib/pq does not, with the values that
// change nothing here. nil: every value is harmless.
var libpqOnly = map[string][]string{
	"gssencmode":          {"disable", "prefer"},
	"gssdelegation":       {"0"},
	"gsslib":              nil,
	"channel_binding":     {"disable", "prefer"},
	"require_auth":        {"!password"}, // noggin never sends a password in the clear
	"sslcompression":      nil,
	"sslcertmode":         {"allow"},
	"sslcrl":              {},
	"sslcrldir":           {},
	"requiressl":          {"0"},
	"requirepeer":         {},
	"keepalives":          nil, // noggin sets its own
	"keepalives_idle":     nil,
	"keepalives_interval": nil,
	"keepalives_count":    nil,
	"tcp_user_timeout":    nil,
	"replication":         {"0", "off", "false", "no"},
	"datestyle":           nil, // lib/pq needs its own
	"client_encoding":     nil,
	"krbsrvname":          nil, // it matters only with Kerberos, which lib/pq reports
}

// libpqVariables are the environment variables of those parameters, which lib/pq
// refuses whatever their value.
var libpqVariables = map[string]string{
	"PGGSSENCMODE": "gssencmode", "PGGSSDELEGATION": "gssdelegation", "PGGSSLIB": "gsslib", "PGCHANNELBINDING": "channel_binding",
	"PGREQUIREAUTH": "require_auth", "PGSSLCOMPRESSION": "sslcompression", "PGSSLCERTMODE": "sslcertmode", "PGSSLCRL": "sslcrl",
	"PGSSLCRLDIR": "sslcrldir", "PGREQUIRESSL": "requiressl", "PGREQUIREPEER": "requirepeer", "PGDATESTYLE": "datestyle",
	"PGCLIENTENCODING": "client_encoding", "PGREALM": "krbsrvname", "PGKRBSRVNAME": "krbsrvname",
}

var keywordUser = regexp.MustCompile(`(^|\s)(user|service)\s*=`)

// NamesUser reports whether the URL or libpq's variables name the role, themselves or by a
// service. Else it has the name of the user who runs the command.
func (c Config) NamesUser() bool {
	if os.Getenv("PGUSER") != "" || os.Getenv("PGSERVICE") != "" {
		return true
	}
	m := urlParts.FindStringSubmatch(c.URL)
	if m == nil {
		return keywordUser.MatchString(c.URL)
	}
	user := m[2][:max(strings.LastIndex(m[2], "@"), 0)]
	query, err := url.ParseQuery(m[4])
	return user != "" && user[0] != ':' || err == nil && (query.Has("user") || query.Has("service"))
}

// checkLibpqOnly returns an error unless the parameter changes nothing here.
func checkLibpqOnly(where, parameter, value string) error {
	allowed := libpqOnly[parameter]
	if allowed == nil || slices.Contains(allowed, value) {
		return nil
	}
	if len(allowed) == 0 {
		return fmt.Errorf("%s: noggin cannot do what it asks for: leave it out", where)
	}
	return fmt.Errorf("%s: noggin cannot do what it asks for: leave it out, or write %s", where, strings.Join(allowed, " or "))
}

var errURL = errors.New("not a libpq URL")

// errUnencoded is the error of a URL whose parts cannot be told from each other. It
// repeats none of them: a part of the password may stand anywhere.
var errUnencoded = errors.New("its password or another part holds a character that must be percent-encoded: @ is %40, / is %2F, ? is %3F, # is %23")

// parseURL reads a libpq URL or key=value string and libpq's variables. Its errors repeat
// no part of the URL.
func parseURL(text string) (pq.Config, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(libpqVariables)) {
		if value, set := os.LookupEnv(name); set {
			if err := checkLibpqOnly("$"+name, libpqVariables[name], value); err != nil {
				errs = append(errs, err)
			} else if err := os.Unsetenv(name); err != nil { // lib/pq would refuse it
				errs = append(errs, err)
			}
		}
	}
	dsn, err := plainURL(text)
	if err = errors.Join(append(errs, err)...); err != nil {
		return pq.Config{}, err
	}
	cfg, err := pq.NewConfig(dsn)
	if err != nil {
		return cfg, errURL
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Runtime)) {
		if _, known := libpqOnly[name]; known {
			errs = append(errs, checkLibpqOnly(name, name, cfg.Runtime[name]))
			delete(cfg.Runtime, name)
		}
	}
	return cfg, errors.Join(errs...)
}

var (
	urlParts  = regexp.MustCompile(`^(postgres(?:ql)?://)([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$`)
	hostParts = regexp.MustCompile(`^(\[[0-9A-Fa-f:.%]*\]|[^:\[\]@]*)(?::([0-9]*))?$`)
)

// plainURL returns a URL that lib/pq reads as libpq reads text: the hosts, each with its
// port, become parameters. Other texts it returns as they are.
func plainURL(text string) (string, error) {
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return text, nil
	}
	m := urlParts.FindStringSubmatch(text)
	if m == nil {
		return "", errURL
	}
	scheme, authority, path, query, fragment := m[1], m[2], m[3], m[4], m[5]
	if strings.Contains(path, "@") || fragment != "" {
		return "", errUnencoded
	}
	user, hosts := "", authority
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, hosts = authority[:at+1], authority[at+1:]
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", errUnencoded
	}
	for name, value := range values {
		if strings.Contains(name, "@") || strings.Contains(value[0], "@") && name != "host" && strings.Contains(query, "@") {
			return "", errUnencoded
		}
	}
	for _, name := range []string{"datestyle", "client_encoding"} {
		values.Del(name)
	}
	var names, ports []string
	for host := range strings.SplitSeq(hosts, ",") {
		h := hostParts.FindStringSubmatch(host)
		if h == nil {
			return "", errUnencoded
		}
		name, err := url.PathUnescape(h[1])
		if err != nil {
			return "", errUnencoded
		}
		names, ports = append(names, strings.Trim(name, "[]")), append(ports, h[2])
	}
	if hosts != "" && !values.Has("host") {
		values.Set("host", strings.Join(names, ","))
	}
	if strings.Trim(strings.Join(ports, ""), "0123456789") == "" && strings.Join(ports, "") != "" && !values.Has("port") {
		for i := range ports {
			if ports[i] == "" {
				ports[i] = "5432"
			}
		}
		values.Set("port", strings.Join(ports, ","))
	}
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	return scheme + user + path, nil
}
