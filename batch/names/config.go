package names

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Config is the section [hashes]. It maps the kind that a row of the platform's
// exports gives to an entity type. A key is a kind, or a pattern in which * stands
// for any text; case does not matter. A kind goes before a pattern, and a longer
// pattern before a shorter one. The empty type leaves such rows out.
type Config struct {
	Assets map[string]string `toml:"assets"` // by the column assetType
	Sites  map[string]string `toml:"sites"`  // by the column siteType
	// Fetch has every run of process ask the API for the names of unknown hashes.
	Fetch bool `toml:"fetch"`
	// NameFields are the fields of an object that may hold its name; the first that is
	// not empty counts. Several joined with + make one name.
	NameFields []string `toml:"name_fields"`
}

// DefaultConfig returns the defaults, for the platform's own kinds.
func DefaultConfig() Config {
	return Config{
		Assets: map[string]string{"*TRAILER*": "trailer", "*DOLLY*": "trailer", "*DROPDECK*": "trailer", "*SKEL*": "trailer", "*": "vehicle"},
		Sites:  map[string]string{"TEAM": "team", "DEPARTMENT": "department", "*": "team"},

		NameFields: []string{"assetName", "siteName", "name", "title", "firstName + lastName"},
	}
}

// Validate reports, joined, every type that is not one of entityTypes.
func (h Config) Validate(entityTypes []string) error {
	var errs []error
	check := func(key string, kinds map[string]string) {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			if t := kinds[kind]; t != "" && !slices.Contains(entityTypes, t) {
				errs = append(errs, fmt.Errorf(`[hashes] %s: %q = %q: want one of %s, or "" to leave such rows out`,
					key, kind, t, strings.Join(entityTypes, ", ")))
			}
		}
	}
	check("assets", h.Assets)
	check("sites", h.Sites)
	return errors.Join(append(errs, validateNameFields(h.NameFields))...)
}
