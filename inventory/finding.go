package inventory

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/mdmcmd"
)

// FindingKind is what is wrong with a device, or soon will be.
type FindingKind string

const (
	// MayLock: the lock may come on, and no usable code is held.
	MayLock FindingKind = "mayLock"
	// WindowCloses: no code of this enrollment is held, and the device gives it for
	// a few days only. Whether a Mac does, nobody knows: it gives a notice.
	WindowCloses FindingKind = "windowCloses"
	// WindowOver: the device gave no code while it could. No Mac has it.
	WindowOver FindingKind = "windowOver"
	// CodeStale: only codes are held of which something says that they may not open
	// the lock, as after an event with which the device may have made another one.
	CodeStale FindingKind = "codeStale"
	// EmptyAnswers: the device answers the question for its code without one.
	EmptyAnswers FindingKind = "emptyAnswers"
	// LockedNotSupervised, LockedUnreachable and LockedNotProvided: the lock is on,
	// and no usable code is held, for the reasons of the status of the same name.
	LockedNotSupervised FindingKind = "lockedNotSupervised"
	LockedUnreachable   FindingKind = "lockedUnreachable"
	LockedNotProvided   FindingKind = "lockedNotProvided"
	// LockedNoCode: the lock is on, and no usable code is held, for none of these
	// reasons: the device was not asked yet, cannot give one, or left.
	LockedNoCode FindingKind = "lockedNoCode"
	// NotManageable: the enrollment of a Mac does not let the server manage its
	// lock.
	NotManageable FindingKind = "notManageable"
	// Relocked: the lock was removed and came on again.
	Relocked FindingKind = "relocked"
	// Conflict: the sources of evidence disagree.
	Conflict FindingKind = "conflict"
	// SerialDisputed: another live enrollment claims the same serial number.
	SerialDisputed FindingKind = "serialDisputed"
	// NotSeen: the device has not been heard of for some days.
	NotSeen FindingKind = "notSeen"
	// AllowedFirst: the lock was allowed, or on, before the device was asked for its
	// code. Apple says that such a code may not work.
	AllowedFirst FindingKind = "allowedFirst"
)

// Severity says how bad a finding is. The zero Severity is none.
type Severity int

// The severities. They are stored, so their numbers stay.
const (
	Notice   Severity = 1 // to know
	Warning  Severity = 2 // to look after
	Critical Severity = 3 // a brick, or soon one, or soon too late
)

// Finding is something about a device that somebody should know.
type Finding struct {
	Kind     FindingKind
	Severity Severity
	Since    time.Time // or, where nobody can know, when it was noticed
	Days     int       // that are left, or have gone by, where the kind counts them
}

// Limits say from when on time alone is a finding. Zero and negative fields mean their
// defaults; what is out of range counts as the nearest value in it.
type Limits struct {
	WindowWarning time.Duration // before the code's window closes; default 5 days, at most all of it
	NotSeenFor    time.Duration // default 14 days, at least one
}

const (
	wholeDay             = 24 * time.Hour
	defaultWindowWarning = 5 * wholeDay
	defaultNotSeenFor    = 14 * wholeDay
	// lastDays is when a window that closes is no mere warning any more.
	lastDays = 2 * wholeDay
)

func (l Limits) withDefaults() Limits {
	if l.WindowWarning <= 0 {
		l.WindowWarning = defaultWindowWarning
	}
	if l.NotSeenFor <= 0 {
		l.NotSeenFor = defaultNotSeenFor
	}
	return Limits{min(l.WindowWarning, activationlock.CodeWindow), max(l.NotSeenFor, wholeDay)}
}

// view is what a record's summary is made of.
type view struct {
	*Record
	situation activationlock.Situation
	codes     []escrow.Record
	limits    Limits
	now       time.Time
	// mayGive: the device may make a code and give it.
	mayGive bool

	findings []Finding
	next     time.Time // when time alone will change the summary, zero if never
}

func (v *view) add(k FindingKind, severity Severity, since time.Time) { v.count(k, severity, since, 0) }

func (v *view) count(k FindingKind, severity Severity, since time.Time, days int) {
	v.findings = append(v.findings, Finding{k, severity, since.UTC().Truncate(time.Microsecond), days})
}

// later notes that time alone changes something then.
func (v *view) later(t time.Time) {
	if t = t.UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond); t.After(v.now) {
		v.next = earlier(v.next, t)
	}
}

// noticed is since when there is a finding of a kind that may have begun
// unseen: as long as one was there in this enrollment.
func (v *view) noticed(k FindingKind, at time.Time) time.Time {
	for _, f := range v.Summary.Findings {
		if f.Kind == k && !f.Since.Before(v.AuthenticatedAt) {
			return earlier(at, f.Since)
		}
	}
	return at
}

// without is since when there is a finding of a kind because no code is held: since
// the moment from which one was needed, or since the last one went that would have
// done, if that was later.
func (v *view) without(k FindingKind, needed time.Time, opens func(bypasscode.Kind) bool) time.Time {
	since := needed
	for _, c := range v.codes {
		if opens(c.Kind) && (c.State == escrow.Void || c.State == escrow.Purged) && c.StateSince.After(since) {
			since = c.StateSince
		}
	}
	if since.After(needed) {
		since = v.noticed(k, since) // what went may not have counted any more, as a void code that is purged
	}
	if since.Before(needed) {
		return needed
	}
	return since
}

// find finds what is wrong. A user enrollment and a user channel have nothing to
// do with the device's lock.
func (v *view) find() {
	if v.UserEnrollment || v.Channel == mdmcmd.UserChannel {
		return
	}
	// The lock of a person's own device is that person's.
	lockless := v.situation.Device.HasLock() == activationlock.Off
	ours := !lockless && v.Ownership != Personal
	if since, is := v.relocked(); is && !lockless {
		v.add(Relocked, Critical, since)
	}
	if ours {
		v.findLocked()
	}
	if v.Live() {
		if v.Disputed {
			v.add(SerialDisputed, Critical, v.noticed(SerialDisputed, v.now))
		}
		v.findNotSeen(ours)
		if ours {
			v.findCode()
		}
	}
	// The worst first, then what has been so for longest.
	slices.SortStableFunc(v.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), a.Since.Compare(b.Since), cmp.Compare(a.Kind, b.Kind))
	})
}

// relocked reports since when the lock is on again that was removed last. One
// that came on after the device enrolled anew is the next user's.
func (v *view) relocked() (since time.Time, is bool) {
	removed := time.Time{}
	for _, e := range v.Evidence {
		if e.Source == activationlock.SourceUnlockCall && e.State == activationlock.Off {
			removed = e.At
		}
	}
	since = v.situation.Lock.Since
	begun := v.AuthenticatedAt.After(removed) && !since.Before(v.AuthenticatedAt)
	return since, v.locked() && !removed.IsZero() && !begun &&
		activationlock.AfterUnlock(removed, v.Evidence) == activationlock.Relocked
}

func (v *view) locked() bool { return v.situation.Lock.State == activationlock.On }

func (v *view) platform() mdmcmd.Platform { return v.Facts.Platform() }

// findLocked finds what is wrong with a lock that is on.
func (v *view) findLocked() {
	locked := func(k FindingKind, severity Severity) {
		v.add(k, severity, v.without(k, v.situation.Lock.Since, v.situation.Lock.Kind.Opens))
	}
	switch status := activationlock.StatusOf(v.situation); {
	case !v.locked() || status == activationlock.EnabledWithBypassCode:
	case v.platform() == mdmcmd.WatchOS:
		locked(LockedNoCode, Notice) // it goes with its phone's
	case status == activationlock.EnabledWithoutBypassCodeNotSupervised:
		locked(LockedNotSupervised, Critical)
	case status == activationlock.EnabledWithoutBypassCodeNotProvided:
		locked(LockedNotProvided, Critical)
	case !v.Live() || !v.mayGive:
		locked(LockedNoCode, Critical)
	case status == activationlock.EnabledWithoutBypassCodeUnreachable:
		locked(LockedUnreachable, Critical)
	default: // it is asked
		locked(LockedNoCode, Warning)
	}
	if conflicts := v.situation.Lock.Conflicts; len(conflicts) > 0 {
		v.add(Conflict, Warning, conflicts[0].At)
	}
}

func (v *view) findNotSeen(ours bool) {
	seen := cmp.Or(v.LastSeen, v.TokenAt)
	if due := seen.Add(v.limits.NotSeenFor); v.now.Before(due) {
		v.later(due)
		return
	}
	severity, days := Warning, v.now.Sub(seen)/wholeDay
	if !ours {
		severity = Notice
	}
	v.count(NotSeen, severity, seen, int(days))
	v.later(seen.Add((days + 1) * wholeDay))
}

// findCode finds what is wrong with the codes of a device that should have one
// in escrow.
func (v *view) findCode() {
	if v.platform() == mdmcmd.MacOS && is(v.Facts.LockManageable, false) {
		v.add(NotManageable, Warning, v.noticed(NotManageable, v.now))
	}
	v.findMayLock()

	opens := deviceCode
	if v.locked() {
		opens = v.situation.Lock.Kind.Opens
	}
	asked := v.Exchanges[mdmcmd.ActivationLockBypassCode.RequestType()]
	empty := !asked.AnsweredAt.IsZero() && (asked.Answer == NoCode || asked.Answer == Refused)
	switch some, sound := v.held(opens); {
	case !some || !v.locked() && !v.mayGive:
	case !sound:
		v.add(CodeStale, Warning, v.noticed(CodeStale, v.staleSince()))
	case v.CodeWanted && empty:
		v.add(CodeStale, Notice, v.noticed(CodeStale, asked.AnsweredAt)) // Apple's rule is to keep the code
	}

	switch some, sound := v.held(deviceCode); {
	case !v.mayGive:
	case sound:
		if since := v.allowedFirst(); !since.IsZero() {
			v.add(AllowedFirst, Warning, since)
		}
	default:
		if empty && !v.locked() {
			v.add(EmptyAnswers, Warning, v.noticed(EmptyAnswers, asked.AnsweredAt))
		}
		v.findWindow(some)
	}
}

// findMayLock finds a lock that may come on without a code for it. Without
// supervision a person turns it on, and no code that is held is the device's.
func (v *view) findMayLock() {
	some, _ := v.held(deviceCode)
	allowed := is(v.Facts.LockAllowed, true) && v.mayGive
	unsupervised := is(v.Facts.Supervised, false) && v.platform() != mdmcmd.WatchOS
	switch {
	case v.locked():
	case unsupervised && is(v.Facts.FindMy, true):
		v.add(MayLock, Critical, v.noticed(MayLock, v.now))
	case unsupervised:
		v.add(MayLock, Warning, v.noticed(MayLock, v.now))
	case allowed && !some:
		since := cmp.Or(v.AllowedSince, v.noticed(MayLock, v.now))
		v.add(MayLock, Critical, v.without(MayLock, since, deviceCode))
	}
}

func deviceCode(k bypasscode.Kind) bool { return k == bypasscode.Device }

// held reports whether codes are held of which some may open a lock, and whether
// nothing speaks against one of them.
func (v *view) held(opens func(bypasscode.Kind) bool) (some, sound bool) {
	for _, c := range v.codes {
		if opens(c.Kind) && c.State != escrow.Void && c.State != escrow.Purged {
			some, sound = true, sound || v.sound(c)
		}
	}
	return some, sound
}

func (v *view) sound(c escrow.Record) bool {
	switch {
	case !c.StaleSince.IsZero(),
		c.Kind == bypasscode.Device && !v.mayGive,                        // it is of before
		c.Cause == escrow.CauseOrganizationLock && c.StateSince.IsZero(): // its hash never went out
		return false
	case c.State == escrow.Worked: // with this lock, or with the one before?
		return !v.locked() && !c.StateSince.Before(v.AuthenticatedAt)
	}
	return c.State == escrow.Current || c.State == escrow.MaybeActive
}

func (v *view) staleSince() (since time.Time) {
	for _, c := range v.codes {
		if c.State == escrow.Current {
			since = earlier(since, c.StaleSince)
		}
	}
	return cmp.Or(since, v.now)
}

// allowedFirst is since when the lock is allowed or on, if no code of the device
// was held before. Zero is never.
func (v *view) allowedFirst() (since time.Time) {
	if is(v.Facts.LockAllowed, true) {
		since = v.AllowedSince
	}
	if lock := v.situation.Lock; v.locked() && lock.Kind != activationlock.OrganizationLinked {
		since = earlier(since, lock.Since)
	}
	for _, c := range v.codes {
		// One that another took the place of was asked for too, if it was in this
		// enrollment.
		counts := c.State == escrow.Current || c.State != escrow.Purged && !c.LastSeen.Before(v.AuthenticatedAt)
		if c.Kind == bypasscode.Device && counts && !c.FirstSeen.After(since) {
			return time.Time{}
		}
	}
	return since
}

// findWindow finds what the end of the time means in which a device gives its
// code. Doubtful reports whether at least a doubtful one is held. Apple gives no
// number for Macs (see [activationlock.CodeWindow]), so the end of the time says
// nothing of a Mac: it is asked on, and what it answers is another finding.
func (v *view) findWindow(doubtful bool) {
	if v.AuthenticatedAt.IsZero() {
		return // enrolled before us: when its window began nobody knows
	}
	ends := v.AuthenticatedAt.Add(activationlock.CodeWindow)
	warns := ends.Add(-v.limits.WindowWarning)
	left := ends.Sub(v.now)
	switch days := (left + wholeDay - 1) / wholeDay; {
	case v.now.Before(warns):
		v.later(warns)
	case left > 0:
		severity := Warning
		switch {
		case v.platform() == mdmcmd.MacOS:
			severity = Notice
		case left <= lastDays && !doubtful:
			severity = Critical
		}
		v.count(WindowCloses, severity, v.without(WindowCloses, warns, deviceCode), int(days))
		v.later(ends.Add(-(days - 1) * wholeDay))
	case !v.locked() && v.platform() != mdmcmd.MacOS:
		v.add(WindowOver, Warning, v.without(WindowOver, ends, deviceCode))
	}
}

func is(fact *bool, value bool) bool { return fact != nil && *fact == value }

// Label returns the finding as a sentence. A language without labels gives
// English.
func (f Finding) Label(l activationlock.Language) string { return f.text(0, l) }

// Advice returns what to do, as a sentence. A language without labels gives
// English.
func (f Finding) Advice(l activationlock.Language) string { return f.text(1, l) }

func (f Finding) text(part int, l activationlock.Language) string {
	all, noun := findingTexts[f.Kind], nouns.English
	text := all.English[part]
	if l == activationlock.Dutch {
		text, noun = all.Dutch[part], nouns.Dutch
	}
	before, after, counts := strings.Cut(text, "{days}")
	if !counts {
		return text
	}
	if f.Days == 1 {
		return before + "1 " + noun[0] + after
	}
	return before + strconv.Itoa(f.Days) + " " + noun[1] + after
}

// sentence is what is wrong and what to do about it, or one day and several.
type sentence [2]string

// sentences are those of every language.
type sentences struct{ English, Dutch sentence }

var nouns = sentences{
	English: sentence{"day", "days"},
	Dutch:   sentence{"dag", "dagen"},
}

// Label returns the severity in words. A language without labels gives English.
func (s Severity) Label(l activationlock.Language) string { return label(severityTexts, s, l) }

var severityTexts = map[Severity]texts{
	Notice:   {English: "notice", Dutch: "melding"},
	Warning:  {English: "warning", Dutch: "waarschuwing"},
	Critical: {English: "critical", Dutch: "kritiek"},
}

// findingTexts are the finding and what to do about it. Who reads only half of an
// advice must do no harm: nobody erases a device whose lock is on.
var findingTexts = map[FindingKind]sentences{
	MayLock: {
		English: sentence{
			"The lock may come on, and no usable code is held.",
			"Ask the device for its code, or forbid the lock until it is in escrow. An unsupervised device gives none: have Find My turned off before it is handed in.",
		},
		Dutch: sentence{
			"Het slot kan aangaan en er is geen bruikbare code bewaard.",
			"Vraag het apparaat om zijn code, of verbied het slot totdat die is bewaard. Een apparaat zonder supervisie geeft er geen: laat Zoek mijn uitschakelen voordat het wordt ingeleverd.",
		},
	},
	WindowCloses: {
		English: sentence{
			"The 15 days in which an iPhone or iPad gives its code end in {days}, and no code of this enrollment is held.",
			"Have the device turned on and online, so that it can answer.",
		},
		Dutch: sentence{
			"De 15 dagen waarin een iPhone of iPad zijn code geeft, eindigen over {days} en er is geen code van deze inschrijving bewaard.",
			"Zorg dat het apparaat aanstaat en online is, zodat het kan antwoorden.",
		},
	},
	WindowOver: {
		English: sentence{
			"The 15 days in which the device gives its code are over, and no code of this enrollment is held.",
			"Do not allow the lock. While it is off, erase the device and enroll it again: the 15 days begin anew.",
		},
		Dutch: sentence{
			"De 15 dagen waarin het apparaat zijn code geeft, zijn voorbij en er is geen code van deze inschrijving bewaard.",
			"Sta het slot niet toe. Wis het apparaat zolang het slot uit is en schrijf het opnieuw in: dan beginnen de 15 dagen opnieuw.",
		},
	},
	CodeStale: {
		English: sentence{
			"The code that is held may not open the lock: another one may have been made since.",
			"Have the device turned on and online, so that it can give its code again. Do not erase it while the lock is on.",
		},
		Dutch: sentence{
			"De bewaarde code opent het slot mogelijk niet: er kan sindsdien een andere zijn gemaakt.",
			"Zorg dat het apparaat aanstaat en online is, zodat het zijn code opnieuw kan geven. Wis het niet zolang het slot aan is.",
		},
	},
	EmptyAnswers: {
		English: sentence{
			"The device answers the question for its code without one.",
			"Check whether it is supervised, and since when: after 15 days an iPhone or iPad gives none any more.",
		},
		Dutch: sentence{
			"Het apparaat beantwoordt de vraag naar zijn code zonder code.",
			"Controleer of het onder supervisie staat en sinds wanneer: na 15 dagen geeft een iPhone of iPad er geen meer.",
		},
	},
	LockedNotSupervised: {
		English: sentence{
			"The lock is on, and no usable code is held: the device is not supervised.",
			"Do not erase it. Have its user turn Find My off. A lock of the organization can be turned off in Apple Business or Apple School Manager.",
		},
		Dutch: sentence{
			"Het slot is aan en er is geen bruikbare code bewaard: het apparaat staat niet onder supervisie.",
			"Wis het niet. Laat de gebruiker Zoek mijn uitschakelen. Een slot van de organisatie kunt u uitschakelen in Apple Business of Apple School Manager.",
		},
	},
	LockedUnreachable: {
		English: sentence{
			"The lock is on, and no usable code is held: the device does not answer.",
			"Do not erase it. Have it turned on and online.",
		},
		Dutch: sentence{
			"Het slot is aan en er is geen bruikbare code bewaard: het apparaat antwoordt niet.",
			"Wis het niet. Zorg dat het aanstaat en online is.",
		},
	},
	LockedNotProvided: {
		English: sentence{
			"The lock is on, and the device gave no code that opens it.",
			"Do not erase it. Have its user turn Find My off. A lock of the organization can be turned off in Apple Business or Apple School Manager.",
		},
		Dutch: sentence{
			"Het slot is aan en het apparaat gaf geen code die het opent.",
			"Wis het niet. Laat de gebruiker Zoek mijn uitschakelen. Een slot van de organisatie kunt u uitschakelen in Apple Business of Apple School Manager.",
		},
	},
	LockedNoCode: {
		English: sentence{
			"The lock is on, and no usable code is held.",
			"Do not erase it. Have its user turn Find My off. A lock of the organization can be turned off in Apple Business or Apple School Manager.",
		},
		Dutch: sentence{
			"Het slot is aan en er is geen bruikbare code bewaard.",
			"Wis het niet. Laat de gebruiker Zoek mijn uitschakelen. Een slot van de organisatie kunt u uitschakelen in Apple Business of Apple School Manager.",
		},
	},
	NotManageable: {
		English: sentence{
			"The way in which this Mac was enrolled does not let the server manage its lock.",
			"Enroll it by Automated Device Enrollment, while its lock is off.",
		},
		Dutch: sentence{
			"Door de manier waarop deze Mac is ingeschreven, kan de server het slot niet beheren.",
			"Schrijf hem in met Automated Device Enrollment, terwijl het slot uit is.",
		},
	},
	Relocked: {
		English: sentence{
			"The lock was removed and came on again.",
			"Have Find My turned off, then remove the lock again, and erase the device at once.",
		},
		Dutch: sentence{
			"Het slot is verwijderd en opnieuw aangegaan.",
			"Laat Zoek mijn uitschakelen, verwijder het slot opnieuw en wis het apparaat direct daarna.",
		},
	},
	Conflict: {
		English: sentence{
			"The sources disagree about the lock.",
			"Ask Apple's status, or look at the device, before you erase it or give it away.",
		},
		Dutch: sentence{
			"De bronnen zijn het niet eens over het slot.",
			"Vraag de status op bij Apple, of bekijk het apparaat, voordat u het wist of weggeeft.",
		},
	},
	SerialDisputed: {
		English: sentence{
			"Another enrollment claims the same serial number.",
			"Find out which one belongs to the device with that number, and end the other.",
		},
		Dutch: sentence{
			"Een andere inschrijving noemt hetzelfde serienummer.",
			"Zoek uit welke inschrijving bij het apparaat met dat nummer hoort en beëindig de andere.",
		},
	},
	NotSeen: {
		English: sentence{
			"The device has not been heard of for {days}.",
			"Have it turned on and online. What is known of its lock may be out of date.",
		},
		Dutch: sentence{
			"Van het apparaat is al {days} niets vernomen.",
			"Zorg dat het aanstaat en online is. Wat van het slot bekend is, kan verouderd zijn.",
		},
	},
	AllowedFirst: {
		English: sentence{
			"The lock was allowed, or on, before the device gave its code, so the code may not open it.",
			"Do not rely on the code. Have Find My turned off; once the lock is off, erase the device and enroll it again.",
		},
		Dutch: sentence{
			"Het slot was toegestaan, of al aan, voordat het apparaat zijn code gaf, dus de code opent het mogelijk niet.",
			"Vertrouw niet op de code. Laat Zoek mijn uitschakelen; zodra het slot uit is, wist u het apparaat en schrijft u het opnieuw in.",
		},
	},
}
