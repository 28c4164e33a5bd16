package show

import (
	"io"
	"os"
	"strconv"
)

// Palette paints text for a terminal, or leaves it as it is. It has the colours that
// are readable on a light and on a dark ground.
type Palette bool

// NewPalette returns the palette for w: colours only on a terminal that can show them,
// whose user did not set NO_COLOR.
func NewPalette(w io.Writer) Palette {
	return Palette(Terminal(w) != nil && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == "")
}

// Tone is what a colour means.
type Tone string

// The tones, as the terminal's codes for them.
const (
	Bad  Tone = "31" // red: failed, lost, wrong
	Warn Tone = "33" // yellow: to be looked at
	Good Tone = "32" // green: as it should be
	Dim  Tone = "2"  // beside the matter: labels, hints
	Bold Tone = "1"  // titles and headings
)

// Paint returns text in the tone. No tone and no text stay as they are.
func (p Palette) Paint(tone Tone, text string) string {
	if !p || tone == "" || text == "" {
		return text
	}
	return "\x1b[" + string(tone) + "m" + text + reset
}

// reset ends a colour.
const reset = "\x1b[0m"

// State is a word for how something stands. Its colour tells how well.
type State string

// Human is the word as it is.
func (s State) Human() string { return string(s) }

func (s State) tone() Tone {
	switch s {
	case "0", "complete", "valid", "done", "imported", "there", "verified":
		return Good
	case "partial", "interrupted", "suspect", "not_validated", "running", "left out", "refused", "changed", "unknown":
		return Warn
	case "failed", "api_failed", "died", "missing", "wrong size", "validation_failed", "broken", "damaged", "error":
		return Bad
	case "pending", "skipped", "archived", "not needed":
		return Dim
	}
	if _, err := strconv.Atoi(string(s)); err == nil { // an exit code
		return Bad
	}
	return ""
}
