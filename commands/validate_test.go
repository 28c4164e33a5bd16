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
	"noggin/commands/cmdline"
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
		"unknown token":    {token: "another-token", code: cmdline.ExitPartial, says: "rejected the token (401): it has expired, was cut", mend: "get a new token"},
		"expired":          {token: jwt(-time.Hour), code: cmdline.ExitPartial, says: "(401): it has expired", mend: "--token-file"},
		"expired, unasked": {token: jwt(-time.Hour), open: true, code: cmdline.ExitPartial, says: "the token expired on", mend: "get a new one"},
		"expires soon":     {token: jwt(9*24*time.Hour + time.Hour), open: true, says: "WARNING   api: the token expires on", mend: "in 9 days"},
		"expires late":     {token: jwt(90 * 24 * time.Hour), open: true, says: "the token expires on", mend: "all is well"},
		"wrong namespace":  {namespace: strings.Repeat("a", 64), code: cmdline.ExitPartial, says: "(403): wrong [api] namespace", mend: "compare [api] namespace"},
		"no right":         {open: true, fault: apitest.Fault{Status: 403}, code: cmdline.ExitPartial, says: "(403)", mend: "ask the Noggin administrator"},
		"fault":            {open: true, fault: apitest.Fault{Status: 503}, code: cmdline.ExitPartial, says: "fault of its own: answered 503", mend: "wait"},
		"too often":        {open: true, fault: apitest.Fault{Status: 429}, code: cmdline.ExitPartial, says: "asked too often", mend: "max_requests_per_second"},
		"no answer":        {open: true, fault: apitest.Fault{Kind: "hang"}, code: cmdline.ExitPartial, says: "did not answer in time", mend: "firewall"},
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
		if code, out := validateAPI(t, server.URL, strings.Repeat("0", 64), "some-token"); code != cmdline.ExitPartial || !strings.Contains(out, says) {
			t.Errorf("exit code %d, want %d with %q:\n%s", code, cmdline.ExitPartial, says, out)
		}
	}
}

func TestValidateAPITellsNetworkFromCertificate(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewTLSServer(nil)
	t.Cleanup(untrusted.Close)
	namespace := strings.Repeat("0", 64)
	if code, out := validateAPI(t, untrusted.URL, namespace, "some-token"); code != cmdline.ExitPartial || !strings.Contains(out, "certificate is not trusted") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if code, out := validateAPI(t, gone.URL, namespace, "some-token"); code != cmdline.ExitPartial || !strings.Contains(out, "cannot be reached") {
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
		{"Bearer " + server.Token() + "\n", 0o600, cmdline.ExitDone, "works: put it in place"},
		{"wrong-token-entirely", 0o600, cmdline.ExitPartial, "rejected the token (401)"},
		{"cut-in\ntwo-lines", 0o600, cmdline.ExitPartial, "line break inside"},
		{server.Token(), 0o644, cmdline.ExitPartial, "chmod o-rwx"},
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
