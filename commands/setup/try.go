package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/api"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
	"noggin/storage"
)

// serviceUser runs noggin's commands, and is whom the database has to let in.
const serviceUser = "noggin"

const tryName = "try-database"

// tryCommand is what setup runs as the service's user, when it runs as root itself: a
// local PostgreSQL goes by the user of the process.
func tryCommand() *cli.Command {
	return &cli.Command{
		Name: tryName, Hidden: true, Usage: "connect to the database in $NOGGIN_DATABASE_URL",
		Action: func(c *cli.Context) error {
			told, err := connect(c.Context, os.Getenv("NOGGIN_DATABASE_URL"))
			if err == nil {
				_, err = fmt.Fprint(c.App.Writer, told)
			}
			return err
		},
	}
}

// tryDatabase connects to the database as the user of the service does.
func tryDatabase(ctx context.Context, given string) (told string, err error) {
	uid, gid, ok := serviceIDs()
	if os.Geteuid() != 0 || !ok {
		return connect(ctx, given)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "setup", tryName) //nolint:gosec // this program
	cmd.Env = []string{"NOGGIN_DATABASE_URL=" + given, "PATH=" + os.Getenv("PATH"), "HOME=/"}
	if account, err := user.Lookup(serviceUser); err == nil {
		cmd.Env = append(cmd.Env, "HOME="+account.HomeDir) // ~/.pgpass
	}
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "PG") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		_, message, _ := strings.Cut(lines[0], ": ") // behind the name of the command
		if message == "" {
			message = err.Error()
		}
		for i := range lines[1:] {
			lines[i+1] = strings.TrimSpace(lines[i+1])
		}
		return "", cmdline.Hint(cmdline.WithCode(cmdline.ExitDatabase, fmt.Errorf("as the user %s: %s", serviceUser, message)), lines[1:]...)
	}
	return stdout.String() + ", as the user " + serviceUser, nil
}

// serviceIDs are user and group of the service, where this host has them.
func serviceIDs() (uid, gid uint32, ok bool) {
	account, err := user.Lookup(serviceUser)
	if err != nil {
		return 0, 0, false
	}
	u, userErr := strconv.ParseUint(account.Uid, 10, 32)
	g, groupErr := strconv.ParseUint(account.Gid, 10, 32)
	return uint32(u), uint32(g), userErr == nil && groupErr == nil
}

// connect opens the database and looks whether noggin's schema is there.
func connect(ctx context.Context, given string) (told string, err error) {
	cfg := storage.DefaultConfig()
	cfg.URL, cfg.RetryFor = given, 0
	if err := cfg.Validate(); err != nil {
		return "", cmdline.Usagef("%w", err)
	}
	db, err := storage.Open(cfg, "setup")
	if err != nil {
		return "", cmdline.Usagef("%w", err)
	}
	defer func() { _ = db.Close() }() // nothing was written
	_, err = db.Standing(ctx)
	switch {
	case err == nil:
		return "PostgreSQL answers, and noggin's schema is there", nil
	case errors.Is(err, storage.ErrSchema):
		return "PostgreSQL answers; `noggin init-db` will make or complete the schema", nil
	}
	return "", cmdline.Hint(cmdline.WithCode(cmdline.ExitDatabase, errors.New(strings.TrimPrefix(err.Error(), "read the state of the mirror: "))), howToMake(err, given)...)
}

// notThere is what PostgreSQL says of a role or database that is missing. Names that a
// shell would read otherwise are left out.
var notThere = regexp.MustCompile(`pq: (role|database) "([a-z_][a-z0-9_]*)" does not exist`)

// howToMake says how to make the role or the database that is missing.
func howToMake(err error, given string) []string {
	m := notThere.FindStringSubmatch(err.Error())
	if m == nil {
		return nil
	}
	if m[1] == "role" {
		return []string{"to make it, on the database's host: `sudo -u postgres createuser --createdb " + m[2] + "`"}
	}
	owner := serviceUser
	if u, err := url.Parse(given); err == nil && u.User.Username() != "" {
		owner = u.User.Username()
	} else if me, err := user.Current(); err == nil {
		owner = me.Username
	}
	if !notThere.MatchString(`pq: role "` + owner + `" does not exist`) {
		return nil
	}
	return []string{"to make it, on the database's host: `sudo -u postgres createdb --owner " + owner + " " + m[2] + "`"}
}

// tryToken is a token for the question whether an API answers at all.
const tryToken = "noggin-setup-asks-whether-an-API-answers"

// tryAPI asks the API for a record that does not exist. Without a token it only looks
// whether an API answers at the address.
func tryAPI(ctx context.Context, client api.Config, form string) (told string, err error) {
	anyToken := client.BearerToken == ""
	if anyToken {
		client.BearerToken = tryToken
	}
	if client.Namespace == "" {
		client.Namespace = strings.Repeat("0", 64)
	}
	client.MaxRetries = 0
	if err := client.Validate(); err != nil {
		return "", cmdline.Usagef("%s", strings.Join(config.Messages(err), "; "))
	}
	c, err := api.New(client, nil)
	if err != nil {
		return "", cmdline.Usagef("%s", strings.Join(config.Messages(err), "; "))
	}
	defer c.Close()
	_, err = c.Probe(ctx, form)
	var failed *api.Error
	switch {
	case err == nil && anyToken:
		return "something answers as an API does", nil
	case err == nil:
		return "the API takes the token", nil
	case !errors.As(err, &failed):
		return "", err
	case anyToken && (failed.Kind == api.KindAuthentication || failed.Kind == api.KindPermission):
		return "the API answers, and asks for a token", nil
	}
	message, remedy := session.ExplainProbe(failed, time.Time{}, time.Now())
	code := cmdline.ExitAPI
	if failed.Kind == api.KindAuthentication || failed.Kind == api.KindPermission {
		code, remedy = cmdline.ExitCredentials, "type the token again, or - for another namespace; the Noggin administrator has new ones"
	}
	return "", cmdline.Hint(cmdline.WithCode(code, errors.New(message)), remedy)
}
