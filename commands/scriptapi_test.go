package commands

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"noggin/api/apitest"
	"noggin/storage"
)

// startAPI is the script command
//
//	api N [FORM…] [photos=N] [unnamed=SHARE] [disagree=SHARE] [FAULT…]
//
// It serves a simulated API with N records for the rest of the script, adds it to
// the configuration, sets $NOGGIN_BEARER_TOKEN, $namespace, $api (its URL), $tip1, $tip2, …,
// and writes the platform's CSV files into $WORK/exports. A fault is written as
// [apitest.ParseFault] reads it.
func startAPI(ts *testscript.TestScript, neg bool, args []string) {
	t, ok := ts.Value("t").(testing.TB)
	if neg || len(args) == 0 || !ok {
		ts.Fatalf("usage: api N [FORM…] [photos=N] [unnamed=SHARE] [FAULT…]")
	}
	options := apitest.Options{MediaBytes: apitest.Range{Min: 500, Max: 900}}
	var err error
	options.Records, err = strconv.Atoi(args[0])
	ts.Check(err)
	var faults []string
	for _, arg := range args[1:] {
		key, value, hasValue := strings.Cut(arg, "=")
		switch {
		case !hasValue:
			options.Forms = append(options.Forms, arg)
		case key == "photos":
			var n int
			n, err = strconv.Atoi(value)
			if options.Photos = apitest.Fixed(n); n == 0 {
				options.Photos = apitest.None
			}
		case key == "disagree":
			options.Disagree, err = strconv.ParseFloat(value, 64)
		case key == "unnamed":
			options.Unnamed, err = strconv.ParseFloat(value, 64)
		default:
			faults = append(faults, arg)
		}
		ts.Check(err)
	}
	server := apitest.Start(t, options)
	ts.Setenv("api", server.URL())
	ts.Setenv("NOGGIN_BEARER_TOKEN", server.Token())
	ts.Setenv("namespace", server.Namespace())
	*ts.Value("api").(**apitest.Server) = server
	setFaults(ts, faults)
	for record := range server.Records() {
		ts.Setenv("tip"+strconv.Itoa(record.Index+1), record.Tip)
	}
	config, err := os.OpenFile(ts.Getenv("NOGGIN_CONFIG"), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	_, err = fmt.Fprintf(config, "\n[api]\nbase_url = %q\nmedia_service_url = %q\nnamespace = %q\ntimeout = 2\n",
		server.URL(), server.URL()+"/media", server.Namespace())
	ts.Check(err)
	ts.Check(config.Close())
	ts.Check(server.WriteFiles(ts.MkAbs("exports")))
}

func simulated(ts *testscript.TestScript) *apitest.Server {
	server := *ts.Value("api").(**apitest.Server)
	if server == nil {
		ts.Fatalf("no api was started")
	}
	return server
}

// faults is the script command
//
//	faults [FAULT…]
//
// It replaces the faults of the simulated API; without arguments all is well again.
func faults(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! faults")
	}
	setFaults(ts, args)
}

func setFaults(ts *testscript.TestScript, specs []string) {
	server := simulated(ts)
	server.ClearFaults()
	for _, spec := range specs {
		fault, err := apitest.ParseFault(spec)
		ts.Check(err)
		server.AddFault(fault)
	}
}

// enqueue is the script command that makes every record of the simulated API
// pending.
func enqueue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: enqueue")
	}
	cfg := storage.DefaultConfig()
	cfg.URL = ts.Getenv("NOGGIN_DATABASE_URL")
	db, err := storage.Open(cfg, "test")
	ts.Check(err)
	defer func() { _ = db.Close() }()
	for record := range simulated(ts).Records() {
		_, err := db.EnsureRecords(ts.Value("t").(testing.TB).Context(), []string{record.Tip}, record.Code, false)
		ts.Check(err)
	}
}
