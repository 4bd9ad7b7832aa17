package plist

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// OneOrMore are structs, of which an only one may also come without its array.
type OneOrMore[T any] []T

func (OneOrMore[T]) comesAlone() {}

// maxMembers is the most that an array can have that is decoded: of an empty dictionary
// of seven bytes comes a struct. Apple's have a few.
const maxMembers = 1000

var errTooMany = errors.New("plist: an array with more members than are decoded")

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

// Unmarshal decodes a list of at most MaxSize bytes into a new T: a struct of
// strings, booleans, int64, float64, structs, slices, and pointers to such; it panics
// for another. Keys that T does not name are passed over, whatever they hold. Errors
// name keys and types, never values.
func Unmarshal[T any](data []byte) (*T, error) {
	if len(data) > MaxSize {
		return nil, ErrTooLarge
	}
	v := new(T)
	d := decoder{data: data, root: reflect.ValueOf(v).Elem()}
	kindOf(d.root.Type())
	if err := Walk(data, d.take); err != nil {
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	return v, nil
}

// decoder puts the tokens of a walk into a value.
type decoder struct {
	data []byte
	root reflect.Value
	open []holder
	err  error // the first
}

// holder is a struct or slice that is being filled.
type holder struct {
	value reflect.Value // invalid if nobody wants what is in it
	path  string        // of keys, to it
	key   string        // that was read last, if value has a field of that name
	field reflect.Value
}

func (d *decoder) take(t Token) error {
	switch t.Kind {
	case Comment:
	case Key:
		in := &d.open[len(d.open)-1]
		in.key, in.field = "", reflect.Value{}
		if in.value.IsValid() {
			key := t.Text(d.data)
			if index, named := fieldsOf(in.value.Type())[key]; named {
				in.key, in.field = key, in.value.FieldByIndex(index)
			}
		}
	case End:
		d.open = d.open[:len(d.open)-1]
	default:
		d.put(t)
	}
	return nil
}

// put puts a value, or the beginning of one, where it belongs.
func (d *decoder) put(t Token) {
	to, path := d.root, ""
	if len(d.open) > 0 {
		in := &d.open[len(d.open)-1]
		to, path = in.field, in.path
		if in.value.Kind() == reflect.Slice {
			to = d.added(in.value)
		} else if in.path != "" {
			path += "." + in.key
		} else {
			path = in.key
		}
	}
	for to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
	if t.Kind == BeginDict && to.Kind() == reflect.Slice && to.Type().Implements(comesAlone) {
		to = d.added(to)
	}
	if to.IsValid() && !d.set(to, t) {
		d.fail(&TypeError{path, kindOf(to.Type()).String(), t.Kind.String()})
		to = reflect.Value{}
	}
	if t.Kind == BeginDict || t.Kind == BeginArray {
		d.open = append(d.open, holder{value: to, path: path})
	}
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// set sets a value to what a token is, or begins, and reports whether it fits.
func (d *decoder) set(to reflect.Value, t Token) (fits bool) {
	if got := kindOf(to.Type()); got != t.Kind && !(got == True && t.Kind == False) {
		return false
	}
	var err error
	switch t.Kind {
	case BeginArray:
		to.Set(reflect.MakeSlice(to.Type(), 0, 0)) // it is there
	case String:
		to.SetString(t.Text(d.data))
	case True, False:
		to.SetBool(t.Kind == True)
	case Integral:
		var n int64
		n, err = strconv.ParseInt(strings.TrimSpace(t.Text(d.data)), 10, 64)
		to.SetInt(n)
	case Real:
		var f float64
		f, err = strconv.ParseFloat(strings.TrimSpace(t.Text(d.data)), 64)
		to.SetFloat(f)
	}
	return err == nil
}

// added returns a member that is added to a slice.
func (d *decoder) added(to reflect.Value) reflect.Value {
	n := to.Len()
	if n == maxMembers {
		d.fail(errTooMany)
		return reflect.Value{}
	}
	to.Grow(1)
	to.SetLen(n + 1)
	return to.Index(n)
}

var comesAlone = reflect.TypeFor[interface{ comesAlone() }]()

// kindOf returns the kind of token that values of a type hold. It panics if there is none,
// or none for what is in them: not only once somebody sends such a key.
func kindOf(t reflect.Type) Kind {
	switch t.Kind() {
	case reflect.String:
		return String
	case reflect.Bool:
		return True
	case reflect.Int64:
		return Integral
	case reflect.Float64:
		return Real
	case reflect.Slice:
		kindOf(pointed(t.Elem()))
		return BeginArray
	case reflect.Struct:
		fieldsOf(t)
		return BeginDict
	}
	panic("plist: nothing is decoded into a " + t.String())
}

func pointed(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// fields has the fields of each struct that was decoded, by the names of their keys.
var fields sync.Map // of map[string][]int, by reflect.Type

func fieldsOf(t reflect.Type) map[string][]int {
	if known, there := fields.Load(t); there {
		return known.(map[string][]int)
	}
	named := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("plist"), ",")
		if name == "" {
			name = f.Name
		}
		if f.IsExported() && !f.Anonymous && name != "-" {
			kindOf(pointed(f.Type))
			named[name] = f.Index
		}
	}
	fields.Store(t, named)
	return named
}
