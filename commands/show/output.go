package show

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// The values of --format.
const (
	Text = "text"
	JSON = "json"
	CSV  = "csv"
)

// Output is where a command prints its result.
type Output struct {
	io.Writer
	Format string
	Width  int  // columns of the terminal, 0: no limit
	Raw    bool // CSV has every text as it is
	Wide   bool // text has whole tips and every column, whatever the width
	Colour Palette
	// Neighbours returns the tips of the database next to those of a table, which are shown
	// by beginnings that none of these shares. Without it beginnings are unique in the table.
	Neighbours func(tips []string) ([]string, error)
}

// New returns the output that prints to w in format.
func New(w io.Writer, format string) Output {
	out := Output{Writer: w, Format: format, Colour: NewPalette(w)}
	if file := Terminal(w); file != nil {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			out.Width = width
		}
	}
	return out
}

// Terminal returns the terminal that w writes to, or nil.
func Terminal(w io.Writer) *os.File {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// JSON prints v as the one JSON document of a command's result.
func (o Output) JSON(v any) error {
	encoder := json.NewEncoder(SafeJSON(o))
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// Line prints one line for people, or doc as JSON.
func (o Output) Line(text string, doc any) error {
	if o.Format == JSON {
		return o.JSON(doc)
	}
	_, err := fmt.Fprintln(o, text)
	return err
}

// Facts prints facts for people, or doc as JSON.
func (o Output) Facts(doc any, facts ...Fact) error {
	if o.Format == JSON {
		return o.JSON(doc)
	}
	var b strings.Builder
	o.facts(&b, facts)
	_, err := io.WriteString(o, b.String())
	return err
}

// Hint prints a sentence for people that stands beside the result.
func (o Output) Hint(sentence string) error {
	if o.Format != Text {
		return nil
	}
	var b strings.Builder
	o.wrap(&b, Dim, "", sentence)
	_, err := io.WriteString(o, b.String())
	return err
}
