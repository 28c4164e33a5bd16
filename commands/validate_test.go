package commands

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
)

// jwt is a token that looks like one that expires after d.
func jwt(d time.Duration) string {
	claims := fmt.Sprintf(`{"sub":"noggin","exp":%d}`, time.Now().Add(d).Unix())
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl"
}

// validateAPI runs noggin validate api and returns its exit code and output.
func validateAPI(t *testing.T, url, namespace, token string, args ...string) (code int, stdout string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("timezone = \"UTC\"\n[api]\nbase_url = %q\nnamespace = %q\nbearer_token = %q\ntimeout = 2\n", url, namespace, token)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = Run(t.Context(), append([]string{"noggin", "--config", config, "validate", "api"}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Assets{})
	for _, secret := range []string{token, namespace} {
		if strings.Contains(out.String()+errs.String(), secret) {
			t.Errorf("a secret was shown:\n%s%s", out.String(), errs.String())
		}
	}
	return code, out.String()
}

func TestValidateAPIExplainsTheAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault      apitest.Fault
		namespace  string
		token      string
		open       bool // the API takes any token
		code       int
		says, mend string
	}{
		"all is well":      {open: true, says: "takes the token (404 for a record that does not exist)"},
		"unknown token":    {token: "another-token", code: exitPartial, says: "rejected the token (401): it has expired, was cut", mend: "get a new token"},
		"expired":          {token: jwt(-time.Hour), code: exitPartial, says: "(401): it has expired", mend: "--token-file"},
		"expired, unasked": {token: jwt(-time.Hour), open: true, code: exitPartial, says: "the token expired on", mend: "get a new one"},
		"expires soon":     {token: jwt(9*24*time.Hour + time.Hour), open: true, says: "WARNING   api: the token expires on", mend: "in 9 days"},
		"expires late":     {token: jwt(90 * 24 * time.Hour), open: true, says: "the token expires on", mend: "all is well"},
		"wrong namespace":  {namespace: strings.Repeat("a", 64), code: exitPartial, says: "(403): wrong [api] namespace", mend: "compare [api] namespace"},
		"no right":         {open: true, fault: apitest.Fault{Status: 403}, code: exitPartial, says: "(403)", mend: "ask the Noggin administrator"},
		"fault":            {open: true, fault: apitest.Fault{Status: 503}, code: exitPartial, says: "fault of its own: answered 503", mend: "wait"},
		"too often":        {open: true, fault: apitest.Fault{Status: 429}, code: exitPartial, says: "asked too often", mend: "max_requests_per_second"},
		"no answer":        {open: true, fault: apitest.Fault{Kind: "hang"}, code: exitPartial, says: "did not answer in time", mend: "firewall"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := apitest.Start(t, apitest.Options{Records: 1, OpenAccess: test.open})
			if test.fault.Kind != "" || test.fault.Status != 0 {
				test.fault.On = apitest.OnRecord
				server.AddFault(test.fault)
			}
			if test.namespace == "" {
				test.namespace = server.Namespace()
			}
			if test.token == "" {
				test.token = server.Token()
			}
			code, out := validateAPI(t, server.URL(), test.namespace, test.token)
			if plain := strings.Join(strings.Fields(out), " "); code != test.code || !strings.Contains(plain, strings.Join(strings.Fields(test.says), " ")) || !strings.Contains(plain, test.mend) {
				t.Errorf("exit code %d, want %d with %q and %q:\n%s", code, test.code, test.says, test.mend, out)
			}
		})
	}
}

func TestValidateAPITellsThatSomethingElseAnswers(t *testing.T) {
	t.Parallel()
	for says, handler := range map[string]http.HandlerFunc{
		"a web page answered": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<!DOCTYPE html><html>Sorry</html>"))
		},
		"sends us elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
	} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		if code, out := validateAPI(t, server.URL, strings.Repeat("0", 64), "some-token"); code != exitPartial || !strings.Contains(out, says) {
			t.Errorf("exit code %d, want %d with %q:\n%s", code, exitPartial, says, out)
		}
	}
}

func TestValidateAPITellsNetworkFromCertificate(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewTLSServer(nil)
	t.Cleanup(untrusted.Close)
	namespace := strings.Repeat("0", 64)
	if code, out := validateAPI(t, untrusted.URL, namespace, "some-token"); code != exitPartial || !strings.Contains(out, "certificate is not trusted") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if code, out := validateAPI(t, gone.URL, namespace, "some-token"); code != exitPartial || !strings.Contains(out, "cannot be reached") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestANewTokenIsTestedBeforeItIsPutInPlace(t *testing.T) {
	t.Parallel()
	server := apitest.Start(t, apitest.Options{Records: 1})
	file := filepath.Join(t.TempDir(), "new-token")
	for _, test := range []struct {
		content string
		mode    os.FileMode
		code    int
		says    string
	}{
		{"Bearer " + server.Token() + "\n", 0o600, exitDone, "works: put it in place"},
		{"wrong-token-entirely", 0o600, exitPartial, "rejected the token (401)"},
		{"cut-in\ntwo-lines", 0o600, exitPartial, "line break inside"},
		{server.Token(), 0o644, exitPartial, "chmod o-rwx"},
	} {
		if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, test.mode); err != nil {
			t.Fatal(err)
		}
		code, out := validateAPI(t, server.URL(), server.Namespace(), "old-expired-token", "--token-file", file)
		if code != test.code || !strings.Contains(out, test.says) {
			t.Errorf("exit code %d, want %d with %q:\n%s", code, test.code, test.says, out)
		}
	}
}

func TestTokenTimesReadsAnything(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "..", "a.b.c", "a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":"soon"}`)) + ".c", "a." + base64.RawURLEncoding.EncodeToString([]byte(`[1]`)) + ".c"} {
		if _, _, ok := tokenTimes(token); ok {
			t.Errorf("%q is taken for a JWT", token)
		}
	}
	expires, _, ok := tokenTimes("a." + base64.URLEncoding.EncodeToString([]byte(`{"exp":1795500000.5,"a":1}`)) + ".c")
	if !ok || expires.Unix() != 1795500000 {
		t.Errorf("%v, %v", expires, ok)
	}
	if expires, _, ok := tokenTimes("a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1e300}`)) + ".c"); !ok || !expires.IsZero() {
		t.Errorf("%v, %v", expires, ok)
	}
}

func TestTheShareOfTheDayMovesOn(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	day := time.Date(2026, 2, 26, 23, 30, 0, 0, time.UTC)
	for i := range 12 {
		part, parts, err := parsePart("day/12", day.AddDate(0, 0, i))
		if err != nil || parts != 12 || part < 1 || part > 12 {
			t.Fatalf("%d/%d, %v", part, parts, err)
		}
		seen[part] = true
	}
	if len(seen) != 12 {
		t.Errorf("twelve days covered %d of 12 shares", len(seen))
	}
	for _, given := range []string{"", "3", "0/3", "4/3", "x/3", "1/0", "day/x", "1/2/3", "-1/3"} {
		if _, _, err := parsePart(given, day); err == nil {
			t.Errorf("%q was accepted", given)
		}
	}
}
