package inventory_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/internal/spreadsheet"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "if the change is meant: go test ./inventory -run Golden -update")
}

// wholeDay is a day, and day is the nth one.
const wholeDay = 24 * time.Hour

func day(n int) time.Time { return at(24 * n) }

// device is a record with its codes, and the moment at which to look at it.
type device struct {
	inventory.Record
	codes  []escrow.Record
	limits inventory.Limits
	now    time.Time
}

func (d *device) summary() inventory.Summary {
	d.Summarize(d.codes, time.Time{}, d.limits, d.now)
	return d.Summary
}

// answered is a question that was asked and answered at one moment.
func answered(a inventory.Answer, when time.Time) inventory.Exchange {
	return inventory.Exchange{AskedAt: when, AnsweredAt: when, AgainAt: when, Answer: a}
}

// deviceCode is a code that the device gave.
func deviceCode(state escrow.State, when time.Time) escrow.Record {
	return escrow.Record{ID: "code", Kind: bypasscode.Device, State: state, Cause: escrow.CauseEnrollment, FirstSeen: when, LastSeen: when}
}

func serverCode(state escrow.State, when time.Time) escrow.Record {
	return escrow.Record{ID: "server", Kind: bypasscode.Server, State: state, StateSince: when, Cause: escrow.CauseOrganizationLock, FirstSeen: when, LastSeen: when}
}

// ways change a device.
type ways = []func(*device)

func made(ways ...func(*device)) *device {
	d := well()
	for _, way := range ways {
		way(d)
	}
	return d
}

// well is a phone with which all is well on the hundredth day: it enrolled, said
// what it is, gave its code, was allowed to lock itself, and is not locked.
func well() *device {
	return &device{
		Record: inventory.Record{
			EnrollmentID: "E", Channel: mdmcmd.DeviceChannel, AuthenticatedAt: day(0), TokenAt: day(0), LastSeen: day(100),
			Facts: inventory.Facts{
				SerialNumber: "S", ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true), SharedIPad: new(false),
				FindMy: new(false), LockAllowed: new(true),
			},
			AllowedSince: at(2),
			Evidence:     []activationlock.Evidence{said(activationlock.Off, activationlock.SourceDevice, 1)},
			Exchanges: map[string]inventory.Exchange{
				"DeviceInformation": answered(inventory.Done, day(100)), question: answered(inventory.WithCode, at(1)),
			},
			CodeID: "code",
		},
		codes: []escrow.Record{deviceCode(escrow.Current, at(1))}, now: day(100),
	}
}

func noCode(d *device) {
	d.codes, d.CodeID = nil, ""
	d.Exchanges[question] = answered(inventory.NoCode, at(1))
}

func forbidden(d *device)    { d.Facts.LockAllowed, d.AllowedSince = new(false), time.Time{} }
func unsupervised(d *device) { d.Facts.Supervised = new(false); forbidden(d); noCode(d) }
func findMy(d *device)       { d.Facts.FindMy = new(true) }
func personal(d *device)     { d.Ownership = inventory.Personal }
func company(d *device)      { d.Ownership = inventory.Company }
func ended(d *device)        { d.CheckedOutAt = day(99) }
func disputed(d *device)     { d.Disputed = true }
func overdue(d *device)      { d.Exchanges[question] = inventory.Exchange{}.Ask("1", day(98), day(99)) }
func notAsked(d *device)     { delete(d.Exchanges, question) }
func adopted(d *device)      { d.AuthenticatedAt = time.Time{} }

// on turns the lock on, on the 50th day.
func lockOn(kind activationlock.LockKind) func(*device) {
	return says(activationlock.On, activationlock.SourceDevice, kind, 24*50)
}

func says(state activationlock.State, source activationlock.Source, kind activationlock.LockKind, hour int) func(*device) {
	return func(d *device) {
		d.AddEvidence(activationlock.Evidence{State: state, Source: source, Kind: kind, At: at(hour)})
	}
}

func lookedAt(when time.Time) func(*device) {
	return func(d *device) { d.now, d.LastSeen = when, when }
}

func lastSeen(when time.Time) func(*device) { return func(d *device) { d.LastSeen = when } }

func holding(codes ...escrow.Record) func(*device) { return func(d *device) { d.codes = codes } }

func stale(since time.Time) func(*device) {
	return func(d *device) { d.codes[0].StaleSince = since }
}

func product(name, version string) func(*device) {
	return func(d *device) { d.Facts.ProductName, d.Facts.OSVersion = name, version }
}

func mac(d *device) {
	product("Mac14,2", "26.1")(d)
	d.Facts.LockSupported, d.Facts.LockManageable, d.Facts.SharedIPad, d.Facts.FindMy = new(true), new(true), nil, nil
}

func notManageable(d *device) { mac(d); d.Facts.LockManageable = new(false); noCode(d); forbidden(d) }

func sharedIPad(d *device) {
	product("iPad13,1", "26.1")(d)
	d.Facts.SharedIPad = new(true)
	noCode(d)
}

func empty(when time.Time) func(*device) {
	return func(d *device) { d.Exchanges[question] = answered(inventory.NoCode, when) }
}

// situations are what the golden table is of.
var situations = []struct {
	name string
	ways ways
}{
	{"# Nothing is wrong.", nil},
	{"a supervised phone, its code in escrow, its lock allowed", nil},
	{"the same, locked by its user since", ways{lockOn(activationlock.UserLinked), func(d *device) { d.Exchanges[question] = answered(inventory.WithCode, at(24*50+1)) }}},
	{"the same, locked by the organization", ways{lockOn(activationlock.OrganizationLinked), func(d *device) { d.codes = append(d.codes, serverCode(escrow.Current, day(50))) }}},
	{"a phone that enrolled an hour ago and was not asked yet", ways{noCode, forbidden, notAsked, lookedAt(at(1))}},
	{"a phone that gave no code for nine days", ways{noCode, forbidden, notAsked, lookedAt(day(9))}},
	{"an adopted phone, its code imported, that gives none any more", ways{adopted, empty(day(1)), func(d *device) { d.codes[0].Cause = escrow.CauseImport; d.AllowedSince = at(3) }}},
	{"a manageable Mac", ways{mac}},
	{"a Shared iPad", ways{sharedIPad}},
	{"a Shared iPad, locked by the organization", ways{sharedIPad, lockOn(activationlock.OrganizationLinked), holding(serverCode(escrow.Current, day(50)))}},
	{"an Apple TV", ways{product("AppleTV14,1", "26.1"), noCode, forbidden}},
	{"an unsupervised Apple TV", ways{product("AppleTV14,1", "26.1"), unsupervised}},
	{"a watch", ways{product("Watch7,1", "26.1"), noCode, forbidden}},
	{"an unsupervised watch", ways{product("Watch7,1", "26.1"), unsupervised}},
	{"a Mac without chip, enrolled by hand", ways{notManageable, func(d *device) { d.Facts.LockSupported = new(false) }}},
	{"a personal phone, its user's lock on", ways{personal, unsupervised, findMy, lockOn(activationlock.UserLinked)}},
	{"a personal Mac, enrolled by hand", ways{personal, notManageable}},
	{"a user enrollment, whatever it says", ways{unsupervised, findMy, lockOn(activationlock.UserLinked), disputed, lastSeen(day(0)), func(d *device) { d.UserEnrollment = true }}},
	{"a user channel, whatever it says", ways{unsupervised, findMy, lockOn(activationlock.UserLinked), disputed, lastSeen(day(0)), func(d *device) { d.Channel = mdmcmd.UserChannel }}},
	{"an enrollment that ended, unlocked", ways{ended, noCode, disputed, lastSeen(day(0))}},
	{"unlocked, erased, and locked by the next user", ways{
		says(activationlock.On, activationlock.SourceApple, activationlock.UserLinked, -24*30), says(activationlock.Off, activationlock.SourceUnlockCall, "", -24*2),
		lockOn(activationlock.UserLinked), func(d *device) { d.Exchanges[question] = answered(inventory.WithCode, at(24*50+1)) }, lookedAt(day(50)),
	}},

	{"# The lock may come on.", nil},
	{"it is allowed, and there is no code", ways{noCode, adopted}},
	{"it is allowed, and the code is void", ways{adopted, holding(deviceCode(escrow.Void, at(1)))}},
	{"unsupervised, Find My off", ways{company, unsupervised}},
	{"unsupervised, Find My on", ways{company, unsupervised, findMy}},
	{"unsupervised, Find My on, and a code of before", ways{unsupervised, findMy, holding(deviceCode(escrow.Current, at(1)))}},

	{"# The window.", nil},
	{"10 days over, no code", ways{noCode, notAsked, forbidden, lookedAt(day(10))}},
	{"13 days over, no code", ways{noCode, notAsked, forbidden, lookedAt(day(13))}},
	{"14 days over, no code", ways{noCode, notAsked, forbidden, lookedAt(day(14))}},
	{"14 days over, a stale code", ways{notAsked, forbidden, stale(day(0)), lookedAt(day(14))}},
	{"15 days over, no code", ways{noCode, notAsked, forbidden, lookedAt(day(15))}},
	{"a Mac, 14 days over, no code", ways{mac, noCode, notAsked, forbidden, lookedAt(day(14))}},
	{"a Mac, 15 days over, no code", ways{mac, noCode, notAsked, forbidden, lookedAt(day(15))}},
	{"a Mac, 15 days over, that answers without", ways{mac, noCode, forbidden, lookedAt(day(15))}},
	{"15 days over, the code of the lock before worked", ways{holding(deviceCode(escrow.Worked, at(-20))), notAsked, forbidden, lookedAt(day(15))}},

	{"# The code.", nil},
	{"the device enrolled again, and may have made another one", ways{func(d *device) { d.AuthenticatedAt = day(99) }, stale(day(99))}},
	{"nobody asked for it", ways{holding(deviceCode(escrow.Disputed, at(1))), adopted}},
	{"asked again since the lock is on, and no answer with one", ways{lockOn(activationlock.UserLinked), empty(day(51)), func(d *device) { d.CodeWanted = true }}},
	{"the device answers without", ways{noCode, forbidden, adopted}},
	{"the device answers with an error", ways{noCode, forbidden, adopted, func(d *device) { d.Exchanges[question] = answered(inventory.Refused, at(1)) }}},
	{"it came after the lock was allowed", ways{func(d *device) { d.AllowedSince = at(0) }}},
	{"it came after the lock was on", ways{adopted, forbidden, lockOn(activationlock.UserLinked), holding(deviceCode(escrow.Current, day(51))), func(d *device) { d.Exchanges[question] = answered(inventory.WithCode, day(51)) }}},

	{"# The lock is on.", nil},
	{"no code, unsupervised", ways{unsupervised, findMy, lockOn(activationlock.UserLinked)}},
	{"no code, and no answer", ways{noCode, overdue, lockOn("")}},
	{"no code, and an answer without", ways{noCode, lockOn(activationlock.UserLinked)}},
	{"no code, and not asked yet", ways{noCode, notAsked, adopted, lockOn("")}},
	{"a Mac that was locked before it was enrolled by hand", ways{notManageable, notAsked, lockOn("")}},
	{"a Shared iPad, locked by another server", ways{sharedIPad, notAsked, lockOn(activationlock.OrganizationLinked)}},
	{"by the organization, with the device's code only", ways{lockOn(activationlock.OrganizationLinked)}},
	{"unsupervised, with a code of before", ways{unsupervised, lockOn(activationlock.UserLinked), holding(deviceCode(escrow.Current, at(1)))}},
	{"the enrollment ended before the device answered", ways{noCode, overdue, ended, lockOn("")}},
	{"a watch", ways{product("Watch7,1", "26.1"), unsupervised, lockOn("")}},

	{"# Other things.", nil},
	{"a Mac, enrolled by hand", ways{notManageable}},
	{"removed, and on again", ways{says(activationlock.On, activationlock.SourceApple, activationlock.UserLinked, 24*40), says(activationlock.Off, activationlock.SourceUnlockCall, "", 24*45), lockOn(activationlock.UserLinked), func(d *device) { d.Exchanges[question] = answered(inventory.WithCode, at(24*50+1)) }}},
	{"removed, on again, and off", ways{says(activationlock.On, activationlock.SourceApple, activationlock.UserLinked, 24*40), says(activationlock.Off, activationlock.SourceUnlockCall, "", 24*45), lockOn(activationlock.UserLinked), says(activationlock.Off, activationlock.SourceDevice, "", 24*90)}},
	{"Apple says on, the device off", ways{says(activationlock.On, activationlock.SourceApple, activationlock.UserLinked, 24*50), says(activationlock.Off, activationlock.SourceDevice, "", 24*50+1), func(d *device) { d.Exchanges[question] = answered(inventory.WithCode, at(24*50+1)) }}},
	{"two enrollments, one serial number", ways{disputed}},
	{"not seen for 14 days", ways{lastSeen(day(86))}},
	{"an Apple TV that was not seen for 20 days", ways{product("AppleTV14,1", "26.1"), lastSeen(day(80))}},
	{"a personal phone that was not seen for 20 days", ways{personal, lastSeen(day(80))}},
	{"much at once", ways{noCode, disputed, lookedAt(day(15)), lastSeen(day(0)), says(activationlock.On, activationlock.SourceApple, "", 24*10), says(activationlock.Off, activationlock.SourceDevice, "", 24*10+1)}},
}

// The table is for people to read, and judge.
func TestGoldenFindings(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	found := map[inventory.FindingKind]bool{}
	for _, s := range situations {
		if strings.HasPrefix(s.name, "#") {
			fmt.Fprintf(&text, "%s\n\n", s.name)
			continue
		}
		d := made(s.ways...)
		fmt.Fprintf(&text, "%s: %s\n", s.name, d.summary().Status)
		for _, f := range d.Summary.Findings {
			found[f.Kind] = true
			fmt.Fprintf(&text, "    %-8s  %-19s  since %s\n", f.Severity.Label(activationlock.English), f.Kind, strings.TrimSuffix(f.Since.Format(time.DateTime), ":00"))
			for _, l := range activationlock.Languages() {
				fmt.Fprintf(&text, "        %s: %s\n", l, f.Label(l))
			}
		}
		fmt.Fprintln(&text)
	}
	fmt.Fprint(&text, "# What to do.\n\n")
	kinds := constants(t, "FindingKind")
	for _, kind := range kinds {
		require.True(t, found[inventory.FindingKind(kind)], "%s is in no situation", kind)
		fmt.Fprintf(&text, "%s\n", kind)
		for _, l := range activationlock.Languages() {
			fmt.Fprintf(&text, "    %s: %s\n", l, inventory.Finding{Kind: inventory.FindingKind(kind)}.Advice(l))
		}
	}
	golden(t, "findings.txt", text.String())
}

// What is well has no findings, and is not due by time alone before it counts as
// not seen.
func TestNothingIsWrong(t *testing.T) {
	t.Parallel()
	d := well()
	require.Equal(t, inventory.Summary{
		Status: activationlock.NotEnabled, CodeSince: at(1), InventoryAt: day(100), DueAt: day(114), At: day(100),
	}, d.summary())
	require.Zero(t, d.Summary.Severity())
	require.Zero(t, made(ended).summary().DueAt)
	var zero inventory.Record
	zero.Summarize(nil, time.Time{}, inventory.Limits{}, day(1))
	require.Equal(t, inventory.Summary{Status: activationlock.Unknown, At: day(1)}, zero.Summary)
}

func TestFindings(t *testing.T) {
	t.Parallel()
	const tick = time.Microsecond
	finding := func(k inventory.FindingKind, s inventory.Severity, since time.Time, days int) inventory.Finding {
		return inventory.Finding{Kind: k, Severity: s, Since: since, Days: days}
	}
	none := inventory.Finding{}
	quiet := ways{noCode, notAsked, forbidden}
	when := func(of ways, more ...func(*device)) ways { return append(slices.Clone(of), more...) }
	limits := func(window, seen time.Duration) func(*device) {
		return func(d *device) { d.limits = inventory.Limits{WindowWarning: window, NotSeenFor: seen} }
	}
	worst := func(state escrow.State, when time.Time) escrow.Record {
		c := deviceCode(escrow.Worked, at(1))
		c.State, c.StateSince = state, when
		return c
	}
	later := func(c escrow.Record, last time.Time) escrow.Record { c.LastSeen = last; return c }
	removed := func(hour int) func(*device) {
		return says(activationlock.Off, activationlock.SourceUnlockCall, "", hour)
	}
	relock := ways{says(activationlock.On, activationlock.SourceApple, activationlock.UserLinked, 24*40), removed(24 * 45)}
	for _, test := range []struct {
		name string
		kind inventory.FindingKind
		ways ways
		want inventory.Finding
	}{
		// The window: at exactly N days and a moment before.
		{"before", inventory.WindowCloses, when(quiet, lookedAt(day(10).Add(-tick))), none},
		{"5 days", inventory.WindowCloses, when(quiet, lookedAt(day(10))), finding(inventory.WindowCloses, inventory.Warning, day(10), 5)},
		{"less than 5 days", inventory.WindowCloses, when(quiet, lookedAt(day(10).Add(tick))), finding(inventory.WindowCloses, inventory.Warning, day(10), 5)},
		{"more than 4", inventory.WindowCloses, when(quiet, lookedAt(day(11).Add(-tick))), finding(inventory.WindowCloses, inventory.Warning, day(10), 5)},
		{"4 days", inventory.WindowCloses, when(quiet, lookedAt(day(11))), finding(inventory.WindowCloses, inventory.Warning, day(10), 4)},
		{"more than 2", inventory.WindowCloses, when(quiet, lookedAt(day(13).Add(-tick))), finding(inventory.WindowCloses, inventory.Warning, day(10), 3)},
		{"2 days", inventory.WindowCloses, when(quiet, lookedAt(day(13))), finding(inventory.WindowCloses, inventory.Critical, day(10), 2)},
		{"2 days, a stale code", inventory.WindowCloses, ways{stale(day(0)), lookedAt(day(13))}, finding(inventory.WindowCloses, inventory.Warning, day(10), 2)},
		{"1 day", inventory.WindowCloses, when(quiet, lookedAt(day(14))), finding(inventory.WindowCloses, inventory.Critical, day(10), 1)},
		{"the last moment", inventory.WindowCloses, when(quiet, lookedAt(day(15).Add(-tick))), finding(inventory.WindowCloses, inventory.Critical, day(10), 1)},
		{"over", inventory.WindowCloses, when(quiet, lookedAt(day(15))), none},
		{"not over", inventory.WindowOver, when(quiet, lookedAt(day(15).Add(-tick))), none},
		{"over", inventory.WindowOver, when(quiet, lookedAt(day(15))), finding(inventory.WindowOver, inventory.Warning, day(15), 0)},
		{"long over", inventory.WindowOver, when(quiet), finding(inventory.WindowOver, inventory.Warning, day(15), 0)},
		{"over, and locked", inventory.WindowOver, when(quiet, lockOn("")), none},
		{"closes, and locked", inventory.WindowCloses, when(quiet, lockOn(""), lookedAt(day(12))), finding(inventory.WindowCloses, inventory.Warning, day(10), 3)},
		{"another warning", inventory.WindowCloses, when(quiet, limits(wholeDay, 0), lookedAt(day(14).Add(-tick))), none},
		{"another warning", inventory.WindowCloses, when(quiet, limits(wholeDay, 0), lookedAt(day(14))), finding(inventory.WindowCloses, inventory.Critical, day(14), 1)},
		{"at most all of it", inventory.WindowCloses, when(quiet, limits(1000*wholeDay, 0), lookedAt(day(0))), finding(inventory.WindowCloses, inventory.Warning, day(0), 15)},
		{"adopted", inventory.WindowOver, when(quiet, adopted), none},
		{"of a Mac nobody knows", inventory.WindowOver, when(quiet, mac), none},
		{"nor at that moment", inventory.WindowOver, when(quiet, mac, lookedAt(day(15))), none},
		{"of a Mac, 5 days", inventory.WindowCloses, when(quiet, mac, lookedAt(day(10))), finding(inventory.WindowCloses, inventory.Notice, day(10), 5)},
		{"of a Mac, 1 day", inventory.WindowCloses, when(quiet, mac, lookedAt(day(14))), finding(inventory.WindowCloses, inventory.Notice, day(10), 1)},
		{"of a Mac, over", inventory.WindowCloses, when(quiet, mac, lookedAt(day(15))), none},
		{"of a Vision Pro", inventory.WindowOver, when(quiet, product("RealityDevice14,1", "26.1")), finding(inventory.WindowOver, inventory.Warning, day(15), 0)},
		{"unsupervised", inventory.WindowOver, ways{unsupervised}, none},
		{"supervision unknown", inventory.WindowOver, when(quiet, func(d *device) { d.Facts.Supervised = nil }), finding(inventory.WindowOver, inventory.Warning, day(15), 0)},
		{"ended", inventory.WindowOver, when(quiet, ended), none},
		{"void", inventory.WindowOver, ways{holding(deviceCode(escrow.Void, at(1)))}, finding(inventory.WindowOver, inventory.Warning, day(15), 0)},
		{"purged", inventory.WindowOver, ways{holding(deviceCode(escrow.Purged, at(1)))}, finding(inventory.WindowOver, inventory.Warning, day(15), 0)},
		{"a server's code", inventory.WindowOver, ways{holding(serverCode(escrow.Current, at(1)))}, finding(inventory.WindowOver, inventory.Warning, day(15), 0)},
		{"it worked in this enrollment", inventory.WindowOver, ways{holding(worst(escrow.Worked, day(0)))}, none},
		{"it worked in the one before", inventory.WindowOver, ways{holding(worst(escrow.Worked, day(0).Add(-tick)))}, finding(inventory.WindowOver, inventory.Warning, day(15), 0)},

		{"before", inventory.NotSeen, ways{lastSeen(day(86).Add(tick))}, none},
		{"14 days", inventory.NotSeen, ways{lastSeen(day(86))}, finding(inventory.NotSeen, inventory.Warning, day(86), 14)},
		{"almost 15", inventory.NotSeen, ways{lastSeen(day(85).Add(tick))}, finding(inventory.NotSeen, inventory.Warning, day(85).Add(tick), 14)},
		{"15 days", inventory.NotSeen, ways{lastSeen(day(85))}, finding(inventory.NotSeen, inventory.Warning, day(85), 15)},
		{"another limit", inventory.NotSeen, ways{limits(0, 36*time.Hour), lastSeen(at(24*100 - 36))}, finding(inventory.NotSeen, inventory.Warning, at(24*100-36), 1)},
		{"another limit", inventory.NotSeen, ways{limits(0, 36*time.Hour), lastSeen(at(24*100 - 35))}, none},
		{"at least a day", inventory.NotSeen, ways{limits(0, time.Hour), lastSeen(day(99).Add(tick))}, none},
		{"at least a day", inventory.NotSeen, ways{limits(-1, time.Hour), lastSeen(day(99))}, finding(inventory.NotSeen, inventory.Warning, day(99), 1)},
		{"never, since its token", inventory.NotSeen, ways{lastSeen(time.Time{})}, finding(inventory.NotSeen, inventory.Warning, day(0), 100)},
		{"a clock that is ahead", inventory.NotSeen, ways{lastSeen(day(500))}, none},
		{"ended", inventory.NotSeen, ways{ended, lastSeen(day(0))}, none},

		{"allowed", inventory.MayLock, ways{noCode}, finding(inventory.MayLock, inventory.Critical, at(2), 0)},
		{"allowed since nobody knows when", inventory.MayLock, ways{noCode, func(d *device) { d.AllowedSince = time.Time{} }}, finding(inventory.MayLock, inventory.Critical, day(100), 0)},
		{"purged", inventory.MayLock, ways{holding(deviceCode(escrow.Purged, at(1)))}, finding(inventory.MayLock, inventory.Critical, at(2), 0)},
		{"forbidden", inventory.MayLock, ways{noCode, forbidden}, none},
		{"nobody said", inventory.MayLock, ways{noCode, func(d *device) { d.Facts.LockAllowed = nil }}, none},
		{"on", inventory.MayLock, ways{noCode, lockOn("")}, none},
		{"a stale code is one", inventory.MayLock, ways{stale(day(50))}, none},
		{"a server's code is none", inventory.MayLock, ways{holding(serverCode(escrow.Current, at(1)))}, finding(inventory.MayLock, inventory.Critical, at(2), 0)},
		{"supervision unknown", inventory.MayLock, ways{noCode, func(d *device) { d.Facts.Supervised = nil }}, finding(inventory.MayLock, inventory.Critical, at(2), 0)},
		{"a Shared iPad takes the option", inventory.MayLock, ways{sharedIPad}, none},
		{"unsupervised", inventory.MayLock, ways{unsupervised}, finding(inventory.MayLock, inventory.Warning, day(100), 0)},
		{"unsupervised, Find My", inventory.MayLock, ways{unsupervised, findMy}, finding(inventory.MayLock, inventory.Critical, day(100), 0)},
		{"unsupervised and a code of before", inventory.MayLock, ways{unsupervised, holding(deviceCode(escrow.Current, at(1)))}, finding(inventory.MayLock, inventory.Warning, day(100), 0)},
		{"unsupervised, personal", inventory.MayLock, ways{unsupervised, findMy, personal}, none},
		{"unsupervised, but too old to lock", inventory.MayLock, ways{unsupervised, product("iPhone3,1", "7.0")}, none},
		{"ended", inventory.MayLock, ways{noCode, ended}, none},
		{"not complete", inventory.MayLock, ways{noCode, func(d *device) { d.TokenAt = time.Time{} }}, none},

		{"fresh", inventory.CodeStale, nil, none},
		{"stale", inventory.CodeStale, ways{stale(day(60))}, finding(inventory.CodeStale, inventory.Warning, day(60), 0)},
		{"one is not", inventory.CodeStale, ways{stale(day(60)), func(d *device) { d.codes = append(d.codes, deviceCode(escrow.Current, day(70))) }}, none},
		{"two are, and one that does not count", inventory.CodeStale, ways{func(d *device) {
			a, b, c := deviceCode(escrow.Current, at(1)), deviceCode(escrow.Current, at(1)), deviceCode(escrow.Superseded, at(1))
			a.StaleSince, b.StaleSince, c.StaleSince = day(70), day(60), day(50)
			d.codes = []escrow.Record{a, b, c}
		}}, finding(inventory.CodeStale, inventory.Warning, day(60), 0)},
		{"disputed", inventory.CodeStale, ways{holding(deviceCode(escrow.Disputed, at(1)))}, finding(inventory.CodeStale, inventory.Warning, day(100), 0)},
		{"superseded", inventory.CodeStale, ways{holding(deviceCode(escrow.Superseded, at(1)))}, finding(inventory.CodeStale, inventory.Warning, day(100), 0)},
		{"void is none", inventory.CodeStale, ways{holding(deviceCode(escrow.Void, at(1)))}, none},
		{"it worked on this lock or the last", inventory.CodeStale, ways{holding(worst(escrow.Worked, day(40))), lockOn("")}, finding(inventory.CodeStale, inventory.Warning, day(100), 0)},
		{"a lock by the server with its code", inventory.CodeStale, ways{lockOn(activationlock.OrganizationLinked), holding(serverCode(escrow.Current, day(50)))}, none},
		{"with a code that may be it", inventory.CodeStale, ways{lockOn(activationlock.OrganizationLinked), holding(serverCode(escrow.MaybeActive, day(50)))}, none},
		{"with a code that never went out", inventory.CodeStale, ways{lockOn(activationlock.OrganizationLinked), func(d *device) {
			d.codes[0] = serverCode(escrow.Current, day(50))
			d.codes[0].StateSince = time.Time{}
		}}, finding(inventory.CodeStale, inventory.Warning, day(100), 0)},
		{"wanted", inventory.CodeStale, ways{func(d *device) { d.CodeWanted = true }}, none},
		{"wanted, empty", inventory.CodeStale, ways{empty(day(51)), func(d *device) { d.CodeWanted = true }}, finding(inventory.CodeStale, inventory.Notice, day(51), 0)},
		{"wanted, refused", inventory.CodeStale, ways{func(d *device) { d.CodeWanted, d.Exchanges[question] = true, answered(inventory.Refused, day(51)) }}, finding(inventory.CodeStale, inventory.Notice, day(51), 0)},
		{"empty, not wanted", inventory.CodeStale, ways{empty(day(51))}, none},
		{"a Shared iPad that was none", inventory.CodeStale, ways{sharedIPad, holding(deviceCode(escrow.Current, at(1)))}, none},

		{"no code", inventory.EmptyAnswers, ways{noCode}, finding(inventory.EmptyAnswers, inventory.Warning, at(1), 0)},
		{"refused", inventory.EmptyAnswers, ways{noCode, func(d *device) { d.Exchanges[question] = answered(inventory.Refused, day(51)) }}, finding(inventory.EmptyAnswers, inventory.Warning, day(51), 0)},
		{"a stale code", inventory.EmptyAnswers, ways{empty(day(51)), stale(day(50))}, finding(inventory.EmptyAnswers, inventory.Warning, day(51), 0)},
		{"a good code", inventory.EmptyAnswers, ways{empty(day(51))}, none},
		{"on", inventory.EmptyAnswers, ways{noCode, lockOn("")}, none},
		{"not asked", inventory.EmptyAnswers, when(quiet), none},
		{"a code that was not kept", inventory.EmptyAnswers, ways{noCode, func(d *device) { d.Exchanges[question] = answered(inventory.WithCode, day(51)) }}, none},
		{"cannot give one", inventory.EmptyAnswers, ways{sharedIPad}, none},
		{"a Mac", inventory.EmptyAnswers, ways{mac, noCode}, finding(inventory.EmptyAnswers, inventory.Warning, at(1), 0)},

		{"in order", inventory.AllowedFirst, nil, none},
		{"at one moment", inventory.AllowedFirst, ways{func(d *device) { d.AllowedSince = at(1) }}, none},
		{"allowed first", inventory.AllowedFirst, ways{func(d *device) { d.AllowedSince = at(1).Add(-tick) }}, finding(inventory.AllowedFirst, inventory.Warning, at(1).Add(-tick), 0)},
		{"and forbidden since", inventory.AllowedFirst, ways{func(d *device) { d.AllowedSince, d.Facts.LockAllowed = at(0), new(false) }}, none},
		{"a stale code is doubtful anyway", inventory.AllowedFirst, ways{stale(at(3)), func(d *device) { d.AllowedSince = at(0) }}, none},
		{"another since, but asked before", inventory.AllowedFirst, ways{holding(deviceCode(escrow.Current, day(50)), deviceCode(escrow.Superseded, at(1)))}, none},
		{"another since, the first of before", inventory.AllowedFirst, ways{holding(deviceCode(escrow.Current, day(50)), deviceCode(escrow.Superseded, at(-1)))}, finding(inventory.AllowedFirst, inventory.Warning, at(2), 0)},
		{"the first of before came again", inventory.AllowedFirst, ways{holding(deviceCode(escrow.Current, day(50)), later(deviceCode(escrow.Superseded, at(-1)), at(0)))}, none},
		{"a purged one cannot have", inventory.AllowedFirst, ways{holding(deviceCode(escrow.Current, day(50)), deviceCode(escrow.Purged, at(1)))}, finding(inventory.AllowedFirst, inventory.Warning, at(2), 0)},
		{"a server's code is none", inventory.AllowedFirst, ways{holding(deviceCode(escrow.Current, day(50)), serverCode(escrow.Current, at(1)))}, finding(inventory.AllowedFirst, inventory.Warning, at(2), 0)},
		{"imported, of before", inventory.AllowedFirst, ways{holding(deviceCode(escrow.Current, at(-100)))}, none},
		{"on first", inventory.AllowedFirst, ways{forbidden, lockOn(activationlock.UserLinked), holding(deviceCode(escrow.Current, day(51)))}, finding(inventory.AllowedFirst, inventory.Warning, day(50), 0)},
		{"allowed first, on later", inventory.AllowedFirst, ways{func(d *device) { d.AllowedSince = at(0) }, lockOn(activationlock.UserLinked)}, finding(inventory.AllowedFirst, inventory.Warning, at(0), 0)},
		{"on first, by the organization", inventory.AllowedFirst, ways{forbidden, lockOn(activationlock.OrganizationLinked), holding(deviceCode(escrow.Current, day(51)))}, none},

		{"again", inventory.Relocked, when(relock, lockOn("")), finding(inventory.Relocked, inventory.Critical, day(50), 0)},
		{"personal", inventory.Relocked, when(relock, lockOn(""), personal), finding(inventory.Relocked, inventory.Critical, day(50), 0)},
		{"ended", inventory.Relocked, when(relock, lockOn(""), ended), finding(inventory.Relocked, inventory.Critical, day(50), 0)},
		{"perhaps", inventory.Relocked, when(relock, says(activationlock.On, activationlock.SourceDevice, "", 24*45+1)), none},
		{"off now", inventory.Relocked, when(relock, lockOn(""), says(activationlock.Off, activationlock.SourceDevice, "", 24*90)), none},
		{"off, but nobody removed it", inventory.Relocked, ways{says(activationlock.On, activationlock.SourceApple, "", 24*40), says(activationlock.Off, activationlock.SourceApple, "", 24*45), lockOn("")}, none},
		{"never removed", inventory.Relocked, ways{lockOn("")}, none},
		{"a new enrollment", inventory.Relocked, when(relock, lockOn(""), func(d *device) { d.AuthenticatedAt = day(46) }), none},
		{"a new enrollment at that moment", inventory.Relocked, when(relock, lockOn(""), func(d *device) { d.AuthenticatedAt = day(50) }), none},
		{"enrolled anew, but locked before", inventory.Relocked, when(relock, lockOn(""), func(d *device) { d.AuthenticatedAt = day(50).Add(tick) }), finding(inventory.Relocked, inventory.Critical, day(50), 0)},
		{"too old for a lock", inventory.Relocked, when(relock, lockOn(""), product("iPhone3,1", "6.0")), none},

		{"disputed", inventory.SerialDisputed, ways{disputed}, finding(inventory.SerialDisputed, inventory.Critical, day(100), 0)},
		{"ended", inventory.SerialDisputed, ways{disputed, ended}, none},
		{"an Apple TV", inventory.SerialDisputed, ways{disputed, product("AppleTV14,1", "26.1")}, finding(inventory.SerialDisputed, inventory.Critical, day(100), 0)},
		{"a Mac", inventory.NotManageable, ways{notManageable}, finding(inventory.NotManageable, inventory.Warning, day(100), 0)},
		{"nobody said", inventory.NotManageable, ways{mac, func(d *device) { d.Facts.LockManageable = nil }}, none},
		{"no Mac", inventory.NotManageable, ways{func(d *device) { d.Facts.LockManageable = new(false) }}, none},

		{"asked", inventory.LockedNoCode, ways{noCode, notAsked, lockOn("")}, finding(inventory.LockedNoCode, inventory.Warning, day(50), 0)},
		{"cannot be asked", inventory.LockedNoCode, ways{notManageable, notAsked, lockOn("")}, finding(inventory.LockedNoCode, inventory.Critical, day(50), 0)},
		{"cannot be asked any more", inventory.LockedNoCode, ways{notManageable, overdue, lockOn("")}, finding(inventory.LockedNoCode, inventory.Critical, day(50), 0)},
		{"ended", inventory.LockedNoCode, ways{noCode, notAsked, ended, lockOn("")}, finding(inventory.LockedNoCode, inventory.Critical, day(50), 0)},
		{"personal", inventory.LockedNoCode, ways{noCode, notAsked, personal, lockOn("")}, none},
		{"off", inventory.LockedNoCode, ways{noCode, notAsked}, none},
		{"unreachable", inventory.LockedUnreachable, ways{noCode, overdue, lockOn("")}, finding(inventory.LockedUnreachable, inventory.Critical, day(50), 0)},
		{"ended", inventory.LockedUnreachable, ways{noCode, overdue, lockOn(""), ended}, none},
		{"ended, and it answered", inventory.LockedNotProvided, ways{noCode, lockOn(""), ended}, finding(inventory.LockedNotProvided, inventory.Critical, day(50), 0)},
		{"ended, unsupervised", inventory.LockedNotSupervised, ways{unsupervised, lockOn(""), ended}, finding(inventory.LockedNotSupervised, inventory.Critical, day(50), 0)},
		{"the wrong code", inventory.LockedNotProvided, ways{lockOn(activationlock.OrganizationLinked)}, finding(inventory.LockedNotProvided, inventory.Critical, day(50), 0)},
		{"a watch", inventory.LockedNoCode, ways{unsupervised, product("Watch7,1", "26.1"), lockOn("")}, finding(inventory.LockedNoCode, inventory.Notice, day(50), 0)},
		{"a conflict", inventory.Conflict, ways{says(activationlock.On, activationlock.SourceApple, "", 24*50), says(activationlock.Off, activationlock.SourceDevice, "", 24*50+1)}, finding(inventory.Conflict, inventory.Warning, at(24*50+1), 0)},
		{"a personal device", inventory.Conflict, ways{personal, says(activationlock.On, activationlock.SourceApple, "", 24*50), says(activationlock.Off, activationlock.SourceDevice, "", 24*50+1)}, none},
	} {
		d, got := made(test.ways...), none
		for _, f := range d.summary().Findings {
			if f.Kind == test.kind {
				require.Equal(t, none, got, "%s: %s twice", test.kind, test.name)
				got = f
			}
		}
		require.Equal(t, test.want, got, "%s: %s: %+v", test.kind, test.name, d.Summary)
	}
}

// A finding that began when nobody looked is as old as the first look at it, in
// this enrollment.
func TestNoticedFirst(t *testing.T) {
	t.Parallel()
	for kind, way := range map[inventory.FindingKind]func(*device){
		inventory.SerialDisputed: disputed, inventory.MayLock: unsupervised, inventory.NotManageable: notManageable,
		inventory.CodeStale: holding(deviceCode(escrow.Disputed, at(1))), inventory.EmptyAnswers: noCode,
	} {
		d := made(way)
		since := func() time.Time {
			for _, f := range d.summary().Findings {
				if f.Kind == kind {
					return f.Since
				}
			}
			return time.Time{}
		}
		first := since()
		require.NotZero(t, first, kind)
		d.now = day(110)
		if kind == inventory.EmptyAnswers {
			empty(day(110))(d)
		}
		require.Equal(t, first, since(), kind)
		d.AuthenticatedAt = first // it enrolled at that moment, or the next
		require.Equal(t, first, since(), kind)
		d.AuthenticatedAt = first.Add(1)
		require.Equal(t, day(110), since(), kind)
	}
}

// What a code kept from being wrong is wrong since the code went, and not since it
// would have been without one.
func TestSinceTheCodeWent(t *testing.T) {
	t.Parallel()
	went := func(state escrow.State, when time.Time) func(*device) {
		return func(d *device) { d.codes[0].State, d.codes[0].StateSince = state, when }
	}
	on := ways{lockOn(activationlock.UserLinked), func(d *device) { d.Exchanges[question] = answered(inventory.WithCode, day(51)) }}
	for _, test := range []struct {
		kind   inventory.FindingKind
		before ways // the code went
		went   func(*device)
		want   time.Time
	}{
		{inventory.MayLock, nil, went(escrow.Void, day(99)), day(99)},
		{inventory.MayLock, nil, went(escrow.Purged, day(99)), day(99)},
		{inventory.MayLock, nil, went(escrow.Void, at(2)), at(2)},
		{inventory.MayLock, nil, went(escrow.Void, at(1)), at(2)},
		{inventory.MayLock, nil, went(escrow.Void, time.Time{}), at(2)},
		{inventory.WindowOver, nil, went(escrow.Void, day(99)), day(99)},
		{inventory.WindowOver, nil, went(escrow.Void, day(14)), day(15)},
		{inventory.WindowCloses, ways{lookedAt(day(11))}, went(escrow.Void, day(12)), day(12)},
		{inventory.LockedNotProvided, on, went(escrow.Purged, day(99)), day(99)},
		{inventory.LockedNotProvided, on, went(escrow.Void, day(40)), day(50)},
		{inventory.LockedUnreachable, append(slices.Clone(on), overdue), went(escrow.Purged, day(99)), day(99)},
		// The device's code does not open a lock of the organization.
		{inventory.LockedNotProvided, ways{lockOn(activationlock.OrganizationLinked)}, went(escrow.Purged, day(99)), day(50)},
	} {
		since := func(d *device) (found time.Time) {
			for _, f := range d.summary().Findings {
				if f.Kind == test.kind {
					found = f.Since
				}
			}
			return found
		}
		d := made(test.before...)
		since(d)
		d.now = d.now.Add(wholeDay)
		test.went(d)
		require.Equal(t, test.want, since(d), "%s: %+v", test.kind, d.codes)
		if test.kind != inventory.WindowCloses {
			d.now = day(110)
			went(escrow.Purged, day(105))(d)
			require.Equal(t, test.want, since(d), "%s: that what was void is purged changes nothing", test.kind)
		}
		d.codes = append(d.codes, deviceCode(escrow.Void, at(1)))
		require.Equal(t, test.want, since(d), test.kind)
	}
	// The last one that went counts.
	d := made(holding(deviceCode(escrow.Void, at(1)), deviceCode(escrow.Void, at(1)), serverCode(escrow.Void, day(98))))
	d.codes[0].StateSince, d.codes[1].StateSince = day(97), day(96)
	require.Equal(t, day(97), d.summary().Findings[0].Since)
}

func TestSummary(t *testing.T) {
	t.Parallel()
	d := well()
	d.Exchanges["DeviceInformation"] = answered(inventory.Refused, day(101))
	require.Zero(t, d.summary().InventoryAt, "an error is no information")
	d.Exchanges["DeviceInformation"] = answered(inventory.Done, day(102))
	require.Equal(t, day(102), d.summary().InventoryAt)
	d.Exchanges["DeviceInformation"] = answered(inventory.Refused, day(103))
	require.Equal(t, day(102), d.summary().InventoryAt)
	d.Exchanges = nil
	require.Equal(t, day(102), d.summary().InventoryAt, "enrolled again")

	// Due is the host's moment or that of time alone, whichever is earlier.
	for _, test := range []struct{ due, want time.Time }{
		{time.Time{}, day(114)}, {day(113), day(113)}, {day(115), day(114)}, {day(99), day(99)}, {day(100), day(100)},
		{day(113).In(time.FixedZone("", 3600)).Add(999), day(113)},
	} {
		d := well()
		d.Summarize(d.codes, test.due, d.limits, d.now.In(time.FixedZone("", 3600)).Add(999))
		require.Equal(t, test.want, d.Summary.DueAt)
		require.Equal(t, day(100), d.Summary.At)
	}

	// A moment between two microseconds is due at the later one.
	d = made(noCode, notAsked, forbidden, lookedAt(day(1)), func(d *device) { d.AuthenticatedAt = day(0).Add(1) })
	require.Equal(t, day(10).Add(time.Microsecond), d.summary().DueAt)

	// A question that is open, or asked again, makes another status by time alone.
	for _, x := range []inventory.Exchange{{}, answered(inventory.NoCode, day(99))} {
		d = made(noCode, lockOn(""), func(d *device) { d.Exchanges[question] = x.Ask("1", day(100), day(101)) })
		require.Equal(t, day(101), d.summary().DueAt)
		require.NotEqual(t, activationlock.EnabledWithoutBypassCodeUnreachable, d.Summary.Status)
		d.now = day(101)
		require.Equal(t, activationlock.EnabledWithoutBypassCodeUnreachable, d.summary().Status)
	}

	// So does evidence that grows too old, and such of the future.
	d = made(says(activationlock.Off, activationlock.SourceApple, "", 24*99))
	require.Equal(t, activationlock.Yes, d.summary().Reassign)
	require.Equal(t, day(107).Add(time.Microsecond), d.Summary.DueAt)
	d.now = day(107)
	require.Equal(t, activationlock.Yes, d.summary().Reassign)
	d.now = d.Summary.DueAt
	require.Equal(t, activationlock.VerdictUnknown, d.summary().Reassign)
	d = made(says(activationlock.Off, activationlock.SourceApple, "", 24*102))
	require.Equal(t, activationlock.VerdictUnknown, d.summary().Reassign)
	require.Equal(t, day(102), d.Summary.DueAt)
}

func TestCodeSince(t *testing.T) {
	t.Parallel()
	supervisionUnknown := func(d *device) { d.Facts.Supervised = nil }
	device, server := deviceCode, serverCode
	for _, test := range []struct {
		name  string
		ways  ways
		codes []escrow.Record
		want  time.Time
	}{
		{"none", nil, nil, time.Time{}},
		{"one", nil, []escrow.Record{device(escrow.Current, at(3))}, at(3)},
		{"the current one", nil, []escrow.Record{device(escrow.Superseded, at(1)), device(escrow.Current, at(3)), device(escrow.Disputed, at(2))}, at(3)},
		{"the first of two", nil, []escrow.Record{device(escrow.Current, at(4)), device(escrow.Current, at(3)), device(escrow.Current, at(5))}, at(3)},
		{"the oldest of the others", nil, []escrow.Record{device(escrow.Superseded, at(2)), device(escrow.Worked, at(1)), device(escrow.Disputed, at(3))}, at(1)},
		{"no good", nil, []escrow.Record{device(escrow.Void, at(1)), device(escrow.Purged, at(2))}, time.Time{}},
		{"no lock, the server's of a lock that may be", nil, []escrow.Record{server(escrow.MaybeActive, at(2))}, at(2)},
		{"no lock, the server's of the last one", nil, []escrow.Record{server(escrow.Worked, at(2)), server(escrow.Superseded, at(1))}, time.Time{}},
		{"no lock, unsupervised, the device's of before", ways{unsupervised, findMy}, []escrow.Record{device(escrow.Current, at(1)), device(escrow.Superseded, at(0))}, time.Time{}},
		{"no lock, unsupervised, the server's", ways{unsupervised}, []escrow.Record{device(escrow.Current, at(1)), server(escrow.Current, at(2))}, at(2)},
		{"no lock, a Shared iPad that was none", ways{sharedIPad}, []escrow.Record{device(escrow.Current, at(1))}, time.Time{}},
		{"no lock, supervised or not, nobody knows", ways{supervisionUnknown}, []escrow.Record{device(escrow.Current, at(1))}, at(1)},
		{"a lock, unsupervised, the device's of before", ways{unsupervised, lockOn(activationlock.UserLinked)}, []escrow.Record{device(escrow.Current, at(1))}, at(1)},
		{"a stale one", nil, []escrow.Record{{Kind: bypasscode.Device, State: escrow.Current, FirstSeen: at(1), StaleSince: at(2)}}, at(1)},
		{"of a person", ways{lockOn(activationlock.UserLinked)}, []escrow.Record{server(escrow.Current, at(1)), device(escrow.Current, at(2))}, at(2)},
		{"of the organization", ways{lockOn(activationlock.OrganizationLinked)}, []escrow.Record{server(escrow.Superseded, at(3)), device(escrow.Current, at(2))}, at(3)},
		{"nobody knows whose", ways{lockOn("")}, []escrow.Record{server(escrow.Superseded, at(3))}, at(3)},
	} {
		d := made(append(test.ways, holding(test.codes...))...)
		require.Equal(t, test.want, d.summary().CodeSince, test.name)
		require.Equal(t, d.Evidence[len(d.Evidence)-1].Kind, d.Summary.LockKind)
	}
}

// anyDevice is any device at all, in its hundredth day or before.
func anyDevice(r *rand.Rand) *device {
	one := func(n int) bool { return r.IntN(n) == 0 }
	fact := func() *bool { return []*bool{nil, new(true), new(false)}[r.IntN(3)] }
	moment := func() time.Time {
		if one(8) {
			return time.Time{}
		}
		return at(r.IntN(24 * 100)).Add(time.Duration(r.IntN(3)-1) * time.Microsecond)
	}
	d := &device{now: day(r.IntN(60) + 50)}
	if one(2) {
		d.now = d.now.Add(time.Duration(r.Int64N(int64(wholeDay)))).Truncate(time.Microsecond)
	}
	if one(3) {
		d.limits = inventory.Limits{WindowWarning: time.Duration(r.IntN(500)) * time.Hour, NotSeenFor: time.Duration(r.IntN(500)) * time.Hour}
	}
	d.Ownership = []inventory.Ownership{"", inventory.Company, inventory.Personal}[r.IntN(3)]
	d.AuthenticatedAt, d.TokenAt, d.LastSeen, d.AllowedSince = moment(), moment(), moment(), moment()
	if one(2) || d.AuthenticatedAt.After(d.now) {
		d.AuthenticatedAt = d.now.Add(-time.Duration(r.IntN(16*24)) * time.Hour)
	}
	if one(10) {
		d.CheckedOutAt = moment()
	}
	d.UserEnrollment, d.Disputed, d.CodeWanted = one(20), one(10), one(3)
	d.Channel = []mdmcmd.Channel{mdmcmd.DeviceChannel, mdmcmd.DeviceChannel, mdmcmd.DeviceChannel, "", mdmcmd.UserChannel}[r.IntN(5)]
	product([]string{"iPhone17,3", "iPhone17,3", "iPad13,1", "Mac14,2", "Watch7,1", "AppleTV14,1", "RealityDevice14,1", ""}[r.IntN(8)], []string{"26.1", "26.1", "6.0", ""}[r.IntN(4)])(d)
	f := &d.Facts
	f.Supervised, f.SharedIPad, f.FindMy, f.LockSupported, f.LockManageable, f.LockAllowed = fact(), fact(), fact(), fact(), fact(), fact()
	for range r.IntN(5) {
		d.AddEvidence(activationlock.Evidence{
			State:  []activationlock.State{activationlock.On, activationlock.Off, ""}[r.IntN(3)],
			Kind:   []activationlock.LockKind{"", activationlock.UserLinked, activationlock.OrganizationLinked}[r.IntN(3)],
			Source: []activationlock.Source{activationlock.SourceDevice, activationlock.SourceApple, activationlock.SourceApple, activationlock.SourceLockCall, activationlock.SourceUnlockCall}[r.IntN(5)],
			At:     day(50).Add(-time.Duration(r.IntN(24*20)) * time.Hour),
		})
		if one(2) { // lately
			d.Evidence[len(d.Evidence)-1].At = d.now.Add(-time.Duration(r.IntN(24*10)) * time.Hour)
		}
	}
	for range r.IntN(3) {
		c := escrow.Record{
			Kind:      []bypasscode.Kind{bypasscode.Device, bypasscode.Device, bypasscode.Server}[r.IntN(3)],
			State:     []escrow.State{escrow.Current, escrow.Current, escrow.MaybeActive, escrow.Worked, escrow.Superseded, escrow.Disputed, escrow.Void, escrow.Purged}[r.IntN(8)],
			FirstSeen: at(r.IntN(1000)), LastSeen: at(r.IntN(1000) + 1000), StateSince: moment(),
		}
		if c.Kind == bypasscode.Server {
			c.Cause = escrow.CauseOrganizationLock
		} else if one(3) {
			c.StaleSince = moment()
		}
		d.codes = append(d.codes, c)
	}
	if !one(3) {
		x := inventory.Exchange{}
		if one(2) {
			x = answered([]inventory.Answer{inventory.NoCode, inventory.Refused, inventory.WithCode}[r.IntN(3)], moment())
		}
		if one(2) {
			x = x.Ask("1", d.now, d.now.Add(time.Duration(r.IntN(72)-36)*time.Hour))
			if one(3) {
				x = x.Later(d.now).Ask("2", d.now, d.now.Add(time.Duration(r.IntN(72)-36)*time.Hour))
			}
		}
		d.Exchanges = map[string]inventory.Exchange{question: x}
	}
	return d
}

// For devices of all kinds: time alone changes nothing before the record is due,
// and something then; and some things always hold.
func TestTimeAloneChangesNothingBeforeItIsDue(t *testing.T) {
	t.Parallel()
	const seed = 20261122
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 7))
	// what is shown at a moment, looked at then.
	shown := func(d *device, now time.Time) inventory.Summary {
		d = &device{d.Clone(), d.codes, d.limits, now}
		s := d.summary()
		s.At = time.Time{}
		return s
	}
	found, ends := map[inventory.FindingKind]int{}, 0
	for round := range 6000 {
		d := anyDevice(r)
		before := d.Clone()
		first := d.summary()
		again := &device{before, d.codes, d.limits, d.now}
		require.Equal(t, first, again.summary(), "the same again")
		first.At = time.Time{}
		require.Equal(t, first, shown(d, d.now), "round %d: and of itself", round)

		require.True(t, first.DueAt.IsZero() || first.DueAt.After(d.now), "round %d", round)
		until, moments := first.DueAt, []time.Time{}
		if until.IsZero() {
			until = d.now.Add(1000 * wholeDay)
		} else {
			ends++
			changed := shown(d, until)
			changed.DueAt = first.DueAt
			require.NotEqual(t, first, changed, "round %d: due for nothing", round)
			moments = append(moments, until.Add(-time.Microsecond))
		}
		// At all moments at which anything could happen.
		for _, start := range []time.Time{d.LastSeen, d.TokenAt, d.AuthenticatedAt, d.Exchanges[question].OverdueAt, d.Exchanges[question].SilentAt, day(50), d.now} {
			for i := range 30 {
				moments = append(moments, start.Add(time.Duration(i)*wholeDay), start.Add(time.Duration(i)*wholeDay-time.Microsecond))
			}
			moments = append(moments, start.Add(time.Duration(r.Int64N(int64(20*wholeDay)))))
		}
		for _, e := range d.Evidence {
			moments = append(moments, e.At.Add(time.Hour+1e3), e.At.Add(activationlock.EvidenceAge+1e3), e.At.Add(activationlock.AppleLag))
		}
		for _, moment := range moments {
			if moment.After(d.now) && moment.Before(until) && round%4 == 0 || moment.Equal(until.Add(-time.Microsecond)) && moment.After(d.now) {
				require.Equal(t, first, shown(d, moment), "round %d: at %v it is not as at %v", round, moment, d.now)
			}
		}

		invariants(t, d)
		for _, f := range first.Findings {
			found[f.Kind]++
		}
	}
	require.Len(t, found, len(constants(t, "FindingKind")), "%v", found)
	require.Greater(t, ends, 500)
}

func invariants(t *testing.T, d *device) {
	t.Helper()
	all, s := d.Summary.Findings, d.Situation(d.codes, d.now)
	kinds, reasons := map[inventory.FindingKind]bool{}, 0
	require.Equal(t, activationlock.StatusOf(s), d.Summary.Status)
	want := s.CanReassign(d.now).Verdict
	if want == activationlock.Yes && d.Disputed { // nobody knows which device is meant
		want = activationlock.VerdictUnknown
	}
	require.Equal(t, want, d.Summary.Reassign)
	require.Equal(t, want, d.CanReassign(d.codes, d.now).Verdict)
	require.False(t, d.Disputed && d.CanErase(d.codes, d.now).Yes())
	for i, f := range all {
		require.False(t, kinds[f.Kind], "twice: %s", f.Kind)
		kinds[f.Kind] = true
		if i > 0 {
			require.GreaterOrEqual(t, all[i-1].Severity, f.Severity)
			require.True(t, all[i-1].Severity > f.Severity || !all[i-1].Since.After(f.Since))
		}
		if strings.HasPrefix(string(f.Kind), "locked") {
			reasons++
		}
		require.NotZero(t, f.Since, f.Kind)
		require.Equal(t, f.Kind == inventory.NotSeen || f.Kind == inventory.WindowCloses, f.Days > 0)
		if d.Ownership == inventory.Personal {
			require.Contains(t, []inventory.FindingKind{inventory.Relocked, inventory.SerialDisputed, inventory.NotSeen}, f.Kind)
		}
	}
	if len(all) > 0 {
		require.Equal(t, all[0].Severity, d.Summary.Severity())
	}
	locked := s.Lock.State == activationlock.On
	if d.UserEnrollment || d.Channel == mdmcmd.UserChannel {
		require.Empty(t, all)
	} else if d.Ownership != inventory.Personal && s.Device.HasLock() != activationlock.Off {
		// A lock that nobody can open has exactly one reason, and is never silent.
		require.Equal(t, locked && !s.Usable(), reasons == 1, "%+v", d)
	}
	require.LessOrEqual(t, reasons, 1)
	require.True(t, locked || d.Summary.LockKind == "")
	if server := func(c escrow.Record) bool { return c.Kind == bypasscode.Server }; kinds[inventory.MayLock] && !slices.ContainsFunc(d.codes, server) {
		require.Zero(t, d.Summary.CodeSince, "the finding says that none is held")
	}
	if locked {
		require.Equal(t, s.Lock.Kind, d.Summary.LockKind)
		require.Equal(t, s.Usable(), !d.Summary.CodeSince.IsZero())
	}
	require.False(t, kinds[inventory.WindowOver] && d.Facts.Platform() == mdmcmd.MacOS)
	require.False(t, locked && (kinds[inventory.MayLock] || kinds[inventory.WindowOver] || kinds[inventory.EmptyAnswers]), "nobody is told to erase it")
}

// constants reads the values of a type's constants from the package's source,
// so that one without a label cannot hide.
func constants(t *testing.T, typ string) (values []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typ {
					continue
				}
				for _, v := range spec.Values {
					literal, ok := v.(*ast.BasicLit)
					require.True(t, ok, "%s is no literal", spec.Names[0])
					value, err := strconv.Unquote(literal.Value)
					if err != nil {
						value = literal.Value
					}
					values = append(values, value)
				}
			}
		}
	}
	return values
}

func TestEverythingHasALabelInEveryLanguage(t *testing.T) {
	t.Parallel()
	kinds, severities, ownerships := constants(t, "FindingKind"), constants(t, "Severity"), constants(t, "Ownership")
	require.GreaterOrEqual(t, len(kinds), 15)
	require.Equal(t, []string{"1", "2", "3"}, severities, "they are stored")
	require.Equal(t, []string{"", "company", "personal"}, ownerships)
	english := map[string]bool{}
	for _, l := range activationlock.Languages() {
		texts := map[string]bool{}
		unique := func(text string) {
			require.NotEmpty(t, text)
			require.False(t, texts[text], "%q in %q says two things", text, l)
			require.False(t, l != activationlock.English && english[text], "%q is not translated", text)
			texts[text] = true
		}
		for _, k := range kinds {
			f := inventory.Finding{Kind: inventory.FindingKind(k), Days: 3}
			unique(f.Label(l))
			require.NotEmpty(t, f.Advice(l))
			for _, text := range []string{f.Label(l), f.Advice(l)} {
				require.Equal(t, spreadsheet.HarmlessAnywhere(text), text)
				require.Equal(t, strings.TrimSpace(text), text)
				require.True(t, strings.HasSuffix(text, "."), "%q is no sentence", text)
				require.NotContains(t, text, "{")
				require.NotContains(t, text, "%")
				require.NotContains(t, text, "(")
			}
			require.False(t, l != activationlock.English && f.Advice(l) == f.Advice(activationlock.English), "%s is not translated", k)
		}
		for _, s := range severities {
			n, err := strconv.Atoi(s)
			require.NoError(t, err)
			unique(inventory.Severity(n).Label(l))
		}
		for _, o := range ownerships {
			if o == "" {
				require.Empty(t, inventory.Ownership(o).Label(l))
			} else {
				unique(inventory.Ownership(o).Label(l))
			}
		}
		if l == activationlock.English {
			english = texts
		}
	}
}

func TestLabelsFallBackToEnglish(t *testing.T) {
	t.Parallel()
	for _, l := range []activationlock.Language{"fr", "", "NL", "nl-BE"} {
		require.Equal(t, "The device has not been heard of for 20 days.", inventory.Finding{Kind: inventory.NotSeen, Days: 20}.Label(l))
		require.Equal(t, "Do not erase it. Have it turned on and online.", inventory.Finding{Kind: inventory.LockedUnreachable}.Advice(l))
		require.Equal(t, "critical", inventory.Critical.Label(l))
		require.Equal(t, "Company", inventory.Company.Label(l))
		require.Equal(t, "Serial Number", inventory.ColumnTitles(l)[0])
	}
	require.Empty(t, inventory.Finding{Kind: "of the future", Days: 3}.Label(activationlock.Dutch))
	require.Empty(t, inventory.Finding{Kind: "of the future"}.Advice(activationlock.English))
	require.Empty(t, inventory.Severity(4).Label(activationlock.Dutch))
	require.Empty(t, inventory.Severity(0).Label(activationlock.Dutch))
}

func TestDays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind           inventory.FindingKind
		days           int
		english, dutch string
	}{
		{inventory.NotSeen, 1, "for 1 day.", "al 1 dag niets"},
		{inventory.NotSeen, 2, "for 2 days.", "al 2 dagen niets"},
		{inventory.NotSeen, 21, "for 21 days.", "al 21 dagen niets"},
		{inventory.WindowCloses, 1, "end in 1 day,", "eindigen over 1 dag en"},
		{inventory.WindowCloses, 2, "end in 2 days,", "eindigen over 2 dagen en"},
	} {
		f := inventory.Finding{Kind: test.kind, Days: test.days}
		require.Contains(t, f.Label(activationlock.English), test.english)
		require.Contains(t, f.Label(activationlock.Dutch), test.dutch)
	}
}

func TestSetGroups(t *testing.T) {
	t.Parallel()
	var r inventory.Record
	given := []string{"b", "a", "b", "B"}
	r.SetGroups(given...)
	require.Equal(t, []string{"B", "a", "b"}, r.Groups)
	require.Equal(t, []string{"b", "a", "b", "B"}, given)
	r.SetGroups()
	require.Empty(t, r.Groups)
}
