package storetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

var (
	kinds  = []bypasscode.Kind{bypasscode.Device, bypasscode.Server}
	states = []escrow.State{
		escrow.Current, escrow.MaybeActive, escrow.Worked, escrow.Superseded, escrow.Disputed, escrow.Void, escrow.Purged,
	}
	causes = []escrow.Cause{
		escrow.CauseEnrollment, escrow.CauseLockOn, escrow.CauseSchedule, escrow.CauseOrganizationLock,
		escrow.CauseImport, escrow.CauseManual, escrow.CauseUnasked,
	}
	actionStates = []bypass.State{
		bypass.Pending, bypass.Active, bypass.Done, bypass.Failed, bypass.NotSupported, bypass.Canceled,
	}
)

// field is one value of a struct, however deep.
type field struct {
	name  string // "Device.IMEI2"; embedded structs have no name
	value reflect.Value
}

// fieldsOf returns the fields of the struct that p points to, in the order of
// their declaration: also those that are not invented yet.
func fieldsOf(p any) []field { return appendFields(nil, "", reflect.ValueOf(p).Elem()) }

func appendFields(fields []field, name string, v reflect.Value) []field {
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[time.Time]() {
		return append(fields, field{name, v})
	}
	for i := range v.NumField() {
		inner := v.Type().Field(i)
		switch {
		case inner.Anonymous:
			fields = appendFields(fields, name, v.Field(i))
		case name == "":
			fields = appendFields(fields, inner.Name, v.Field(i))
		default:
			fields = appendFields(fields, name+"."+inner.Name, v.Field(i))
		}
	}
	return fields
}

// isList reports whether the field is a list of anything but bytes.
func (f field) isList() bool {
	return f.value.Kind() == reflect.Slice && f.value.Type().Elem().Kind() != reflect.Uint8
}

// elements returns the fields of all elements of a list: "Attempts[0].Detail".
func (f field) elements() (fields []field) {
	for i := range f.value.Len() {
		fields = appendFields(fields, fmt.Sprintf("%s[%d]", f.name, i), f.value.Index(i))
	}
	return fields
}

// leavesOf returns the fields that p points to, and for lists those of their
// elements.
func leavesOf(p any) (leaves []field) {
	for _, f := range fieldsOf(p) {
		if f.isList() {
			leaves = append(leaves, f.elements()...)
		} else {
			leaves = append(leaves, f)
		}
	}
	return leaves
}

// fixed reports whether the field never changes once the entry is filed.
func (f field) fixed() bool {
	return f.name == "Kind" || f.name == "FirstSeen" || f.identifies()
}

// identifies reports whether the field says which entry it is, and whose.
func (f field) identifies() bool {
	return f.name == "ID" || f.name == "Number" || f.name == "Subject.SerialNumber" || f.name == "Subject.EnrollmentID"
}

// plain reports whether the field is a string that can be anything, and returns
// it.
func (f field) plain() (*string, bool) {
	s, ok := f.value.Addr().Interface().(*string)
	return s, ok && f.name != "Digest" && !f.identifies()
}

// fill gives the field the nth of its values, and a list two elements. No other
// field has the same, as far as its type allows.
func (f field) fill(t *testing.T, n int) {
	t.Helper()
	if !f.value.CanSet() {
		t.Fatalf("storetest cannot fill the field %s", f.name)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", f.name, n))
	switch p := f.value.Addr().Interface().(type) {
	case *bypasscode.Kind:
		*p = kinds[n%len(kinds)]
		return
	case *escrow.State:
		*p = states[n%len(states)]
		return
	case *escrow.Cause:
		*p = causes[n%len(causes)]
		return
	case *bypass.State:
		*p = actionStates[n%len(actionStates)]
		return
	case *time.Time:
		*p = noon.Add(time.Duration(binary.BigEndian.Uint32(sum[:])) * time.Microsecond)
		return
	case *[]byte:
		*p = append(sum[:], 0, '\n', '\r', '\'', '\\', 0xff, 0)
		return
	}
	if f.isList() {
		f.value.Set(reflect.MakeSlice(f.value.Type(), 2, 2))
		for i, e := range f.elements() {
			e.fill(t, n+i)
		}
		return
	}
	switch f.value.Kind() {
	case reflect.String:
		if f.name == "Digest" {
			f.value.SetString(hex.EncodeToString(sum[:]))
			return
		}
		f.value.SetString(fmt.Sprintf("%s %d", f.name, n))
	case reflect.Bool:
		f.value.SetBool(n%2 == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		f.value.SetInt(int64(sum[0]) >> 1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		f.value.SetUint(uint64(sum[0]))
	case reflect.Array:
		if f.value.Type().Elem().Kind() != reflect.Uint8 {
			t.Fatalf("storetest cannot fill the field %s, of type %s", f.name, f.value.Type())
		}
		reflect.Copy(f.value, reflect.ValueOf(sum[:]))
	default:
		t.Fatalf("storetest cannot fill the field %s, of type %s", f.name, f.value.Type())
	}
}

// clear makes the field as empty as it can be.
func (f field) clear() {
	switch f.value.Interface().(type) {
	case bypasscode.Kind, escrow.State, escrow.Cause, bypass.State: // never empty
	default:
		f.value.SetZero()
	}
}

// filled are the entries that entry made before, without what identifies them.
var filled sync.Map

// entry returns an entry with the nth value in every field but those that say
// which it is.
func entry(t *testing.T, id string, subject escrow.Subject, n int) escrow.Entry {
	t.Helper()
	made, there := filled.Load(n)
	if !there {
		var e escrow.Entry
		for _, f := range fieldsOf(&e) {
			if !f.identifies() {
				f.fill(t, n)
			}
		}
		made, _ = filled.LoadOrStore(n, e)
	}
	e := copied([]escrow.Entry{made.(escrow.Entry)})[0]
	e.ID, e.Subject = id, subject
	return e
}

// copied returns entries that share no memory with their originals.
func copied[E any](entries []E) []E {
	entries = slices.Clone(entries)
	for i := range entries {
		for _, f := range fieldsOf(&entries[i]) {
			f.detach()
		}
	}
	return entries
}

// detach has the field share no memory with what it was copied from.
func (f field) detach() {
	if p, ok := f.value.Addr().Interface().(*[]byte); ok {
		*p = bytes.Clone(*p)
		return
	}
	if f.isList() && !f.value.IsNil() {
		list := reflect.MakeSlice(f.value.Type(), f.value.Len(), f.value.Len())
		reflect.Copy(list, f.value)
		f.value.Set(list)
		for _, e := range f.elements() {
			e.detach()
		}
	}
}

// spoil overwrites all memory that is behind entries, and the entries.
func spoil[E any](entries []E) {
	for i := range entries {
		for _, f := range fieldsOf(&entries[i]) {
			f.spoil()
		}
		entries[i] = *new(E)
	}
}

func (f field) spoil() {
	if p, ok := f.value.Addr().Interface().(*[]byte); ok {
		for j := range *p {
			(*p)[j] ^= 0xff
		}
		return
	}
	if f.isList() {
		for _, e := range f.elements() {
			e.spoil()
			e.value.SetZero()
		}
	}
}

// difference says how entries differ from those that are wanted, "" if they do
// not.
func difference(want, got []escrow.Entry) string { return differences(want, got, ids) }

func differences[E any](want, got []E, ids func([]E) []string) string {
	if a, b := ids(want), ids(got); !slices.Equal(a, b) {
		return fmt.Sprintf("the entries were %s and are %s", list(a), list(b))
	}
	for i := range want {
		if reflect.DeepEqual(want[i], got[i]) {
			continue // the usual case, quickly
		}
		fields := fieldsOf(&got[i])
		for j, f := range fieldsOf(&want[i]) {
			if d := f.difference(fields[j].value); d != "" {
				return d
			}
		}
	}
	return ""
}

func ids(entries []escrow.Entry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

// list prints identifiers.
func list(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	quoted := make([]string, len(ids))
	for i, id := range ids {
		quoted[i] = fmt.Sprintf("%+q", id)
		if len(id) > 64 {
			quoted[i] = fmt.Sprintf("one of %d bytes that ends in %+q", len(id), id[len(id)-1:])
		}
	}
	return strings.Join(quoted, ", ")
}

// difference says how a value differs from the field's, "" if it does not: a list
// that is empty is as good as none.
func (f field) difference(got reflect.Value) string {
	if !f.isList() {
		if d := f.differs(got); d != "" {
			return f.name + " " + d
		}
		return ""
	}
	if f.value.Len() != got.Len() {
		return fmt.Sprintf("%s had %d elements and has %d", f.name, f.value.Len(), got.Len())
	}
	other := field{f.name, got}.elements()
	for i, e := range f.elements() {
		if d := e.difference(other[i].value); d != "" {
			return d
		}
	}
	return ""
}

// differs says how a value differs from one that is no list. What is sealed is
// not printed.
func (f field) differs(got reflect.Value) string {
	switch want := f.value.Interface().(type) {
	case []byte:
		got := got.Bytes()
		if len(want) != len(got) {
			return fmt.Sprintf("had %d bytes and has %d", len(want), len(got))
		}
		for i := range want {
			if want[i] != got[i] {
				return fmt.Sprintf("has %d bytes and differs from byte %d on", len(want), i)
			}
		}
	case time.Time:
		got := got.Interface().(time.Time)
		switch {
		case !want.Equal(got):
			return fmt.Sprintf("was %s and is %s", moment(want), moment(got))
		case got.Location() != time.UTC:
			return fmt.Sprintf("was %s and is that in the location %q, not in UTC", moment(want), got.Location())
		case want != got:
			return fmt.Sprintf("was %s and is that with a monotonic clock's reading", moment(want))
		}
	default:
		if want != got.Interface() {
			return fmt.Sprintf("was %+q and is %+q", fmt.Sprint(want), fmt.Sprint(got.Interface()))
		}
	}
	return ""
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "zero"
	}
	return t.Format(time.RFC3339Nano)
}
