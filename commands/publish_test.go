package commands

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// publishExample matches an example of [seal] publish.
var publishExample = regexp.MustCompile(`(?m)^\W*publish = '(.+)'$`)

// takeMail is a mail server that takes one mail.
func takeMail(listener net.Listener, mails chan<- string) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	lines, text, inside := bufio.NewScanner(conn), strings.Builder{}, false
	_, _ = fmt.Fprint(conn, "220 test\r\n")
	for lines.Scan() {
		switch line := lines.Text(); {
		case inside && line == ".":
			inside = false
			mails <- text.String()
			_, _ = fmt.Fprint(conn, "250 taken\r\n")
		case inside:
			text.WriteString(line + "\r\n")
		case line == "DATA":
			inside = true
			_, _ = fmt.Fprint(conn, "354 go on\r\n")
		case line == "QUIT":
			_, _ = fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			_, _ = fmt.Fprint(conn, "250 well\r\n")
		}
	}
}

// The program mail hands over to sendmail, which the sandbox of noggin-seal denies its
// rights, and may end with 0 all the same.
func TestTheExampleOfPublishMailsTheWholeCheckpoint(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is missing, and .ci/run installs it: ", err)
	}
	checkpoint := filepath.Join(t.TempDir(), "checkpoint-000000000004")
	const note = "example.com/inspections/1\n4\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u2014 example.com/inspections Az3grlgtzPICa5OS\n"
	if err := os.WriteFile(checkpoint, []byte(note), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"../config.example.toml", guide} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for _, example := range publishExample.FindAllStringSubmatch(string(text), -1) {
			command := example[1]
			if strings.HasPrefix(command, "mail ") {
				t.Errorf("%s: %s", file, command)
			}
			if !strings.Contains(command, "smtp://localhost") {
				continue
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			mails := make(chan string, 1)
			go takeMail(listener, mails)
			command = strings.ReplaceAll(command, "localhost", listener.Addr().String())
			if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", command, "publish", checkpoint).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
			if got := attached(t, <-mails); got != note {
				t.Errorf("%s: %q, want %q", file, got, note)
			}
			sent++
		}
		if sent != 1 {
			t.Errorf("%s: %d examples send a mail", file, sent)
		}
	}
}

// attached is what is attached to a mail.
func attached(t *testing.T, text string) string {
	t.Helper()
	message, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	part, err := multipart.NewReader(message.Body, params["boundary"]).NextPart()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
