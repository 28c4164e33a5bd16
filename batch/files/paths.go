package files

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Paths is the section [paths].
type Paths struct {
	Input     string `toml:"input"`
	Processed string `toml:"processed"` // empty: {input}/processed
	Error     string `toml:"error"`     // empty: {input}/error
	Output    string `toml:"output"`
	Archive   string `toml:"archive"`
	Backups   string `toml:"backups"`
	Reports   string `toml:"reports"`
	// Checkpoints is where `noggin seal` puts leaves and checkpoints; empty: the folder
	// checkpoints beside Reports.
	Checkpoints string `toml:"checkpoints"`
	// Reserve is how many bytes of the output folder's volume downloads leave free; 0:
	// the lesser of 2 GB and 2 % of it.
	Reserve int64 `toml:"reserve"`
}

// Resolved fills in the empty paths, which follow from another path.
func (p Paths) Resolved() Paths {
	if p.Processed == "" {
		p.Processed = filepath.Join(p.Input, "processed")
	}
	if p.Error == "" {
		p.Error = filepath.Join(p.Input, "error")
	}
	if p.Checkpoints == "" {
		p.Checkpoints = filepath.Join(filepath.Dir(p.Reports), "checkpoints")
	}
	for _, path := range []*string{&p.Input, &p.Processed, &p.Error, &p.Output, &p.Archive, &p.Backups, &p.Reports, &p.Checkpoints} {
		if *path != "" {
			*path = filepath.Clean(*path) // runs compare them
		}
	}
	return p
}

// DefaultPaths returns the defaults.
func DefaultPaths() Paths {
	return Paths{
		Input:   "/mnt/data/noggin/input",
		Output:  "/mnt/data/noggin/output",
		Archive: "/mnt/data/noggin/archive",
		Backups: "/mnt/data/noggin/backups/database",
		Reports: "/mnt/data/noggin/reports",
	}
}

// Place is a folder of the section [paths].
type Place struct{ Key, Path string }

// Places returns the folders, each with its key.
func (p Paths) Places() []Place {
	return []Place{
		{"input", p.Input},
		{"processed", p.Processed},
		{"error", p.Error},
		{"output", p.Output},
		{"archive", p.Archive},
		{"backups", p.Backups},
		{"reports", p.Reports},
		{"checkpoints", p.Checkpoints},
	}
}

// Validate reports every wrong value, joined. Paths must be absolute: a timer has
// another working directory than a shell.
func (p Paths) Validate() error {
	var errs []error
	if p.Reserve < 0 {
		errs = append(errs, fmt.Errorf("[paths] reserve = %d: want 0 or more bytes", p.Reserve))
	}
	p = p.Resolved()
	for _, at := range p.Places() {
		if !filepath.IsAbs(at.Path) {
			errs = append(errs, fmt.Errorf("[paths] %s = %q: want an absolute path", at.Key, at.Path))
		}
		if (at.Key == "processed" || at.Key == "error") && filepath.Clean(at.Path) == filepath.Clean(p.Input) {
			errs = append(errs, fmt.Errorf("[paths] %s = %q: want another folder than input, or its files are imported again", at.Key, at.Path))
		}
	}
	return errors.Join(errs...)
}

// ShellQuoted quotes any text as one word of a shell command.
func ShellQuoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@,+=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
