package storetest

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/activationlock/sdk/inventory"
)

// walk visits what is behind a value, however deep: also behind pointers, in lists
// and in maps. What a visit changes is changed.
func walk(name string, v reflect.Value, visit func(field)) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			break
		}
		for i := range v.NumField() {
			inner := v.Type().Field(i)
			switch {
			case inner.Anonymous:
				walk(name, v.Field(i), visit)
			case name == "":
				walk(inner.Name, v.Field(i), visit)
			default:
				walk(name+"."+inner.Name, v.Field(i), visit)
			}
		}
		return
	case reflect.Pointer:
		if !v.IsNil() {
			walk(name, v.Elem(), visit)
		}
		return
	case reflect.Slice:
		for i := range v.Len() {
			walk(fmt.Sprintf("%s[%d]", name, i), v.Index(i), visit)
		}
		return
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, key := range keys {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			walk(fmt.Sprintf("%s[%q]", name, key.String()), value, visit)
			v.SetMapIndex(key, value)
		}
		return
	}
	visit(field{name, v})
}

// grow has pointers point to something, and lists and maps have two elements.
func grow(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			grow(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		grow(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			grow(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"One", "two \u00e9"} {
			value := reflect.New(v.Type().Elem()).Elem()
			grow(value)
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
		}
	}
}

// record returns a record with the nth value in every field, also in those that
// are not invented yet.
func record(t *testing.T, enrollmentID string, n int) inventory.Record {
	t.Helper()
	var r inventory.Record
	grow(reflect.ValueOf(&r).Elem())
	i := 0
	walk("", reflect.ValueOf(&r).Elem(), func(f field) {
		i++
		if f.value.Kind() == reflect.Bool {
			f.value.SetBool((n+i)%2 == 0) // some of each
			return
		}
		f.fill(t, n)
	})
	r.EnrollmentID = enrollmentID
	return r
}

// separate returns a copy that shares no memory.
func separate[V any](v V) V {
	detached := reflect.New(reflect.TypeFor[V]()).Elem()
	detached.Set(detach(reflect.ValueOf(&v).Elem()))
	return detached.Interface().(V)
}

func detach(v reflect.Value) reflect.Value {
	made := reflect.New(v.Type()).Elem()
	made.Set(v)
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			break
		}
		for i := range v.NumField() {
			made.Field(i).Set(detach(v.Field(i)))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			made.Set(reflect.New(v.Type().Elem()))
			made.Elem().Set(detach(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			made.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				made.Index(i).Set(detach(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			made.Set(reflect.MakeMap(v.Type()))
			for _, key := range v.MapKeys() {
				made.SetMapIndex(key, detach(v.MapIndex(key)))
			}
		}
	}
	return made
}

// ruin overwrites a value and all memory behind it.
func ruin[V any](v *V) {
	walk("", reflect.ValueOf(v).Elem(), func(f field) {
		switch f.value.Kind() {
		case reflect.String:
			f.value.SetString("ruined")
		case reflect.Bool:
			f.value.SetBool(!f.value.Bool())
		case reflect.Int:
			f.value.SetInt(f.value.Int() + 1)
		default:
			f.value.SetZero()
		}
	})
	*v = *new(V)
}

// differs says how a value differs from the one that is wanted, "" if it does not:
// a list or a map that is empty is as good as none.
func differs[V any](want, got V) string {
	if reflect.DeepEqual(want, got) {
		return "" // the usual case, quickly
	}
	there := map[string]reflect.Value{}
	walk("", reflect.ValueOf(&got).Elem(), func(f field) { there[f.name] = f.value })
	difference := ""
	walk("", reflect.ValueOf(&want).Elem(), func(f field) {
		value, ok := there[f.name]
		delete(there, f.name)
		d := "was something and is missing"
		if ok {
			d = f.differs(value)
		}
		if d != "" && difference == "" {
			difference = f.name + " " + d
		}
	})
	for name := range there {
		if difference == "" {
			difference = name + " was not there and is something"
		}
	}
	return difference
}
