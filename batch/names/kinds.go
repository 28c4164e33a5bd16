package names

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// kindTypes finds the entity type of the kind that a row gives.
type kindTypes struct {
	patterns []string // in lower case, in the order in which they are tried
	types    map[string]string
}

// kindTypes returns the entity types of the kinds in a file of that layout. In
// noggin's own exports a kind is the type itself.
func (h Config) kindTypes(layout string, entityTypes []string) kindTypes {
	given := map[string]string{}
	switch layout {
	case layoutAssets:
		given = h.Assets
	case layoutSites:
		given = h.Sites
	case layoutNames:
		for _, t := range entityTypes {
			given[t] = t
		}
	}
	k := kindTypes{types: make(map[string]string, len(given))}
	for _, kind := range slices.Sorted(maps.Keys(given)) { // sorted: of two spellings, the same one always counts
		k.types[plainKind(kind)] = given[kind]
	}
	k.patterns = slices.SortedFunc(maps.Keys(k.types), func(a, b string) int {
		return cmp.Or(cmp.Compare(min(strings.Count(a, "*"), 1), min(strings.Count(b, "*"), 1)),
			cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	return k
}

// typeOf returns the entity type of a kind. It is empty for a kind that no pattern
// fits, and for one that is left out.
func (k kindTypes) typeOf(kind string) string {
	kind = plainKind(kind)
	for _, pattern := range k.patterns {
		if fitsPattern(kind, pattern) {
			return k.types[pattern]
		}
	}
	return ""
}

func plainKind(kind string) string { return strings.ToLower(strings.TrimSpace(kind)) }

// fitsPattern tells whether text fits a pattern in which * stands for any text.
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
