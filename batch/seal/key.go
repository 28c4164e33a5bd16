package seal

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"noggin/batch/files"
)

// credentialName is the file in systemd's credential directory that holds the key.
const credentialName = "seal_key"

// Config is the section [seal].
type Config struct {
	// KeyFile is the file with the secret key. A credential seal_key of the service comes
	// before it.
	KeyFile string `toml:"key_file"`
	// Publish is a shell command that gives a new checkpoint to somebody else. It gets the
	// path of the checkpoint as $1. Empty: none.
	Publish string `toml:"publish"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{KeyFile: "/etc/noggin/seal.key"} }

// Validate reports every wrong value, joined.
func (c Config) Validate() error {
	if !filepath.IsAbs(c.KeyFile) {
		return fmt.Errorf("[seal] key_file = %q: want an absolute path", c.KeyFile)
	}
	return nil
}

// ErrNoKey says that there is no key yet.
var ErrNoKey = errors.New("there is no key to seal with: `sudo noggin seal init` makes one")

// key is the secret key of the logs, with its public half.
type key struct {
	signer   note.Signer
	verifier string
}

// loadKey reads the key: the credential, or else the key file.
func loadKey(c Config, credentials string) (key, error) {
	if credentials != "" {
		credential := filepath.Join(credentials, credentialName)
		if _, err := os.Stat(credential); err == nil {
			return readKey(credential, 0o777) // systemd guards it
		}
	}
	return readKey(c.KeyFile, ownersAlone)
}

const ownersAlone fs.FileMode = 0o700

// readKey reads a key file, which has no other permissions than these.
func readKey(path string, allowed fs.FileMode) (key, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return key{}, fmt.Errorf("%w (%s is missing)", ErrNoKey, path)
	case err != nil:
		return key{}, fmt.Errorf("read the key to seal with: %w", err)
	case info.Mode().Perm()&^allowed != 0:
		return key{}, fmt.Errorf("the key in %s can be read or written by others: chmod 600 %s", path, files.ShellQuoted(path))
	case !info.Mode().IsRegular() || info.Size() > 4096:
		return key{}, fmt.Errorf("%s is no key to seal with: %s, %d bytes", path, info.Mode(), info.Size())
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return key{}, fmt.Errorf("this user may not read the key in %s: its owner is %s; the service gets it: `sudo systemctl start noggin-seal`", path, files.UserName(files.OwnerOf(info)))
	}
	if err != nil {
		return key{}, fmt.Errorf("read the key to seal with: %w", err)
	}
	return parseKey(string(text), path)
}

func parseKey(text, path string) (key, error) {
	secret := strings.TrimSpace(text)
	signer, err := note.NewSigner(secret)
	if err != nil {
		return key{}, fmt.Errorf("%s holds no key to seal with (what it holds is not shown): `sudo noggin seal init` makes one", path)
	}
	public, err := publicOf(secret)
	if err != nil {
		return key{}, fmt.Errorf("%s: %w", path, err)
	}
	return key{signer, public}, nil
}

// publicOf returns the public key of a secret key, as note.NewVerifier takes it.
func publicOf(secret string) (string, error) {
	parts := strings.SplitN(secret, "+", 5) // PRIVATE+KEY+name+id+algorithm and seed
	seed, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil {
		return "", fmt.Errorf("read the key to seal with: %w", err)
	}
	public, _ := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(parts[2], public)
}

// keyName is the name of a key in the signatures, which begins the name of its logs.
var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9./-]{0,62}$`)

// ErrBadName says that a text cannot be the name of a key.
var ErrBadName = errors.New("want 1 to 63 letters, digits, dots, slashes and hyphens, such as example.com/inspections")

// Init makes a key of that name in the key file, unless there is one, and keeps its public
// half beside the checkpoints. It returns the public key and whether it is new.
func Init(c Config, checkpoints, name string) (public string, made bool, err error) {
	if _, err := os.Lstat(c.KeyFile); errors.Is(err, fs.ErrNotExist) {
		if !keyName.MatchString(name) {
			return "", false, fmt.Errorf("the key's name %q: %w", name, ErrBadName)
		}
		secret, _, err := note.GenerateKey(rand.Reader, name)
		if err != nil {
			return "", false, fmt.Errorf("make a key: %w", err)
		}
		err = files.WriteNew(c.KeyFile, 0o600, func(w io.Writer) error { _, err := io.WriteString(w, secret+"\n"); return err })
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", false, err
		}
		made = err == nil
	}
	k, err := readKey(c.KeyFile, ownersAlone)
	if err != nil {
		return "", made, err
	}
	return k.verifier, made, keepPublicKey(checkpoints, k.verifier)
}

// keepPublicKey writes the public key beside the checkpoints, unless it is there.
func keepPublicKey(checkpoints, verifier string) error {
	name, rest, _ := strings.Cut(verifier, "+")
	id, _, _ := strings.Cut(rest, "+")
	err := files.WriteNew(filepath.Join(checkpoints, folderName(name)+"-"+id+".pub"), 0o644, func(w io.Writer) error {
		_, err := io.WriteString(w, verifier+"\n")
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// folderName makes the name of a folder of the name of a log or key.
func folderName(origin string) string { return strings.ReplaceAll(origin, "/", "_") }
