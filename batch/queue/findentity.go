package queue

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"noggin/storage"
)

// shortestHash is how many digits of a hash name an entity.
const shortestHash = 8

// longestName is how long a name is at most that is looked for, in bytes. PostgreSQL
// compares a text of 10,000 with thousands of names for seconds.
const longestName = 1000

// mostEntities is how many entities are looked at: a text that fits more is ambiguous.
const mostEntities = 500

// FindEntities returns the entities of a type, such as trailer, that text may mean: those
// with just this name; else the one with this hash, or with a hash that begins so; else
// those whose name contains the text. All of several hashes with one name are meant.
func FindEntities(ctx context.Context, db *storage.DB, entityType, text string) ([]storage.Entity, error) {
	text = strings.Join(strings.Fields(text), " ")
	if !mayBeName(text) {
		return nil, nil
	}
	named, err := db.NamedEntities(ctx, entityType, text, mostEntities)
	if err != nil {
		return nil, err
	}
	whole := slices.DeleteFunc(slices.Clone(named), func(e storage.Entity) bool { return !strings.EqualFold(e.Name, text) })
	if len(whole) > 0 {
		return whole, nil
	}
	if hash := strings.ToLower(text); len(hash) >= shortestHash && strings.Trim(hash, "0123456789abcdef") == "" {
		if byHash, err := db.EntitiesByHash(ctx, entityType, hash, mostEntities); err != nil || len(byHash) > 0 {
			return byHash, err
		}
	}
	return named, nil
}

// mayBeName tells whether a text may be a name: none is empty, and the database refuses
// what is no text.
func mayBeName(text string) bool {
	return text != "" && len(text) <= longestName && utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}

// OneEntity tells whether all entities have one name, in any case, or are one hash.
func OneEntity(found []storage.Entity) bool {
	for i := range found {
		if i > 0 && (found[i].Name == "" || !strings.EqualFold(found[i].Name, found[0].Name)) {
			return false
		}
	}
	return len(found) > 0
}

// NearEntities returns what somebody may have meant by a text that names no entity of the
// type: other types that have such a name, and names of the type that begin or end alike.
func NearEntities(ctx context.Context, db *storage.DB, entityType, text string) (types, names []string, err error) {
	text = strings.Join(strings.Fields(text), " ")
	if !mayBeName(text) {
		return nil, nil, nil
	}
	if types, err = db.TypesWithName(ctx, text, entityType); err != nil {
		return nil, nil, err
	}
	names, err = db.NamesAlike(ctx, entityType, text, mostEntities)
	return types, names, err
}
