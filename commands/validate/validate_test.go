package validate

import (
	"io/fs"
	"strings"
	"testing"

	"noggin/commands/cmdline"
)

func TestAConfigurationThatThisUserMayNotReadIsForAnother(t *testing.T) {
	t.Parallel()
	v := validation{hide: func(text []byte) []byte { return text }}
	v.invalidConfig(cmdline.Usagef("read the configuration: this user may not read it: %w", fs.ErrPermission))
	if f := v.result.Findings; len(f) != 1 || !strings.Contains(f[0].Remedy, "`sudo -u noggin ") {
		t.Errorf("findings %+v", f)
	}
}
