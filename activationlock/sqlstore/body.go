package sqlstore

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
)

// encode returns a body: all of a value in JSON, by the names of its fields. What
// JSON would change is an error, and so is more than a limit in bytes.
func encode[V any](v *V, limit int) (string, error) {
	var body strings.Builder
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return "", errBounds // its text may quote
	}
	text := strings.TrimSuffix(body.String(), "\n")
	if again, whole, err := decode[V]([]byte(text)); err != nil || !whole || !reflect.DeepEqual(*v, again) || len(text) > limit {
		return "", errBounds
	}
	return text, nil
}

// decode returns the value of a body. It is whole if all that the body has is in
// it. Servers with the version before read it too, so a later one may add fields,
// and give none another meaning.
func decode[V any](body []byte) (v V, whole bool, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&v) == nil {
		if _, err := decoder.Token(); err == io.EOF {
			return v, true, nil
		}
	}
	v = *new(V)
	if json.Unmarshal(body, &v) != nil {
		return *new(V), false, errColumn // not the text, which quotes
	}
	return v, false, nil
}
