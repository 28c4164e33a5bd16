package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryLinkedModuleIsListedWithItsLicence(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "noggin")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "urfave_cli_no_docs", "-trimpath", "-o", program, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build` builds it
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 5 {
		t.Errorf("noggin is linked of %d modules", len(info.Deps))
	}
	dir := t.TempDir()
	if err := write(program, dir, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "sbom.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Format     string      `json:"bomFormat"`
		Components []component `json:"components"`
	}
	if err := json.Unmarshal(text, &bill); err != nil || bill.Format != "CycloneDX" || len(bill.Components) != len(info.Deps)+1 {
		t.Errorf("%s: %v", text, err)
	}
	notices, err := os.ReadFile(filepath.Join(dir, "third-party-notices.txt"))
	if err != nil || !strings.Contains(string(notices), "The Go Authors") {
		t.Errorf("%s: %v", notices, err)
	}
	for _, module := range info.Deps {
		if !strings.Contains(string(notices), module.Path+" "+module.Version) {
			t.Errorf("%s is missing", module.Path)
		}
	}
	if _, err := licencesIn(dir); err == nil {
		t.Error("a module without a licence is accepted")
	}
}
