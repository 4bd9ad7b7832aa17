// Package plist reads and writes XML property lists from and for strangers.
//
// It reads them by itself, strictly, in one walk that needs no memory for structure
// (see [Walk]): parsers that trust their input end the process for a binary list of 43
// bytes or a few megabytes of open tags, quote values in their errors, cut integers to
// size in silence, and read another list than the next one. It writes them with
// groob/plist, of which it is the only importer.
package plist

import (
	"errors"
	"fmt"

	"github.com/groob/plist"
)

const (
	// MaxSize is the largest list that Unmarshal reads: 1 MiB. The messages
	// that concern Activation Lock have a few kilobytes.
	MaxSize = 1 << 20

	// MaxDepth is the deepest nesting of dictionaries and arrays.
	MaxDepth = 32
)

var (
	// ErrTooLarge means more bytes than allowed.
	ErrTooLarge = errors.New("plist: too large")
	// ErrBinary means a binary property list, which no device has been seen
	// to send.
	ErrBinary = errors.New("plist: binary property lists are not read")
	// ErrTooDeep means nesting beyond MaxDepth.
	ErrTooDeep = errors.New("plist: nested too deep")
)

// Check reports whether data has at most maxSize bytes and is one well-formed
// XML property list by the rules of [Walk].
func Check(data []byte, maxSize int) error {
	if len(data) > maxSize {
		return ErrTooLarge
	}
	return Walk(data, nil)
}

// Marshal encodes v, a struct or a pointer to one, as an XML list with the
// DOCTYPE that Apple's tools write. Strings must satisfy [ValidText]; the
// library would replace other characters in silence.
func Marshal(v any) (data []byte, err error) {
	defer func() {
		if recover() != nil { // a nil somewhere inside
			data, err = nil, fmt.Errorf("plist: cannot encode a %T", v)
		}
	}()
	data, err = plist.MarshalIndent(v, "\t")
	if err != nil {
		return nil, fmt.Errorf("plist: cannot encode a %T", v)
	}
	return data, nil
}
