package plist_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	library "github.com/groob/plist"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/plist"
	"github.com/activationlock/sdk/internal/reference"
)

const (
	head = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">`
	tail = `</plist>`

	secret = "1QJHC-8K0K3-Y59E-HYUZ-MY75-C9Z3"
)

type inner struct {
	Flag  *bool
	Count int64
}

type promoted struct{ Under string }

type sample struct {
	promoted
	Name   string
	Flag   *bool
	Other  *bool
	Count  int64
	Ratio  float64
	Maybe  **float64
	Inner  *inner
	Items  []inner
	Alone  plist.OneOrMore[inner]
	Words  []string
	None   []string
	Absent []string
	Hidden string `plist:"-"`
	Named  string `plist:"Name of it,omitempty"`
	secret string
}

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	got, err := plist.Unmarshal[sample]([]byte(head + `<dict>
		<!-- a comment -->
		<key>Name</key><string>a&amp;b<!-- dropped -->&#x41;<![CDATA[<c>]]></string>
		<key>Flag</key><false/>
		<key>Count</key><integer> -909 </integer>
		<key>Ratio</key><real>1.5</real>
		<key>Maybe</key><real> -inf </real>
		<key>Under</key><string>u</string>
		<key>promoted</key><string>is no key</string>
		<key>secret</key><string>is none</string>
		<key>Named</key><string>is none</string>
		<key>Name of it</key><string>n</string>
		<key>Inner</key><dict><key>Flag</key><true></true></dict>
		<key>Items</key><array><dict><key>Count</key><integer>7</integer></dict><dict/></array>
		<key>Alone</key><dict><key>Count</key><integer>8</integer></dict>
		<key>Words</key><array><string>x</string><!-- and --><string/></array>
		<key>None</key><array/>
		<key>Unknown</key><array><dict><key>Count</key><string>not ours</string></dict></array>
		<key>Strange</key><dict><key>Count</key><integer>x</integer><key>b</key><data>?</data><key>c</key><date>soon</date><key>d</key><real>e</real></dict>
		<key>Hidden</key><integer>1</integer><key>-</key><integer>2</integer>
	</dict>` + tail + "\n<!-- after -->\n"))
	require.NoError(t, err)
	require.Equal(t, &sample{
		promoted: promoted{"u"}, Name: "a&bA<c>", Flag: new(false), Count: -909, Ratio: 1.5, Maybe: new(new(math.Inf(-1))),
		Inner: &inner{Flag: new(true)}, Items: []inner{{Count: 7}, {}}, Alone: plist.OneOrMore[inner]{{Count: 8}},
		Words: []string{"x", ""}, None: []string{}, Named: "n", secret: "",
	}, got)
	require.Nil(t, got.Other, "absent is not false")
	require.Nil(t, got.Absent, "and not empty")

	got, err = plist.Unmarshal[sample]([]byte(head + `<dict><key>Alone</key><array><dict/><dict><key>Flag</key><true/></dict></array></dict>` + tail))
	require.NoError(t, err)
	require.Equal(t, plist.OneOrMore[inner]{{}, {Flag: new(true)}}, got.Alone)
}

func TestUnmarshalTakesPlainForms(t *testing.T) {
	t.Parallel()
	for _, list := range []string{
		`<plist><dict/></plist>`,
		`<plist version='1.0'><dict></dict></plist>`,
		"<?xml version='1.0' encoding='utf-8' standalone='yes'?>\r\n<plist version=\"1.0\" ><dict ></dict ></plist >",
		`<!DOCTYPE plist SYSTEM "file://localhost/System/Library/DTDs/PropertyList.dtd"><plist><dict/></plist>`,
		`<!DOCTYPE plist><plist><dict/></plist>`,
	} {
		_, err := plist.Unmarshal[sample]([]byte(list))
		require.NoError(t, err, list)
	}
}

func TestUnmarshalRefusesSyntax(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]string{
		"empty":                     "",
		"white space":               " \n",
		"not XML":                   "hello",
		"JSON":                      `{"Status":"Idle"}`,
		"byte order mark":           "\xef\xbb\xbf" + head + `<dict/>` + tail,
		"UTF-16":                    "\xff\xfe<\x00p\x00",
		"UTF-16 without mark":       "<\x00p\x00l\x00i\x00s\x00t\x00>\x00",
		"declared UTF-16":           `<?xml version="1.0" encoding="UTF-16"?><plist><dict/></plist>`,
		"declared Latin-1":          `<?xml version="1.0" encoding="ISO-8859-1"?><plist><dict/></plist>`,
		"XML 1.1":                   `<?xml version="1.1"?><plist><dict/></plist>`,
		"second declaration":        head + `<?xml version="1.0"?><dict/>` + tail,
		"late declaration":          ` <?xml version="1.0"?><plist><dict/></plist>`,
		"processing instruction":    head + `<?php x?><dict/>` + tail,
		"internal subset":           `<!DOCTYPE plist [<!ENTITY a "b">]><plist><dict/></plist>`,
		"empty internal subset":     `<!DOCTYPE plist []><plist><dict/></plist>`,
		"external subset and more":  `<!DOCTYPE plist SYSTEM "x" [<!ENTITY a "b">]><plist><dict/></plist>`,
		"other document type":       `<!DOCTYPE html><plist><dict/></plist>`,
		"parameter entity":          `<!DOCTYPE plist %x;><plist><dict/></plist>`,
		"custom entity":             head + `<dict><key>Name</key><string>&a;</string></dict>` + tail,
		"entity for NUL":            head + `<dict><key>Name</key><string>&#0;</string></dict>` + tail,
		"entity for a surrogate":    head + `<dict><key>Name</key><string>&#xD800;</string></dict>` + tail,
		"entity too large":          head + `<dict><key>Name</key><string>&#x110000;</string></dict>` + tail,
		"bare ampersand":            head + `<dict><key>Name</key><string>a & b</string></dict>` + tail,
		"NUL":                       head + "<dict><key>Name</key><string>\x00</string></dict>" + tail,
		"invalid UTF-8":             head + "<dict><key>Name</key><string>\xff</string></dict>" + tail,
		"no plist":                  `<dict/>`,
		"no closing plist":          head + `<dict/>`,
		"no value":                  head + tail,
		"two values":                head + `<dict/><dict/>` + tail,
		"two lists":                 head + `<dict/>` + tail + `<plist><dict/></plist>`,
		"trailing text":             head + `<dict/>` + tail + "x",
		"text between elements":     head + `<dict>x<key>Name</key><string/></dict>` + tail,
		"CDATA between elements":    head + `<dict><![CDATA[<array>]]></dict>` + tail,
		"value without a key":       head + `<dict><string/></dict>` + tail,
		"key without a value":       head + `<dict><key>Name</key></dict>` + tail,
		"two keys":                  head + `<dict><key>Name</key><key>Flag</key><true/></dict>` + tail,
		"key in an array":           head + `<array><key>Name</key></array>` + tail,
		"key at the top":            head + `<key>Name</key>` + tail,
		"duplicate key":             head + `<dict><key>Name</key><string>a</string><key>Name</key><string>b</string></dict>` + tail,
		"duplicate key by entity":   head + `<dict><key>Name</key><string>a</string><key>N&#97;me</key><string>b</string></dict>` + tail,
		"duplicate key by CDATA":    head + `<dict><key>Name</key><string>a</string><key><![CDATA[Name]]></key><string>b</string></dict>` + tail,
		"duplicate key by comment":  head + `<dict><key>Name</key><string>a</string><key>Na<!-- -->me</key><string>b</string></dict>` + tail,
		"duplicate deep down":       head + `<dict><key>X</key><array><dict><key>a</key><true/><key>a</key><true/></dict></array></dict>` + tail,
		"duplicate among many":      head + `<dict>` + manyKeys(100) + `<key>k99</key><true/></dict>` + tail,
		"element in a string":       head + `<dict><key>Name</key><string>a<b/>c</string></dict>` + tail,
		"element in a boolean":      head + `<dict><key>Flag</key><true><dict/></true></dict>` + tail,
		"text in a boolean":         head + `<dict><key>Flag</key><true>x</true></dict>` + tail,
		"empty real":                head + `<dict><key>Ratio</key><real></real></dict>` + tail,
		"blank real":                head + `<dict><key>Ratio</key><real> <!-- 1 --></real></dict>` + tail,
		"unknown element":           head + `<dict><key>Name</key><strong>a</strong></dict>` + tail,
		"name space":                head + `<dict><key>Name</key><x:string>a</x:string></dict>` + tail,
		"attribute":                 head + `<dict><key>Name</key><string x="y">a</string></dict>` + tail,
		"attribute with markup":     `<plist version="<dict/>"><dict/></plist>`,
		"wrong closing tag":         head + `<dict><key>X</key><array></dict></array>` + tail,
		"closed twice":              head + `<dict/></dict>` + tail,
		"upper case":                head + `<DICT></DICT>` + tail,
		"unfinished comment":        head + `<dict><!-- </dict>` + tail,
		"double dash in a comment":  head + `<!-- a -- b --><dict/>` + tail,
		"unfinished CDATA":          head + `<dict><key>Name</key><string><![CDATA[a</string></dict>` + tail,
		"end of CDATA alone":        head + `<dict><key>Name</key><string>]]></string></dict>` + tail,
		"plist inside":              head + `<dict><key>X</key><plist><dict/></plist></dict>` + tail,
		"empty plist element":       `<plist/>`,
		"BOM in the middle":         head + "\xef\xbb\xbf<dict/>" + tail,
		"other name":                `<plists><dict/></plists>`,
		"control character":         head + "<dict><!-- \x01 --></dict>" + tail,
		"control character, CDATA":  head + "<dict><key>Name</key><string><![CDATA[\x01]]></string></dict>" + tail,
		"declaration without space": `<?xmlversion="1.0"?><plist><dict/></plist>`,
	} {
		_, err := plist.Unmarshal[sample]([]byte(list))
		var syntax *plist.SyntaxError
		require.ErrorAs(t, err, &syntax, name)
		require.LessOrEqual(t, syntax.Offset, len(list))
		require.NotEmpty(t, syntax.Reason)
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<key>k%d</key><true/>", i)
	}
	return b.String()
}

func TestTruncation(t *testing.T) {
	t.Parallel()
	whole := head + `<dict><key>Name</key><string>a&amp;<![CDATA[b]]><!-- c --></string><key>Words</key><array><string/></array></dict>` + tail
	for n := range len(whole) {
		_, err := plist.Unmarshal[sample]([]byte(whole[:n]))
		require.Error(t, err, "cut after %d bytes", n)
	}
	_, err := plist.Unmarshal[sample]([]byte(whole))
	require.NoError(t, err)
}

func TestUnmarshalRefusesTypes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ body, want string }{
		{`<dict><key>Name</key><integer>1</integer></dict>`, "key Name has type integer, want string"},
		{`<dict><key>Name</key><data>` + "MVFKSEM=" + `</data></dict>`, "key Name has type data, want string"},
		{`<dict><key>Flag</key><string>` + secret + `</string></dict>`, "key Flag has type string, want boolean"},
		{`<dict><key>Flag</key><integer>1</integer></dict>`, "key Flag has type integer, want boolean"},
		{`<dict><key>Count</key><string>` + secret + `</string></dict>`, "key Count has type string, want integer"},
		{`<dict><key>Count</key><integer>` + secret + `</integer></dict>`, "key Count has an invalid integer"},
		{`<dict><key>Count</key><integer>0x10</integer></dict>`, "key Count has an invalid integer"},
		{`<dict><key>Count</key><integer>18446744073709551615</integer></dict>`, "key Count has an invalid integer"},
		{`<dict><key>Count</key><integer>9223372036854775808</integer></dict>`, "key Count has an invalid integer"},
		{`<dict><key>Ratio</key><real>` + secret + `</real></dict>`, "key Ratio has an invalid real"},
		{`<dict><key>Count</key><integer></integer></dict>`, "key Count has an invalid integer"},
		{`<dict><key>Maybe</key><integer>1</integer></dict>`, "key Maybe has type integer, want real"},
		{`<dict><key>Name</key><date>2026-11-22T10:00:00Z</date></dict>`, "key Name has type date, want string"},
		{`<dict><key>Inner</key><array/></dict>`, "key Inner has type array, want dictionary"},
		{`<dict><key>Inner</key><dict><key>Flag</key><string>` + secret + `</string></dict></dict>`, "key Inner.Flag has type string, want boolean"},
		{`<dict><key>Items</key><dict/></dict>`, "key Items has type dictionary, want array"},
		{`<dict><key>Items</key><array><dict/><dict><key>Count</key><true/></dict></array></dict>`, "key Items.Count has type boolean, want integer"},
		{`<dict><key>Words</key><array><integer>1</integer></array></dict>`, "key Words has type integer, want string"},
		{`<dict><key>Items</key><array><array><dict><key>Count</key><true/></dict></array></array></dict>`, "key Items has type array, want dictionary"},
		{`<dict><key>Alone</key><string>` + secret + `</string></dict>`, "key Alone has type string, want array"},
		{`<dict><key>Alone</key><dict><key>Count</key><true/></dict></dict>`, "key Alone.Count has type boolean, want integer"},
		{`<dict><key>Alone</key><array><array/></array></dict>`, "key Alone has type array, want dictionary"},
		{`<dict><key>Name</key><true/><key>Count</key><true/></dict>`, "key Name has type boolean, want string"},
		{`<array/>`, "the list has type array, want dictionary"},
		{`<string>` + secret + `</string>`, "the list has type string, want dictionary"},
	} {
		_, err := plist.Unmarshal[sample]([]byte(head + test.body + tail))
		require.EqualError(t, err, "plist: "+test.want)
		require.NotContains(t, err.Error(), secret)
	}
	// What is no list at all is said first.
	_, err := plist.Unmarshal[sample]([]byte(head + `<dict><key>Name</key><true/></dict>`))
	require.ErrorContains(t, err, "early end")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte {
		return []byte(head + strings.Repeat("<array>", n) + strings.Repeat("</array>", n) + tail)
	}
	type anything struct{}
	require.NoError(t, plist.Check(nested(plist.MaxDepth), plist.MaxSize))
	require.ErrorIs(t, plist.Check(nested(plist.MaxDepth+1), plist.MaxSize), plist.ErrTooDeep)

	padding := strings.Repeat(" ", plist.MaxSize-len(head)-len(`<dict/>`)-len(tail))
	_, err := plist.Unmarshal[anything]([]byte(head + `<dict/>` + padding + tail))
	require.NoError(t, err)
	_, err = plist.Unmarshal[anything]([]byte(head + `<dict/>` + padding + " " + tail))
	require.ErrorIs(t, err, plist.ErrTooLarge)
	require.NoError(t, plist.Check([]byte(head+`<dict/>`+padding+" "+tail), 2*plist.MaxSize))

	_, err = plist.Unmarshal[anything]([]byte("bplist00"))
	require.ErrorIs(t, err, plist.ErrBinary)
}

func TestMembers(t *testing.T) {
	t.Parallel()
	for key, one := range map[string]string{"Items": "<dict/>", "Alone": "<dict/>", "Words": "<string/>"} {
		list := func(n int) []byte {
			return []byte(head + "<dict><key>" + key + "</key><array>" + strings.Repeat(one, n) + "</array><key>Unknown</key><array>" + strings.Repeat(one, 2*n) + "</array></dict>" + tail)
		}
		got, err := plist.Unmarshal[sample](list(1000))
		require.NoError(t, err)
		require.Equal(t, 1000, len(got.Items)+len(got.Alone)+len(got.Words))
		_, err = plist.Unmarshal[sample](list(1001))
		require.EqualError(t, err, "plist: an array with more members than are decoded")
	}
	_, err := plist.Unmarshal[sample]([]byte(head + "<dict><key>Items</key><array>" + strings.Repeat("<dict><key>Count</key><true/></dict>", 1001) + "</array></dict>" + tail))
	require.EqualError(t, err, "plist: key Items.Count has type boolean, want integer")
}

// What cannot be decoded is seen at once, and not only when somebody sends it.
func TestUnmarshalIntoOtherTypes(t *testing.T) {
	t.Parallel()
	list := []byte(head + `<dict/>` + tail)
	require.Panics(t, func() { _, _ = plist.Unmarshal[struct{ N int }](list) })
	require.Panics(t, func() { _, _ = plist.Unmarshal[struct{ Deep []*struct{ Data []byte } }](list) })
	require.Panics(t, func() { _, _ = plist.Unmarshal[map[string]string](list) })
	require.NotPanics(t, func() { _, _ = plist.Unmarshal[struct{ n int }](list) })
}

// killers are inputs that end a process which hands them to groob/plist. The
// first ones are complete binary lists of 42 to 51 bytes.
var killers = map[string]func() []byte{
	"array that contains itself":   fromHex("62706c6973743030a10008000000000000010100000000000000010000000000000000000000000000000a"),
	"dictionary that is its value": fromHex("62706c6973743030d101005161080b000000000000010100000000000000020000000000000000000000000000000d"),
	"root is one too far":          fromHex("62706c697374303009080000000000000101000000000000000100000000000000010000000000000009"),
	"reference of nine bytes":      fromHex("62706c6973743030a10008000000000000010900000000000000010000000000000000000000000000000a"),
	"data of 2^63 bytes":           fromHex("62706c69737430304f138000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"text of 2^63 characters":      fromHex("62706c69737430306f138000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"array of 2^28 members":        fromHex("62706c6973743030af131000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"open arrays, small":           func() []byte { return []byte(strings.Repeat("<array>", 100_000)) },
	"open arrays":                  func() []byte { return []byte(head + strings.Repeat("<array>", 1_640_000)) },
	"open arrays after a comment": func() []byte {
		return []byte(head + "<!-- </array> -->" + strings.Repeat("<array><!-- </array> -->", 400_000))
	},
	"open dictionaries": func() []byte { return []byte(head + strings.Repeat("<dict><key/>", 1_000_000)) },
	"arrays hidden by CDATA": func() []byte {
		return []byte(head + "<array>" + strings.Repeat("<string><![CDATA[</array>]]></string><array>", 200_000))
	},
	"billion laughs": func() []byte {
		return []byte(`<!DOCTYPE plist [<!ENTITY a "ha">` + strings.Repeat(`<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">`, 9) + `]><plist><string>&b;</string></plist>`)
	},
	"external entity": func() []byte {
		return []byte(`<!DOCTYPE plist [<!ENTITY a SYSTEM "file:///etc/passwd">]><plist><string>&a;</string></plist>`)
	},
	"endless tag":       func() []byte { return []byte(head + "<" + strings.Repeat("a", 900_000)) },
	"endless comment":   func() []byte { return []byte(head + "<!-- " + strings.Repeat("<!- ", 200_000)) },
	"endless CDATA":     func() []byte { return []byte(head + "<string><![CDATA[" + strings.Repeat("]]", 400_000)) },
	"a million keys":    func() []byte { return []byte(head + "<dict>" + strings.Repeat("<key>a</key><true/>", 50_000)) },
	"many ampersands":   func() []byte { return []byte(head + "<string>" + strings.Repeat("&amp;", 180_000)) },
	"many small CDATAs": func() []byte { return []byte(head + "<string>" + strings.Repeat("<![CDATA[]]>", 80_000)) },
}

func fromHex(s string) func() []byte {
	return func() []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			panic(err)
		}
		return b
	}
}

const killerVariable = "PLIST_TEST_KILLER"

// Each attack runs in a process of its own, with a limit on its
// memory, which fails when it allocates more than 16 MiB beyond the input, needs
// a deep stack, or does not end.
func TestKillers(t *testing.T) {
	if name := os.Getenv(killerVariable); name != "" {
		data := killers[name]()
		debug.SetMaxStack(1 << 20)
		require.NoError(t, reference.LimitMemory(512<<20))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, maxSize := range []int{plist.MaxSize, len(data)} {
			if err := plist.Check(data, maxSize); err == nil {
				t.Error("no error")
			}
		}
		if v, err := plist.Unmarshal[sample](data); err == nil {
			t.Errorf("decoded as %+v", v)
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16<<20 {
			t.Errorf("allocated %d bytes for %d", allocated, len(data))
		}
		return
	}
	t.Parallel()
	for name := range killers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestKillers$", "-test.timeout=20s", "-test.v")
			child.Env = append(os.Environ(), killerVariable+"="+name)
			out, err := child.CombinedOutput()
			require.NoError(t, err, "%.2000s", out)
			require.Contains(t, string(out), "--- PASS: TestKillers")
		})
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	type command struct {
		Text  string
		Maybe *bool `plist:",omitempty"`
		Data  []byte
	}
	no := false
	data, err := plist.Marshal(&command{Text: "a<b>&\"'\n\té", Maybe: &no, Data: []byte{1}})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(data), head[:strings.Index(head, "<plist")]))
	var again command
	require.NoError(t, library.Unmarshal(data, &again))
	require.Equal(t, command{Text: "a<b>&\"'\n\té", Maybe: &no, Data: []byte{1}}, again)
	type text struct{ Text string }
	ours, err := plist.Unmarshal[text](data)
	require.NoError(t, err)
	require.Equal(t, again.Text, ours.Text)

	for _, v := range []any{nil, (*command)(nil), map[string]any{"a": nil}, []any{nil}, struct{ C chan int }{}} {
		_, err := plist.Marshal(v)
		require.ErrorContains(t, err, "cannot encode")
	}
}

func TestValidText(t *testing.T) {
	t.Parallel()
	require.True(t, plist.ValidText("plain\n\tünïcode \U0001F512"))
	for _, s := range []string{"\x00", "\x1b", "\xff", "\uFFFE", "a\x0b"} {
		require.False(t, plist.ValidText(s))
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	data := []byte(`<plist><!--0--><dict><key>a</key><array><string>x&lt;<!--y--></string><true/></array><!--1--><key>b</key><dict/></dict></plist>`)
	var got []string
	require.NoError(t, plist.Walk(data, func(token plist.Token) error {
		got = append(got, fmt.Sprintf("%d %s %s", token.Depth, token.Kind, data[token.Start:token.End]))
		return nil
	}))
	require.Equal(t, []string{
		"0 comment <!--0-->", "0 dictionary ", "1 key a", "1 array ", "2 string x&lt;<!--y-->", "2 boolean ", "1 end ",
		"1 comment <!--1-->", "1 key b", "1 dictionary ", "1 end ", "0 end ",
	}, got)

	stop := errors.New("stop")
	require.ErrorIs(t, plist.Walk(data, func(plist.Token) error { return stop }), stop)
}

func TestFixturesAreWellFormed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(reference.Path(t, "fixtures", "*", "*.plist"))
	require.NoError(t, err)
	require.Greater(t, len(files), 60)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, plist.Check(data, plist.MaxSize), file)
	}
}
