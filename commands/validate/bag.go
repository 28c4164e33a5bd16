package validate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch/bag"
	"noggin/batch/health"
	"noggin/batch/seal"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func bagCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "bag",
		Usage:     "check whether a bag of an export is whole, without a database",
		ArgsUsage: "DIR|FILE.zip",
		Description: `Reads every file and compares it with the bag's lists of SHA-256 or SHA-512. It needs
no configuration and no database, so whoever got a bag can run it anywhere. Ends with 3
when a file is missing, changed or not listed.

If the bag has proofs, each photograph and answer must be in the log that ` + "`noggin seal`" + `
signed. Give the public key that you know to be right: the key in the bag proves nothing
against whoever made the bag. With a key, an inspection without a proof is a problem too.

Examples:
  noggin validate bag evidence.zip
  noggin validate bag evidence.zip --public-key KEY`,
		Flags: []cli.Flag{publicKeyFlag(), cmdline.FormatFlag(show.Text, show.JSON)},
		Action: func(c *cli.Context) error {
			if given := c.Lineage()[1].LocalFlagNames(); len(given) > 0 {
				return cmdline.Usagef("--%s does not apply to validate bag", given[0])
			}
			return runBag(c, open, c.Args().First())
		},
	}
}

// bagResult is what validate bag prints.
type bagResult struct {
	OK   bool   `json:"ok"`
	Path string `json:"path"`
	bag.Report
	Info   map[string]string `json:"info"`   // of bag-info.txt
	Proofs *seal.BagProof    `json:"proofs"` // null: the bag has none, or is not whole
}

func runBag(c *cli.Context, open *session.Opener, path string) error {
	b, err := bag.Open(path)
	if err != nil {
		return noBag(err)
	}
	defer b.Close()
	bar := open.Console.Progress(c, "MB")
	report, err := b.Check(c.Context, func(done, total int64) {
		bar.Update(session.State{Done: int(done >> 20), Total: int(total >> 20), Bytes: done})
	})
	bar.Finish()
	if err != nil {
		return noBag(err)
	}
	r := bagResult{OK: report.ProblemCount == 0, Path: path, Report: report, Info: map[string]string{}}
	for _, f := range report.Info {
		r.Info[f.Label] = f.Value
	}
	if err := r.checkProofs(c, b); err != nil {
		return err
	}
	out := cmdline.Output(c)
	if out.Format == show.JSON {
		err = out.JSON(r)
	} else {
		_, err = fmt.Fprint(out, describeBag(r))
	}
	if err == nil && !r.OK {
		problems := r.ProblemCount
		if r.Proofs != nil {
			problems += r.Proofs.ProblemCount
		}
		err = cmdline.Partialf("found %s in the bag", health.Plural(problems, "problem"))
	}
	return err
}

// checkProofs checks the proofs of a bag that is whole. With a key, what has no proof is a
// problem: whoever made the bag may have left it out.
func (r *bagResult) checkProofs(c *cli.Context, b *bag.Bag) error {
	key, err := publicKey(c)
	if err != nil || !r.OK {
		return err
	}
	r.Proofs, err = seal.CheckBag(c.Context, b, key)
	switch {
	case errors.Is(err, seal.ErrBadKey):
		return cmdline.Usagef("--public-key: %w", err)
	case err != nil:
		return err
	case r.Proofs != nil:
		r.OK = r.Proofs.ProblemCount == 0
		if n := r.Proofs.Unsealed; key != "" && n > 0 {
			r.OK = false
			r.ProblemCount++
			r.Problems = append(r.Problems, bag.Problem{What: health.Plural(n, "inspection") + " not sealed to the end when this was exported, so the key does not prove " +
				"all of them: after `noggin seal`, export them again"})
		}
	case key != "":
		r.OK = false
		r.ProblemCount++
		r.Problems = append(r.Problems, bag.Problem{What: "it has no proofs, so the key proves nothing of it"})
	}
	return nil
}

// noBag makes it a finding that a path leads to no bag.
func noBag(err error) error {
	if errors.Is(err, bag.ErrNoBag) {
		return cmdline.Partialf("%w", err)
	}
	return err
}

func describeBag(r bagResult) string {
	var b strings.Builder
	line := func(label, text string) { fmt.Fprintf(&b, "%-10s%s\n", label, show.Printable(text)) }
	line("bag", r.Path)
	line("payload", fmt.Sprintf("%s, %s", health.Plural(r.Files, "file"), humanize.Bytes(uint64(r.Bytes))))
	line("lists", strings.Join(r.Algorithms, ", "))
	for _, label := range []string{"Bagging-Date", "Source-Organization", "External-Description"} {
		if value := r.Info[label]; value != "" {
			line("", label+": "+value)
		}
	}
	for _, name := range r.Unlisted {
		line("note", name+" is in no list, so nothing proves what it was")
	}
	for _, p := range r.Problems {
		if p.File == "" {
			line("PROBLEM", p.What)
		} else {
			line("PROBLEM", p.File+": "+p.What)
		}
	}
	if more := r.ProblemCount - len(r.Problems); more > 0 {
		line("", fmt.Sprintf("and %d more", more))
	}
	describeProofs(r.Proofs, line)
	if r.OK {
		line("ok", "every file is as its list says")
	}
	return b.String()
}

// describeProofs says what the proofs of a bag prove.
func describeProofs(p *seal.BagProof, line func(label, text string)) {
	if p == nil {
		return
	}
	for _, c := range p.Checkpoints {
		line("log", fmt.Sprintf("%s, a checkpoint of %s", c.Log, health.Plural(c.Size, "record version")))
	}
	line("proved", fmt.Sprintf("%s of %s", health.Plural(p.FilesProved, "file"), health.Plural(p.Leaves, "sealed version")))
	if !p.KeyGiven {
		line("note", "the proofs were checked with the key in the bag: give the one that you know with --public-key")
	}
	if p.Unsealed > 0 && !p.KeyGiven {
		line("note", health.Plural(p.Unsealed, "inspection")+" not sealed to the end when this was exported: not all of them is proved")
	}
	for _, problem := range p.Problems {
		line("PROBLEM", problem)
	}
	if more := p.ProblemCount - len(p.Problems); more > 0 {
		line("", fmt.Sprintf("and %d more", more))
	}
}
