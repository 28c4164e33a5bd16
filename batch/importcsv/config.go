package importcsv

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config is the section [import].
type Config struct {
	// Settle is how long a file of the input folder must stay unchanged before it is
	// read.
	Settle time.Duration `toml:"settle"`
	// DefaultObjectType is the code of the form of a file that does not tell its form.
	DefaultObjectType string `toml:"default_object_type"`
	// AnyTip takes 1 to 64 letters, digits, "-" and "_" for a tip, not only 64
	// hexadecimal digits.
	AnyTip bool `toml:"any_tip"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Settle: time.Minute, DefaultObjectType: "LCD"} }

// Validate reports a wrong value.
func (c Config) Validate() error {
	if c.Settle < 0 || c.Settle > 24*time.Hour {
		return fmt.Errorf("[import] settle = %s: want 0s to 24h0m0s", c.Settle)
	}
	return nil
}

// ValidateForm reports a default form that is not one of the codes.
func (c Config) ValidateForm(codes []string) error {
	if !slices.Contains(codes, c.DefaultObjectType) {
		return fmt.Errorf("[import] default_object_type = %q: want one of %s", c.DefaultObjectType, strings.Join(codes, ", "))
	}
	return nil
}
