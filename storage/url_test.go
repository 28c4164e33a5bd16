package storage

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/lib/pq"
)

func TestADatabaseURLIsReadAsLibpqReadsIt(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://u:p@h:1234/d":                                        "u p h:1234 d",
		"postgres://u:p@h1:1,h2:2/d":                                     "u p h1:1,h2:2 d",
		"postgresql://u@h1,h2:2/d?target_session_attrs=read-write":       "u  h1:5432,h2:2 d",
		"postgres://u@[::1]:5433,[fe80::1]/d":                            "u  ::1:5433,fe80::1:5432 d",
		"postgres://u:p%40s%2Fs@h/d":                                     "u p@s/s h:5432 d",
		"postgres://u:p@ss@h/d":                                          "u p@ss h:5432 d",
		"postgres://u@%2Frun%2Fpostgresql/d":                             "u  /run/postgresql:5432 d",
		"postgres://u@/d?host=/run/postgresql&port=6000":                 "u  /run/postgresql:6000 d",
		"postgres://u@h/d?gssencmode=disable&channel_binding=prefer":     "u  h:5432 d",
		"postgres://u@h/d?keepalives=1&keepalives_idle=5&keepalives=0":   "u  h:5432 d",
		"postgres://u@h/d?require_auth=!password&sslcompression=0":       "u  h:5432 d",
		"postgres://u@h/d?datestyle=German&client_encoding=latin1":       "u  h:5432 d",
		"host=h user=u dbname=d gssencmode=prefer tcp_user_timeout=1000": "u  h:5432 d",
	} {
		cfg, err := parseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		hosts := []string{}
		for _, h := range append([]pq.ConfigMultihost{{Host: cfg.Host, Port: cfg.Port}}, cfg.Multi...) {
			hosts = append(hosts, fmt.Sprintf("%s:%d", h.Host, h.Port))
		}
		if got := strings.Join([]string{cfg.User, cfg.Password, strings.Join(hosts, ","), cfg.Database}, " "); got != want {
			t.Errorf("%s is read as %q, want %q", text, got, want)
		}
		if len(cfg.Runtime) > 0 || cfg.Hostaddr != (netip.Addr{}) {
			t.Errorf("%s: the server is sent %v", text, cfg.Runtime)
		}
	}
}

func TestARoleThatIsNotNamedIsTheUsers(t *testing.T) {
	for text, named := range map[string]bool{
		"postgres:///d?host=/run/postgresql": false, "postgres://h/d": false, "postgres://@h/d": false, "postgres://:p@h/d": false, "dbname=d host=h": false, "": false,
		"postgres://u@h1:1,h2:2/d": true, "postgres://u:p@@/d": true, "postgres:///d?user=u": true, "postgres:///d?service=s": true, "dbname=d user = u": true,
	} {
		if (Config{URL: text}).NamesUser() != named {
			t.Errorf("%q names the role: %t", text, !named)
		}
	}
	t.Setenv("PGUSER", "u")
	if !(Config{}).NamesUser() {
		t.Error("$PGUSER names no role")
	}
}

func TestWhatNogginCannotDoIsNamed(t *testing.T) {
	for parameter, value := range map[string]string{
		"gssencmode": "require", "channel_binding": "require", "require_auth": "scram-sha-256", "requirepeer": "postgres",
		"sslcrl": "/etc/crl", "replication": "database",
	} {
		for _, text := range []string{"postgres://u@h/d?" + parameter + "=" + value, "host=h user=u " + parameter + "=" + value} {
			if _, err := parseURL(text); err == nil || !strings.Contains(err.Error(), parameter) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

func TestVariablesThatOnlyLibpqKnowsAreHarmlessOrNamed(t *testing.T) {
	for name, value := range map[string]string{
		"PGGSSENCMODE": "disable", "PGDATESTYLE": "German", "PGCHANNELBINDING": "prefer", "PGSSLCOMPRESSION": "0", "PGCLIENTENCODING": "LATIN1",
	} {
		t.Setenv(name, value)
		if _, err := parseURL("postgres://u@h/d"); err != nil {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
	t.Setenv("PGREQUIREPEER", "postgres")
	if _, err := parseURL("postgres://u@h/d"); err == nil || !strings.Contains(err.Error(), "$PGREQUIREPEER") {
		t.Errorf("PGREQUIREPEER: %v", err)
	}
}

func TestNoPartOfAPasswordIsPrinted(t *testing.T) {
	for _, password := range []string{"zq@qzx/xyzzy", "zq@qzx?xyzzy", "zq@qzx#xyzzy", "zqqzx/xy@zzy", "zqq?qzx@xyzzy", "zq@qzx:xy/zzy", "zq@q,qzx/x:y@zzy", "zq%qzx"} {
		text := "postgres://user:" + password + "@host.invalid:5432/noggin_db?sslmode=disable"
		cfg := DefaultConfig()
		cfg.URL = text
		errs := []error{cfg.Validate()}
		if errs[0] == nil { // then a connection may not show it either
			db := openDB(t, cfg)
			errs = append(errs, db.Ping(t.Context()))
		}
		for _, err := range errs {
			for _, part := range strings.FieldsFunc(password, func(r rune) bool { return strings.ContainsRune("@/?#:,%", r) }) {
				if err != nil && len(part) > 1 && strings.Contains(err.Error(), part) {
					t.Errorf("%s: the error shows %q: %v", password, part, err)
				}
			}
		}
	}
}
