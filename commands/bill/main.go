// Command bill writes what a package says about the modules that were linked into
// noggin: third-party-notices.txt with their licences, and sbom.cdx.json, a bill of
// materials in CycloneDX's form. Both say what the built program itself says, so nothing
// is missing and nothing is listed that is not in it.
package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	program := flag.String("program", "", "the built noggin")
	output := flag.String("output", "", "the folder to write into")
	version := flag.String("version", "", "the version of noggin")
	flag.Parse()
	if err := write(*program, *output, *version); err != nil {
		fmt.Fprintln(os.Stderr, "bill:", err)
		os.Exit(1)
	}
}

// component is a part of the program, as CycloneDX calls it.
type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	URL     string `json:"purl"`

	licences string
}

func write(program, output, version string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the modules of %s: %w", program, err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("find Go's own licence: %w", err)
	}
	text, err := licencesIn(strings.TrimSpace(string(root)))
	if err != nil {
		return err
	}
	parts := []component{{Type: "library", Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"), URL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"), licences: text}}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module.Path).Output()
		if err != nil {
			return fmt.Errorf("find module %s: %w", module.Path, err)
		}
		part := component{Type: "library", Name: module.Path, Version: module.Version, URL: "pkg:golang/" + module.Path + "@" + module.Version}
		if part.licences, err = licencesIn(strings.TrimSpace(string(folder))); err != nil {
			return fmt.Errorf("module %s: %w", module.Path, err)
		}
		parts = append(parts, part)
	}
	slices.SortFunc(parts, func(a, b component) int { return strings.Compare(a.Name, b.Name) })
	bill, err := json.MarshalIndent(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":   map[string]any{"component": component{Type: "application", Name: "noggin", Version: version, URL: "pkg:generic/noggin@" + version}},
		"components": parts,
	}, "", "  ")
	if err != nil {
		return err
	}
	var notices bytes.Buffer
	notices.WriteString("noggin contains these modules of others, under their licences.\n")
	for _, part := range parts {
		fmt.Fprintf(&notices, "\n%s\n%s %s\n\n%s", strings.Repeat("=", 72), part.Name, part.Version, part.licences)
	}
	return errors.Join(
		os.MkdirAll(output, 0o755),
		os.WriteFile(filepath.Join(output, "sbom.cdx.json"), append(bill, '\n'), 0o644),
		os.WriteFile(filepath.Join(output, "third-party-notices.txt"), notices.Bytes(), 0o644))
}

var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)`)

// licencesIn returns the texts of the licences at the top of a module.
func licencesIn(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !licenceName.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&all, "%s\n", bytes.TrimSpace(text))
	}
	if all.Len() == 0 {
		return "", fmt.Errorf("there is no licence in %s", folder)
	}
	return all.String(), nil
}
