package plist

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A TypeError says which key has a value of another type than wanted, or a
// value that its own type does not allow. It does not tell the value.
type TypeError struct {
	Key       string // path of keys of T, with dots; never a key that T does not name
	Want, Got string // names of property list types
}

func (e *TypeError) Error() string {
	where := "the list"
	if e.Key != "" {
		where = "key " + e.Key
	}
	if e.Want == e.Got {
		return "plist: " + where + " has an invalid " + e.Got
	}
	return "plist: " + where + " has type " + e.Got + ", want " + e.Want
}

// explain finds the first value that does not fit into t. The library's own
// errors quote values, so they are only a sign to look.
func explain(data []byte, t reflect.Type) error {
	type frame struct {
		typ  reflect.Type // of the container, nil where nothing is decoded
		path string
		key  string
	}
	var open []frame
	err := Walk(data, func(token Token) error {
		switch token.Kind {
		case Comment:
			return nil
		case Key:
			open[len(open)-1].key = token.Text(data)
			return nil
		case End:
			open = open[:len(open)-1]
			return nil
		}
		want, path := t, ""
		if len(open) > 0 {
			in := open[len(open)-1]
			want, path = member(in.typ, in.key), in.path
			if want != nil && in.typ.Kind() == reflect.Struct {
				path = strings.TrimPrefix(path+"."+in.key, ".")
			}
		}
		wantName := typeName(want)
		begins := token.Kind == BeginDict || token.Kind == BeginArray
		if wantName != "" && (wantName != token.Kind.String() || !begins && !valid(token.Kind, token.Text(data))) {
			return &TypeError{path, wantName, token.Kind.String()}
		}
		if begins {
			if wantName == "" {
				want = nil
			}
			open = append(open, frame{typ: indirect(want), path: path})
		}
		return nil
	})
	if err == nil {
		err = errDecode
	}
	return err
}

func indirect(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// member returns the type that the library decodes a member of t into, nil if
// it passes over it.
func member(t reflect.Type, key string) reflect.Type {
	if t == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Slice:
		return t.Elem()
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("plist"), ",")
			if name == "" {
				name = f.Name
			}
			if name == key && f.IsExported() && !f.Anonymous {
				return f.Type
			}
		}
	}
	return nil
}

// typeName names the property list type that t holds, "" if it is no single one.
func typeName(t reflect.Type) string {
	t = indirect(t)
	if t == nil {
		return ""
	}
	if t == reflect.TypeFor[Integer]() {
		return Integral.String()
	}
	if t == reflect.TypeFor[time.Time]() {
		return Date.String()
	}
	if reflect.PointerTo(t).NumMethod() > 0 { // decodes itself
		if _, ok := reflect.PointerTo(t).MethodByName("UnmarshalPlist"); ok {
			return ""
		}
	}
	switch t.Kind() {
	case reflect.String:
		return String.String()
	case reflect.Bool:
		return True.String()
	case reflect.Float64:
		return Real.String()
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return Data.String()
		}
		return BeginArray.String()
	case reflect.Struct:
		return BeginDict.String()
	}
	return ""
}

// valid reports whether text is a value of its kind, and one that fits.
func valid(kind Kind, text string) bool {
	var err error
	switch text = strings.TrimSpace(text); kind {
	case Integral:
		_, err = strconv.ParseInt(text, 10, 64)
	case Real:
		_, err = strconv.ParseFloat(text, 64)
	case Date:
		_, err = time.Parse(time.RFC3339, text)
	case Data:
		_, err = base64.StdEncoding.DecodeString(strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "").Replace(text))
	}
	return err == nil
}
