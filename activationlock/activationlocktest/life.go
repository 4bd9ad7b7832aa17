package activationlocktest

import (
	"errors"

	"github.com/activationlock/sdk/bypasscode"
)

// allowed is the option without which a supervised device does not lock.
const allowed = "ActivationLockAllowedWhileSupervised"

// SetFindMy plays the person who turns Find My on or off. Turning it on sets up
// a device that was not, without enrolling it, and turns the lock on: on an
// unsupervised device always, on a supervised one only if the server allowed
// it. Turning it off takes the password of their account, and lifts a
// user-linked lock. It gives [ErrLocked] for a device at its activation screen;
// other errors mean that it waits in Setup Assistant, or has no Find My.
func (d *Device) SetFindMy(on bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.platform == tvos:
		return errors.New("activationlocktest: there is no Find My on an Apple TV")
	case !d.activated():
		return ErrLocked
	case d.awaiting:
		return errors.New("activationlocktest: the device awaits its configuration")
	}
	if !on {
		d.findMy = false
		d.apple.turnOff(d.config.SerialNumber, func(l Lock) bool { return l.Kind == UserLinked })
		return nil
	}
	d.setUp()
	if !d.findMy && d.config.Reading.NewCodeWithFindMy && d.supervised && d.hasCodes() {
		d.makeCode()
	}
	d.findMy = true
	d.lockIfAllowed()
	return nil
}

// setUp ends the setup of a blank device. Nobody is signed in then.
func (d *Device) setUp() {
	if d.blank {
		d.blank, d.findMy = false, false
	}
}

// canLock reports whether there are user-linked locks on such a device.
func (d *Device) canLock() bool {
	if d.config.SharedIPad || d.config.UserEnrollment {
		return false
	}
	switch d.platform {
	case ios:
		return d.version("7.0")
	case macos:
		return d.version("10.15") && !d.config.NoT2
	case tvos:
		return false
	}
	return true
}

// hasCodes reports whether such a device makes bypass codes once it is
// supervised.
func (d *Device) hasCodes() bool {
	since := map[platform]string{ios: "7.1", macos: "10.15", visionos: "2.0"}[d.platform]
	return since != "" && d.version(since) && d.canLock()
}

func (d *Device) version(since string) bool { return atLeast(d.config.OSVersion, since) }

// lockIfAllowed turns the lock on if Find My is and nothing is against it.
func (d *Device) lockIfAllowed() {
	if !d.findMy || d.blank || !d.canLock() || d.lock().Kind != NotLocked {
		return
	}
	// The lock of a Watch follows its iPhone: no setting holds it back.
	if d.supervised && d.platform != watchos && !d.options[allowed] {
		return
	}
	lock := Lock{Kind: UserLinked}
	if d.supervised && d.hasCodes() {
		if d.code.IsZero() && d.cleared && !d.config.Reading.ClearIsFinal {
			d.makeCode()
		}
		if d.asked || d.config.Reading.WorksUnfetched {
			lock.Code = d.code
		}
	}
	d.apple.turnOn(d.config.SerialNumber, lock)
}

// makeCode makes a new code. Whether the server asked for the one before still
// counts: the request is what puts the bypass in place.
func (d *Device) makeCode() {
	c, err := bypasscode.FromBytes(d.random(bypasscode.Size))
	if err != nil {
		panic(err)
	}
	d.code, d.cleared = c.Text(), false
	d.codes = append(d.codes, d.code)
}

// supervise begins the supervision, and with it the 15 days.
func (d *Device) supervise() {
	d.supervised, d.migrated, d.since = true, false, d.config.Now()
	if d.hasCodes() && !(d.restored && (d.cleared || !d.code.IsZero())) {
		d.makeCode()
		d.asked = false
	}
	d.restored = false
}

// Erase plays the person who erases the device, in whatever way: the management
// ends without a word, a lock stays on, and Managed Lost Mode ends (here). See
// [Device.Restore] and [Device.Enroll].
func (d *Device) Erase() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
}

func (d *Device) erase() {
	d.unmanage()
	d.blank, d.supervised, d.restored = true, false, false
	d.setLostMode(false)
}

// unmanage ends the management, whose settings go with it.
func (d *Device) unmanage() { d.enrolled, d.awaiting, d.options = false, false, map[string]bool{} }

func (d *Device) setLostMode(on bool) {
	d.apple.change(d.config.SerialNumber, func(l *Lock) bool {
		changed := l.LostMode != on
		l.LostMode = on
		return changed
	})
}

// Restore plays the person who, setting up the erased device, restores a backup:
// the device's own one, which keeps the bypass code, or that of another device,
// which is as good as none. The 15 days begin again in any case. Call it between
// [Device.Erase] and [Device.Enroll]; else it is an error.
func (d *Device) Restore(own bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.blank {
		return errors.New("activationlocktest: the device is not erased")
	}
	d.restored = own
	return nil
}

// TypeCode plays the person who types a code at the activation screen, or in the
// recovery system of a Mac. It reports whether that opened the lock.
func (d *Device) TypeCode(code bypasscode.Text) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.blank && d.platform != macos {
		return false
	}
	opened := d.apple.turnOff(d.config.SerialNumber, func(l Lock) bool { return d.apple.opens(l, code) })
	if opened && d.config.Reading.Relock == RelockAtOnce {
		d.lockIfAllowed()
	}
	return opened
}

// unlocked is called when Apple lifted the lock.
func (d *Device) unlocked() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.config.Reading.Relock == RelockAtOnce {
		d.lockIfAllowed()
	}
}

// noFindMy is called when the owner turned Find My off elsewhere.
func (d *Device) noFindMy() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.findMy = false
}

// migrate is called when the device moves to another management service.
func (d *Device) migrate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unmanage()
	d.code, d.asked, d.cleared, d.migrated = noCode, false, false, true
}

// MakeCode makes a supervised device make a new bypass code for no known reason.
// A lock that is on keeps its own.
func (d *Device) MakeCode() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.supervised && d.hasCodes() {
		d.makeCode()
	}
}

// SetReachable says whether the device can be reached. While it cannot, it reads
// no commands and sends nothing. Devices begin reachable.
func (d *Device) SetReachable(reachable bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unreachable = !reachable
}

// NotNow makes the device answer the next n commands with NotNow. Commands for
// which Apple promises a proper answer do not count.
func (d *Device) NotNow(n int) { d.count(&d.notNow, n) }

// Lose loses the next n messages of the device on their way. It does what a
// command says all the same.
func (d *Device) Lose(n int) { d.count(&d.lose, n) }

// SendTwice doubles the next n messages of the device on their way.
func (d *Device) SendTwice(n int) { d.count(&d.twice, n) }

// AnswerEmpty makes the device acknowledge the next n questions for its code with
// an empty text, although it has one. Such a question does not count as asked.
func (d *Device) AnswerEmpty(n int) { d.count(&d.emptyAnswers, n) }

func (d *Device) count(counter *int, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*counter = n
}

// ClaimSerialNumber makes the messages of the device claim another serial
// number; "" ends it.
func (d *Device) ClaimSerialNumber(serial string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claimed = serial
}

// MisreportLock makes IsActivationLockEnabled say the opposite of the truth,
// which Apple warns of, or ends that.
func (d *Device) MisreportLock(wrong bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.misreports = wrong
}
