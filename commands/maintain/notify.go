package maintain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
)

// alert is what the web hook is told.
type alert struct {
	Event  string     `json:"event"`
	Unit   string     `json:"unit"`
	Host   string     `json:"host"`
	Result string     `json:"result"` // the exit code, or systemd's word
	What   string     `json:"what"`
	Since  *time.Time `json:"since"` // when it began to fail; null: not told
	At     time.Time  `json:"at"`
	Text   string     `json:"text"` // all of it for people
}

// alertText bounds the text of an alert in bytes.
const alertText = 16 << 10

// notifyPause is the first pause between the tries to tell a web hook.
const notifyPause = time.Second

func notifyCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "notify",
		Usage: "tell [notify] webhook_url of an alert, as noggin-alert does",
		Description: `Sends a JSON document with the alert, whose text comes from stdin. Tries three times, and
ends with 1 when the receiver did not take it. Does nothing when webhook_url is not set.
Uses what it can read of a configuration that is wrong.

Example:
  echo 'Hello from noggin' | noggin maintain notify --event trial`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "event", Usage: "what it is: `failed|failing|well|trial`", Value: "trial"},
			&cli.StringFlag{Name: "unit", Usage: "the `UNIT` that the alert is about"},
			&cli.StringFlag{Name: "result", Usage: "its exit code, or the `RESULT` of systemd"},
			&cli.StringFlag{Name: "what", Usage: "the alert in one line: `TEXT`"},
			&cli.Int64Flag{Name: "since", Usage: "when it began to fail: `SECONDS` since 1970"},
		},
		Action: func(c *cli.Context) error { return runNotify(c, open) },
	}
}

func runNotify(c *cli.Context, open *session.Opener) error {
	switch c.String("event") {
	case "failed", "failing", "well", "trial":
	default:
		return cmdline.Usagef("--event %q: allowed are failed, failing, well, trial", c.String("event"))
	}
	cfg := config.LoadLeniently(cmp.Or(c.String("config"), config.DefaultPath), os.Getenv)
	cfg.Hide(open.Secrets)
	if token, err := cfg.Credentials.Token(); err == nil {
		open.Secrets.Add(string(token))
	}
	_, _ = cfg.S3Keys(open.Secrets) // hides the keys, if they can be read
	if cfg.Notify.WebhookURL == "" {
		_, err := fmt.Fprintln(c.App.Writer, "[notify] webhook_url is not set: nobody was told")
		return err
	}
	if err := cfg.Notify.Validate(); err != nil {
		return cmdline.Usagef("%w", err)
	}
	text, err := files.Wait(c.Context, func() ([]byte, error) { return readText(c.App.Reader) })
	if err != nil {
		return fmt.Errorf("read the text of the alert: %w", err)
	}
	host, _ := os.Hostname() // "": the receiver sees where it comes from
	a := alert{
		Event: c.String("event"), Unit: c.String("unit"), Host: host, Result: c.String("result"), What: c.String("what"), At: cfg.Now(),
		Text: strings.TrimSpace(c.String("what") + "\n" + strings.ToValidUTF8(string(text), "\uFFFD")),
	}
	if c.IsSet("since") {
		a.Since = new(time.Unix(c.Int64("since"), 0).In(a.At.Location()))
	}
	var document bytes.Buffer
	encoder := json.NewEncoder(&document)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(a); err != nil {
		return err
	}
	cfg.API.UserAgent = "noggin/" + open.Version
	if err := cfg.Notify.Post(c.Context, cfg.API, open.Secrets.Hide(document.Bytes()), notifyPause); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, "told")
	return err
}

// readText reads what an alert says. A terminal has nothing to say.
func readText(in io.Reader) ([]byte, error) {
	if file, is := in.(*os.File); is {
		if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice != 0 {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(in, alertText))
}
