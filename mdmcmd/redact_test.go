package mdmcmd_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

const (
	acknowledged = `<key>Status</key><string>Acknowledged</string>`
	withCode     = acknowledged + `<key>ActivationLockBypassCode</key><string>` + code + `</string>`
	without      = acknowledged + `<key>ActivationLockBypassCode</key><string>[redacted]</string>`
)

var (
	lower    = strings.ToLower(code)
	dashless = strings.ReplaceAll(code, "-", "")
)

// squeezed is a spelling without case, dashes and white space.
func squeezed(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("- \t\r\n", r) {
			return -1
		}
		return r
	}, strings.ToUpper(s))
}

// requireGone fails if the code stands in a list in any spelling: as written,
// or in any text that the independent reader finds.
func requireGone(tb testing.TB, raw []byte, secret string) {
	tb.Helper()
	_, texts, err := read(raw)
	require.NoError(tb, err)
	for _, text := range append(texts, string(raw)) {
		if strings.Contains(squeezed(text), squeezed(secret)) {
			tb.Fatalf("the code is still there")
		}
	}
}

// requireRedacted redacts, and checks what must hold of every result.
func requireRedacted(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	before := bytes.Clone(raw)
	out, err := mdmcmd.Redact(raw)
	require.NoError(tb, err)
	require.Equal(tb, before, raw, "the input was changed")
	again, err := mdmcmd.Redact(out)
	require.NoError(tb, err)
	require.Equal(tb, out, again, "not idempotent")
	return out
}

func TestRedactKeepsTheRest(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"bypass-code", "bypass-code-mac", "bypass-code-beside-error"} {
		for _, edit := range []func(string) string{
			func(s string) string { return s },
			func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
			func(s string) string { return strings.ReplaceAll(s, "\t", "") + "\n<!-- end -->\n" },
		} {
			raw := edit(string(sent(t, file)))
			prefix, suffix, found := strings.Cut(raw, code)
			require.True(t, found)
			out := string(requireRedacted(t, []byte(raw)))
			require.True(t, strings.HasPrefix(out, prefix), file)
			require.True(t, strings.HasSuffix(out, suffix), file)
			require.Equal(t, "[redacted]", out[len(prefix):len(out)-len(suffix)])

			before, after := parseReport(t, []byte(raw)), parseReport(t, []byte(out))
			text, result := after.BypassCodeAnswer()
			require.Equal(t, mdmcmd.BypassCodeRedacted, result)
			require.True(t, text.IsZero())
			require.Equal(t, before.Status, after.Status)
			require.Equal(t, before.Enrollment, after.Enrollment)
			require.Equal(t, before.ErrorChain, after.ErrorChain)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	const start, end = `<key>ActivationLockBypassCode</key><string>`, `</string>`
	const value = start + `[redacted]` + end
	encoded := base64.StdEncoding.EncodeToString([]byte("x " + code + " y"))
	for _, test := range []struct{ name, before, after string }{
		{"plain", start + code + end, value},
		{"decimal entity", start + `&#69;` + code[1:] + end, value},
		{"entities", start + strings.ReplaceAll(code, "-", "&#x2d;") + end, value},
		{"CDATA", start + `<![CDATA[` + code + `]]>` + end, value},
		{"CDATA and text", start + code[:5] + `<![CDATA[` + code[5:10] + `]]>` + code[10:] + end, value},
		{"comment inside", start + code[:5] + `<!-- ` + lower + ` -->` + code[5:] + end, value},
		{"key in entities", `<key>&#65;ctivationLock<![CDATA[Bypass]]>Code</key><string>` + code + end, `<key>&#65;ctivationLock<![CDATA[Bypass]]>Code</key><string>[redacted]` + end},
		{"key with a comment", `<key>ActivationLock<!-- x -->BypassCode</key><string>` + code + end, `<key>ActivationLock<!-- x -->BypassCode</key><string>[redacted]` + end},
		{"comment before the value", `<key>ActivationLockBypassCode</key><!-- x --> <string>` + code + end, `<key>ActivationLockBypassCode</key><!-- x --> <string>[redacted]` + end},
		{"lower case", start + lower + end, value},
		{"white space around", start + "\n " + code + "\t" + end, value},
		{"space in tags", `<key >ActivationLockBypassCode</key ><string >` + code + `</string >`, `<key >ActivationLockBypassCode</key ><string >[redacted]</string >`},

		{"again", start + code + end + `<key>k</key><string>` + code + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again before", `<key>a</key><string>` + code + `</string>` + start + code + end, `<key>a</key><string>[redacted]</string>` + value},
		{"again in lower case", start + code + end + `<key>k</key><string>` + lower + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again in upper case", start + lower + end + `<key>k</key><string>` + code + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again without dashes", start + code + end + `<key>k</key><string>` + dashless + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again with dashes", start + dashless + end + `<key>k</key><string>` + code + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again with spaces", start + code + end + `<key>k</key><string>` + strings.ReplaceAll(code, "-", " - ") + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again over lines", start + code + end + `<key>k</key><string>` + strings.ReplaceAll(code, "-", "-\r\n\t") + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again in a sentence", start + code + end + `<key>k</key><string>the code is ` + lower + `.</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again in entities", start + code + end + `<key>k</key><string>` + strings.ReplaceAll(code, "E", "&#69;") + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again in CDATA", start + code + end + `<key>k</key><string>a<![CDATA[` + code + `]]></string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again around a comment", start + code + end + `<key>k</key><string>` + code[:9] + `<!---->` + code[9:] + `</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again in a comment in a string", start + code + end + `<key>k</key><string>x<!-- ` + dashless + ` --></string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"again in a comment in a boolean", start + code + end + `<key>k</key><true><!-- ` + lower + ` --></true>`, value + `<key>k</key><true></true>`},
		{"again in a comment", start + code + end + `<!-- ` + code + ` -->`, value + `<!-- [redacted] -->`},
		{"again in comments", `<!--` + lower + `-->` + start + code + end + `<!-- x ` + dashless + ` y -->`, `<!-- [redacted] -->` + value + `<!-- [redacted] -->`},
		{"other comments", `<!-- a -->` + start + code + end + `<!--b-->`, `<!-- a -->` + value + `<!--b-->`},
		{"again in a key", start + code + end + `<key>` + code + `</key><true/>`, value + `<key>[redacted]</key><true/>`},
		{"again in part of a key", start + code + end + `<key>is ` + dashless + `</key><true/>`, value + `<key>[redacted]</key><true/>`},
		{"again in data", start + code + end + `<key>k</key><data>` + encoded + `</data>`, value + `<key>k</key><data></data>`},
		{"again in data with line breaks", start + code + end + "<key>k</key><data>\n\t" + encoded[:20] + "\n\t" + encoded[20:] + "\n</data>", value + `<key>k</key><data></data>`},
		{"again as data", start + dashless + end + `<key>k</key><data>` + dashless + `==</data>`, value + `<key>k</key><data></data>`},
		{"again as data in entities", start + dashless + end + `<key>k</key><data>` + strings.ReplaceAll(dashless, "E", "&#69;") + `==</data>`, value + `<key>k</key><data></data>`},
		{"data that nobody can decode", start + code + end + `<key>k</key><data>!` + encoded + `</data>`, value + `<key>k</key><data></data>`},
		{"other data", start + code + end + `<key>k</key><data>aGVsbG8=</data>`, value + `<key>k</key><data>aGVsbG8=</data>`},
		{"again in an array", start + code + end + `<key>k</key><array><string>` + code + `</string><string>x</string></array>`, value + `<key>k</key><array><string>[redacted]</string><string>x</string></array>`},
		{"deep down", `<key>a</key><array><dict><key>b</key><dict>` + start + code + end + `</dict></dict></array><key>k</key><string>` + lower + `</string>`, `<key>a</key><array><dict><key>b</key><dict>` + value + `</dict></dict></array><key>k</key><string>[redacted]</string>`},
		{"two codes", `<key>a</key><dict>` + start + `AAAAA-BBBBB` + end + `</dict>` + start + code + end + `<key>k</key><string>aaaaabbbbb</string>`, `<key>a</key><dict>` + value + `</dict>` + value + `<key>k</key><string>[redacted]</string>`},
		{"beside a redacted one", `<key>a</key><dict>` + value + `</dict>` + start + code + end, `<key>a</key><dict>` + value + `</dict>` + value},
		{"beside an empty one", `<key>a</key><dict>` + start + end + `</dict>` + start + code + end, `<key>a</key><dict>` + start + end + `</dict>` + value},
		{"beside empty ones", `<key>a</key><dict><key>ActivationLockBypassCode</key><string/></dict><key>b</key><dict>` + start + `<![CDATA[]]>` + end + `</dict>` + start + code + end, `<key>a</key><dict><key>ActivationLockBypassCode</key><string/></dict><key>b</key><dict>` + start + `<![CDATA[]]>` + end + `</dict>` + value},
		{"the same often", start + code + end + `<key>k</key><array>` + strings.Repeat(`<dict>`+start+code+end+`</dict>`, 20) + `</array>`, value + `<key>k</key><array>` + strings.Repeat(`<dict>`+value+`</dict>`, 20) + `</array>`},
		{"numbers stay", start + code + end + `<key>k</key><integer>1</integer><key>l</key><real>1.5</real>`, value + `<key>k</key><integer>1</integer><key>l</key><real>1.5</real>`},

		{"short code", start + `a` + end + `<key>k</key><string>banana</string><key>a</key><string>a</string>`, value + `<key>k</key><string>banana</string><key>[redacted]</key><string>[redacted]</string>`},
		{"short with its dashes", start + `------------a` + end + `<key>k</key><string>a</string>`, value + `<key>k</key><string>a</string>`},
		{"white space", start + ` ` + end + `<key>k</key><string>a b</string>`, value + `<key>k</key><string>a b</string>`},
		{"markup", start + `&lt;b&gt;&amp;&lt;/b&gt;` + end, value},
		{"not ASCII", start + `ключ-Ключ` + end + `<key>k</key><string>КЛЮЧКЛЮЧ</string>`, value + `<key>k</key><string>[redacted]</string>`},
		{"another redaction mark", start + `REDACTED!` + end, value},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			raw := list(acknowledged + test.before)
			before, err := mdmcmd.Parse(raw)
			if test.name != "data that nobody can decode" {
				require.NoError(t, err)
				require.NotNil(t, before)
			}
			out := requireRedacted(t, raw)
			require.Equal(t, string(list(acknowledged+test.after)), string(out))
			after := parseReport(t, out)
			if text, result := after.BypassCodeAnswer(); after.BypassCode != nil {
				require.Equal(t, mdmcmd.BypassCodeRedacted, result)
				require.True(t, text.IsZero())
			}
			if strings.Contains(squeezed(string(raw)), squeezed(code)) {
				requireGone(t, out, code)
			}
		})
	}
}

func TestRedactLeavesAlone(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"no code":            sent(t, "device-information-mac"),
		"check-in":           sent(t, "token-update"),
		"other message":      sent(t, "declarative-management"),
		"missing code":       sent(t, "bypass-code-missing"),
		"empty code":         sent(t, "bypass-code-empty"),
		"redacted code":      sent(t, "bypass-code-redacted"),
		"no value":           list(acknowledged + `<key>ActivationLockBypassCode</key><string/>`),
		"only a comment":     list(acknowledged + `<key>ActivationLockBypassCode</key><string><!-- x --></string>`),
		"redacted in CDATA":  list(acknowledged + `<key>ActivationLockBypassCode</key><string><![CDATA[[redacted]]]></string>`),
		"code of nothing":    list(acknowledged + `<key>k</key><string>` + code + `</string>`),
		"key in other case":  list(acknowledged + `<key>activationLockBypassCode</key><string>` + code + `</string>`),
		"name as a value":    list(acknowledged + `<key>RequestType</key><string>ActivationLockBypassCode</string><key>k</key><string>x</string>`),
		"an array":           []byte(head + `<array><string>ActivationLockBypassCode</string><string>x</string></array>` + tail),
		"a string":           []byte(head + `<string>ActivationLockBypassCode</string>` + tail),
		"what Encode writes": must(mdmcmd.Encode("1", mdmcmd.ActivationLockBypassCode)),
	} {
		require.Equal(t, string(raw), string(requireRedacted(t, raw)), name)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Whatever Redact cannot read or clean gives an error and no bytes.
func TestRedactFailsClosed(t *testing.T) {
	t.Parallel()
	const key = `<key>ActivationLockBypassCode</key>`
	many := ""
	for i := range 17 {
		many += fmt.Sprintf(`<key>k%d</key><dict>%s<string>EZ9UX-71EZ5-%08d</string></dict>`, i, key, i)
	}
	for name, raw := range map[string][]byte{
		"data":                         list(acknowledged + key + `<data>` + base64.StdEncoding.EncodeToString([]byte(code)) + `</data>`),
		"dictionary":                   list(acknowledged + key + `<dict><key>code</key><string>` + code + `</string></dict>`),
		"empty dictionary":             list(acknowledged + key + `<dict/>`),
		"array":                        list(acknowledged + key + `<array><string>` + code + `</string></array>`),
		"integer":                      list(acknowledged + key + `<integer>123456789</integer>`),
		"boolean":                      list(acknowledged + key + `<true/>`),
		"date":                         list(acknowledged + key + `<date>2026-11-22T10:00:00Z</date>`),
		"deep down":                    list(withCode + `<key>k</key><dict>` + key + `<array/></dict>`),
		"in the document type":         []byte(strings.Replace(string(list(withCode)), "PropertyList-1.0.dtd", code, 1)),
		"in the document type, lower":  []byte(strings.Replace(string(list(withCode)), "PropertyList-1.0.dtd", lower, 1)),
		"in the plist tag":             []byte(strings.Replace(string(list(withCode)), `version="1.0">`, `version="`+code+`">`, 1)),
		"in the plist tag, dashless":   []byte(strings.Replace(string(list(withCode)), `version="1.0">`, `version="`+dashless+`">`, 1)),
		"in the declaration":           []byte(strings.Replace(string(list(withCode)), `encoding=`, `standalone="`+code+`" encoding=`, 1)),
		"number that is the code":      list(acknowledged + key + `<string>12345678</string><key>k</key><integer>12345678</integer>`),
		"integer with the code":        list(withCode + `<key>k</key><integer>` + code + `</integer>`),
		"date with the code":           list(withCode + `<key>k</key><date>` + lower + `</date>`),
		"code that is our key":         list(acknowledged + key + `<string>ActivationLockBypassCode</string>`),
		"code that is in our key":      list(acknowledged + key + `<string>Activation</string>`),
		"code that is in the mark":     list(acknowledged + key + `<string>redacted</string>`),
		"code that is an element":      list(acknowledged + key + `<string>&lt;/string&gt;&lt;key&gt;</string><key>k</key><true/>`),
		"two keys that become one":     list(withCode + `<key>` + lower + `</key><true/><key>` + dashless + `</key><true/>`),
		"a key that becomes another":   list(withCode + `<key>[redacted]</key><true/><key>` + dashless + `</key><true/>`),
		"more codes than a device has": list(acknowledged + many),
	} {
		out, err := mdmcmd.Redact(raw)
		require.EqualError(t, err, "mdmcmd: redact: the code could not be taken out", name)
		require.Nil(t, out, name)
	}
}

// A comment may begin with "->". A reader that takes that for its end sees
// other keys than the device wrote.
func TestRedactReadsCommentsLikeXML(t *testing.T) {
	t.Parallel()
	raw := list(acknowledged + `<key>ActivationLockBypassCode<!--->x--></key><string>` + code + `</string>`)
	text, _ := parseReport(t, raw).BypassCodeAnswer()
	require.Equal(t, code, text.Reveal())
	out, err := mdmcmd.Redact(raw)
	require.NoError(t, err)
	require.NotContains(t, string(out), code)

	_, err = mdmcmd.Parse(list(acknowledged + `<key>Status<!--->x--></key><string>Error</string>`))
	require.ErrorContains(t, err, "a key twice in a dictionary")
}

// random builds reports around a code.
type random struct {
	*rand.Rand
	code string
}

func (r random) oneOf(choices ...string) string { return choices[r.IntN(len(choices))] }

// written is text in one of the ways that XML has to write it, with comments.
func (r random) written(text string, comments ...string) string {
	var b strings.Builder
	for _, c := range text {
		switch r.IntN(12) {
		case 0:
			fmt.Fprintf(&b, "&#%d;", c)
		case 1:
			fmt.Fprintf(&b, "&#x%x;", c)
		case 2:
			fmt.Fprintf(&b, "<![CDATA[%c]]>", c)
		case 3:
			b.WriteString("<!-- " + r.oneOf(append(comments, "x", "</string>", "&")...) + " -->")
			fallthrough
		default:
			b.WriteString(strings.NewReplacer("<", "&lt;", "&", "&amp;", ">", "&gt;").Replace(string(c)))
		}
	}
	return b.String()
}

// text holds the code in some spelling, or nothing of it.
func (r random) text() string {
	spelling := r.oneOf(r.code, strings.ToLower(r.code), strings.ReplaceAll(r.code, "-", ""), strings.ReplaceAll(r.code, "-", " "))
	return r.oneOf("Acknowledged", "x-y", "", r.code[:5], spelling, spelling, "<"+spelling+"&>", "é "+spelling)
}

func (r random) value(depth int) string {
	comment := r.oneOf("", "", "\n\t", "<!-- x -->", "<!--"+strings.ReplaceAll(r.code, "-", " ")+"-->", "<!-- "+strings.ToLower(r.code)+" -->")
	switch r.IntN(8 - min(depth, 2)) {
	case 0:
		return comment + "<data>" + base64.StdEncoding.EncodeToString([]byte(r.text())) + "</data>"
	case 1:
		return comment + r.oneOf("<true/>", "<false/>", "<integer>-909</integer>", "<real>1.5</real>", "<string/>")
	case 2, 3, 4:
		return comment + "<string>" + r.written(r.text(), strings.ReplaceAll(r.code, "-", "")) + "</string>"
	case 5:
		return comment + "<array>" + r.value(depth+1) + r.value(depth+1) + "</array>"
	}
	// Two keys with the code would become one.
	key := ""
	if r.IntN(2) == 0 {
		key = "<key>" + r.written(r.oneOf(r.code, strings.ToLower(r.code), "k "+r.code)) + "</key>" + r.value(depth+1)
	}
	return comment + "<dict>" + key + "<key>ActivationLockBypassCode</key><string>" + r.oneOf("", "[redacted]", r.written(r.code)) + "</string>" +
		"<key>" + r.written("other") + "</key>" + r.value(depth+1) + "</dict>"
}

func TestRedactRandomReports(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), byte(seed >> 32), byte(seed >> 40), byte(seed >> 48), byte(seed >> 56)})
	for range 500 {
		r := random{rand.New(source), must(bypasscode.NewFrom(source)).Reveal()}
		if r.IntN(3) == 0 { // a device with codes of its own
			r.code = "Qq" + strings.Map(func(c rune) rune { return []rune("abcXYZ0189é<&> '")[c%15] }, r.code[:20])
		}
		body := acknowledged + `<key>ActivationLockBypassCode</key><string>` + r.written(r.code, strings.ToLower(strings.ReplaceAll(r.code, "-", ""))) + `</string>`
		for i := range r.IntN(6) {
			body += fmt.Sprintf("<key>k%d</key>%s", i, r.value(0))
		}
		raw := list(body)
		text, result := parseReport(t, raw).BypassCodeAnswer()
		require.Equal(t, mdmcmd.BypassCodeHeld, result)
		require.Equal(t, r.code, text.Reveal())

		out := requireRedacted(t, raw)
		requireGone(t, out, r.code)
		text, result = parseReport(t, out).BypassCodeAnswer()
		require.Equal(t, mdmcmd.BypassCodeRedacted, result)
		require.True(t, text.IsZero())
		requireOnlyRedacted(t, readDictionary(t, raw), readDictionary(t, out), r.code)
	}
}

// requireOnlyRedacted fails if after differs from before in more than texts
// with the code.
func requireOnlyRedacted(t *testing.T, before, after any, secret string) {
	t.Helper()
	held := func(text string) bool { return strings.Contains(squeezed(text), squeezed(secret)) }
	switch before := before.(type) {
	case dict:
		require.Len(t, after, len(before))
		for key, value := range before {
			if held(key) {
				key = "[redacted]"
			}
			require.Contains(t, after, key)
			requireOnlyRedacted(t, value, after.(dict)[key], secret)
		}
	case []any:
		require.Len(t, after, len(before))
		for i := range before {
			requireOnlyRedacted(t, before[i], after.([]any)[i], secret)
		}
	case data:
		if held(string(before)) {
			before = ""
		}
		require.Equal(t, before, after)
	case string:
		if after == "[redacted]" && before != after {
			return // a comment inside may have held the code
		}
		require.False(t, held(before))
		require.Equal(t, before, after)
	default:
		require.Equal(t, before, after)
	}
}
