package textreport

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRichTextBecomesPlainText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"sample", "<p>Chains &amp; dogs <b>worn</b>; replaced on site</p>", "Chains & dogs worn; replaced on site"},
		{"paragraphs", "<p>One\n two</p>\n<p>Three</p>", "One two\n\nThree"},
		{"breaks", "a<br>b<br/><br>c", "a\nb\n\nc"},
		{"blocks", "<div>a</div><div>b<div>c</div></div>", "a\nb\nc"},
		{"heading", "<h2>Top</h2>text", "Top\n\ntext"},
		{"inline", "un<b>der</b>line <i> spaced </i>!", "underline spaced !"},
		{"list", "Before<ul><li>a</li><li><p>b</p><p>c</p><ul><li>d</ul></ul>after", "Before\n\n- a\n- b\n  c\n  - d\n\nafter"},
		{"numbers", "<ol start=9><li>a<li>b</ol>", "9. a\n10. b"},
		{"empty item", "<ul><li></li><li>x</li></ul>", "- x"},
		{"table", "<table><tr><th>A</th><th>B</th></tr><tr><td><p>1</p></td><td>2<br>3</td></tr><tr><td></td><td>x</td></tr></table>after", "A | B\n1 | 2 3\n| x\n\nafter"},
		{"link", `see <a href="https://example.org/x">this</a>.`, "see this (https://example.org/x)."},
		{"link is its text", `<a href="mailto:a@b.c">a@b.c</a>`, "a@b.c"},
		{"script link", `<a href="javascript:alert(1)">x</a><a href="#top">y</a>`, "xy"},
		{"image", `<img src="/media/file?ns=1" alt="wheel">`, "[image: wheel]"},
		{"entities", "5 &lt; 6 &eacute;&nbsp;&#8364; &bogus; &amp;lt;<br>", "5 < 6 é € &bogus; &lt;"},
		{"scripts", "a<script>alert('</p>')</script><style>p{}</style><!-- c -->b", "ab"},
		{"endless script", "a<script>x", "a"},
		{"pre", "<pre>a  b\n\n  c</pre>", "a  b\n\n  c"},
		{"rule", "a<hr>b", "a\n\n----\n\nb"},
		{"plain text keeps its lines", "one\r\ntwo &amp; three  \n\n\n\nfour", "one\ntwo & three\n\nfour"},
		{"less than", "mass < 5t and <5t <br>ok", "mass < 5t and <5t\nok"},
		{"tag that never ends", "<b>x</b> mass <max", "x mass <max"},
		{"tag that is none", "<p>load <max> and </ 5</p>", "load <max> and </ 5</p>"},
		{"office", "<p>a<o:p></o:p></p>", "a"},
		{"noscript", "<noscript><b>x</b></noscript>", "x"},
		{"stray ends", "</ul></li></p></a></table>a", "a"},
		{"empty", "<p>&nbsp;</p><p></p>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := htmlText(c.in); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestDeepMarkupIsReadInOnePass(t *testing.T) {
	const n = 200_000
	for _, tag := range []string{"<ul><li>", "<b>", "<table><tr><td>", "<a href=x>", "<pre>"} {
		got := htmlText(strings.Repeat(tag, n) + "end")
		if !strings.HasSuffix(got, "end") || len(got) > 4*n*len(tag) {
			t.Errorf("%s: %d bytes", tag, len(got))
		}
	}
}

func FuzzHTMLText(f *testing.F) {
	f.Add("<p>Chains &amp; dogs <b>worn</b></p><ul><li>a<ol start=3><li>b</ol></ul><table><tr><td>x<td>y</table>")
	f.Add("a<script>b</script><pre>c\n\nd</pre><a href='x'>y</a><br><br></br><hr></")
	f.Add("5 < 6 <max")
	f.Fuzz(func(t *testing.T, s string) {
		got := htmlText(s)
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%q: not UTF-8: %q", s, got)
		}
		if len(got) > 32*len(s)+100 {
			t.Errorf("%d bytes of %d", len(got), len(s))
		}
		if strings.Contains(got, "\n\n\n") || strings.HasSuffix(got, "\n") || strings.Contains(got, " \n") {
			t.Errorf("%q: untidy: %q", s, got)
		}
		if !strings.ContainsAny(s, "<&") {
			squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
			if squeeze(got) != squeeze(s) {
				t.Errorf("%q: plain text changed: %q", s, got)
			}
		}
	})
}
