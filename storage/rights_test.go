package storage

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// A new table is one of these, or a run needs rights on it, of which it has to make sure
// before it fetches anything.
func TestARunKnowsItsRightsOnEveryTable(t *testing.T) {
	t.Parallel()
	untouched := strings.Fields(`entity_hash_history samples backups fetched_exports
		maintenance_lock validate_lock fetch_lock seal_lock verify_lock
		seal_logs seal_leaves seal_tiles seal_checkpoints forgotten_archives`)
	schema, err := os.ReadFile("../schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, table := range untouched {
		known[table] = true
	}
	for _, m := range regexp.MustCompile(`\('(\w+)', '`).FindAllStringSubmatch(runRights, -1) {
		known[m[1]] = true
	}
	tables := regexp.MustCompile(`(?m)^CREATE TABLE IF NOT EXISTS noggin_schema\.(\w+)`).FindAllStringSubmatch(string(schema), -1)
	if len(tables) < 30 {
		t.Fatalf("only %d tables were found", len(tables))
	}
	for _, m := range tables {
		if !known[m[1]] {
			t.Errorf("%s: does a run read or write it? Then runRights lacks it, else this test's list", m[1])
		}
	}
}
