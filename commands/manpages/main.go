package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"noggin/commands"
)

func main() {
	output := flag.String("output", "man", "the folder for the pages; it gets man1, man5 and man7")
	version := flag.String("version", "", "the version to print on the pages")
	flag.Parse()
	if err := run(*output, *version); err != nil {
		fmt.Fprintln(os.Stderr, "manpages:", err)
		os.Exit(1)
	}
}

func run(output, version string) error {
	example, err := os.ReadFile("config.example.toml")
	if err != nil {
		return err
	}
	date, err := sourceDate()
	if err != nil {
		return err
	}
	assets := commands.Assets{ExampleConfig: string(example), Version: version}
	pages, err := manual(assets, date, os.DirFS("commands/manual"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		folder := filepath.Join(output, "man"+page.section)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, page.name+"."+page.section), page.roff, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sourceDate is $SOURCE_DATE_EPOCH, or now without it.
func sourceDate() (time.Time, error) {
	given := os.Getenv("SOURCE_DATE_EPOCH")
	if given == "" {
		return time.Now(), nil
	}
	seconds, err := strconv.ParseInt(given, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("$SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0), nil
}
