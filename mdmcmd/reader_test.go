package mdmcmd_test

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// number, date and data are values that JSON has no type of its own for.
type (
	number string
	date   string
	data   string
)

// reader is a plist reader that shares no code with the package. It keeps all
// text that it meets, so that a search misses none.
type reader struct {
	xml   *xml.Decoder
	texts []string
}

// read returns the value of a list, and all texts in it: keys, values, decoded
// data, comments, attributes, the document type.
func read(list []byte) (any, []string, error) {
	r := &reader{xml: xml.NewDecoder(bytes.NewReader(list))}
	start, _, err := r.next()
	if err != nil || start == nil || start.Name.Local != "plist" {
		return nil, nil, fmt.Errorf("no plist: %w", err)
	}
	if start, _, err = r.next(); err != nil || start == nil {
		return nil, nil, fmt.Errorf("no value: %w", err)
	}
	root, err := r.value(start.Name.Local)
	if err != nil {
		return nil, nil, err
	}
	for {
		if _, _, err := r.next(); errors.Is(err, io.EOF) {
			return root, r.texts, nil
		} else if err != nil {
			return nil, nil, err
		}
	}
}

// next goes to the next tag and returns the text before it. A nil element
// means a closing tag.
func (r *reader) next() (*xml.StartElement, string, error) {
	var text strings.Builder
	for {
		token, err := r.xml.Token()
		if err != nil {
			return nil, "", err
		}
		switch token := token.(type) {
		case xml.CharData:
			text.Write(token)
		case xml.Comment:
			r.texts = append(r.texts, string(token))
		case xml.Directive:
			r.texts = append(r.texts, string(token))
		case xml.ProcInst:
			r.texts = append(r.texts, string(token.Inst))
		case xml.StartElement:
			for _, attribute := range token.Attr {
				r.texts = append(r.texts, attribute.Value)
			}
			return &token, text.String(), nil
		case xml.EndElement:
			return nil, text.String(), nil
		}
	}
}

func (r *reader) value(name string) (any, error) {
	dict, array, key := map[string]any{}, []any{}, ""
	for {
		start, text, err := r.next()
		switch {
		case err != nil:
			return nil, err
		case start == nil && name == "dict":
			return dict, nil
		case start == nil && name == "array":
			return array, nil
		case start == nil:
			return r.leaf(name, text)
		}
		child, err := r.value(start.Name.Local)
		switch {
		case err != nil:
			return nil, err
		case start.Name.Local == "key":
			key = child.(string)
		case name == "dict":
			dict[key] = child
		default:
			array = append(array, child)
		}
	}
}

func (r *reader) leaf(name, text string) (any, error) {
	r.texts = append(r.texts, text)
	switch name {
	case "string", "key":
		return text, nil
	case "true", "false":
		return name == "true", nil
	case "integer", "real":
		return number(strings.TrimSpace(text)), nil
	case "date":
		return date(strings.TrimSpace(text)), nil
	case "data":
		decoded, _ := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		r.texts = append(r.texts, string(decoded))
		return data(decoded), nil
	}
	return nil, fmt.Errorf("element %s", name)
}

func readDictionary(tb testing.TB, list []byte) map[string]any {
	tb.Helper()
	root, _, err := read(list)
	require.NoError(tb, err)
	require.IsType(tb, map[string]any{}, root)
	return root.(map[string]any)
}

func readFile(tb testing.TB, path ...string) []byte {
	tb.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	require.NoError(tb, err)
	return content
}

// sent is a message of testdata; all of them are written from Apple's schemas,
// with invented values.
func sent(tb testing.TB, name string) []byte {
	tb.Helper()
	return readFile(tb, "testdata", name+".plist")
}
