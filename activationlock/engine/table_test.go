package engine

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	hour   = time.Hour
	minute = time.Minute
	oneDay = 24 * time.Hour
)

// noon is when all situations are looked at: on a Wednesday.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// mondays is due on Mondays at noon, daily at midnight, and never not at all.
type (
	mondays struct{}
	daily   struct{}
	never   struct{}
)

func (mondays) Next(after time.Time) time.Time {
	monday := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	return monday.Add(after.Sub(monday).Truncate(week) + week)
}
func (daily) Next(after time.Time) time.Time { return after.Truncate(oneDay).Add(oneDay) }
func (never) Next(time.Time) time.Time       { return time.Time{} }

// situation is everything that a plan depends on.
type situation struct {
	step
	record    inventory.Record
	auditDown bool
}

// given is a part of a situation.
type given func(*situation)

// of makes a situation. It begins with a device that enrolled yesterday and of
// which no more is known than its serial number.
func of(parts ...given) situation {
	s := situation{
		step: step{bypasses: true, to: toDevice | toApple, now: noon},
		record: inventory.Record{
			EnrollmentID: "00008120-0011223344556677", Channel: DeviceChannel,
			AuthenticatedAt: noon.Add(-oneDay), TokenAt: noon.Add(-oneDay),
			CodeWanted: true, CodeCause: escrow.CauseEnrollment,
			Facts: inventory.Facts{SerialNumber: "XXFAKE0SER1"},
		},
	}
	s.policy, _ = Policy{
		Inventory:  func(string) inventory.Schedule { return mondays{} },
		LockStatus: func(string) inventory.Schedule { return daily{} },
	}.withDefaults(true)
	for _, part := range parts {
		part(&s)
	}
	return s
}

// all joins parts.
func all(parts ...given) given {
	return func(s *situation) {
		for _, part := range parts {
			part(s)
		}
	}
}

// What the device is.

func record(change func(*inventory.Record)) given {
	return func(s *situation) { change(&s.record) }
}

func product(name, version string) given {
	return record(func(r *inventory.Record) { r.Facts.ProductName, r.Facts.OSVersion = name, version })
}

func supervised(is bool) given {
	return record(func(r *inventory.Record) { r.Facts.Supervised = &is })
}

var (
	iPhone = all(product("iPhone17,3", "26.1"), supervised(true))
	mac    = all(product("Mac14,2", "15.1"), supervised(true), func(s *situation) {
		s.record.Facts.LockSupported, s.record.Facts.LockManageable = new(true), new(true)
	})
)

// kinds are all kinds of devices.
var kinds = []row{
	{"an iPhone", iPhone},
	{"not supervised", all(iPhone, supervised(false))},
	{"supervised or not, nobody knows", product("iPhone17,3", "26.1")},
	{"a Shared iPad", all(iPhone, product("iPad13,1", "26.1"), record(func(r *inventory.Record) { r.Facts.SharedIPad = new(true) }))},
	{"an iPad that is not shared", all(iPhone, product("iPad13,1", "26.1"), record(func(r *inventory.Record) { r.Facts.SharedIPad = new(false) }))},
	{"with iOS 6.1", all(iPhone, product("iPhone3,1", "6.1"))},
	{"with iOS 7.0", all(iPhone, product("iPhone5,1", "7.0.4"))},
	{"with iOS 7.1", all(iPhone, product("iPhone5,1", "7.1"))},
	{"with iOS 9.3", all(iPhone, product("iPhone5,1", "9.3"))},
	{"with a version that is none", all(iPhone, product("iPhone17,3", "?"))},
	{"a Mac", mac},
	{"a Mac that says nothing of its lock", all(mac, record(func(r *inventory.Record) { r.Facts.LockSupported, r.Facts.LockManageable = nil, nil }))},
	{"a Mac without the chip", all(mac, record(func(r *inventory.Record) { r.Facts.LockSupported = new(false) }))},
	{"a Mac whose lock is not manageable", all(mac, record(func(r *inventory.Record) { r.Facts.LockManageable = new(false) }))},
	{"a Mac with macOS 10.14", all(mac, product("iMac14,2", "10.14"))},
	{"a Vision Pro", all(iPhone, product("RealityDevice14,1", "2.0"))},
	{"a Vision Pro with visionOS 1.1", all(iPhone, product("RealityDevice14,1", "1.1"))},
	{"an Apple TV", all(iPhone, product("AppleTV14,1", "26.0"))},
	{"a watch", all(iPhone, product("Watch7,1", "26.0"))},
	{"of an unknown kind", all(iPhone, product("", ""))},
	{"without a serial number", all(iPhone, record(func(r *inventory.Record) { r.Facts.SerialNumber = "" }))},
	{"whose serial number another claims", all(iPhone, record(func(r *inventory.Record) { r.Disputed = true }))},
	{"a user's channel of it", all(iPhone, record(func(r *inventory.Record) { r.Channel = UserChannel }))},
	{"a user enrollment", all(iPhone, record(func(r *inventory.Record) { r.UserEnrollment = true }))},
	{"between Authenticate and TokenUpdate", all(iPhone, record(func(r *inventory.Record) { r.TokenAt = time.Time{} }))},
	{"that checked out", all(iPhone, checkedOut(hour))},
}

func checkedOut(ago time.Duration) given {
	return record(func(r *inventory.Record) { r.CheckedOutAt = noon.Add(-ago) })
}

func enrolled(ago time.Duration) given {
	return record(func(r *inventory.Record) { r.AuthenticatedAt, r.TokenAt = noon.Add(-ago), noon.Add(-ago) })
}

var adopted = record(func(r *inventory.Record) { r.AuthenticatedAt = time.Time{} })

// What was asked and answered.

func exchanged(name string, change func(inventory.Exchange) inventory.Exchange) given {
	return record(func(r *inventory.Record) { exchange(r, name, change) })
}

// asked: and not answered. The deadline is after that time.
func asked(name string, ago, within time.Duration) given {
	return exchanged(name, func(x inventory.Exchange) inventory.Exchange {
		return x.Ask("open", noon.Add(-ago), noon.Add(within-ago))
	})
}

// answered: and the question rests for that time.
func answered(name string, a inventory.Answer, ago, rest time.Duration) given {
	return exchanged(name, func(x inventory.Exchange) inventory.Exchange {
		return x.Ask("answered", noon.Add(-ago), noon.Add(oneDay-ago)).Answered("answered", a, noon.Add(-ago), noon.Add(rest-ago))
	})
}

func notNow(name string, ago, again time.Duration) given {
	return exchanged(name, func(x inventory.Exchange) inventory.Exchange {
		return x.Ask("later", noon.Add(-ago), noon.Add(oneDay-ago)).Later(noon.Add(again - ago))
	})
}

func unanswered(name string, n int) given {
	return exchanged(name, func(x inventory.Exchange) inventory.Exchange {
		x.Unanswered = n
		return x
	})
}

func forgotten(name string) given {
	return record(func(r *inventory.Record) { delete(r.Exchanges, name) })
}

// told: the device answered the questions for facts.
func told(ago time.Duration) given {
	return func(s *situation) {
		answered(information, inventory.Done, ago, hour)(s)
		if s.record.Facts.Platform() == mdmcmd.MacOS {
			answered(security, inventory.Done, ago, hour)(s)
		}
	}
}

// gave: the device gave its code, which is in escrow.
func gave(ago time.Duration) given {
	return all(answered(bypassCode, inventory.WithCode, ago, hour), func(s *situation) {
		s.codes = []escrow.Record{{ID: "C1", Kind: bypasscode.Device, State: escrow.Current}}
		s.record.CodeID, s.record.CodeWanted = "C1", false
	})
}

func code(change func(*escrow.Record)) given {
	return func(s *situation) {
		if len(s.codes) > 0 {
			s.codes = slices.Clone(s.codes)
			change(&s.codes[0])
		}
	}
}

var wanted = record(func(r *inventory.Record) { r.CodeWanted, r.CodeCause = true, escrow.CauseLockOn })

// What the policy wants.

func policy(change func(*Policy)) given { return func(s *situation) { change(&s.policy) } }

func wants(o mdmcmd.MDMOptions) given { return policy(func(p *Policy) { p.Options = o }) }

func sent(o mdmcmd.MDMOptions) given {
	return record(func(r *inventory.Record) { r.OptionsSent = o })
}

func reports(allowed bool) given {
	return record(func(r *inventory.Record) { r.Facts.LockAllowed = &allowed })
}

var (
	allow  = mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true)}
	forbid = mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(false)}
	both   = mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(true), IdleRebootAllowed: new(true)}
	reboot = mdmcmd.MDMOptions{IdleRebootAllowed: new(true)}
	noLock = mdmcmd.MDMOptions{ActivationLockAllowedWhileSupervised: new(false), IdleRebootAllowed: new(true)}

	overrides = policy(func(p *Policy) { p.AllowWithoutCode = escrow.Act{Actor: "anna", Reason: "no codes here"} })
	noAudit   = func(s *situation) { s.auditDown = true }
	once      = policy(func(p *Policy) { p.Inventory = func(string) inventory.Schedule { return never{} } })
	lockAll   = policy(func(p *Policy) { p.LockForOrganization = true })
)

// Apple.

const (
	appleUnlock = string(UnlockService)
	appleLock   = string(LockService)
	appleStatus = string(StatusService)
)

var (
	polls     = func(s *situation) { s.api = true }
	ordered   = record(func(r *inventory.Record) { r.LockOrder = inventory.LockOrder{At: noon.Add(-hour)} })
	bypassing = record(func(r *inventory.Record) { r.BypassID = "B1" })
)

func pause(service Service, d time.Duration) given {
	return func(s *situation) { s.pauses = map[Service]time.Time{service: noon.Add(d)} }
}

func evidence(source activationlock.Source, state activationlock.State, ago time.Duration) given {
	return record(func(r *inventory.Record) {
		r.AddEvidence(activationlock.Evidence{Source: source, State: state, At: noon.Add(-ago)})
	})
}

func only(to recipients) given { return func(s *situation) { s.to = to } }

// row is one line of the table.
type row struct {
	name  string
	given given
}

// group is a part of the table. Its rows are what is given beside base.
type group struct {
	title string
	base  given
	rows  []row
}

// codes are all that can be wrong with a code.
var codes = []row{
	{"which the device gave in this enrollment", all()},
	{"of an enrollment before", record(func(r *inventory.Record) { r.CodeID = "" })},
	{"other than the one that it gave last", record(func(r *inventory.Record) { r.CodeID = "C2" })},
	{"marked: it enrolled since, and that is not on record", code(func(c *escrow.Record) { c.StaleSince = noon.Add(-2 * oneDay) })},
	{"superseded", code(func(c *escrow.Record) { c.State = escrow.Superseded })},
	{"disputed", code(func(c *escrow.Record) { c.State = escrow.Disputed })},
	{"void", code(func(c *escrow.Record) { c.State = escrow.Void })},
	{"of the organization", code(func(c *escrow.Record) { c.Kind = bypasscode.Server })},
	{"after which Find My came on", wanted},
}

var groups = []group{
	{"Nothing was asked yet. The policy allows the lock.", wants(allow), kinds},
	{"The device told what it is, an hour ago. The policy allows the lock.", all(wants(allow)), after(kinds, told(hour))},
	{"It gave its code, too. The policy allows the lock.", all(wants(allow)), after(kinds, told(hour), gave(hour))},
	{"It told what it is, and was not asked for its code yet. The policy forbids the lock.", all(wants(forbid)), after(kinds, told(hour))},
	{"It told what it is, and answered without a code. The policy allows the lock all the same.", all(wants(allow), overrides), after(kinds, told(hour), answered(bypassCode, inventory.NoCode, hour, 6*hour))},

	{"Facts: an iPhone. The policy has no options.", all(iPhone, gave(3*oneDay)), []row{
		{"not asked yet", all()},
		{"not asked yet, and the policy asks once only", once},
		{"asked an hour ago", asked(information, hour, oneDay)},
		{"asked, and overdue", asked(information, oneDay, oneDay)},
		{"NotNow, to be asked again in a minute", notNow(information, 59*minute, hour)},
		{"NotNow, to be asked again now", notNow(information, hour, hour)},
		{"answered an hour ago", told(hour)},
		{"answered a minute after Monday noon", told(2*oneDay - minute)},
		{"answered on Monday at noon", told(2 * oneDay)},
		{"answered a minute before Monday noon", told(2*oneDay + minute)},
		{"answered a week ago, with an error, to rest until tomorrow", answered(information, inventory.Refused, 7*oneDay, 8*oneDay)},
		{"answered a week ago, and asked again an hour ago", all(told(7*oneDay), asked(information, hour, oneDay))},
		{"answered a week ago, asked again, and overdue", all(told(7*oneDay), asked(information, oneDay, oneDay))},
		{"answered a month ago, and the policy asks once only", all(told(30*oneDay), once)},
	}},
	{"Facts: a Mac. The policy has no options.", all(mac, gave(3*oneDay)), []row{
		{"told both", told(hour)},
		{"told what it is, security was not asked", all(told(hour), forgotten(security))},
		{"told of its security, the rest was not asked", all(told(hour), forgotten(information))},
		{"told what it is, security is open", all(told(hour), forgotten(security), asked(security, hour, oneDay))},
		{"told what it is, security is overdue", all(told(hour), forgotten(security), asked(security, oneDay, oneDay))},
		{"told both before Monday", told(3 * oneDay)},
		{"told of its security an hour ago, and has six days to tell the rest", all(told(hour), forgotten(information), asked(information, hour, 6*oneDay))},
		{"told of its security before Monday, and the rest since", all(told(3*oneDay), answered(information, inventory.Done, hour, hour))},
		{"told what it is before Monday, and of its security since", all(told(3*oneDay), answered(security, inventory.Done, hour, hour))},
	}},
	{"The code: an iPhone that told what it is. The policy has no options.", all(iPhone, told(hour)), []row{
		{"not asked yet", all()},
		{"not asked yet, facts are open", all(forgotten(information), asked(information, hour, oneDay))},
		{"not asked yet, facts are overdue", all(forgotten(information), asked(information, oneDay, oneDay))},
		{"not asked yet, facts are overdue before they are asked again", all(forgotten(information), notNow(information, oneDay-minute, oneDay+hour))},
		{"asked an hour ago", asked(bypassCode, hour, oneDay)},
		{"asked, and overdue", asked(bypassCode, oneDay, oneDay)},
		{"NotNow, to be asked again in a minute", notNow(bypassCode, 59*minute, hour)},
		{"NotNow, to be asked again now", notNow(bypassCode, hour, hour)},
		{"answered without, to be asked again in five hours", answered(bypassCode, inventory.NoCode, hour, 6*hour)},
		{"answered without, to be asked again now", answered(bypassCode, inventory.NoCode, 6*hour, 6*hour)},
		{"answered with an error, to be asked again now", answered(bypassCode, inventory.Refused, 6*hour, 6*hour)},
		{"held", gave(hour)},
		{"held, and Find My came on", all(gave(2*hour), wanted)},
		{"held, and Find My came on while the question rests", all(gave(hour/2), wanted)},
		{"the window closes in twelve hours", enrolled(activationlock.CodeWindow - 12*hour)},
		{"the window is closed", enrolled(16 * oneDay)},
		{"nobody knows since when it is enrolled", adopted},
	}},
	{"The code: a Mac that told what it is. The policy forbids the lock.", all(mac, told(hour), wants(forbid)), []row{
		{"not asked yet", all()},
		{"not asked yet, security was not asked", forgotten(security)},
		{"not asked yet, security is open", all(forgotten(security), asked(security, hour, oneDay))},
		{"not asked yet, security is overdue", all(forgotten(security), asked(security, oneDay, oneDay))},
		{"not asked yet, security was refused", answered(security, inventory.Refused, hour, hour)},
	}},
	{"The code: an iPhone that told what it is gave one two days ago. The policy has no options. The code is", all(iPhone, told(hour), gave(2*oneDay)), codes},
	{"The permission: an iPhone that told what it is gave its code an hour ago. The policy allows the lock. The code is", all(iPhone, told(hour), gave(hour), wants(allow)), codes},
	{"The same, with facts that are open. The code is", all(iPhone, gave(hour), asked(information, hour, oneDay), wants(allow)), codes},
	{"The same, with a policy that allows the lock without a code. The code is", all(iPhone, told(hour), gave(hour), wants(allow), overrides), codes},
	{"The permission: an iPhone that told what it is. The policy allows the lock.", all(iPhone, told(hour), wants(allow)), []row{
		{"it gave its code a minute less than a day ago", gave(oneDay - minute)},
		{"it gave its code a day ago", gave(oneDay)},
		{"it gave its code a day ago, and was asked again", all(gave(oneDay), asked(bypassCode, hour, oneDay))},
		{"it gave its code a day ago, and now has none", all(gave(oneDay), answered(bypassCode, inventory.NoCode, hour, 6*hour))},
		{"asked an hour ago", all(gave(hour), asked(options, hour, oneDay), sent(allow))},
		{"asked, and overdue", all(gave(hour), asked(options, oneDay, oneDay), sent(allow))},
		{"NotNow, to be asked again in a minute", all(gave(hour), notNow(options, 59*minute, hour), sent(allow))},
		{"NotNow, to be asked again in a minute, and the code is old by then", all(gave(oneDay-minute), notNow(options, 59*minute, hour), sent(allow))},
		{"NotNow, to be asked again now", all(gave(hour), notNow(options, hour, hour), sent(allow))},
		{"refused, to be asked again in a minute", all(gave(hour), answered(options, inventory.Refused, 59*minute, hour), sent(allow))},
		{"refused, to be asked again now", all(gave(hour), answered(options, inventory.Refused, hour, hour), sent(allow))},
		{"taken", all(gave(hour), answered(options, inventory.Done, hour, hour), sent(allow))},
		{"taken, and the code is old since", all(gave(30*oneDay), answered(options, inventory.Done, 29*oneDay, hour), sent(allow))},
		{"taken, when the policy forbade the lock", all(gave(hour), answered(options, inventory.Done, hour, hour), sent(forbid))},
		{"taken, when the policy had another option too", all(gave(hour), answered(options, inventory.Done, hour, hour), sent(both))},
		{"taken, when the policy forbade the lock; asked for this an hour ago", all(gave(hour), answered(options, inventory.Done, 2*oneDay, hour), sent(allow), asked(options, hour, oneDay))},
		{"taken, when the policy forbade the lock; asked for this, and overdue", all(gave(hour), answered(options, inventory.Done, 2*oneDay, hour), sent(allow), asked(options, oneDay, oneDay))},
		{"taken, when the policy forbade the lock; NotNow to this, to be asked again now", all(gave(hour), answered(options, inventory.Done, 2*oneDay, hour), sent(allow), notNow(options, hour, hour))},
		{"taken, and the device says so", all(gave(hour), answered(options, inventory.Done, 2*hour, hour), sent(allow), reports(true))},
		{"taken, and the device denied it before", all(gave(hour), answered(options, inventory.Done, hour, hour), sent(allow), reports(false))},
		{"taken, and the device denies it since", all(gave(hour), answered(options, inventory.Done, 2*hour, hour), sent(allow), reports(false))},
		{"taken, the device denies it since, and its code is old", all(gave(2*oneDay), answered(options, inventory.Done, 2*hour, hour), sent(allow), reports(false))},
	}},
	{"Other options: an iPhone that told what it is, and has no code, of which it spoke an hour ago.", all(iPhone, told(hour), answered(bypassCode, inventory.NoCode, hour, 6*hour)), []row{
		{"no options", all()},
		{"the lock is forbidden", wants(forbid)},
		{"the lock is forbidden, and facts are open", all(wants(forbid), forgotten(information), asked(information, hour, oneDay))},
		{"the lock is forbidden, facts are overdue", all(wants(forbid), forgotten(information), asked(information, oneDay, oneDay))},
		{"the lock is forbidden, as it was before", all(wants(forbid), answered(options, inventory.Done, hour, hour), sent(forbid))},
		{"the lock is forbidden, and was allowed before", all(wants(forbid), answered(options, inventory.Done, hour, hour), sent(allow))},
		{"the lock is forbidden, and the device says it is allowed", all(wants(forbid), answered(options, inventory.Done, 2*hour, hour), sent(forbid), reports(true))},
		{"the lock is forbidden, also by the policy that allows it without a code", all(wants(forbid), overrides)},
		{"nothing is said of the lock", wants(reboot)},
		{"nothing is said of the lock, and the device says it is allowed", all(wants(reboot), answered(options, inventory.Done, 2*hour, hour), sent(reboot), reports(true))},
		{"the lock is allowed, and reboots", wants(both)},
		{"the lock is allowed, and reboots; these options were taken", all(wants(both), answered(options, inventory.Done, hour, minute), sent(noLock))},
		{"the lock is allowed, and reboots; and it was allowed before", all(wants(both), answered(options, inventory.Done, hour, minute), sent(allow))},
		{"the lock is allowed, and reboots; its code was not asked yet", all(wants(both), forgotten(bypassCode))},
		{"the lock is allowed, and reboots; it gave its code two days ago", all(wants(both), gave(2*oneDay))},
		{"the lock is allowed, and reboots; it can have no code", all(wants(both), supervised(false), forgotten(bypassCode))},
	}},
	{"The permission without a code: an iPhone, and a policy that allows the lock all the same.", all(iPhone, told(hour), wants(allow), overrides), []row{
		{"its code was not asked yet", all()},
		{"its code was asked an hour ago", asked(bypassCode, hour, oneDay)},
		{"it answered without", answered(bypassCode, inventory.NoCode, hour, 6*hour)},
		{"it answered without, and the audit is down", all(answered(bypassCode, inventory.NoCode, hour, 6*hour), noAudit)},
		{"its code was not asked yet, and the audit is down", noAudit},
		{"it gave its code, and the audit is down", all(gave(hour), noAudit)},
		{"it gave its code two days ago", gave(2 * oneDay)},
		{"it answered without, the audit is down, and reboots are allowed", all(wants(both), answered(bypassCode, inventory.NoCode, hour, 6*hour), noAudit)},
		{"facts are open", all(forgotten(information), asked(information, hour, oneDay))},
		{"the options were asked an hour ago", all(answered(bypassCode, inventory.NoCode, hour, 6*hour), asked(options, hour, oneDay))},
		{"NotNow to the options, to be asked again in a minute", all(answered(bypassCode, inventory.NoCode, hour, 6*hour), notNow(options, 59*minute, hour))},
		{"the options were taken", all(answered(bypassCode, inventory.NoCode, hour, 6*hour), answered(options, inventory.Done, hour, hour), sent(allow))},
		{"it is not supervised", supervised(false)},
	}},
	{"Several at once: an iPhone whose facts are of before Monday.", all(iPhone, told(3*oneDay)), []row{
		{"no code, no options", all()},
		{"no code, the lock is forbidden", wants(forbid)},
		{"a code, the lock is allowed", all(gave(hour), wants(allow))},
		{"an old code, the lock is allowed", all(gave(2*oneDay), wants(allow))},
		{"with a bypass and a lock under way, and a status to ask", all(gave(hour), wants(allow), bypassing, ordered, polls)},
	}},

	{"Apple: what each device has. The policy locks devices for the organization, and asks for the status.", all(lockAll, polls), after(kinds, told(hour), gave(hour))},
	{"Apple, an unlock: an iPhone that told what it is, and gave its code.", all(iPhone, told(hour), gave(hour)), []row{
		{"no bypass", all()},
		{"a bypass", bypassing},
		{"a bypass, and no place for bypasses", all(bypassing, func(s *situation) { s.bypasses = false })},
		{"a bypass, asked a minute ago", all(bypassing, asked(appleUnlock, minute, 10*minute))},
		{"a bypass, asked, and overdue", all(bypassing, asked(appleUnlock, 10*minute, 10*minute))},
		{"a bypass, and Apple wants to be left alone for a minute", all(bypassing, pause(UnlockService, minute))},
		{"a bypass, and Apple wanted to be left alone until now", all(bypassing, pause(UnlockService, 0))},
		{"a bypass, and another service wants to be left alone", all(bypassing, pause(LockService, minute))},
		{"a bypass of a device that checked out", all(bypassing, checkedOut(hour))},
		{"a bypass of a user's channel", all(bypassing, record(func(r *inventory.Record) { r.Channel = UserChannel }))},
		{"a bypass, asked five times without an answer", all(bypassing, unanswered(appleUnlock, 5))},
	}},
	{"Apple, a lock for the organization: an iPhone that told what it is, and gave its code.", all(iPhone, told(hour), gave(hour)), []row{
		{"nobody wants it", all()},
		{"ordered", ordered},
		{"ordered, the device checked out", all(ordered, checkedOut(hour))},
		{"ordered, facts are open", all(ordered, forgotten(information), asked(information, hour, oneDay))},
		{"ordered, its lock is on", all(ordered, evidence(activationlock.SourceDevice, activationlock.On, hour))},
		{"ordered, asked a minute ago", all(ordered, asked(appleLock, minute, 10*minute))},
		{"ordered, asked, and overdue", all(ordered, asked(appleLock, 10*minute, 10*minute))},
		{"ordered, answered, to rest for a minute", all(ordered, answered(appleLock, inventory.Refused, 59*minute, hour))},
		{"ordered, Apple wants to be left alone for a minute", all(ordered, pause(LockService, minute))},
		{"ordered, a user's channel", all(ordered, record(func(r *inventory.Record) { r.Channel = UserChannel }))},
		{"ordered, a user enrollment", all(ordered, record(func(r *inventory.Record) { r.UserEnrollment = true }))},
		{"ordered, no serial number", all(ordered, record(func(r *inventory.Record) { r.Facts.SerialNumber = "" }))},
		{"by the policy", lockAll},
		{"by the policy, adopted", all(lockAll, adopted)},
		{"by the policy, adopted, and locked since", all(lockAll, adopted, answered(appleLock, inventory.Done, 2*hour, hour))},
		{"by the policy, not enrolled yet", all(lockAll, record(func(r *inventory.Record) { r.TokenAt = time.Time{} }))},
		{"by the policy, checked out", all(lockAll, checkedOut(hour))},
		{"by the policy, facts are open", all(lockAll, forgotten(information), asked(information, hour, oneDay))},
		{"by the policy, facts are overdue before they are asked again", all(lockAll, forgotten(information), notNow(information, oneDay-minute, oneDay+hour))},
		{"by the policy, facts are overdue", all(lockAll, forgotten(information), asked(information, oneDay, oneDay))},
		{"by the policy, its lock is on", all(lockAll, evidence(activationlock.SourceDevice, activationlock.On, hour))},
		{"by the policy, its lock is off", all(lockAll, evidence(activationlock.SourceDevice, activationlock.Off, hour))},
		{"by the policy, locked in this enrollment, and off since", all(lockAll, answered(appleLock, inventory.Done, 2*hour, hour), evidence(activationlock.SourceDevice, activationlock.Off, hour))},
		{"by the policy, locked in an enrollment before", all(lockAll, answered(appleLock, inventory.Done, 2*oneDay, hour))},
		{"by the policy, refused", all(lockAll, answered(appleLock, inventory.Refused, 2*hour, hour))},
		{"by the policy, refused, to rest for a minute", all(lockAll, answered(appleLock, inventory.Refused, 59*minute, hour))},
		{"by the policy, unlocked in this enrollment", all(lockAll, evidence(activationlock.SourceUnlockCall, activationlock.Off, hour))},
		{"by the policy, unlocked before it enrolled", all(lockAll, evidence(activationlock.SourceUnlockCall, activationlock.Off, 2*oneDay))},
		{"by the policy, unlocked before it enrolled and since", all(lockAll, evidence(activationlock.SourceUnlockCall, activationlock.Off, 2*oneDay), evidence(activationlock.SourceUnlockCall, activationlock.Off, hour))},
		{"by the policy, an unlock call of this enrollment had no clear answer", all(lockAll, evidence(activationlock.SourceUnlockCall, activationlock.StateUnknown, hour))},
		{"by the policy, the device was off in this enrollment", all(lockAll, evidence(activationlock.SourceApple, activationlock.Off, hour))},
		{"by the policy, asked five times without an answer", all(lockAll, unanswered(appleLock, 5))},
	}},
	{"Apple, the status, which is due at midnight: an iPhone that told what it is, and gave its code.", all(iPhone, told(hour), gave(hour), polls), []row{
		{"not asked yet", all()},
		{"not asked yet, and Apple cannot be asked", func(s *situation) { s.api = false }},
		{"not enrolled yet", record(func(r *inventory.Record) { r.TokenAt = time.Time{} })},
		{"not enrolled again yet, answered yesterday", all(answered(appleStatus, inventory.Done, 13*hour, hour), record(func(r *inventory.Record) { r.TokenAt = time.Time{} }))},
		{"enrolled before the engine was there", adopted},
		{"enrolled by a server whose clock runs fast", enrolled(-minute)},
		{"asked an hour ago", asked(appleStatus, hour, 2*hour)},
		{"asked, and overdue", asked(appleStatus, hour, hour)},
		{"asked and overdue, Apple wants to be left alone for a minute", all(asked(appleStatus, hour, hour), pause(StatusService, minute))},
		{"answered an hour ago", answered(appleStatus, inventory.Done, hour, hour)},
		{"answered yesterday", answered(appleStatus, inventory.Done, 13*hour, hour)},
		{"answered yesterday, to rest for a minute", answered(appleStatus, inventory.Refused, 13*hour, 13*hour+minute)},
		{"answered an hour ago, not supported by the device", all(product("AppleTV14,1", "26.0"), answered(appleStatus, inventory.Done, oneDay, hour))},
		{"checked out, not asked yet", checkedOut(hour)},
		{"checked out 30 days ago, asked yesterday", all(checkedOut(30*oneDay), answered(appleStatus, inventory.Done, 13*hour, hour))},
		{"checked out more than 30 days ago, asked yesterday", all(checkedOut(30*oneDay+minute), answered(appleStatus, inventory.Done, 13*hour, hour))},
		{"checked out before its TokenUpdate, not asked yet", all(checkedOut(hour), record(func(r *inventory.Record) { r.TokenAt = time.Time{} }))},
		{"answered an hour ago, unlocked two hours ago", all(answered(appleStatus, inventory.Done, hour, hour), evidence(activationlock.SourceUnlockCall, activationlock.Off, 2*hour))},
		{"answered two hours ago, unlocked an hour ago", all(weekly, answered(appleStatus, inventory.Done, 2*hour, hour), evidence(activationlock.SourceUnlockCall, activationlock.Off, hour))},
		{"asked on Mondays, answered an hour ago, unlocked two hours ago", all(weekly, answered(appleStatus, inventory.Done, hour, hour), evidence(activationlock.SourceUnlockCall, activationlock.Off, 2*hour))},
		{"asked on Mondays, unlocked two days ago, and on again says the device", all(weekly, answered(appleStatus, inventory.Done, hour, hour), evidence(activationlock.SourceUnlockCall, activationlock.Off, 2*oneDay), evidence(activationlock.SourceDevice, activationlock.On, hour))},
		{"asked on Mondays, unlocked two hours ago, and perhaps on again says the device", all(weekly, answered(appleStatus, inventory.Done, hour, hour), evidence(activationlock.SourceUnlockCall, activationlock.Off, 2*hour), evidence(activationlock.SourceDevice, activationlock.On, hour))},
		{"asked on Mondays, unlocked two days ago, and off says Apple", all(weekly, answered(appleStatus, inventory.Done, hour, hour), evidence(activationlock.SourceUnlockCall, activationlock.Off, 2*oneDay), evidence(activationlock.SourceApple, activationlock.Off, hour))},
		{"asked on Mondays, unlocked a month ago, and nobody says more", all(weekly, answered(appleStatus, inventory.Done, hour, hour), evidence(activationlock.SourceUnlockCall, activationlock.Off, 30*oneDay))},
		{"asked five times without an answer", unanswered(appleStatus, 5)},
	}},
	{"Whom the plan is for: an iPhone that told what it is, with all that there is to do.", all(iPhone, told(3*oneDay), gave(hour), wants(allow), bypassing, ordered, polls), []row{
		{"device and Apple, as by Tick", all()},
		{"the device, which spoke", only(toDevice)},
		{"the device, which spoke, and it was due yesterday", all(only(toDevice), record(func(r *inventory.Record) { r.Summary.DueAt = noon.Add(-oneDay) }))},
		{"the device, and it was due tomorrow", all(only(toDevice), record(func(r *inventory.Record) { r.Summary.DueAt = noon.Add(oneDay) }))},
		{"Apple, as by an administrator", only(toApple)},
		{"nobody, after Apple's answer", only(toNobody)},
		{"nobody, with a permission without a code to come", all(only(toNobody), overrides, told(hour), record(func(r *inventory.Record) { r.CodeID, r.BypassID, r.LockOrder = "", "", inventory.LockOrder{} }), func(s *situation) { s.api = false })},
	}},
}

// weekly asks Apple for the status on Mondays.
var weekly = policy(func(p *Policy) { p.LockStatus = p.Inventory })

// after gives more to each row.
func after(rows []row, more ...given) []row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].given = all(rows[i].given, all(more...))
	}
	return rows
}

// run plans, and has on record what is planned, as Engine.write does.
func (s *situation) run() (commands []mdmcmd.Command, asks []string) {
	r := &s.record
	s.overridden = s.to&toDevice != 0 && !s.auditDown && wantsOverride(r, s.codes, s.policy, s.now)
	commands, asks = s.plan(r)
	for _, c := range commands {
		until := deadline(r, c.RequestType(), s.policy, s.now)
		exchange(r, c.RequestType(), func(x inventory.Exchange) inventory.Exchange { return x.Ask("new", s.now, until) })
		if settings, is := c.(mdmcmd.Settings); is {
			r.OptionsSent = settings.MDMOptions
		}
	}
	for _, name := range asks {
		s.ask(r, ask{name, "new"})
	}
	s.summarize(r)
	return commands, asks
}

// line says in words what is planned.
func (s *situation) line() string {
	known := len(s.record.Evidence)
	commands, asks := s.run()
	var names []string
	for _, c := range commands {
		names = append(names, map[string]string{information: "facts", security: "security", bypassCode: "code"}[c.RequestType()])
		if settings, is := c.(mdmcmd.Settings); is {
			names[len(names)-1] = "options: " + inWords(settings.MDMOptions)
			if s.overridden {
				names[len(names)-1] += " (audited)"
			}
		}
	}
	apple := strings.ReplaceAll(strings.Join(asks, ", "), "apple ", "")
	if len(s.record.Evidence) > known { // the call before may have locked it
		apple += " (may be on)"
	}
	return or(strings.Join(names, ", ")) + "\t" + or(apple) + "\t" + until(s.record.Summary.DueAt)
}

func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func inWords(o mdmcmd.MDMOptions) string {
	var words []string
	for _, option := range []struct {
		value *bool
		name  string
	}{
		{o.ActivationLockAllowedWhileSupervised, "lock"}, {o.BootstrapTokenAllowed, "bootstrap token"},
		{o.PromptUserToAllowBootstrapTokenForAuthentication, "prompt"}, {o.IdleRebootAllowed, "reboot"},
	} {
		if option.value != nil {
			words = append(words, map[bool]string{true: "allow ", false: "forbid "}[*option.value]+option.name)
		}
	}
	return strings.Join(words, " and ")
}

// until says how long it is until a moment.
func until(at time.Time) string {
	d := at.Sub(noon)
	switch {
	case at.IsZero():
		return "never"
	case d == 0:
		return "now"
	case d < 0:
		return "since " + span(-d)
	}
	return "in " + span(d)
}

// span is a duration in words: "2d 22h 17m 3s".
func span(d time.Duration) string {
	d = d.Round(time.Second)
	var parts []string
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{oneDay, "d"}, {hour, "h"}, {minute, "m"}, {time.Second, "s"}} {
		if n := d / unit.length; n > 0 {
			parts = append(parts, fmt.Sprint(int(n), unit.name))
		}
		d %= unit.length
	}
	return strings.Join(parts, " ")
}

const introduction = `What is planned in which situation, all at noon of a Wednesday. If nothing else is
said, the device enrolled the day before, facts are asked again on Mondays at noon,
a device has a day to answer, NotNow is asked again after an hour, and Apple's
status is asked at midnight if at all. Of what rests, the last column tells how long.
"May be on": a lock call had no answer, so that nobody knows the lock any more.
`

// The table that people read.
func TestPlanTable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	out.WriteString(introduction)
	for _, g := range groups {
		section(&out, g.title, "situation\tthe device is asked\tApple is asked\tdue again", func(w io.Writer) {
			for _, row := range g.rows {
				s := of(g.base, row.given)
				fmt.Fprintf(w, "  %s\t%s\n", row.name, s.line())
			}
		})
	}
	section(&out, "How long an iPhone has to answer what is asked now.", "situation\tfacts\tcode\toptions", func(w io.Writer) {
		for _, row := range []row{
			{"enrolled yesterday", all()},
			{"enrolled yesterday, overdue for the first time", missed(0, true)},
			{"enrolled yesterday, unanswered once", missed(1, false)},
			{"enrolled yesterday, unanswered once, and overdue", missed(1, true)},
			{"enrolled yesterday, unanswered ten times", missed(10, false)},
			{"enrolled yesterday, NotNow, and overdue", all(notNow(information, oneDay, hour), notNow(bypassCode, oneDay, hour), notNow(options, oneDay, hour))},
			{"a day before the window closes", enrolled(14 * oneDay)},
			{"a day before the window closes, unanswered ten times", all(enrolled(14*oneDay), missed(10, false))},
			{"three hours before the window closes", enrolled(15*oneDay - 3*hour)},
			{"twenty minutes before the window closes", enrolled(15*oneDay - 20*minute)},
			{"the moment when the window closes", enrolled(15 * oneDay)},
			{"the moment when the window closes, unanswered ten times", all(enrolled(15*oneDay), missed(10, false))},
			{"adopted", adopted},
			{"adopted, unanswered twice", all(adopted, missed(2, false))},
			{"an hour is enough for the policy", policy(func(p *Policy) { p.AnswerWithin = hour })},
			{"an hour is enough for the policy, unanswered twice", all(missed(2, false), policy(func(p *Policy) { p.AnswerWithin = hour }))},
		} {
			s := of(iPhone, row.given)
			fmt.Fprintf(w, "  %s", row.name)
			for _, name := range []string{information, bypassCode, options} {
				fmt.Fprintf(w, "\t%s", until(deadline(&s.record, name, s.policy, noon)))
			}
			fmt.Fprintln(w)
		}
	})
	section(&out, "How long questions rest after an answer that does not help.", "situation\tcode\tothers", func(w io.Writer) {
		for _, row := range []row{
			{"enrolled yesterday", all()},
			{"a day before the window closes", enrolled(14 * oneDay)},
			{"three hours before the window closes", enrolled(15*oneDay - 3*hour)},
			{"twenty minutes before the window closes", enrolled(15*oneDay - 20*minute)},
			{"the moment when the window closes", enrolled(15 * oneDay)},
			{"adopted", adopted},
			{"the policy asks for codes every two days", policy(func(p *Policy) { p.CodeEvery = 2 * oneDay })},
			{"adopted, and the policy asks for facts only once", all(adopted, once)},
		} {
			s := of(iPhone, row.given)
			fmt.Fprintf(w, "  %s\t%s\t%s\n", row.name, until(codeAgain(&s.record, s.policy, noon)), until(inventoryAfter(&s.record, s.policy, noon)))
		}
	})
	golden(t, "testdata/plan.txt", out.String())
}

// missed: questions of all types were not answered.
func missed(n int, overdue bool) given {
	return func(s *situation) {
		for _, name := range []string{information, bypassCode, options} {
			if overdue {
				asked(name, oneDay, oneDay)(s)
			}
			unanswered(name, n)(s)
		}
	}
}

func section(out *strings.Builder, title, header string, lines func(io.Writer)) {
	fmt.Fprintf(out, "\n%s\n\n", title)
	var aligned strings.Builder
	w := tabwriter.NewWriter(&aligned, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "  %s\n", header)
	lines(w)
	w.Flush()
	for line := range strings.Lines(aligned.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "if the change is meant: go test ./activationlock/engine -run PlanTable -update")
}

// requireSound checks what must hold of every plan, whatever the situation, and
// returns what is planned.
func requireSound(t *testing.T, s situation, says string) []mdmcmd.Command {
	t.Helper()
	r := s.record.Clone()
	commands, _ := s.run()
	for i, c := range commands {
		require.NotEqual(t, mdmcmd.ClearActivationLockBypassCode, c, says)
		require.True(t, mayBeEnrolled(&r, s.policy, s.now) && r.Channel == DeviceChannel && !r.UserEnrollment, says)
		switch c := c.(type) {
		case mdmcmd.DeviceInformation:
			require.Equal(t, mdmcmd.DefaultQueries(r.Facts.Platform()), c.Queries, says)
			require.Zero(t, i, "facts come first: %s", says)
		case mdmcmd.Settings:
			require.Equal(t, len(commands)-1, i, "options come last: %s", says)
			wanted, allow := s.policy.Options, c.MDMOptions.ActivationLockAllowedWhileSupervised
			if allow != nil && !*allow && *wanted.ActivationLockAllowedWhileSupervised {
				require.False(t, held(&r, s.codes) && canHaveCode(&r), says)
				wanted.ActivationLockAllowedWhileSupervised = allow // the rest of them
			}
			require.Equal(t, wanted, c.MDMOptions, "the whole set: %s", says)
			if allow == nil || !*allow {
				break
			}
			if s.policy.AllowWithoutCode != (escrow.Act{}) {
				require.True(t, s.overridden || held(&r, s.codes), "no override without the audit: %s", says)
				break
			}
			// The order.
			require.True(t, held(&r, s.codes), "a permission without a code of this enrollment: %s", says)
			require.Less(t, noon.Sub(r.Exchanges[bypassCode].AnsweredAt), s.policy.AnswerWithin, says)
		}
	}
	if s.to != toDevice|toApple {
		return commands
	}
	// All is on its way: nothing else is planned until the record is due.
	due := s.record.Summary.DueAt
	require.True(t, due.IsZero() || due.After(noon), says)
	moments := []time.Time{noon, noon.Add(minute), noon.Add(hour), noon.Add(week), noon.Add(300 * oneDay)}
	if !due.IsZero() {
		moments = append(moments, due.Add(-1))
	}
	for _, at := range moments {
		if due.IsZero() || at.Before(due) {
			commands, asks := s.at(at)
			require.Empty(t, commands, "%v: %s", at, says)
			require.Empty(t, asks, "%v: %s", at, says)
		}
	}
	return commands
}

// at plans at another moment.
func (s situation) at(now time.Time) ([]mdmcmd.Command, []string) {
	s.now, s.overridden = now, !s.auditDown
	r := s.record.Clone()
	return s.plan(&r)
}

// held: escrow has, by the letter, a code that the device gave in this enrollment.
func held(r *inventory.Record, codes []escrow.Record) bool {
	for _, c := range codes {
		if r.CodeID != "" && c.ID == r.CodeID {
			return c.Kind == bypasscode.Device && c.State == escrow.Current && c.StaleSince.IsZero()
		}
	}
	return false
}

// The rules, each stated by itself: in every row, and in thousands of situations that
// are put together from parts of rows.
func TestPlanProperties(t *testing.T) {
	t.Parallel()
	var names []string
	var parts []given
	for _, g := range groups {
		for _, row := range g.rows {
			requireSound(t, of(g.base, row.given), g.title+" "+row.name)
			names, parts = append(names, g.title+" "+row.name), append(parts, all(g.base, row.given))
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	permissions := 0
	for range 20_000 {
		var mix []given
		says := ""
		for range 1 + rng.IntN(4) {
			i := rng.IntN(len(parts))
			mix, says = append(mix, parts[i]), says+names[i]+"; "
		}
		mix = append(mix, codes[rng.IntN(len(codes))].given)
		for _, c := range requireSound(t, of(mix...), says) {
			if settings, is := c.(mdmcmd.Settings); is && settings.MDMOptions.Equal(allow) {
				permissions++
			}
		}
	}
	require.Greater(t, permissions, 200, "the rules were put to the test")
}
