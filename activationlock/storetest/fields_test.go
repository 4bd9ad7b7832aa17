package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// Each field by itself makes a difference, and the difference has its name.
func TestEveryFieldCounts(t *testing.T) {
	t.Parallel()
	want := []escrow.Entry{entry(t, "1", escrow.Subject{SerialNumber: "1", EnrollmentID: "2"}, 1)}
	assert.Empty(t, difference(want, copied(want)))
	assert.Contains(t, difference(want, nil), "are none")
	other := entry(t, "1", escrow.Subject{SerialNumber: "3", EnrollmentID: "4"}, 2)
	names := map[string]bool{}
	values := map[any]string{}
	for i, f := range fieldsOf(&other) {
		names[f.name] = true
		if f.name == "ID" {
			continue
		}
		for _, edit := range []func(field){
			func(g field) { g.value.Set(f.value) },
			func(g field) { g.value.SetZero() },
		} {
			got := copied(want)
			edit(fieldsOf(&got[0])[i])
			assert.Regexp(t, "^"+f.name+" (was|had|has)", difference(want, got))
		}
		if value := f.value.Interface(); f.value.Comparable() {
			assert.Empty(t, values[value], "%s has the value of another field", f.name)
			values[value] = f.name
		}
	}
	for _, name := range []string{"ID", "Subject.SerialNumber", "FirstSeen", "Device.IMEI2", "Hash", "Sealed", "Digest", "RecoveryCopy"} {
		assert.Contains(t, names, name)
	}
}

// So does each field of an audit's entry.
func TestEveryFieldOfAnAuditCounts(t *testing.T) {
	t.Parallel()
	want := []audit.Entry{row(t, 1, 1)}
	assert.Empty(t, differences(want, copied(want), numbers))
	other := row(t, 2, 2)
	names := map[string]bool{}
	for i, f := range fieldsOf(&other) {
		names[f.name] = true
		assert.False(t, f.value.IsZero(), "%s is empty", f.name)
		if f.name == "Number" {
			continue
		}
		for _, edit := range []func(field){
			func(g field) { g.value.Set(f.value) },
			func(g field) { g.value.SetZero() },
		} {
			got := copied(want)
			edit(fieldsOf(&got[0])[i])
			assert.Regexp(t, "^"+f.name+" was", differences(want, got, numbers))
		}
	}
	for _, name := range []string{"Number", "Act", "At", "Actor", "Reason", "SerialNumber", "EnrollmentID", "RecordID", "Detail", "Digest"} {
		assert.Contains(t, names, name)
	}
	for name := range needed {
		assert.Contains(t, names, name)
	}
}

// What is sealed stays out of the failures.
func TestDifferencesDoNotPrintBytes(t *testing.T) {
	t.Parallel()
	want := []escrow.Entry{{Sealed: []byte("secret")}}
	got := []escrow.Entry{{Sealed: []byte("secreT")}}
	assert.Equal(t, "Sealed has 6 bytes and differs from byte 5 on", difference(want, got))
	got[0].Sealed = []byte("sec")
	assert.Equal(t, "Sealed had 6 bytes and has 3", difference(want, got))
}

// Fields of other types can come.
func TestFieldsToCome(t *testing.T) {
	t.Parallel()
	var s struct {
		Inner struct{ Flag bool }
		Count int
		Small uint8
		Name  escrow.Cause
		Sum   [4]byte
		At    time.Time
	}
	fields := fieldsOf(&s)
	assert.Equal(t, "Inner.Flag", fields[0].name)
	for _, f := range fields {
		f.fill(t, 1)
		assert.False(t, f.value.IsZero(), f.name)
	}
}
