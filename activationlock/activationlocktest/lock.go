package activationlocktest

import (
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

// LockKind is the kind of a lock.
type LockKind string

const (
	NotLocked LockKind = ""
	// UserLinked: a person turned Find My on; the device's code opens it.
	UserLinked LockKind = "user"
	// OrganizationLinked: the server turned it on; the server's code opens it.
	OrganizationLinked LockKind = "organization"
	// CreatorLinked: turned on without a hash, or by Apple after a migration that
	// failed; only the administrator's own account opens it.
	CreatorLinked LockKind = "creator"
)

// Lock is the true state of a device's lock.
type Lock struct {
	Kind LockKind
	// Code opens a user-linked lock. It is empty if no code does.
	Code bypasscode.Text
	// Hash is that of the code which opens an organization-linked lock.
	Hash bypasscode.Hash
	// Message is the lost_message of a lock that the server turned on.
	Message string
	// Since is when the lock came on, or went off.
	Since time.Time
	// LostMode: the device is in Managed Lost Mode. That is no Activation Lock,
	// but the AxM API and the portal show it as a lock of the organization.
	LostMode bool
}

// OpensWith reports whether the code, as it is written, opens the lock. The hash
// of a code takes some milliseconds.
func (l Lock) OpensWith(code bypasscode.Text) bool { return l.opensWith(code, bypasscode.Code.Hash) }

func (l Lock) opensWith(code bypasscode.Text, hash func(bypasscode.Code) (bypasscode.Hash, error)) bool {
	switch l.Kind {
	case UserLinked:
		return !l.Code.IsZero() && l.Code.Equal(code)
	case OrganizationLinked:
		c, err := code.Code()
		if err != nil {
			return false
		}
		h, err := hash(c)
		return err == nil && h == l.Hash
	}
	return false
}

// opens is OpensWith, with a lenient reading of the code where the Reading says
// so. A hash is computed once. The caller holds the mutex.
func (a *Apple) opens(l Lock, code bypasscode.Text) bool {
	if a.config.Reading.LooseCodes {
		if c, err := bypasscode.ParseLenient(code.Reveal(), false); err == nil {
			code = c.Text()
		}
	}
	return l.opensWith(code, func(c bypasscode.Code) (h bypasscode.Hash, err error) {
		h, known := a.hashes[c.RevealBytes()]
		if !known {
			if h, err = c.Hash(); err == nil {
				a.hashes[c.RevealBytes()] = h
			}
		}
		return h, err
	})
}

// Lock returns the true lock of a device; the zero Lock for a serial number that
// is not known.
func (a *Apple) Lock(serial string) Lock {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.devices[serial]; r != nil {
		return r.history[len(r.history)-1]
	}
	return Lock{}
}

// change lets f change the lock, unless f says no, and reports what it said. The
// first of several callers wins.
func (a *Apple) change(serial string, f func(*Lock) bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.devices[serial]
	if r == nil {
		panic("activationlocktest: no device with this serial number was added")
	}
	now := a.config.Now()
	old := r.history[len(r.history)-1]
	lock := old
	if !f(&lock) {
		return false
	}
	if lock.Kind != old.Kind {
		lock.Since = now
	}
	r.history, r.times = append(r.history, lock), append(r.times, now)
	return true
}

// turnOn locks a device that is not locked.
func (a *Apple) turnOn(serial string, on Lock) bool {
	return a.change(serial, func(l *Lock) bool {
		if l.Kind != NotLocked {
			return false
		}
		on.LostMode = l.LostMode
		*l = on
		return true
	})
}

// turnOff lifts a lock if the condition holds; nil always holds.
func (a *Apple) turnOff(serial string, condition func(Lock) bool) bool {
	return a.change(serial, func(l *Lock) bool {
		if l.Kind == NotLocked || condition != nil && !condition(*l) {
			return false
		}
		*l = Lock{LostMode: l.LostMode}
		return true
	})
}

// OwnerTurnsOff plays the person who turns Find My off with the password of
// their account, on the device, at its activation screen or on the web. It
// lifts a user-linked lock and reports whether there was one.
func (a *Apple) OwnerTurnsOff(serial string) bool {
	lifted := a.turnOff(serial, func(l Lock) bool { return l.Kind == UserLinked })
	a.get(serial).device.noFindMy()
	return lifted
}

// AdministratorTurnsOff plays the administrator in the portal. It lifts locks of
// the organization and ends Managed Lost Mode, and user-linked locks only by
// [Reading.PortalOpensUserLocks]. It reports whether it lifted anything; never
// for devices that are not in the organization.
func (a *Apple) AdministratorTurnsOff(serial string) bool {
	r := a.get(serial)
	lifted := a.change(serial, func(l *Lock) bool {
		opens := l.Kind != NotLocked && (l.Kind != UserLinked || a.config.Reading.PortalOpensUserLocks)
		if !r.inOrganization || !opens && !l.LostMode {
			return false
		}
		if opens {
			*l = Lock{}
		}
		l.LostMode = false
		return true
	})
	if lifted {
		r.device.unlocked()
	}
	return lifted
}

// Migrate moves the device to another management service: its lock is lifted,
// and all codes of the service before are void, so that the device makes a new
// one when it enrolls. If the migration fails, Apple puts a lock on then that
// only the administrator can open.
//
// The device is no longer enrolled, and tells nobody. [Device.Enroll] enrolls it
// with the new service.
func (a *Apple) Migrate(serial string, fails bool) {
	a.change(serial, func(l *Lock) bool {
		*l = Lock{}
		if fails {
			l.Kind = CreatorLinked
		}
		return true
	})
	a.get(serial).device.migrate()
}
