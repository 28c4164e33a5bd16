package names

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"noggin/api"
	"noggin/batch/forms"
	"noggin/storage"
)

const (
	// AskAgain is how long the API is not asked again about a hash for which it has no
	// name.
	AskAgain = 30 * 24 * time.Hour
	// APISource is the source of names that the API gave.
	APISource = "api"
)

// fetchBatch is how many hashes are asked about before their names are stored; tests lower
// it.
var fetchBatch = 100

// Fetcher asks the API for the names of unknown hashes.
type Fetcher struct {
	DB    *storage.DB
	Types *forms.ObjectTypes
	Kinds Config
	// Object fetches an object by its tip; its errors are *[api.Error].
	Object      func(ctx context.Context, tip string) ([]byte, error)
	Concurrency int                   // requests at once
	Progress    func(done, total int) // may be nil
}

// FetchSummary tells what asking the API for names did.
type FetchSummary struct {
	Asked    int   `json:"asked"`
	Named    int   `json:"named"`
	Refused  int   `json:"refused"`
	NotFound int   `json:"not_found"`
	Nameless int   `json:"nameless"`
	Failed   int   `json:"failed"` // asked about again by the next run
	Resolved int64 `json:"unknown_hashes_resolved"`
	Marked   int64 `json:"records_to_renew"`

	Stopped string `json:"stopped,omitempty"` // why it ended early
}

// fetched is what the API said about hashes.
type fetched struct {
	mu      sync.Mutex
	names   []storage.NamedHash
	without map[string]storage.AskOutcome
	refused map[string]storage.AskOutcome
	failed  []string
}

// Fetch asks about the unknown hashes of a type, or of every type for "", at most limit
// of them (0: all). It stores the names as it goes, and remembers hashes that have none.
// The refused ones it returns: whether it is the hash that is refused, or the credentials,
// is for the caller to judge. Until then they count as failed. The summary is right
// whatever the error: that of a request that was not sent, of the database, or the cause of
// ctx.
func (f *Fetcher) Fetch(ctx context.Context, entityType string, limit int) (s FetchSummary, refused map[string]storage.AskOutcome, err error) {
	hashes, err := f.DB.AskableHashes(ctx, entityType, AskAgain, limit)
	refused = map[string]storage.AskOutcome{}
	total := len(hashes)
	for err == nil && len(hashes) > 0 {
		batch := hashes[:min(fetchBatch, len(hashes))]
		hashes = hashes[len(batch):]
		var got *fetched
		got, err = f.ask(ctx, batch)
		err = errors.Join(err, f.store(context.WithoutCancel(ctx), got, &s))
		maps.Copy(refused, got.refused)
		if f.Progress != nil {
			f.Progress(s.Asked, total)
		}
	}
	return s, refused, err
}

// ask asks about hashes, several at once, until a request is not sent.
func (f *Fetcher) ask(ctx context.Context, hashes []storage.AskableHash) (*fetched, error) {
	got := &fetched{without: map[string]storage.AskOutcome{}, refused: map[string]storage.AskOutcome{}}
	requests, ctx := errgroup.WithContext(ctx)
	requests.SetLimit(max(1, f.Concurrency))
	for _, h := range hashes {
		requests.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			answer, err := f.Object(ctx, h.Hash)
			return got.take(f, h, answer, err)
		})
	}
	err := requests.Wait()
	return got, err
}

// take keeps what the API said about a hash. Its error says that nothing more can be
// asked.
func (g *fetched) take(f *Fetcher, h storage.AskableHash, answer []byte, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var failed *api.Error
	switch {
	case err == nil:
		if entityType, name := f.nameOf(h.Type, answer); name != "" {
			g.names = append(g.names, storage.NamedHash{Type: entityType, Hash: h.Hash, Name: name})
		} else {
			g.without[h.Hash] = storage.AskNameless
		}
	case !errors.As(err, &failed):
		return err
	case failed.Class == api.ClassCredentials, failed.Class == api.ClassOwn, failed.Class == api.ClassCancelled:
		return err
	case failed.Status == http.StatusNotFound, failed.Status == http.StatusGone:
		g.without[h.Hash] = storage.AskNotFound
	case failed.Class == api.ClassForbidden:
		g.refused[h.Hash] = storage.AskRefused
	default:
		g.failed = append(g.failed, h.Hash)
	}
	return nil
}

// store writes what was asked and adds it to the summary.
func (f *Fetcher) store(ctx context.Context, g *fetched, s *FetchSummary) error {
	s.Named, s.Refused, s.Failed = s.Named+len(g.names), s.Refused+len(g.refused), s.Failed+len(g.failed)
	for _, outcome := range g.without {
		if outcome == storage.AskNameless {
			s.Nameless++
		} else {
			s.NotFound++
		}
	}
	s.Asked = s.Named + s.Refused + s.NotFound + s.Nameless + s.Failed
	remembered := maps.Clone(g.without)
	for _, hash := range slices.AppendSeq(g.failed, maps.Keys(g.refused)) { // the refused ones until they are judged
		remembered[hash] = storage.AskFailed
	}
	if err := f.DB.RememberAsked(ctx, remembered); err != nil || len(g.names) == 0 {
		return err
	}
	next := g.names
	done, err := f.DB.ImportNames(ctx, storage.ImportOptions{Source: APISource}, func() (storage.NamedHash, error) {
		if len(next) == 0 {
			return storage.NamedHash{}, io.EOF
		}
		name := next[0]
		next = next[1:]
		return name, nil
	})
	s.Resolved, s.Marked = s.Resolved+done.Resolved, s.Marked+done.Marked
	return err
}

// nameOf returns the name that an object's answer holds, and its type: of an asset or a
// site what its kind stands for, of anything else the given one. The name is empty when
// none of [Config.NameFields] holds one.
func (f *Fetcher) nameOf(entityType string, answer []byte) (kind, name string) {
	var values map[string]any
	if json.Unmarshal(answer, &values) != nil {
		return entityType, ""
	}
	for _, k := range []struct{ field, layout string }{{"assetType", layoutAssets}, {"siteType", layoutSites}} {
		if source, ok := values[k.field].(string); ok {
			if t := f.Kinds.kindTypes(k.layout, f.Types.EntityTypes()).typeOf(source); t != "" {
				entityType = t
			}
		}
	}
	for _, fields := range f.Kinds.NameFields {
		var parts []string
		for field := range strings.SplitSeq(fields, "+") {
			if part, _ := values[strings.TrimSpace(field)].(string); strings.TrimSpace(part) != "" {
				parts = append(parts, strings.TrimSpace(part))
			}
		}
		if name, _ := cleanName(strings.Join(parts, " ")); name != "" {
			return entityType, name
		}
	}
	return entityType, ""
}

// validateNameFields reports a wrong entry of name_fields.
func validateNameFields(entries []string) error {
	for _, entry := range entries {
		for field := range strings.SplitSeq(entry, "+") {
			if strings.TrimSpace(field) == "" {
				return fmt.Errorf(`[hashes] name_fields: %q: want the name of a field, or several joined with +, such as "firstName + lastName"`, entry)
			}
		}
	}
	return nil
}
