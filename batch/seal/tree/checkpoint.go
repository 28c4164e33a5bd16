package tree

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is the signed state of a log: three lines (the log's origin, its size, the
// root of its tree in base64) and a signature, as C2SP's tlog-checkpoint has it.
type Checkpoint struct {
	Origin string
	tlog.Tree
	Note string // as it was signed
}

// Sign makes the checkpoint of a tree.
func Sign(origin string, tree tlog.Tree, signer note.Signer) (Checkpoint, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, tree.N, base64.StdEncoding.EncodeToString(tree.Hash[:]))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign a checkpoint: %w", err)
	}
	return Checkpoint{origin, tree, string(signed)}, nil
}

// ErrForeignKey says that a checkpoint has no signature of the key.
var ErrForeignKey = errors.New("it is not signed by the log's key")

// OpenCheckpoint reads a checkpoint and verifies its signature. The error wraps
// ErrForeignKey when none of the keys signed it.
func OpenCheckpoint(text string, keys ...note.Verifier) (Checkpoint, error) {
	c, err := readCheckpoint(text)
	if err != nil {
		return c, err
	}
	if _, err := note.Open([]byte(c.Note), note.VerifierList(keys...)); err != nil {
		if unverified, ok := errors.AsType[*note.UnverifiedNoteError](err); ok && len(unverified.Note.UnverifiedSigs) > 0 {
			return c, fmt.Errorf("%w, but by %s", ErrForeignKey, unverified.Note.UnverifiedSigs[0].Name)
		}
		return c, fmt.Errorf("%w: %w", ErrForeignKey, err)
	}
	return c, nil
}

// readCheckpoint reads a checkpoint without a look at its signature. Line ends that a mail
// program changed are no fault.
func readCheckpoint(text string) (Checkpoint, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	c := Checkpoint{Note: text}
	lines := strings.Split(text, "\n")
	if len(lines) < 5 || lines[0] == "" || !strings.HasPrefix(lines[4], "\u2014 ") {
		return c, errors.New("it is no checkpoint: want a log's name, its size, its root and a signature, each on a line")
	}
	const most = 1 << 48 // leaves; tlog does not end with sizes near 1 << 62
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, rootErr := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || size < 0 || size > most || strconv.FormatInt(size, 10) != lines[1] || rootErr != nil || len(root) != tlog.HashSize {
		return c, errors.New("it is no checkpoint: its second line is no size, or its third line no root")
	}
	c.Origin, c.N = lines[0], size
	copy(c.Hash[:], root)
	return c, nil
}
