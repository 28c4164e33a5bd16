package commands

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

var allSelectorFlags = []string{"tip", "object-type", "status", "since", "permanent", "error-type", "unknown-hashes"}

// parseSelector runs a command that has all of the selector's flags.
func parseSelector(t *testing.T, line string) (storage.Selector, error) {
	t.Helper()
	forms, err := batch.DefaultConfig().Forms()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2025, 10, 22, 12, 0, 0, 0, time.FixedZone("AWST", 8*3600))
	var got storage.Selector
	var selectErr error
	app := &cli.App{
		Flags: selectorFlags(allSelectorFlags...),
		Action: func(c *cli.Context) error {
			got, selectErr = selector(c, forms, now, parseTip)
			return nil
		},
	}
	if err := app.Run(append([]string{"noggin"}, strings.Split(line, "|")...)); err != nil {
		t.Fatal(err)
	}
	return got, selectErr
}

func TestTheSelectorReadsItsFlags(t *testing.T) {
	zone := time.FixedZone("AWST", 8*3600)
	upper := strings.Repeat("AB", 32)
	for line, want := range map[string]storage.Selector{
		"":                                   {},
		"--tip=" + upper + "|--tip=x-1":      {Tips: []string{strings.ToLower(upper), "x-1"}},
		"--object-type=lcs":                  {ObjectType: "LCS"},
		"--status=failed,partial":            {Statuses: []string{"failed", "partial"}},
		"--permanent|--error-type=not_found": {Permanent: true, ErrorType: "not_found"},
		"--unknown-hashes":                   {UnknownHashes: true},
		"--since=2025-10-01":                 {Since: time.Date(2025, 10, 1, 0, 0, 0, 0, zone)},
		"--since=2025-10-01 14:30":           {Since: time.Date(2025, 10, 1, 14, 30, 0, 0, zone)},
		"--since=7d":                         {Since: time.Date(2025, 10, 15, 12, 0, 0, 0, zone)},
		"--since=36h":                        {Since: time.Date(2025, 10, 21, 0, 0, 0, 0, zone)},
	} {
		got, err := parseSelector(t, line)
		if err != nil || !got.Since.Equal(want.Since) {
			t.Errorf("%s: got %+v, %v", line, got, err)
		}
		got.Since, want.Since = time.Time{}, time.Time{}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", line, got, want)
		}
	}
}

func TestTheSelectorSaysWhatIsAllowed(t *testing.T) {
	for line, want := range map[string]string{
		"--status=faild":      `--status "faild": allowed are pending, api_success, complete, partial, failed, api_failed, interrupted, skipped`,
		"--object-type=XYZ":   `--object-type "XYZ": allowed are LCD, LCS, CCC, TA, SO, FPI`,
		"--tip=../../etc":     `--tip "../../etc": no record is known by that, and a tip is 1 to 64 letters, digits, - or _`,
		"--since=yesterday":   `--since "yesterday": want 2025-10-22, "2025-10-22 14:00", or how long ago, such as 36h or 7d`,
		"--since=-3d":         `--since "-3d": want`,
		"--since=-3h":         `--since "-3h": want`,
		"--since=9999999999d": `--since "9999999999d": want`,
	} {
		_, err := parseSelector(t, line)
		if err == nil || !strings.HasPrefix(err.Error(), want) || exitCode(t.Context(), err) != exitUsage {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}

func TestACommandTakesOnlyTheSelectorFlagsItAsksFor(t *testing.T) {
	if flags := selectorFlags("tip", "status"); len(flags) != 2 || flags[0].Names()[0] != "tip" || flags[1].Names()[0] != "status" {
		t.Errorf("got %v", flags)
	}
}
