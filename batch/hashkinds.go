package batch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Hashes is the section [hashes]: of which entity type the names in the platform's
// own exports are, by the kind that each row gives. A key is a kind, or a pattern in
// which * stands for any text; case does not matter. A kind goes before a pattern,
// and a longer pattern before a shorter one. The empty type leaves such rows out.
type Hashes struct {
	// Assets goes by the column assetType.
	Assets map[string]string `toml:"assets"`
	// Sites goes by the column siteType.
	Sites map[string]string `toml:"sites"`
}

func defaultHashes() Hashes {
	return Hashes{
		Assets: map[string]string{"*TRAILER*": "trailer", "*DOLLY*": "trailer", "*": "vehicle"},
		Sites:  map[string]string{"TEAM": "team", "DEPARTMENT": "department", "*": ""},
	}
}

// validate wants every type to be one that records refer to.
func (h Hashes) validate(entityTypes []string) []error {
	var errs []error
	check := func(key string, kinds map[string]string) {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			if t := kinds[kind]; t != "" && !slices.Contains(entityTypes, t) {
				errs = append(errs, fmt.Errorf(`[hashes] %s: %q = %q: want one of %s, or "" to leave these out`,
					key, kind, t, strings.Join(entityTypes, ", ")))
			}
		}
	}
	check("assets", h.Assets)
	check("sites", h.Sites)
	return errs
}

// kindTypes finds the entity type for the kind that a row of a file gives.
type kindTypes struct {
	patterns []string // in lower case, in the order in which they count
	types    map[string]string
}

// kindTypes returns what the kinds in a file of the layout stand for. In noggin's
// own exports they are the types themselves.
func (h Hashes) kindTypes(layout string, entityTypes []string) kindTypes {
	given := map[string]string{}
	switch layout {
	case LayoutAssets:
		given = h.Assets
	case LayoutSites:
		given = h.Sites
	case LayoutNames:
		for _, t := range entityTypes {
			given[t] = t
		}
	}
	k := kindTypes{types: make(map[string]string, len(given))}
	for _, kind := range slices.Sorted(maps.Keys(given)) { // of two spellings always the same counts
		k.types[plainKind(kind)] = given[kind]
	}
	k.patterns = slices.SortedFunc(maps.Keys(k.types), func(a, b string) int {
		return cmp.Or(cmp.Compare(min(strings.Count(a, "*"), 1), min(strings.Count(b, "*"), 1)),
			cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	return k
}

// typeOf returns the entity type of a kind; known is false for a kind that nothing
// fits, and the type is empty for one that is to be left out.
func (k kindTypes) typeOf(kind string) (entityType string, known bool) {
	kind = plainKind(kind)
	for _, pattern := range k.patterns {
		if fitsPattern(kind, pattern) {
			return k.types[pattern], true
		}
	}
	return "", false
}

func plainKind(kind string) string { return strings.ToLower(strings.TrimSpace(kind)) }

// fitsPattern reports whether text is the pattern, with any text for each *.
func fitsPattern(text, pattern string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return text == pattern
	}
	text, ok := strings.CutPrefix(text, first)
	for ok {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(text, part)
		}
		at := strings.Index(text, part)
		if ok = at >= 0; ok {
			text, rest = text[at+len(part):], more
		}
	}
	return false
}
