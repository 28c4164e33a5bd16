package batch

import (
	"errors"
	"fmt"
	"time"

	"noggin/batch/archive"
	"noggin/batch/copies"
	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/gate"
	"noggin/batch/importcsv"
	"noggin/batch/maintain"
	"noggin/batch/names"
	"noggin/batch/process"
	"noggin/batch/seal"
	"noggin/batch/sources"
)

// Config holds the settings of every room. The tags are the keys of the configuration
// file.
type Config struct {
	// Timezone is the IANA name of the site's zone, which decides what "today" is. Empty
	// means the zone of the host.
	Timezone   string `toml:"timezone"`
	Processing process.Config
	Retry      process.Retry
	Circuit    gate.Circuit
	Refresh    process.Refresh
	Import     importcsv.Config
	Sources    sources.Config
	Hashes     names.Config
	Archive    archive.Config
	Copy       copies.Config
	Paths      files.Paths
	Maintain   maintain.Config
	Seal       seal.Config
	// ObjectTypes adds forms to the built-in ones, or changes them.
	ObjectTypes []forms.ObjectType `toml:"object_type"`
}

// DefaultConfig returns the defaults. Where the operations manual names a default, it is
// that one.
func DefaultConfig() Config {
	return Config{
		Processing: process.DefaultConfig(),
		Retry:      process.DefaultRetry(),
		Circuit:    gate.DefaultCircuit(),
		Refresh:    process.DefaultRefresh(),
		Import:     importcsv.DefaultConfig(),
		Hashes:     names.DefaultConfig(),
		Copy:       copies.DefaultConfig(),
		Maintain:   maintain.DefaultConfig(),
		Seal:       seal.DefaultConfig(),
		Paths:      files.DefaultPaths(),
	}
}

// Location returns the site's time zone.
func (c Config) Location() (*time.Location, error) {
	if c.Timezone == "" {
		return time.Local, nil
	}
	return time.LoadLocation(c.Timezone)
}

// Validate reports every wrong value, joined. Each error names the key, the value and what
// is allowed.
func (c Config) Validate() error {
	var zone error
	if _, err := c.Location(); err != nil {
		zone = fmt.Errorf("timezone = %q: want an IANA name such as Australia/Perth", c.Timezone)
	}
	forms, err := c.Forms()
	if err == nil {
		err = errors.Join(c.Hashes.Validate(forms.EntityTypes()), c.Import.ValidateForm(forms.Codes()),
			c.Sources.Validate(forms.EntityTypes()))
	}
	return errors.Join(zone, c.Processing.Validate(), c.Retry.Validate(), c.Circuit.Validate(), c.Refresh.Validate(), c.Import.Validate(),
		c.Paths.Validate(), c.Maintain.Validate(), c.Seal.Validate(), c.Copy.Validate(), err)
}

// Forms returns the built-in forms with the additions and changes of the configuration.
func (c Config) Forms() (*forms.ObjectTypes, error) {
	return forms.New(c.ObjectTypes)
}
