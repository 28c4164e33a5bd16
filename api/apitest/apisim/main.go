// Command apisim serves a simulated Noggin API on loopback until a signal or, with
// --stdin, the end of its input. As soon as it answers it prints its URL on stdout, and
// the token and namespace that it accepts on stderr. Package apitest says what it serves
// and which faults there are.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"noggin/api/apitest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "apisim:", err)
		os.Exit(1)
	}
}

// settings are the program's flags.
type settings struct {
	world     apitest.Options
	addr      string
	exportDir string
	untilEOF  bool
	faults    []apitest.Fault
}

func run(ctx context.Context, args []string) error {
	set, err := parse(args)
	if err != nil {
		return err
	}
	server := apitest.New(set.world)
	for _, f := range set.faults {
		server.AddFault(f)
	}
	if set.exportDir != "" {
		if err := server.WriteFiles(set.exportDir); err != nil {
			return err
		}
	}
	if err := server.Listen(set.addr); err != nil {
		return err
	}
	defer server.Close()
	fmt.Println(server.URL())
	fmt.Fprintln(os.Stderr, "token", server.Token(), "namespace", server.Namespace())
	if set.untilEOF {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // an error is an end too
			cancel()
		}()
	}
	<-ctx.Done()
	return nil
}

func parse(args []string) (settings, error) {
	var set settings
	var forms string
	o := &set.world
	flags := flag.NewFlagSet("apisim", flag.ContinueOnError)
	flags.StringVar(&set.addr, "addr", "127.0.0.1:0", "where to listen")
	flags.StringVar(&set.exportDir, "export-dir", "", "write the exports and names as CSV files there")
	flags.BoolVar(&set.untilEOF, "stdin", false, "stop when stdin ends")
	flags.IntVar(&o.Records, "records", 100, "records in the world")
	flags.Uint64Var(&o.Seed, "seed", 1, "the world's seed")
	flags.StringVar(&forms, "forms", "", "codes of the forms, dealt out in turn (default all six)")
	flags.Func("photos", "attachments of a record, such as 3 or 0-6 (default 0-6)", func(v string) (err error) {
		if o.Photos, err = parseRange(v); o.Photos == (apitest.Range{}) {
			o.Photos = apitest.None
		}
		return err
	})
	flags.Float64Var(&o.PhotosMean, "photos-mean", 0, "average number of attachments (default the middle)")
	flags.Func("media-bytes", "size of an attachment, such as 300000 or 300000-5000000", func(v string) (err error) {
		o.MediaBytes, err = parseRange(v)
		return err
	})
	flags.Float64Var(&o.PDFShare, "pdf-share", 0, "share of attachments that are a PDF")
	flags.Float64Var(&o.Unnamed, "unnamed", 0, "share of entities missing from the names")
	flags.Float64Var(&o.Disagree, "disagree", 0, "share of records of which the exports tell another id and day")
	flags.DurationVar(&o.Latency, "latency", 0, "wait before each answer")
	flags.StringVar(&o.Token, "token", "", "the token to accept (default by the seed)")
	flags.StringVar(&o.Namespace, "namespace", "", "the namespace to accept (default by the seed)")
	flags.Func("fault", "a fault, such as status=503,share=0.1 (repeatable); kinds: "+
		strings.Join(apitest.FaultKinds(), " "), func(v string) error {
		f, err := apitest.ParseFault(v)
		set.faults = append(set.faults, f)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return set, err
	}
	if flags.NArg() > 0 {
		return set, fmt.Errorf("no argument %q expected", flags.Arg(0))
	}
	if forms != "" {
		o.Forms = strings.Split(forms, ",")
	}
	for _, code := range o.Forms {
		if !slices.ContainsFunc(apitest.Forms(), func(f apitest.Form) bool { return f.Code == code }) {
			return set, fmt.Errorf("no form %q", code)
		}
	}
	return set, nil
}

// parseRange reads "3" or "0-6".
func parseRange(v string) (apitest.Range, error) {
	low, high, isRange := strings.Cut(v, "-")
	if !isRange {
		high = low
	}
	from, err := strconv.Atoi(low)
	if err != nil {
		return apitest.Range{}, err
	}
	to, err := strconv.Atoi(high)
	if err == nil && to < from {
		err = fmt.Errorf("%d is below %d", to, from)
	}
	return apitest.Range{Min: from, Max: to}, err
}
