package commands

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// What the value of a flag has to be, as errors say it.
const (
	wantDuration = "a duration such as 90s, 4m or 2h30m"
	wantNumber   = "a whole number"
	wantBool     = "true or false"
)

// durationFlag is a flag of a stretch of time, which cannot be shorter than least.
func durationFlag(name, usage string, least time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: name, Usage: usage, Action: func(_ *cli.Context, given time.Duration) error {
		if given < least {
			return usagef("--%s %s: want "+wantDuration, name, given)
		}
		return nil
	}}
}

// numberFlag is a flag of a whole number, at least least. The default is told by
// defaultText where it is not value alone.
func numberFlag(name, usage string, least, value int, defaultText string) cli.Flag {
	return &cli.IntFlag{Name: name, Usage: usage, Value: value, DefaultText: defaultText, Action: func(_ *cli.Context, given int) error {
		if given < least {
			return usagef("--%s %d: want %d or more", name, given, least)
		}
		return nil
	}}
}

// partFlag chooses a share of things, so that all are looked at in turn.
func partFlag(things, remark string) cli.Flag {
	return &cli.StringFlag{Name: "part", Usage: "only the share `K/N` of the " + things + ", such as 3/12; day/30: today's share of 30" + remark}
}

// partOf reads --part; without it both are 0.
func partOf(c *cli.Context, now time.Time) (part, parts int, err error) {
	if given := c.String("part"); given != "" {
		return parsePart(given, now)
	}
	return 0, 0, nil
}

// parsePart reads "3/12", or "day/12" for the share of the day: another one every
// day, all of them in twelve.
func parsePart(given string, now time.Time) (part, parts int, err error) {
	one, of, ok := strings.Cut(given, "/")
	parts, err = strconv.Atoi(of)
	if ok && err == nil && parts >= 1 {
		if one == "day" {
			days := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
			return int(days%int64(parts)) + 1, parts, nil
		}
		if part, err = strconv.Atoi(one); err == nil && part >= 1 && part <= parts {
			return part, parts, nil
		}
	}
	return 0, 0, usagef("--part %s: want such as 3/12, the third of twelve shares, or day/12", quoted(given))
}

// badValue is how Go's flag package words a value that a flag cannot take.
var badValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([a-z-]+): `)

// usageFromFlags turns urfave's own complaint about a flag's value into ours.
func usageFromFlags(c *cli.Context, err error, _ bool) error {
	found := badValue.FindStringSubmatch(err.Error())
	if found == nil {
		return usagef("%w", errors.New(strings.Replace(err.Error(), " for flag -", " for flag --", 1)))
	}
	want := wantBool
	switch flagNamed(c.Command, found[2]).(type) {
	case *cli.DurationFlag:
		want = wantDuration
	case *cli.IntFlag:
		want = wantNumber
	}
	return usagef("--%s %s: want %s", found[2], printable(found[1]), want)
}
