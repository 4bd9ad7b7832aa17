// Package plist reads and writes XML property lists from and for strangers.
//
// It is the only importer of groob/plist, whose parser trusts its input: a
// binary list of 43 bytes or a few megabytes of open tags end the process, an
// error quotes the value it failed on, and integers are cut to size in
// silence. Here a list is first walked by a strict reader of our own (see
// [Walk]), which needs no memory for structure, and reaches the library only
// when it is small, flat and free of ambiguity.
package plist

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/groob/plist"
)

const (
	// MaxSize is the largest list that Unmarshal builds: 1 MiB. The messages
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

// Unmarshal decodes a list of at most MaxSize bytes into a new T. Keys that T
// does not name are ignored. Errors name keys and types, never values.
func Unmarshal[T any](data []byte) (*T, error) {
	if err := Check(data, MaxSize); err != nil {
		return nil, err
	}
	// Always a fresh value: the library panics on slices and maps in use.
	v := new(T)
	if err := decode(data, v); err != nil {
		return nil, explain(data, reflect.TypeFor[T]())
	}
	return v, nil
}

func decode(data []byte, v any) (err error) {
	defer func() {
		if recover() != nil {
			err = errDecode
		}
	}()
	return plist.NewXMLDecoder(bytes.NewReader(data)).Decode(v)
}

var errDecode = errors.New("plist: a value could not be decoded")

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

// Integer is an integer that is refused, not cut, if it does not fit.
type Integer int64

// UnmarshalPlist implements the library's hook.
func (i *Integer) UnmarshalPlist(decode func(any) error) error {
	var positive uint64
	if decode(&positive) == nil {
		if positive > math.MaxInt64 {
			return errDecode
		}
		*i = Integer(positive)
		return nil
	}
	return decode((*int64)(i))
}
