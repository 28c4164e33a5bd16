package api

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnAuthorityOfItsOwnIsTrustedOnlyIfItIsNamed(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the client that does not trust it
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.BaseURL, cfg.Namespace, cfg.BearerToken = server.URL, strings.Repeat("a", 64), "token"
	client, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := client.Probe(t.Context(), "loadComplianceCheckDriverLoader"); err == nil {
		t.Errorf("a stranger answered: %d", status)
	}
	cfg.CAFile = file
	if client, err = New(cfg, nil); err != nil {
		t.Fatal(err)
	}
	if status, err := client.Probe(t.Context(), "loadComplianceCheckDriverLoader"); err != nil || status != http.StatusNotFound {
		t.Errorf("with its authority: %d, %v", status, err)
	}
	for _, wrong := range []string{filepath.Join(dir, "missing.pem"), dir, "/dev/null"} {
		cfg.CAFile = wrong
		if _, err := New(cfg, nil); err == nil || !strings.Contains(err.Error(), "[api] ca_file") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

func TestTheTokenGoesInTheClearOnlyToThisHost(t *testing.T) {
	t.Parallel()
	for address, local := range map[string]bool{
		"http://127.0.0.1:1/": true, "http://127.9.9.9/": true, "http://localhost/": true, "http://LOCALHOST:80/": true, "http://[::1]:80/": true,
		"http://api.example.com/": false, "HTTP://api.example.com/": false, "http://localhost.example.com/": false, "http://10.0.0.1/": false,
		"http://0.0.0.0/": false, "http://127.0.0.1.example.com/": false, "http://[::ffff:10.0.0.1]/": false, "http://2130706433/": false, "https://api.example.com/": true,
	} {
		for _, media := range []bool{false, true} {
			cfg := DefaultConfig()
			cfg.BaseURL = "https://api.example.com"
			key := "base_url"
			if media {
				key, cfg.MediaServiceURL = "media_service_url", address
			} else {
				cfg.BaseURL = address
			}
			if err := cfg.Validate(); (err == nil) != local || err != nil && (!strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "insecure_http")) {
				t.Errorf("%s as %s: %v", address, key, err)
			}
			cfg.InsecureHTTP = true
			if err := cfg.Validate(); err != nil {
				t.Errorf("%s, insisted: %v", address, err)
			}
		}
	}
}
