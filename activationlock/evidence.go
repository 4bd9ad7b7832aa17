package activationlock

import (
	"cmp"
	"slices"
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

// State says whether something is on. The zero State is Unknown.
type State string

// The states of a lock.
const (
	StateUnknown State = ""
	On           State = "on"
	Off          State = "off"
)

// LockKind says how a lock came on, and with that which code opens it. The
// zero LockKind is unknown.
type LockKind string

const (
	// KindUnknown: nobody said.
	KindUnknown LockKind = ""
	// UserLinked: a person turned Find My on. The device's code opens it.
	UserLinked LockKind = "user"
	// OrganizationLinked: the server asked Apple for it. The server's code opens it.
	OrganizationLinked LockKind = "organization"
)

// Opens reports whether a code of kind k opens a lock of this kind; any kind
// may open a lock of unknown kind.
func (l LockKind) Opens(k bypasscode.Kind) bool {
	switch l {
	case UserLinked:
		return k == bypasscode.Device
	case OrganizationLinked:
		return k == bypasscode.Server
	}
	return k.Valid()
}

// Source says who gave a piece of evidence.
type Source string

// SourceDevice is the device's own report (IsActivationLockEnabled). Apple
// says that it can be wrong both ways, and it is deprecated since iOS 16 and
// macOS 13.
const SourceDevice Source = "device"

// Evidence is what one source said of a lock at one time. A source that said
// nothing gives no evidence: absent is not off.
type Evidence struct {
	State  State
	Kind   LockKind // of a lock that is on
	Source Source
	At     time.Time
}

// Lock is what all the evidence comes to. The zero Lock is unknown.
type Lock struct {
	State  State
	Kind   LockKind
	Source Source    // which source decided; "" if none
	Since  time.Time // of the earliest evidence of this state without another between
}

// Derive makes a Lock of the evidence about one device, in any order. The
// latest evidence decides; the same moment with different states is unknown,
// and with different kinds a lock of unknown kind.
func Derive(evidence []Evidence) Lock {
	// In one fixed order, so that the order given makes no difference.
	evidence = slices.SortedFunc(slices.Values(evidence), func(a, b Evidence) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Source, b.Source))
	})
	var last Evidence
	conflict, mixed := false, false
	for _, e := range evidence {
		switch {
		case e.State == StateUnknown:
		case last.State == StateUnknown || e.At.After(last.At):
			last, conflict, mixed = e, false, false
		case e.State != last.State:
			conflict = true
		case last.Kind == KindUnknown:
			last = e
		case e.Kind != last.Kind:
			mixed = true
		}
	}
	if last.State == StateUnknown || conflict {
		return Lock{}
	}
	lock := Lock{State: last.State, Kind: last.Kind, Source: last.Source, Since: last.At}
	if mixed {
		lock.Kind = KindUnknown
	}
	// Since goes back to the first evidence after the last that said otherwise.
	var otherwise time.Time
	for _, e := range evidence {
		if e.State != StateUnknown && e.State != last.State && e.At.After(otherwise) {
			otherwise = e.At
		}
	}
	for _, e := range evidence {
		if e.State == last.State && e.At.After(otherwise) && e.At.Before(lock.Since) {
			lock.Since = e.At
		}
	}
	return lock
}
