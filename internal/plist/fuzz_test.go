package plist_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/activationlock/sdk/internal/plist"
)

// FuzzWalk: what Walk accepts, the standard library's XML reader reads as the
// same list. That is what protects the parser behind it.
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
		if _, err2 := plist.Unmarshal[sample](data); err2 == nil && err != nil {
			t.Fatalf("decoded what Walk refuses: %v", err)
		}
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
