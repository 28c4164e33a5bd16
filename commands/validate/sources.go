package validate

import (
	"context"
	"errors"
	"strings"

	"noggin/batch/health"
	"noggin/batch/sources"
	"noggin/batch/validate"
	"noggin/commands/show"
)

// sources logs in to each source of exports and lists what is there.
func (v *validation) sources(ctx context.Context) (*validate.Area, error) {
	a := validate.NewArea(areaSources)
	all := v.session.Config.Sources()
	if len(all) == 0 {
		a.Fact("the configuration has no [[import.source]]")
	}
	fetcher := sources.Fetcher{DB: v.session.DB, Log: v.session.Log, Patience: sources.Patience}
	a.Checked = true
	for _, source := range all {
		found, missing, err := fetcher.Look(ctx, source)
		if err != nil {
			a.Checked = false
			return a, a.Done(ctx, err)
		}
		if err := found.Err(); err != nil {
			a.Error("source", err.Error(), sourceRemedy(err))
			continue
		}
		fact := show.Textf("%s (%s): %s, %d not fetched yet", source.Name, found.Place, health.Plural(found.Listed, "file"), missing)
		if found.Skipped > 0 {
			fact += show.Textf(", %d left out (links, folders, odd names)", found.Skipped)
		}
		a.Fact(fact)
	}
	return a, nil
}

// sourceRemedy says what to do about a source that cannot be listed.
func sourceRemedy(err error) string {
	switch {
	case errors.Is(err, sources.ErrRefused) && strings.Contains(err.Error(), "does not accept"):
		return "let who runs the server accept the public half of the key for this user, or name another key_file"
	case errors.Is(err, sources.ErrRefused):
		return "compare the fingerprint with who runs the server before anything is added to known_hosts"
	case errors.Is(err, sources.ErrUnreachable):
		return "see that the server runs and that a firewall lets this host through; later runs fetch what is there"
	}
	return "correct [[import.source]] in the configuration, or what the message names"
}
