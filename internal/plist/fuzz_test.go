package plist_test

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	library "github.com/groob/plist"

	"github.com/activationlock/sdk/internal/plist"
)

// FuzzWalk: what Walk accepts, the standard library's XML reader reads as the
// same list.
func FuzzWalk(f *testing.F) {
	f.Add([]byte(head + `<dict><key>a</key><string>x&lt;&#65;<![CDATA[<y>]]><!-- z -->` + "\r\n" + `</string></dict>` + tail))
	f.Add([]byte("\xef\xbb\xbf<?xml version='1.0'?><plist><array><true/><false></false><integer>-1</integer><real>1e3</real></array></plist>"))
	f.Add([]byte(`<!DOCTYPE plist SYSTEM "x"><!-- a --><plist version="1.0"><data>aGk=</data><!-- b --></plist>`))
	f.Add([]byte(head + `<dict><key>a</key><date>2026-11-22T10:00:00Z</date><key>b</key><dict/></dict>` + tail))
	f.Add([]byte(head + `<dict><key>a<!--->x--></key><string><!-->--></string></dict>` + tail))
	for _, kill := range killers {
		if data := kill(); len(data) < 1000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []string
		err := plist.Walk(data, func(token plist.Token) error {
			switch token.Kind {
			case plist.Comment:
			case plist.BeginDict, plist.BeginArray, plist.End:
				got = append(got, token.Kind.String())
			default:
				got = append(got, token.Kind.String()+" "+token.Text(data))
			}
			return nil
		})
		if err != nil {
			return
		}
		want, err := xmlTokens(data)
		if err != nil {
			t.Fatalf("accepted what is not XML: %v\n%q", err, data)
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("read differently\nWalk %q\nXML  %q", got, want)
		}
	})
}

func xmlTokens(data []byte) ([]string, error) {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	var out []string
	var content strings.Builder
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			content.Reset()
			if token.Name.Local == "dict" {
				out = append(out, "dictionary")
			} else if token.Name.Local == "array" {
				out = append(out, "array")
			}
		case xml.CharData:
			content.Write(token)
		case xml.EndElement:
			switch name := token.Name.Local; name {
			case "plist":
			case "dict", "array":
				out = append(out, "end")
			case "true", "false":
				out = append(out, "boolean "+content.String())
			default:
				out = append(out, name+" "+content.String())
			}
		}
	}
}

// FuzzUnmarshal: Unmarshal decodes no list that Walk refuses, and those that the library
// decodes to the same; though that gives up where a key that nobody asked for has a value
// that it cannot read.
func FuzzUnmarshal(f *testing.F) {
	const one = `<dict><key>Name</key><string>a&amp;b</string><key>Flag</key><false/><key>Count</key><integer>-5</integer>` +
		`<key>Ratio</key><real>1.5e3</real><key>Maybe</key><real>nan</real>`
	f.Add([]byte(head + one + `</dict>` + tail))
	f.Add([]byte(head + one + `<key>Inner</key><dict><key>Flag</key><true/></dict><key>Words</key><array><string/></array></dict>` + tail))
	f.Add([]byte(head + one + `<key>Items</key><array><dict/><dict><key>Count</key><integer>7</integer></dict></array><key>x</key><integer>y</integer></dict>` + tail))
	f.Add([]byte(head + one + `<key>Under</key><string> </string><key>Name of it</key><string>&#10;</string><key>None</key><array/></dict>` + tail))
	f.Add([]byte(head + `<dict><key>Count</key><integer>18446744073709551615</integer><key>Ratio</key><integer>1</integer></dict>` + tail))
	f.Add([]byte(head + `<array><dict/></array>` + tail))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := plist.Unmarshal[sample](data)
		if walk := plist.Walk(data, nil); walk != nil {
			if err == nil {
				t.Fatalf("decoded what Walk refuses: %v", walk)
			}
			return // the library may not survive it
		}
		want := new(sample)
		if library.NewXMLDecoder(bytes.NewReader(data)).Decode(want) != nil {
			return
		}
		if err != nil {
			if !strings.HasSuffix(err.Error(), "Count has an invalid integer") { // which the library cuts to size
				t.Fatalf("refused what the library decodes: %v", err)
			}
			return
		}
		for _, v := range []*sample{got, want} { // what is no number is not equal to itself
			for _, f := range []*float64{&v.Ratio, *cmp.Or(v.Maybe, new(new(0.0)))} {
				if math.IsNaN(*f) {
					*f = 1234
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("decoded differently: %+v, and by the library: %+v", got, want)
		}
	})
}
