package files

import (
	"os"
	"slices"
	"strings"
)

// inherited are the variables that every program which noggin runs gets from noggin's
// own environment. A star stands for any end.
var inherited = []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "KRB5*"}

// Environment returns what a program that noggin runs gets of noggin's environment: the
// usual variables and those that more names. So no program gets a token or a password
// that it was not meant to have.
func Environment(more ...string) []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.ContainsFunc(slices.Concat(inherited, more), func(n string) bool {
			begin, star := strings.CutSuffix(n, "*")
			return name == n || star && strings.HasPrefix(name, begin)
		})
	})
}
