package apitest

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// effect is what a kind of fault does: it changes the answer, or sends it badly.
type effect struct {
	on     string // default of Fault.On; "": all requests
	always bool   // it also changes what would have been a refusal
	change func(x *exchange, f *Fault, a *answer)
	send   func(x *exchange, f *Fault, a *answer)
}

// effects are all kinds of faults.
var effects = map[string]effect{
	"delay": {}, // every kind waits for Fault.Delay first

	// Answers.
	"status":        {always: true, change: changeStatus},
	"redirect":      {change: changeRedirect},
	"redirect-loop": {always: true, change: changeRedirectLoop},
	"html":          {change: changeBody("text/html; charset=utf-8", maintenancePage)},
	"empty":         {change: changeBody("", "")},
	"body":          {change: changeToValue},
	"empty-object":  {on: OnRecord, change: changeBody("", "{}")},
	"array":         {on: OnRecord, change: changeArray},
	"malformed":     {on: OnRecord, change: changeCut},
	"html-picture":  {on: OnMedia, change: changeBody("", maintenancePage)},
	"cut-picture":   {on: OnMedia, change: changeCut},
	"error-object":  {change: changeBody("application/json", `{"error":"internal error"}`)},
	"empty-picture": {on: OnMedia, change: changeBody("", "")},

	// Versions.
	"edit":    {on: OnRecord, change: changeByEdit},
	"stale":   {change: changeStale},
	"reduced": {on: OnRecord, change: changeDocument(editReduced)},

	// Documents.
	"wrong-tip":        {on: OnRecord, change: changeDocument(editWrongTip)},
	"no-tip":           {on: OnRecord, change: changeDocument(editNoTip)},
	"no-meta":          {on: OnRecord, change: changeDocument(editNoMeta)},
	"no-id":            {on: OnRecord, change: changeDocument(editNoID)},
	"no-date":          {on: OnRecord, change: changeDocument(editNoDate)},
	"set":              {on: OnRecord, change: changeDocument(editSet)},
	"delete":           {on: OnRecord, change: changeDocument(editDelete)},
	"nul":              {on: OnRecord, change: changeDocument(editNUL)},
	"numbers-as-text":  {on: OnRecord, change: changeDocument(editNumbersAsText)},
	"double-media":     {on: OnRecord, change: changeDocument(editDoubleMedia)},
	"hostile-id":       {on: OnRecord, change: changeDocument(editHostileID)},
	"hostile-names":    {on: OnRecord, change: changeDocument(editHostileNames)},
	"hostile-field":    {on: OnRecord, change: changeDocument(editHostileField)},
	"hostile-media":    {on: OnRecord, change: changeDocument(editHostileMedia)},
	"repeated-id":      {on: OnRecord, change: changeDocument(editRepeatedID)},
	"unusual-document": {on: OnRecord, change: changeDocument(editUnusual)},

	// Sizes.
	"huge":      {change: changeHuge},
	"gzip-bomb": {change: changeGzipBomb},
	"endless":   {send: sendEndless},

	// Connections.
	"hang":        {send: sendHang},
	"hang-body":   {send: sendHangBody},
	"reset":       {send: sendReset},
	"reset-body":  {send: sendResetBody},
	"cut":         {send: sendCut},
	"cut-chunked": {send: sendCutChunked},
	"cut-close":   {send: sendCutClose},
	"drip":        {send: sendDrip},
}

// FaultKinds lists the kinds of faults.
func FaultKinds() []string { return slices.Sorted(maps.Keys(effects)) }

const maintenancePage = "<!DOCTYPE html><html><head><title>Maintenance</title></head>" +
	"<body><h1>We'll be back soon</h1><p>Noggin is down for scheduled maintenance.</p></body></html>\n"

func changeStatus(_ *exchange, f *Fault, a *answer) {
	*a = *refusal(f.Status, http.StatusText(f.Status))
	if f.Status == http.StatusNoContent || f.Status == http.StatusNotModified {
		a.parts = nil
	}
	if after := f.RetryAfter; after != "" {
		if ahead, ok := strings.CutPrefix(after, "date"); ok {
			d, _ := time.ParseDuration(ahead) // "date" alone means now
			after = time.Now().Add(d).UTC().Format(http.TimeFormat)
		}
		a.header.Set("Retry-After", after)
	}
}

// movedMark is the part of a query that says that the redirect was followed.
const movedMark = "moved=1"

func changeRedirect(x *exchange, f *Fault, a *answer) {
	if strings.Contains(x.r.URL.RawQuery, movedMark) {
		return
	}
	target := *x.r.URL
	target.RawQuery = strings.TrimPrefix(target.RawQuery+"&"+movedMark, "&")
	redirect(f, a, f.Location+target.RequestURI())
}

func changeRedirectLoop(x *exchange, f *Fault, a *answer) {
	redirect(f, a, x.r.URL.RequestURI())
}

func redirect(f *Fault, a *answer, location string) {
	status := f.Status
	if status == 0 {
		status = http.StatusFound
	}
	*a = answer{status, http.Header{"Location": {location}}, nil}
}

// changeBody replaces the body and, unless it is "", the content type.
func changeBody(contentType, body string) func(*exchange, *Fault, *answer) {
	return func(_ *exchange, _ *Fault, a *answer) {
		if contentType != "" {
			a.header.Set("Content-Type", contentType)
		}
		a.parts = [][]byte{[]byte(body)}
	}
}

func changeToValue(_ *exchange, f *Fault, a *answer) { a.parts = [][]byte{[]byte(f.Value)} }

func changeArray(_ *exchange, _ *Fault, a *answer) {
	a.parts = slices.Concat([][]byte{[]byte("[")}, a.parts, [][]byte{[]byte("]")})
}

// changeCut drops the body's end and declares the shorter length.
func changeCut(_ *exchange, f *Fault, a *answer) { a.parts = kept(f, a) }

// kept is the part of the body that a cut still sends.
func kept(f *Fault, a *answer) [][]byte {
	left := int(f.Keep * float64(sizeOf(a.parts)))
	var parts [][]byte
	for _, p := range a.parts {
		p = p[:min(left, len(p))]
		left -= len(p)
		parts = append(parts, p)
	}
	return parts
}

func sendHang(x *exchange, _ *Fault, _ *answer) {
	select {
	case <-x.r.Context().Done():
	case <-x.server.leaving.Done():
	}
	x.sever(false)
}

func sendHangBody(x *exchange, f *Fault, a *answer) {
	x.beginBody(f, a)
	sendHang(x, f, a)
}

func sendReset(x *exchange, _ *Fault, _ *answer) { x.sever(true) }

func sendResetBody(x *exchange, f *Fault, a *answer) {
	x.beginBody(f, a)
	x.sever(true)
}

// sendCut declares the whole length and closes in the middle.
func sendCut(x *exchange, f *Fault, a *answer) {
	x.beginBody(f, a)
	x.sever(false)
}

// sendCutChunked declares no length and omits the last chunk.
func sendCutChunked(x *exchange, f *Fault, a *answer) {
	x.head(a, -1)
	x.body(kept(f, a))
	x.flush()
	x.sever(false)
}

// sendCutClose ends the body with the connection, so that nothing in HTTP shows the cut.
// A value replaces the body first.
func sendCutClose(x *exchange, f *Fault, a *answer) {
	if f.Value != "" {
		changeToValue(x, f, a)
	}
	conn := x.hijack()
	if conn == nil {
		return
	}
	defer conn.Close()
	x.status = a.status
	header := "HTTP/1.1 " + strconv.Itoa(a.status) + " " + http.StatusText(a.status) + "\r\n" +
		"Content-Type: " + a.header.Get("Content-Type") + "\r\nConnection: close\r\n\r\n"
	parts := append([][]byte{[]byte(header)}, kept(f, a)...)
	buffers := net.Buffers(parts)
	n, _ := buffers.WriteTo(conn) // the client may leave, as always
	x.sent = max(n-int64(len(header)), 0)
}

// sendDrip sends Size bytes (default 1) every Pause (default 1s).
func sendDrip(x *exchange, f *Fault, a *answer) {
	pause, piece := f.Pause, int(f.Size)
	if pause == 0 {
		pause = time.Second
	}
	x.head(a, sizeOf(a.parts))
	for _, part := range a.parts {
		for drop := range slices.Chunk(part, max(piece, 1)) {
			if x.gone() || !x.body([][]byte{drop}) {
				return
			}
			x.flush()
			x.wait(pause)
		}
	}
}

// beginBody sends the header with the whole length and the first part of the body.
func (x *exchange) beginBody(f *Fault, a *answer) {
	x.head(a, sizeOf(a.parts))
	x.body(kept(f, a))
	x.flush()
}

func (x *exchange) flush() {
	_ = http.NewResponseController(x.w).Flush() // the client may leave, as always
}

func (x *exchange) hijack() net.Conn {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the connection is gone
	}
	return conn
}

// sever closes the connection, with a reset when reset is set.
func (x *exchange) sever(reset bool) {
	conn := x.hijack()
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // on an error it closes without a reset
	}
	_ = conn.Close() // an error changes nothing
}
