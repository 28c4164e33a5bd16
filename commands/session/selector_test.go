package session

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/commands/cmdline"
	"noggin/storage"
)

var allSelectorFlags = append([]string{"tip", "object-type", "status", "since", "permanent", "error-type", "unknown-hashes"}, InspectionFlags()...)

// parseSelector runs a command that has all of the selector's flags.
func parseSelector(t *testing.T, line string) (storage.Selector, error) {
	t.Helper()
	forms, err := batch.DefaultConfig().Forms()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2025, 10, 22, 12, 0, 0, 0, time.FixedZone("AWST", 8*3600))
	var got storage.Selector
	app := &cli.App{
		Flags: SelectorFlags(allSelectorFlags...),
		Action: func(c *cli.Context) (err error) {
			got, err = selector(c, forms, now, newTip)
			return err
		},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err = app.Run(append([]string{"noggin"}, strings.Split(line, "|")...))
	return got, err
}

func TestTheSelectorReadsItsFlags(t *testing.T) {
	zone := time.FixedZone("AWST", 8*3600)
	upper := strings.Repeat("AB", 32)
	for line, want := range map[string]storage.Selector{
		"":                                     {},
		"--tip=" + upper:                       {Tips: []string{strings.ToLower(upper)}},
		"--object-type=lcs":                    {ObjectType: "LCS"},
		"--status=failed,partial":              {Statuses: []storage.Status{storage.StatusFailed, storage.StatusPartial}},
		"--permanent|--error-type=not_found":   {Permanent: true, ErrorType: "not_found"},
		"--unknown-hashes":                     {UnknownHashes: true},
		"--since=2025-10-01":                   {Since: time.Date(2025, 10, 1, 0, 0, 0, 0, zone)},
		"--since=2025-10-01 14:30":             {Since: time.Date(2025, 10, 1, 14, 30, 0, 0, zone)},
		"--since=7d":                           {Since: time.Date(2025, 10, 15, 12, 0, 0, 0, zone)},
		"--since=36h":                          {Since: time.Date(2025, 10, 21, 0, 0, 0, 0, zone)},
		"--from=2025-03-01":                    {From: "2025-03-01"},
		"--from=2025-03-01|--until=2025-03-01": {From: "2025-03-01", Until: "2025-03-01"},
		"--compliance=not-compliant":           {Compliance: "Not compliant"},
		"--compliance=COMPLIANT":               {Compliance: "Compliant"},
		"--compliance=contradictory":           {Compliance: "Contradictory"},
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
		"--status=faild":                       `--status "faild": allowed are pending, api_success, complete, partial, failed, api_failed, interrupted, skipped`,
		"--object-type=XYZ":                    `--object-type "XYZ": allowed are LCD, LCS, CCC, TA, SO, FPI`,
		"--tip=../../etc":                      `--tip "../../etc": no record is known by that, and a new tip has 64 hexadecimal digits`,
		"--tip=abcd1234":                       `--tip "abcd1234": no record is known by that`,
		"--since=tomorrow":                     `--since "tomorrow": want 2025-10-22, "2025-10-22 14:00", today, yesterday, or how long ago, such as 36h, 7d or 2w`,
		"--since=-3d":                          `--since "-3d": want`,
		"--since=-3h":                          `--since "-3h": want`,
		"--since=9999999999d":                  `--since "9999999999d": want`,
		"--from=17/09/2025":                    `--from "17/09/2025": want 2025-10-22, `,
		"--until=2025-02-30":                   `--until "2025-02-30": want 2025-10-22, `,
		"--until=":                             `--until "": want 2025-10-22, `,
		"--from=2025-03-02|--until=2025-03-01": `--from 2025-03-02 is after --until 2025-03-01`,
		"--compliance=yes":                     `--compliance "yes": allowed are compliant, not-compliant, contradictory`,
		"--compliance=":                        `--compliance "": allowed are`,
		"--object-type=":                       `--object-type "": the value is empty`,
		"--since=":                             `--since "": the value is empty`,
		"--error-type=":                        `--error-type "": the value is empty`,
		"--status=":                            `--status "": allowed are`,
	} {
		_, err := parseSelector(t, line)
		if err == nil || !strings.HasPrefix(err.Error(), want) || ExitCode(t.Context(), err) != cmdline.ExitUsage {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}

func TestACommandTakesOnlyTheSelectorFlagsItAsksFor(t *testing.T) {
	if flags := SelectorFlags("tip", "status"); len(flags) != 2 || flags[0].Names()[0] != "tip" || flags[1].Names()[0] != "status" {
		t.Errorf("got %v", flags)
	}
}
