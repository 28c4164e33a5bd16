package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"noggin/batch/csvfile"
	"noggin/batch/health"
	"noggin/batch/importcsv"
	"noggin/batch/names"
	"noggin/batch/sources"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// fetchMode says which half of its work import-csv does.
type fetchMode struct {
	fetch, importFiles bool
}

// importRun is one run of import-csv: it fetches, imports, and deletes on the servers
// what is imported.
type importRun struct {
	session  *session.Session
	importer *importcsv.Importer
	opts     importcsv.Options
	mode     fetchMode
	fetcher  *sources.Fetcher
	all      []sources.Source
}

// importResult is what import-csv prints and records.
type importResult struct {
	importcsv.Summary
	Sources []sources.Result `json:"sources"`
}

func newImportRun(s *session.Session, importer *importcsv.Importer, opts importcsv.Options, mode fetchMode, bar *session.Progress) *importRun {
	r := &importRun{session: s, importer: importer, opts: opts, mode: mode, all: s.Config.Sources()}
	r.fetcher = &sources.Fetcher{
		DB: s.DB, Input: s.Config.Batch.Paths.Input, Log: s.Log, Patience: sources.Patience,
		Progress: func(name string, n int64) { bar.Update(session.State{Done: int(n), Note: "fetched " + name}) },
	}
	importer.Names = map[string]string{}
	for _, source := range r.all {
		if source.Kind != sources.KindTips {
			importer.Names[source.Kind] = sources.Folder(r.fetcher.Input, source.Kind)
		}
	}
	importer.ImportNames = r.importNames
	importer.Imported, importer.Unusable = s.DB.ImportedContent, s.DB.UnusableContent
	return r
}

// run does everything. What went wrong with a source does not keep the rest from being
// done.
func (r *importRun) run(ctx context.Context) (result importResult, err error) {
	result = importResult{Summary: importcsv.Summary{DryRun: r.opts.DryRun}, Sources: []sources.Result{}}
	if r.mode.fetch {
		for _, source := range r.all {
			fetched, err := r.fetcher.Fetch(ctx, source)
			result.Sources = append(result.Sources, fetched)
			if err != nil {
				return result, err
			}
		}
	}
	if r.mode.importFiles {
		if result.Summary, err = r.importer.Run(ctx, r.opts); err != nil {
			return result, err
		}
	}
	for i, source := range r.all {
		if !r.mode.fetch || !r.mode.importFiles || !source.Deletes() || result.Sources[i].Err() != nil {
			continue
		}
		if err := r.fetcher.Clean(ctx, source, &result.Sources[i]); err != nil {
			return result, err
		}
	}
	return result, importVerdict(result, len(r.opts.Files) > 0)
}

// importNames imports a file of names. What speaks against the file makes it unusable.
func (r *importRun) importNames(ctx context.Context, kind, name string, in io.Reader, dryRun bool) (importcsv.NamesImport, error) {
	opts := names.ImportOptions{EntityType: kind, Source: name, DryRun: dryRun}
	if kind == sources.KindAsset || kind == sources.KindSite {
		opts.EntityType = names.AutoType
	}
	s := r.session
	opts.AnyHash = s.Config.Batch.Import.AnyTip
	done, err := names.Import(ctx, s.DB, s.Types, s.Config.Batch.Hashes, in, opts)
	if _, other := errors.AsType[*storage.OtherTypeError](err); other || errors.Is(err, names.ErrNoKinds) {
		err = fmt.Errorf("%w: %w", csvfile.ErrUnusableFile, err)
	}
	result := importcsv.NamesImport{
		Rows: int64(done.Rows), New: done.New, Changed: done.Changed, Unchanged: done.Unchanged, Skipped: done.Skipped(), Bad: done.Bad, Unended: done.Unended,
	}
	for _, bad := range done.BadRows {
		result.BadRows = append(result.BadRows, csvfile.RowError{Line: bad.Line, Reason: bad.Reason})
	}
	return result, err
}

// sourcesVerdict returns the gravest error of the sources: one that a person must mend
// before one that passes.
func sourcesVerdict(all []sources.Result) error {
	var gravest error
	for _, source := range all {
		if err := source.Err(); err != nil && (gravest == nil || errors.Is(gravest, sources.ErrUnreachable) && !errors.Is(err, sources.ErrUnreachable) || errors.Is(err, sources.ErrRefused)) {
			gravest = err
		}
	}
	return gravest
}

// sourceNotes tells what became of each source, a line each.
func sourceNotes(all []sources.Result) string {
	var notes strings.Builder
	for _, s := range all {
		fmt.Fprintf(&notes, "source %s: %s fetched of %d that fit", s.Source, health.Plural(s.Fetched, "file"), s.Listed)
		for _, more := range []struct {
			n    int64
			what string
		}{{s.Skipped, "left out"}, {s.Changed, "changed meanwhile"}, {s.Gone, "gone meanwhile"}, {s.Deleted, "deleted on the server"}} {
			if more.n > 0 {
				fmt.Fprintf(&notes, ", %d %s", more.n, more.what)
			}
		}
		if s.Reason != "" {
			notes.WriteString("; " + show.Printable(s.Reason))
		}
		notes.WriteByte('\n')
	}
	return notes.String()
}

// parseFetchMode reads --no-fetch and --fetch-only.
func parseFetchMode(noFetch, fetchOnly bool, opts importcsv.Options, sources int) (fetchMode, error) {
	switch {
	case noFetch && fetchOnly:
		return fetchMode{}, cmdline.Usagef("--no-fetch and --fetch-only exclude each other")
	case fetchOnly && (len(opts.Files) > 0 || opts.DryRun):
		return fetchMode{}, cmdline.Usagef("--fetch-only cannot be combined with files or --dry-run")
	case fetchOnly && sources == 0:
		return fetchMode{}, cmdline.Usagef("--fetch-only: the configuration has no [[import.source]]")
	}
	return fetchMode{fetch: !noFetch && !opts.DryRun && len(opts.Files) == 0 && sources > 0, importFiles: !fetchOnly}, nil
}
