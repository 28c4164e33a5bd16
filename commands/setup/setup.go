package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/api"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
	"noggin/commands/show"
)

// Command is noggin setup. example is the configuration that a new file begins with.
func Command(open *session.Opener, example string) *cli.Command {
	return &cli.Command{
		Name:  "setup",
		Usage: "ask for database, API, namespace, token and time zone, try each, and write the configuration",
		Description: `Run it as root: the files get the owner root, the group noggin and the mode 640. The
database is tried as the user noggin, as the service does it. Enter keeps what is in
brackets. Nothing is written before every answer was tried.

An existing configuration keeps its other keys and its comments. Answers may come from
a pipe, one a line in the order of the questions; the first that is refused ends it.

Examples:
  noggin setup               # as root, such as with sudo
  noggin setup --dry-run     # tries the answers, writes nothing`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "token-file", Usage: "write the token to `FILE` (default: the one that the configuration names, else token beside it)", TakesFile: true}),
			&cli.BoolFlag{Name: "dry-run", Usage: "try the answers and write nothing"},
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			s, err := prepare(c, open, example)
			if err != nil {
				return err
			}
			if err := s.ask(c.Context); err != nil {
				return err
			}
			return s.finish(cmdline.Output(c))
		},
		Subcommands: []*cli.Command{tryCommand()},
	}
}

// setup is what is known before the questions, and the answers.
type setup struct {
	talk      *talk
	secrets   *config.Secrets
	path      string // of the configuration
	named     string // the same, where it is not the one that noggin reads by itself
	text      string // of it, as it is now, or of the example
	tokenFile string
	owner     owner
	dryRun    bool
	current   *config.Config
	formAPI   string // the name of a form at the API

	database, baseURL, namespace, zone string
	token                              config.Secret
}

// prepare reads what is there, and refuses what could not be written at the end.
func prepare(c *cli.Context, open *session.Opener, example string) (*setup, error) {
	s := &setup{
		talk:    newTalk(c.App.Reader, open.Console),
		secrets: open.Secrets, path: cmp.Or(c.String("config"), config.DefaultPath), dryRun: c.Bool("dry-run"),
	}
	path, err := filepath.Abs(s.path)
	if err != nil {
		return nil, cmdline.Usagef("--config: %w", err)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays one
	}
	if s.path != config.DefaultPath {
		s.named = path
	}
	s.path = path
	text, err := os.ReadFile(s.path)
	switch {
	case err == nil:
		s.text = string(text)
	case errors.Is(err, fs.ErrNotExist):
		s.text = example
	default:
		return nil, asRoot(cmdline.Usagef("read the configuration: %w", err))
	}
	if _, err := config.Changed(s.text, nil); err != nil {
		return nil, cmdline.Hint(cmdline.Usagef("%s cannot be changed: %w", s.path, err), "correct it first: `noggin validate config` tells all that is wrong")
	}
	s.current = config.LoadLeniently(s.path, os.Getenv)
	s.current.Hide(s.secrets)
	s.tokenFile = cmp.Or(c.String("token-file"), s.current.Credentials.BearerTokenFile, filepath.Join(filepath.Dir(s.path), "token"))
	if s.tokenFile, err = filepath.Abs(s.tokenFile); err != nil || s.tokenFile == s.path {
		return nil, cmdline.Usagef("--token-file: want a file of its own")
	}
	types, err := s.current.Batch.Forms()
	if err != nil {
		return nil, err
	}
	s.formAPI = types.All()[0].APIName
	s.owner = newOwner()
	if !s.dryRun {
		return s, errors.Join(s.owner.canWrite(s.path), s.owner.canWrite(s.tokenFile))
	}
	return s, nil
}

// ask asks all questions, and tries each answer.
func (s *setup) ask(ctx context.Context) (err error) {
	if url := os.Getenv("NOGGIN_DATABASE_URL"); url != "" {
		s.talk.say("", "", "$NOGGIN_DATABASE_URL is set: it overrides [database] url wherever it is set.")
	}
	given := cmp.Or(s.current.Storage.URL, "postgres:///noggin_db?host=/run/postgresql")
	s.database, err = s.talk.ask(ctx, question{
		about: []string{"Database: a libpq URL. Without a password it is safest: a local socket, or ~/.pgpass."},
		text:  "Database", given: given, shown: config.WithoutPassword(given),
		try: func(ctx context.Context, answer string) (string, error) {
			s.secrets.AddPassword(answer)
			return tryDatabase(ctx, answer)
		},
	})
	if err != nil {
		return err
	}
	if err := s.askAPI(ctx); err != nil {
		return err
	}
	s.zone, err = s.talk.ask(ctx, question{
		about: []string{"Time zone of the site, for today, days and times: an IANA name such as Australia/Perth."},
		text:  "Time zone", given: cmp.Or(s.current.Batch.Timezone, config.HostZone(os.Getenv)),
		try: func(_ context.Context, answer string) (string, error) {
			zone, err := time.LoadLocation(answer)
			if err != nil || answer == "Local" {
				return "", cmdline.Usagef("there is no time zone %s: want an IANA name such as Australia/Perth", show.Quoted(answer))
			}
			return "it is " + show.Time(time.Now().In(zone)) + " there", nil
		},
	})
	return err
}

// askAPI asks for address, namespace and token, until the API takes them.
func (s *setup) askAPI(ctx context.Context) (err error) {
	client := s.current.API
	client.BearerToken, client.MediaServiceURL = "", ""
	s.baseURL, err = s.talk.ask(ctx, question{
		about: []string{"API: the address of your platform, such as https://services.apse2.elasticnoggin.com/rest/object/"},
		text:  "API", given: client.BaseURL,
		try: func(ctx context.Context, answer string) (string, error) {
			client.BaseURL, client.Namespace = answer, ""
			return tryAPI(ctx, client, s.formAPI)
		},
	})
	if err != nil {
		return err
	}
	namespace := s.current.API.Namespace
	for {
		shown := ""
		if namespace != "" {
			shown = "set, keep it"
		}
		s.namespace, err = s.talk.ask(ctx, question{
			about: []string{"Namespace: the tenant's 64 hexadecimal digits."},
			text:  "Namespace", given: namespace, shown: shown,
			try: func(_ context.Context, answer string) (string, error) {
				s.secrets.Add(answer)
				client.Namespace, client.BearerToken = answer, ""
				if err := client.Validate(); err != nil {
					return "", cmdline.Usagef("%s", strings.Join(config.Messages(err), "; "))
				}
				if !isNamespace.MatchString(answer) {
					return "", cmdline.Usagef("it has %s: want 64 hexadecimal digits", health.Plural(len(answer), "character"))
				}
				return "64 digits; the token will show whether they are right", nil
			},
		})
		if err != nil {
			return err
		}
		err = s.askToken(ctx, client)
		if !errors.Is(err, errOtherNamespace) {
			return err
		}
		namespace = s.namespace
	}
}

var isNamespace = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

// errOtherNamespace says that token and namespace do not go together.
var errOtherNamespace = errors.New("the namespace is asked for again")

func (s *setup) askToken(ctx context.Context, client api.Config) error {
	kept, keptErr := s.current.Credentials.Token()
	q := question{about: []string{"Token: it is not shown. - asks for the namespace again."}, text: "Token", secret: true}
	if keptErr == nil {
		q.given, q.shown = string(kept), "set, keep it"
	}
	q.try = func(ctx context.Context, answer string) (string, error) {
		if answer == "-" && s.talk.terminal != nil {
			return "", nil
		}
		token, err := config.ParseToken(answer)
		if err != nil {
			return "", cmdline.Usagef("the token: %w", err)
		}
		s.secrets.Add(string(token))
		client.BearerToken = string(token)
		s.token = token
		return tryAPI(ctx, client, s.formAPI)
	}
	answer, err := s.talk.ask(ctx, q)
	if err == nil && answer == "-" && s.talk.terminal != nil {
		return errOtherNamespace
	}
	return err
}

// unitsToken is the file whose content systemd hands to the units that ask the API.
const unitsToken = "/etc/noggin/token"

// written is what setup prints.
type written struct {
	Config string `json:"config"`
	Token  string `json:"token_file"`
	Owner  string `json:"owner"`
	DryRun bool   `json:"dry_run"`
}

// finish writes the files and says what comes next.
func (s *setup) finish(out show.Output) error {
	text, err := config.Changed(s.text, []config.Change{
		{Section: "", Key: "timezone", Value: s.zone},
		{Section: "database", Key: "url", Value: s.database},
		{Section: "api", Key: "base_url", Value: s.baseURL},
		{Section: "api", Key: "namespace", Value: s.namespace},
		{Section: "api", Key: "bearer_token_file", Value: s.tokenFile},
	})
	if err != nil {
		return cmdline.Hint(cmdline.Usagef("%s cannot be changed: %w", s.path, err), "nothing was written")
	}
	done := written{Config: s.path, Token: s.tokenFile, Owner: s.owner.String(), DryRun: s.dryRun}
	if s.dryRun {
		return out.Line("every answer stood its trial; nothing was written", done)
	}
	if err := s.write(text); err != nil {
		return asRoot(cmdline.Hint(fmt.Errorf("nothing was changed: %w", err), "the answers were right: run the same command again"))
	}
	s.talk.say("", "", "")
	facts := []show.Fact{{"configuration", s.path + ", " + done.Owner}, {"token", s.tokenFile + ", " + done.Owner}}
	if s.tokenFile != unitsToken {
		facts = append(facts, show.Fact{"units", "do not start without " + unitsToken + ": `sudo systemctl edit noggin-process.service noggin-validate.service`, and begin each file with"},
			show.Fact{"", "[Service]"}, show.Fact{"", "LoadCredential="}, show.Fact{"", "LoadCredential=bearer_token:" + s.tokenFile})
	}
	return out.Facts(done, append(facts, show.Fact{"next", s.owner.initDB(s.named) + ", then `sudo systemctl enable --now noggin.target`"})...)
}
