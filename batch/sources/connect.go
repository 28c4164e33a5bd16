package sources

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"noggin/batch/files"
)

var (
	// ErrRefused says that the server's key is not trusted, or that the server refuses
	// ours.
	ErrRefused = errors.New("the connection is refused")
	// ErrUnreachable says that the server cannot be reached, hangs, or broke the
	// connection.
	ErrUnreachable = errors.New("the SFTP server is unreachable")
)

// connection is a session with a server. Whoever waits for the server calls within.
type connection struct {
	tcp     net.Conn
	ssh     *ssh.Client
	sftp    *sftp.Client
	patient time.Duration // for an answer
	source  Source
	host    string
	folder  string
	stop    func() bool // of the watch on the context
}

// connect logs in. Its errors wrap [ErrRefused], [ErrUnreachable], or say what is wrong
// with the configuration.
func connect(ctx context.Context, s Source, patient time.Duration) (*connection, error) {
	a, err := s.address()
	if err != nil {
		return nil, err
	}
	signer, err := readKey(s)
	if err != nil {
		return nil, err
	}
	known, err := knownhosts.New(s.KnownHosts)
	if err != nil {
		return nil, fmt.Errorf("read known_hosts of the source %s: %w", s.Name, err)
	}
	tcp, err := (&net.Dialer{Timeout: patient}).DialContext(ctx, "tcp", a.host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c := &connection{tcp: tcp, patient: patient, source: s, host: a.host, folder: a.folder}
	c.stop = context.AfterFunc(ctx, c.cut)
	if err := c.login(a, signer, known); err != nil {
		c.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return c, nil
}

func (c *connection) login(a address, signer ssh.Signer, known ssh.HostKeyCallback) error {
	var distrust error
	config := &ssh.ClientConfig{
		User: a.user,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			distrust = c.explainHostKey(known(host, remote, key), key)
			return distrust
		},
		HostKeyAlgorithms: hostKeyAlgorithms(known, a.host, c.tcp.RemoteAddr()),
		ClientVersion:     "SSH-2.0-noggin",
	}
	err := c.within(func() error {
		conn, channels, requests, err := ssh.NewClientConn(c.tcp, a.host, config)
		if err != nil {
			return err
		}
		c.ssh = ssh.NewClient(conn, channels, requests)
		c.sftp, err = sftp.NewClient(c.ssh)
		return err
	})
	switch {
	case distrust != nil:
		return distrust
	case err != nil && strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%w: %s does not accept the key %s (%s) for the user %s", ErrRefused, a.host,
			c.source.KeyFile, ssh.FingerprintSHA256(signer.PublicKey()), a.user)
	case err != nil && c.ssh != nil && !errors.Is(err, ErrUnreachable):
		return fmt.Errorf("%w: %s accepts the key, but has no SFTP for the user %s: %w", ErrUnreachable, a.host, a.user, err)
	case err != nil:
		return c.explain(err)
	}
	return nil
}

// explainHostKey says what known_hosts has against the key of a server.
func (c *connection) explainHostKey(err error, key ssh.PublicKey) error {
	if err == nil {
		return nil
	}
	fingerprint := fmt.Sprintf("%s %s", key.Type(), ssh.FingerprintSHA256(key))
	var known *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		return fmt.Errorf("%w: the key of %s is revoked in %s: %s", ErrRefused, c.host, c.source.KnownHosts, fingerprint)
	case errors.As(err, &known) && len(known.Want) > 0:
		var want []string
		for _, k := range known.Want {
			want = append(want, fmt.Sprintf("%s %s (line %d)", k.Key.Type(), ssh.FingerprintSHA256(k.Key), k.Line))
		}
		return fmt.Errorf("%w: the key of %s has changed: it is %s, and %s has %s; another machine may stand in for it: ask who runs the server before you change the file",
			ErrRefused, c.host, fingerprint, c.source.KnownHosts, strings.Join(want, ", "))
	case errors.As(err, &known):
		return fmt.Errorf("%w: the key of %s is not in %s: it is %s; when who runs the server confirms that, add it as `ssh-keyscan` prints it",
			ErrRefused, c.host, c.source.KnownHosts, fingerprint)
	}
	return fmt.Errorf("%w: the key of %s, %s, cannot be checked: %w", ErrRefused, c.host, fingerprint, err)
}

// hostKeyAlgorithms puts those first for which known_hosts has a key of the server. It
// would offer another of its keys otherwise, which looks like a changed one.
func hostKeyAlgorithms(known ssh.HostKeyCallback, host string, remote net.Addr) []string {
	all := ssh.SupportedAlgorithms().HostKeys
	none, err := ssh.NewPublicKey(make(ed25519.PublicKey, ed25519.PublicKeySize))
	if err != nil {
		return all
	}
	var mismatch *knownhosts.KeyError
	if !errors.As(known(host, remote, none), &mismatch) {
		return all
	}
	listed := func(algorithm string) bool {
		return slices.ContainsFunc(mismatch.Want, func(k knownhosts.KnownKey) bool {
			kind := k.Key.Type()
			return kind == algorithm || kind == ssh.KeyAlgoRSA && (algorithm == ssh.KeyAlgoRSASHA256 || algorithm == ssh.KeyAlgoRSASHA512)
		})
	}
	slices.SortStableFunc(all, func(a, b string) int {
		switch inA, inB := listed(a), listed(b); {
		case inA == inB:
			return 0
		case inA:
			return -1
		}
		return 1
	})
	return all
}

// forOthers are the permissions that the file of a key must not give.
const forOthers = 0o007

func readKey(s Source) (ssh.Signer, error) {
	if !filepath.IsAbs(s.KeyFile) {
		return nil, fmt.Errorf("the source %s has no key: name its file in key_file, or give the service the systemd credential %s", s.Name, s.KeyFile)
	}
	info, err := os.Stat(s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the key of the source %s: %w", s.Name, err)
	}
	if info.Mode().Perm()&forOthers != 0 {
		return nil, fmt.Errorf("the key of the source %s can be read by others: chmod o-rwx %s", s.Name, files.ShellQuoted(s.KeyFile))
	}
	text, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the key of the source %s: %w", s.Name, err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		return nil, fmt.Errorf("the key of the source %s in %s has a passphrase, which nobody can type in a timer: make one without, `ssh-keygen -t ed25519 -N '' -f %s`", s.Name, s.KeyFile, files.ShellQuoted(s.KeyFile))
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the source %s in %s is no private key that OpenSSH writes: %w", s.Name, s.KeyFile, err)
	}
	return signer, nil
}

// within does something with the server, which must end in time.
func (c *connection) within(do func() error) error {
	late := time.AfterFunc(c.patient, c.cut)
	err := do()
	if !late.Stop() && err != nil {
		return fmt.Errorf("%w: %s did not answer within %s", ErrUnreachable, c.host, c.patient)
	}
	return err
}

// cut breaks the connection, so that whoever waits for the server goes on.
func (c *connection) cut() { _ = c.tcp.Close() }

// explain tells an answer of the server, which is no fault of the connection, from all
// that is one.
func (c *connection) explain(err error) error {
	var status *sftp.StatusError
	switch {
	case err == nil, errors.Is(err, ErrUnreachable), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return err
	case errors.As(err, &status):
		return err
	}
	return fmt.Errorf("%w: the connection to %s broke: %w", ErrUnreachable, c.host, err)
}

// Close ends the session.
func (c *connection) Close() {
	c.stop()
	c.cut()
	if c.sftp != nil {
		_ = c.sftp.Close()
	}
	if c.ssh != nil {
		_ = c.ssh.Close()
	}
}

// joinHostPort is net.JoinHostPort, for a host that a URL may have in brackets.
func joinHostPort(host, port string) string { return net.JoinHostPort(strings.Trim(host, "[]"), port) }
