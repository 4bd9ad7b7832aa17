package activationlocktest

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// dict and array are property list containers. The other values are string,
// bool, int, float64 and []byte.
type (
	dict  map[string]any
	array []any
)

// prolog has the document type of real messages.
const prolog = xml.Header +
	`<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n"

// write writes one message.
func write(message dict) []byte {
	var b bytes.Buffer
	b.WriteString(prolog + "<plist version=\"1.0\">\n")
	writeValue(&b, message, 0)
	b.WriteString("</plist>\n")
	return b.Bytes()
}

func writeValue(b *bytes.Buffer, value any, depth int) {
	indent := strings.Repeat("\t", depth)
	element := func(name, text string) {
		b.WriteString(indent + "<" + name + ">")
		xml.EscapeText(b, []byte(text))
		b.WriteString("</" + name + ">\n")
	}
	switch v := value.(type) {
	case dict:
		b.WriteString(indent + "<dict>\n")
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.WriteString("\t")
			element("key", key)
			writeValue(b, v[key], depth+1)
		}
		b.WriteString(indent + "</dict>\n")
	case array:
		b.WriteString(indent + "<array>\n")
		for _, item := range v {
			writeValue(b, item, depth+1)
		}
		b.WriteString(indent + "</array>\n")
	case string:
		element("string", v)
	case []byte:
		element("data", base64.StdEncoding.EncodeToString(v))
	case int:
		element("integer", strconv.Itoa(v))
	case float64:
		element("real", strconv.FormatFloat(v, 'f', -1, 64))
	case bool:
		fmt.Fprintf(b, "%s<%t/>\n", indent, v)
	default:
		panic(fmt.Sprintf("activationlocktest: a %T in a message", value))
	}
}

var errMalformed = errors.New("activationlocktest: not a property list")

// read reads a command.
func read(raw []byte) (dict, error) {
	d := xml.NewDecoder(bytes.NewReader(raw))
	plist, err := next(d)
	if err != nil || plist == nil || plist.Name.Local != "plist" {
		return nil, errMalformed
	}
	value, err := readValue(d)
	if err != nil {
		return nil, errMalformed
	}
	command, ok := value.(dict)
	if end, err := next(d); !ok || err != nil || end != nil {
		return nil, errMalformed
	}
	if _, err := next(d); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	return command, nil
}

// next returns the next element that begins, or nil if one ends.
func next(d *xml.Decoder) (*xml.StartElement, error) {
	for {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			return &token, nil
		case xml.EndElement:
			return nil, nil
		case xml.CharData:
			if len(bytes.TrimSpace(token)) > 0 {
				return nil, errMalformed
			}
		}
	}
}

// errEnd means that the container ends here.
var errEnd = errors.New("activationlocktest: end")

func readValue(d *xml.Decoder) (any, error) {
	start, err := next(d)
	if err != nil {
		return nil, err
	}
	if start == nil {
		return nil, errEnd
	}
	switch name := start.Name.Local; name {
	case "dict":
		values := dict{}
		for {
			key, err := next(d)
			if err != nil {
				return nil, err
			}
			if key == nil {
				return values, nil
			}
			if key.Name.Local != "key" {
				return nil, errMalformed
			}
			var k string
			if err := d.DecodeElement(&k, key); err != nil {
				return nil, err
			}
			if values[k], err = readValue(d); err != nil {
				return nil, errMalformed
			}
		}
	case "array":
		values := array{}
		for {
			value, err := readValue(d)
			if errors.Is(err, errEnd) {
				return values, nil
			}
			if err != nil {
				return nil, err
			}
			values = append(values, value)
		}
	default:
		var text string
		if err := d.DecodeElement(&text, start); err != nil {
			return nil, err
		}
		switch name {
		case "string", "date":
			return text, nil
		case "true", "false":
			return name == "true", nil
		case "integer":
			return strconv.Atoi(strings.TrimSpace(text))
		case "real":
			return strconv.ParseFloat(strings.TrimSpace(text), 64)
		case "data":
			return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		}
		return nil, errMalformed
	}
}
