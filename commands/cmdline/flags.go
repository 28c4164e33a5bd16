package cmdline

import (
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/commands/show"
)

// What the value of a flag has to be, as errors say it.
const (
	wantDuration = "a duration such as 90s, 4m or 2h30m"
	wantNumber   = "a whole number"
	wantBool     = "true or false"
)

// FormatFlag is the --format flag of a command that prints a result in any of the
// formats, the first being the default.
func FormatFlag(formats ...string) cli.Flag {
	return &cli.StringFlag{
		Name:  "format",
		Usage: "print the result as `" + strings.Join(formats, "|") + "`",
		Value: formats[0],
		Action: func(_ *cli.Context, given string) error {
			for _, format := range formats {
				if given == format {
					return nil
				}
			}
			return Usagef("--format %s: allowed are %s", show.Quoted(given), strings.Join(formats, ", "))
		},
	}
}

// Output is the output of a command, in the format that its flags ask for.
func Output(c *cli.Context) show.Output {
	out := show.New(c.App.Writer, c.String("format"))
	out.Raw, out.Wide = c.Bool("raw"), c.Bool("wide")
	return out
}

// addTableFlags gives every command with CSV the flags that switch its escapes off, and
// the fitting of its text tables.
func addTableFlags(command *cli.Command) {
	for _, flag := range command.Flags {
		if format, ok := flag.(*cli.StringFlag); ok && format.Name == "format" && strings.Contains(format.Usage, show.CSV) {
			command.Flags = append(command.Flags,
				&cli.BoolFlag{Name: "raw", Usage: "CSV has texts as they are: nothing escaped, formulas unguarded"},
				&cli.BoolFlag{Name: "wide", Usage: "text has whole tips and every column, whatever the terminal's width"})
			return
		}
	}
}

// DurationFlag is a flag for a duration of at least least.
func DurationFlag(name, usage string, least time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: name, Usage: usage, Action: func(_ *cli.Context, given time.Duration) error {
		if given < least {
			return Usagef("--%s %s: want "+wantDuration, name, given)
		}
		return nil
	}}
}

// NumberFlag is a flag for a whole number of at least least. defaultText describes the
// default where value alone does not.
func NumberFlag(name, usage string, least, value int, defaultText string) cli.Flag {
	return &cli.IntFlag{Name: name, Usage: usage, Value: value, DefaultText: defaultText, Action: func(_ *cli.Context, given int) error {
		if given < least {
			return Usagef("--%s %d: want %d or more", name, given, least)
		}
		return nil
	}}
}

// NotEmpty makes a flag refuse an empty value, as a variable of the shell that is not set
// gives. It would count as not given, and so choose everything.
func NotEmpty(flag *cli.StringFlag) cli.Flag {
	flag.Action = func(_ *cli.Context, given string) error {
		if given == "" {
			return Usagef("--%s \"\": the value is empty", flag.Name)
		}
		return nil
	}
	return flag
}

// PartFlag chooses a share of things, so that successive runs look at all of them.
func PartFlag(things, remark string) cli.Flag {
	return NotEmpty(&cli.StringFlag{Name: "part", Usage: "only the share `K/N` of the " + things + ", such as 3/12; day/30: today's share of 30" + remark})
}

// Part reads --part; without it both are 0.
func Part(c *cli.Context, now time.Time) (part, parts int, err error) {
	if given := c.String("part"); given != "" {
		return parsePart(given, now)
	}
	return 0, 0, nil
}

// parsePart reads "3/12", or "day/12" for the share of the day: a different share
// every day, all of them in twelve days.
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
	return 0, 0, Usagef("--part %s: want such as 3/12, the third of twelve shares, or day/12", show.Quoted(given))
}
