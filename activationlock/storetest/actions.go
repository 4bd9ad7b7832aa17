package storetest

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// Actions tests a store of bypass actions against the promises of [bypass.Store],
// each in a subtest with an empty storage. Fresh, clock and open are those of
// [Escrow].
func Actions(t *testing.T, fresh func(t *testing.T, clock func() time.Time) (open func(t *testing.T) bypass.Store)) {
	for _, c := range []struct {
		name string
		test func(actions)
	}{
		{"None", actions.none},
		{"NewAction", actions.newAction},
		{"ChangedAction", actions.changedAction},
		{"Limits", actions.limits},
		{"Strings", actions.strings},
		{"Identifiers", actions.identifiers},
		{"Times", actions.times},
		{"Order", actions.order},
		{"Scan", actions.scan},
		{"Exists", actions.exists},
		{"Open", actions.opened},
		{"Fixed", actions.fixed},
		{"Reopen", actions.reopen},
		{"Memory", actions.memory},
		{"ChangeFails", actions.changeFails},
		{"ChangePanics", actions.changePanics},
		{"ContextIsOver", actions.contextIsOver},
		{"ContextEndsInChange", actions.contextEndsInChange},
		{"Creators", actions.creators},
		{"CreatorsOfOneID", actions.creatorsOfOneID},
		{"OneAction", actions.oneAction},
		{"ManyActions", actions.manyActions},
		{"OneAfterAnother", actions.oneAfterAnother},
		{"HalfAnUpdate", actions.halfAnUpdate},
		{"ScanMeanwhile", actions.scanMeanwhile},
		{"Life", actions.life},
	} {
		run(t, c.name, fresh, func(f fixture[bypass.Store]) {
			k := actions{f}
			k.wants("fresh makes an empty storage", k.all(f.store, 10, false))
			c.test(k)
		})
	}
}

// actions is a case on a store of actions.
type actions struct{ fixture[bypass.Store] }

// action returns an action with something in every field.
func (k actions) action(id string, subject escrow.Subject, state bypass.State) bypass.Action {
	k.Helper()
	return action(k.T, id, subject, state, 1)
}

// action returns an action with the nth value in every field but those that say
// which it is, and its state.
func action(t *testing.T, id string, subject escrow.Subject, state bypass.State, n int) bypass.Action {
	t.Helper()
	var a bypass.Action
	for _, f := range fieldsOf(&a) {
		if !f.identifies() {
			f.fill(t, n)
		}
	}
	a.ID, a.Subject, a.State = id, subject, state
	return a
}

// device returns a subject like any other.
func device(i int) escrow.Subject { return escrow.Subject{SerialNumber: fmt.Sprint("serial ", i)} }

func idsOfActions(list []bypass.Action) (ids []string) {
	for _, a := range list {
		ids = append(ids, a.ID)
	}
	return ids
}

func byActionID(a, b bypass.Action) int { return cmp.Compare(a.ID, b.ID) }

// byStart is the order of a device's actions.
func byStart(a, b bypass.Action) int {
	return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
}

func (k actions) create(s bypass.Store, list ...bypass.Action) {
	k.Helper()
	for _, a := range copied(list) {
		k.noError("Create", s.Create(k.ctx, a))
	}
}

// update changes an action, and checks what change is passed.
func (k actions) update(s bypass.Store, id string, edit func(*bypass.Action)) {
	k.Helper()
	called := false
	var passed bypass.Action
	k.noError("Update", s.Update(k.ctx, id, func(a *bypass.Action) error {
		called, passed = true, copied([]bypass.Action{*a})[0]
		edit(a)
		return nil
	}))
	if !called {
		k.Fatalf("Update calls change")
	}
	if passed.ID != id {
		k.Fatalf("Update passes the action that has the ID: it has another")
	}
}

// write has an update leave an action as it is wanted.
func (k actions) write(s bypass.Store, want bypass.Action) {
	k.Helper()
	before := k.get(s, want.ID)
	k.update(s, want.ID, func(a *bypass.Action) {
		if d := k.differ([]bypass.Action{before}, []bypass.Action{*a}); d != "" {
			k.Errorf("Update passes what Get returns: %s", d)
		}
		*a = copied([]bypass.Action{want})[0]
	})
}

func (k actions) get(s bypass.Store, id string) bypass.Action {
	k.Helper()
	a, err := s.Get(k.ctx, id)
	k.noError("Get", err)
	return a
}

func (k actions) ofDevice(s bypass.Store, serialNumber string) []bypass.Action {
	k.Helper()
	list, err := s.OfDevice(k.ctx, serialNumber)
	k.noError("OfDevice", err)
	return list
}

// page returns a page of actions.
func (k actions) page(s bypass.Store, after string, limit int, open bool) []bypass.Action {
	k.Helper()
	page, err := s.Scan(k.ctx, after, limit, open)
	k.noError("Scan", err)
	if len(page) > limit {
		k.Fatalf("Scan returns no more actions than the limit: there are %d, and the limit is %d", len(page), limit)
	}
	for _, a := range page {
		if a.ID <= after {
			k.Fatalf("Scan returns actions in the byte order of their IDs, those greater than after: %+q came after %+q", a.ID, after)
		}
		after = a.ID
		if open && a.State.Over() {
			k.Fatalf("Scan of those that are not over returns no others: the state of %+q is %q", a.ID, a.State)
		}
	}
	return page
}

// all walks through the store in pages.
func (k actions) all(s bypass.Store, limit int, open bool) (list []bypass.Action) {
	k.Helper()
	after := ""
	for {
		page := k.page(s, after, limit, open)
		list = append(list, page...)
		if len(page) < limit {
			return list
		}
		after = page[limit-1].ID
	}
}

func (k actions) differ(want, got []bypass.Action) string {
	return differences(want, got, idsOfActions)
}

// wants compares actions, and names the promise if they differ.
func (k actions) wants(promise string, got []bypass.Action, want ...bypass.Action) {
	k.Helper()
	if d := k.differ(want, got); d != "" {
		k.Fatalf("%s: %s", promise, strings.Replace(d, "the entries", "the actions", 1))
	}
}

// notOver leaves those out that are over.
func notOver(list []bypass.Action) []bypass.Action {
	return slices.DeleteFunc(slices.Clone(list), func(a bypass.Action) bool { return a.State.Over() })
}

// ofDevice returns the actions of a serial number, in their order.
func ofDevice(list []bypass.Action, serialNumber string) []bypass.Action {
	list = slices.DeleteFunc(slices.Clone(list), func(a bypass.Action) bool { return a.Subject.SerialNumber != serialNumber })
	slices.SortFunc(list, byStart)
	return list
}

// holds compares all actions, however they are read, and names the promise if
// they differ.
func (k actions) holds(promise string, s bypass.Store, want ...bypass.Action) {
	k.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, byActionID)
	for _, a := range want {
		got, err := s.Get(k.ctx, a.ID)
		if err != nil {
			k.Fatalf("%s: Get gives the error %v", promise, err)
		}
		k.wants(promise, []bypass.Action{got}, a)
	}
	devices := map[string]bool{}
	for _, a := range want {
		if serialNumber := a.Subject.SerialNumber; serialNumber != "" && !devices[serialNumber] {
			devices[serialNumber] = true
			k.wants(promise+" (OfDevice)", k.ofDevice(s, serialNumber), ofDevice(want, serialNumber)...)
		}
	}
	k.wants(promise+" (Scan)", k.all(s, 1000, false), want...)
	k.wants(promise+" (Scan of those that are not over)", k.all(s, 1000, true), notOver(want)...)
}

// unwritten checks that nothing came of a call.
func (k actions) unwritten(promise string, before ...bypass.Action) {
	k.Helper()
	for _, s := range []bypass.Store{k.store, k.open()} {
		k.holds(promise, s, before...)
	}
}

// refuses checks that an action cannot be created, and nothing is written.
func (k actions) refuses(promise string, a bypass.Action, want error, before ...bypass.Action) {
	k.Helper()
	k.fails(promise, k.store.Create(k.ctx, copied([]bypass.Action{a})[0]), want)
	k.unwritten("what is not created is not there", before...)
}

func (k actions) none() {
	const (
		promise = "none is not an error"
		missing = "it is ErrNotFound if there is no such action"
	)
	nothing := func() {
		k.Helper()
		for _, id := range []string{"1", "another", longest(0), "\x01", " ", "", "a\x00", "\xff", longest(0) + "0"} {
			a, err := k.store.Get(k.ctx, id)
			k.fails(missing+" (Get)", err, bypass.ErrNotFound)
			if !reflect.ValueOf(a).IsZero() {
				k.Errorf("%s: Get returns the zero Action: it returns another", missing)
			}
			k.fails(missing+" (Update)", k.store.Update(k.ctx, id, func(*bypass.Action) error {
				k.Errorf("%s: change is not called", missing)
				return nil
			}), bypass.ErrNotFound)
		}
		for _, serialNumber := range []string{serial.SerialNumber, "", "a\x00", "\xff", longest(0) + "0"} {
			if list, err := k.store.OfDevice(k.ctx, serialNumber); err != nil || len(list) > 0 {
				k.Errorf("%s: OfDevice returns %d actions and the error %v", promise, len(list), err)
			}
		}
	}
	nothing()
	for _, open := range []bool{false, true} {
		if list, err := k.store.Scan(k.ctx, "", 1, open); err != nil || len(list) > 0 {
			k.Errorf("%s: Scan returns %d actions and the error %v", promise, len(list), err)
		}
	}
	k.holds(promise, k.store)
	own := []bypass.Action{k.action("2", device(2), bypass.Pending), k.action("3", enrollment, bypass.Failed), k.action("4", device(2), bypass.Done)}
	k.create(k.store, own...)
	nothing()
	k.holds("what is not there is not made by looking for it", k.store, own...)
}

// alone returns an action with something in one of its leaves only.
func (k actions) alone(id string, subject escrow.Subject, leaf int) bypass.Action {
	k.Helper()
	a := k.action(id, subject, bypass.Failed)
	for i, f := range leavesOf(&a) {
		if i != leaf && !f.identifies() {
			f.clear()
		}
	}
	return a
}

func (k actions) newAction() {
	const promise = "a new action keeps every field"
	var want []bypass.Action
	for i, state := range actionStates {
		want = append(want, k.action(fmt.Sprint(i), device(i), state))
		k.create(k.store, want[i])
		k.holds(promise, k.store, want...)
	}
	of := k.action("of an enrollment", enrollment, bypass.Failed)
	k.create(k.store, of)
	k.holds(promise, k.store, append(want, of)...)

	// Each field alone, so that none hides behind another.
	a := k.action("", serial, bypass.Failed)
	for i := range leavesOf(&a) {
		a := k.alone(fmt.Sprintf("only %d", i), serial, i)
		k.create(k.store, a)
		want = append(want, a)
	}
	for n := range 20 { // as many attempts as there can be, and more
		a := bypass.Action{ID: fmt.Sprint(n, " attempts"), Subject: serial, State: bypass.Failed}
		for i := range n {
			b := action(k.T, "", serial, bypass.Failed, i+2)
			a.Attempts, a.Unsupported = append(a.Attempts, b.Attempts[i%2]), append(a.Unsupported, b.Unsupported[i%2])
		}
		k.create(k.store, a)
		want = append(want, a)
	}
	k.holds(promise, k.store, append(want, of)...)
}

func (k actions) changedAction() {
	const promise = "an update changes every field that may change, and no other"
	a := k.action("1", serial, bypass.Pending)
	others := []bypass.Action{
		k.action("0", device(1), bypass.Pending), k.action("2", serial, bypass.Done), k.action("3", enrollment, bypass.Failed),
	}
	k.create(k.store, append(others, a)...)
	check := func() {
		k.Helper()
		k.write(k.store, a)
		k.holds(promise, k.store, append(others, a)...)
	}
	k.update(k.store, a.ID, func(*bypass.Action) {})
	k.holds(promise, k.store, append(others, a)...)
	for i, f := range fieldsOf(&a) {
		if f.identifies() || f.name == "State" {
			continue
		}
		f.fill(k.T, 2)
		check()
		f.clear()
		check()
		f.fill(k.T, i)
		check()
	}
	for i := range leavesOf(&a) {
		f := leavesOf(&a)[i]
		if f.identifies() || f.name == "State" {
			continue
		}
		f.fill(k.T, 40+i)
		check()
		f.clear()
		check()
	}
	for _, n := range []int{0, 1, 5, 2, 16, 0, 3} {
		a.Attempts = nil
		for i := range n {
			a.Attempts = append(a.Attempts, action(k.T, "", serial, bypass.Failed, n+i).Attempts[0])
		}
		check()
	}
	for _, state := range []bypass.State{
		bypass.Active, bypass.Pending, bypass.Active, bypass.Active, bypass.Canceled, bypass.Done, bypass.Failed, bypass.NotSupported, bypass.Done,
	} {
		a.State = state
		check()
	}
}

func (k actions) limits() {
	const promise = "an action keeps every field up to the limits"
	var want []bypass.Action
	for i, state := range actionStates {
		text := longest(i)
		if i%2 == 1 { // some formats have six bytes for each of these
			text = strings.Repeat("\x01", escrow.MaxIdentifier)
		}
		a := k.action(longest(i), escrow.Subject{SerialNumber: longest(i)}, state)
		if i == 3 {
			a.Subject = escrow.Subject{EnrollmentID: longest(i)}
		}
		for len(a.Attempts) < bypass.MaxPlan {
			a.Attempts = append(a.Attempts, a.Attempts...)
		}
		for j := range a.Attempts {
			a.Attempts[j].Detail = strings.Repeat(`"`, 512)
			a.Attempts[j].Tries, a.Attempts[j].StatusCode = math.MaxInt32, math.MaxInt32
		}
		for _, f := range leavesOf(&a) {
			if p, ok := f.plain(); ok && *p != strings.Repeat(`"`, 512) {
				*p = text
			}
		}
		k.create(k.store, a)
		want = append(want, a)
		k.holds(promise, k.store, want...)
	}
	for i := range want { // and back
		for _, f := range fieldsOf(&want[i]) {
			if !f.identifies() {
				f.clear()
			}
		}
		k.write(k.store, want[i])
	}
	k.holds(promise, k.store, want...)
}

func (k actions) strings() {
	const promise = "strings are kept byte by byte"
	a := k.action("1", serial, bypass.Pending)
	k.create(k.store, a)
	want := []bypass.Action{a}
	for i, s := range append([]string{"<a href=\"x\">&amp;</a>", "\u2028\u2029", "\\u0041", "{}", "\"}", "null"}, strange...) {
		b := k.action(fmt.Sprint("s", i), serial, bypass.Failed)
		for _, list := range []*bypass.Action{&a, &b} {
			for _, f := range leavesOf(list) {
				if p, ok := f.plain(); ok {
					*p = s
				}
			}
		}
		k.write(k.store, a)
		k.wants(promise, []bypass.Action{k.get(k.store, a.ID)}, a)
		k.create(k.store, b)
		want = append(want, b)
	}
	want[0] = a
	k.holds(promise, k.store, want...)
}

func (k actions) identifiers() {
	const (
		exact = "IDs and serial numbers are compared byte by byte, and a serial number is never an enrollment ID"
		open  = "actions of subjects that look alike are not in each other's way: identifiers are compared byte by byte"
	)
	var want []bypass.Action
	for i, id := range strange {
		of := escrow.Subject{SerialNumber: id}
		if i%8 == 7 {
			of = escrow.Subject{EnrollmentID: id}
		}
		a := k.action(id, of, bypass.Pending)
		if err := k.store.Create(k.ctx, copied([]bypass.Action{a})[0]); err != nil {
			k.Fatalf("%s: Create gives the error %v", open, err)
		}
		want = append(want, a)
	}
	k.holds(exact, k.store, want...)
	for i, a := range want {
		if a.Subject.EnrollmentID != "" {
			if list := k.ofDevice(k.store, a.Subject.EnrollmentID); len(list) > 0 {
				k.Errorf("%s: OfDevice returns %d actions of an enrollment ID", exact, len(list))
			}
		}
		a.Noted, a.Device.UDID = false, fmt.Sprint(i)
		k.write(k.store, a)
		want[i] = a
	}
	k.holds(exact, k.store, want...)
	for i, a := range want { // one for each of the others is enough
		a.ID = fmt.Sprint("second ", i)
		k.fails("it is ErrOpen if the subject has an action that is not over", k.store.Create(k.ctx, a), bypass.ErrOpen)
		want[i].State = bypass.Canceled
		k.write(k.store, want[i])
		if n := len(k.all(k.store, 1000, true)); n != len(strange)-i-1 {
			k.Fatalf("%s: of %d actions that are not over there are %d", exact, len(strange)-i-1, n)
		}
	}
	k.holds(exact, k.store, want...)
	for _, id := range []string{"aBc", "abc   ", "  abc", "ab%", "ab_", "\u00c9 ", "Ss", "abc\u200c"} {
		if list := k.ofDevice(k.store, id); len(list) > 0 {
			k.Errorf("%s: OfDevice returns %d actions of a serial number that has none", exact, len(list))
		}
		_, err := k.store.Get(k.ctx, id)
		k.fails(exact+": Get", err, bypass.ErrNotFound)
	}
}

func (k actions) times() {
	const promise = "times are returned as they came: in UTC, in whole microseconds, zero as zero"
	var want []bypass.Action
	a := k.action("first", serial, bypass.Pending)
	k.create(k.store, a)
	for i, at := range []time.Time{
		noon,
		{},
		noon.Add(time.Microsecond),
		noon.Add(999_999 * time.Microsecond),
		time.Unix(0, 0).UTC(), // not zero
		time.Unix(-1, 999_999_000).UTC(),
		time.Date(1969, 7, 20, 20, 17, 40, 123_456_000, time.UTC),
		time.Date(1582, 10, 10, 1, 2, 3, 4000, time.UTC),
		time.Date(2000, 2, 29, 23, 59, 59, 0, time.UTC),
		time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC), // clocks in Europe go forward
		time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC),
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2262, 4, 12, 0, 0, 0, 1000, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		b := k.action(fmt.Sprintf("%02d", i), serial, bypass.Failed)
		for _, list := range []*bypass.Action{&a, &b} {
			for _, f := range leavesOf(list) {
				if p, ok := f.value.Addr().Interface().(*time.Time); ok {
					*p = at
				}
			}
		}
		k.write(k.store, a)
		k.wants(promise, []bypass.Action{k.get(k.store, a.ID)}, a)
		k.create(k.store, b)
		want = append(want, b)
	}
	k.holds(promise, k.store, append(want, a)...)
}

func (k actions) order() {
	const promise = "OfDevice returns actions in the order of their start, and of the same moment in the byte order of their IDs"
	random := k.random()
	var want []bypass.Action
	for i, id := range strange {
		a := action(k.T, id, serial, bypass.Canceled, i)
		a.StartedAt = noon.Add(time.Duration(i%7-3) * time.Microsecond)
		if i%7 == 6 {
			a.StartedAt = time.Time{}
		}
		want = append(want, a)
	}
	want = append(want, k.action("other", device(1), bypass.Pending))
	for _, i := range random.Perm(len(want)) {
		k.create(k.store, want[i])
	}
	k.holds(promise, k.store, want...)
	for _, i := range random.Perm(len(want))[:9] { // the order of changes is not theirs
		want[i].EndedAt = noon
		k.write(k.store, want[i])
	}
	k.holds(promise, k.store, want...)
	for n := range 12 { // however many they are
		var few []bypass.Action
		for i := range n {
			a := k.action(fmt.Sprint("few ", n, " ", i), device(100+n), bypass.Done)
			a.StartedAt = noon.Add(time.Duration(i*7%n) * time.Hour)
			few = append(few, a)
		}
		k.create(k.store, few...)
		k.wants(promise, k.ofDevice(k.store, device(100+n).SerialNumber), ofDevice(few, device(100+n).SerialNumber)...)
	}
}

func (k actions) scan() {
	const promise = "Scan returns the actions of all subjects in the byte order of their IDs"
	var all []bypass.Action
	for i, id := range strange {
		of := device(i)
		if i%5 == 4 {
			of = serial
		}
		state := actionStates[i%len(actionStates)]
		if of == serial {
			state = bypass.Failed
		}
		all = append(all, action(k.T, id, of, state, i))
	}
	random := k.random()
	for _, i := range random.Perm(len(all)) {
		k.create(k.store, all[i])
	}
	for _, open := range []bool{false, true} {
		slices.SortFunc(all, byActionID)
		want := slices.Clone(all)
		if open {
			want = notOver(all)
		}
		for _, limit := range []int{1, 2, 7, len(want) - 1, len(want), len(want) + 1, 1000, math.MaxInt32} {
			k.wants(promise, k.all(k.store, limit, open), want...)
		}
		for _, after := range []string{"", "\x01", " ", "abb", "abc ", "abc\x01", "abcc", "\u00e8", longest(0), longest(9), "\U0010FFFF", "\U0010FFFFx"} {
			const promise = "Scan returns the actions whose ID is greater than after, also if after is no ID"
			at, there := slices.BinarySearchFunc(want, after, func(a bypass.Action, id string) int { return cmp.Compare(a.ID, id) })
			if there {
				at++
			}
			for _, limit := range []int{3, 1000} {
				k.wants(promise, k.page(k.store, after, limit, open), want[at:min(at+limit, len(want))]...)
			}
		}
		for _, limit := range []int{0, -1, math.MinInt} {
			for _, after := range []string{"", "abc"} {
				if page, err := k.store.Scan(k.ctx, after, limit, open); err != nil || len(page) > 0 {
					k.Errorf("Scan with a limit below 1 returns no actions and no error: with %d it returns %d and the error %v", limit, len(page), err)
				}
			}
		}

		// In the middle of a walk others come, change and end, before it and after.
		const meanwhile = "a walk sees each action that is there all the time once, whatever is written meanwhile"
		seen := map[string]int{}
		ended := map[string]bool{}
		after := ""
		for n := 0; ; n++ {
			page := k.page(k.store, after, 5, open)
			for _, a := range page {
				seen[a.ID]++
				after = a.ID
			}
			if len(page) < 5 {
				break
			}
			a := all[random.IntN(len(all))]
			if n%3 == 0 {
				ended[a.ID] = true
				a.State = bypass.Canceled
			}
			if !ended[a.ID] || n%3 == 0 {
				k.write(k.store, a)
			}
			added := []bypass.Action{k.action(fmt.Sprintf("\x02 %v %d", open, n), serial, bypass.Failed)}
			if n < 3 {
				added = append(added, k.action(fmt.Sprintf("\U0010FFFF %v %d", open, n), escrow.Subject{SerialNumber: fmt.Sprint(open, n)}, bypass.Active))
			}
			k.create(k.store, added...)
			all = append(all, added...)
		}
		for _, a := range want {
			if seen[a.ID] != 1 && !(open && ended[a.ID] && seen[a.ID] == 0) {
				k.Errorf("%s: it saw %+q %d times", meanwhile, a.ID, seen[a.ID])
			}
		}
		for i := range all {
			if ended[all[i].ID] {
				all[i].State = bypass.Canceled
			}
		}
		k.holds(meanwhile, k.store, all...)
	}
}

func (k actions) exists() {
	const promise = "it is ErrExists if there is an action with that ID, whatever else there is"
	before := []bypass.Action{
		k.action("open", serial, bypass.Pending), k.action("over", serial, bypass.Done), k.action("of another", device(1), bypass.Active),
		k.action("of an enrollment", enrollment, bypass.Failed),
	}
	k.create(k.store, before...)
	for _, id := range idsOfActions(before) {
		for _, subject := range []escrow.Subject{serial, device(1), device(2), enrollment} {
			for _, state := range []bypass.State{bypass.Pending, bypass.Active, bypass.Failed} {
				a := action(k.T, id, subject, state, 3)
				k.fails(promise, k.store.Create(k.ctx, a), bypass.ErrExists)
			}
		}
		k.unwritten("what is not created is not there", before...)
	}
	k.refuses(promise, before[0], bypass.ErrExists, before...) // the same once more
	next := k.action("next", device(2), bypass.Pending)
	k.create(k.store, next)
	k.holds("a store works on after an error", k.store, append(before, next)...)
}

func (k actions) opened() {
	const (
		promise = "it is ErrOpen if the action is not over and its subject has one that is not over either"
		over    = "an action that is over is in nobody's way"
	)
	for round, subject := range []escrow.Subject{serial, enrollment} {
		name := func(what string) string { return fmt.Sprint(round, " ", what) }
		want := k.all(k.store, 100, false)
		try := func(state bypass.State) {
			k.Helper()
			k.refuses(promise, k.action(name("refused"), subject, state), bypass.ErrOpen, want...)
		}
		for i, first := range []bypass.State{bypass.Pending, bypass.Active} {
			for j, end := range actionStates[2:] {
				a := k.action(name(fmt.Sprint(i, j)), subject, first)
				if err := k.store.Create(k.ctx, copied([]bypass.Action{a})[0]); err != nil {
					k.Fatalf("%s: Create gives the error %v", over, err)
				}
				want = append(want, a)
				try(bypass.Pending)
				try(bypass.Active)
				done := k.action(name(fmt.Sprint("over ", i, j)), subject, end)
				if err := k.store.Create(k.ctx, copied([]bypass.Action{done})[0]); err != nil {
					k.Fatalf("%s: Create gives the error %v", over, err)
				}
				want = append(want, done)
				k.holds(over, k.store, want...)
				for _, state := range []bypass.State{bypass.Active, bypass.Pending, bypass.Active} {
					want[len(want)-2].State = state
					k.write(k.store, want[len(want)-2])
					try(bypass.Pending)
				}
				want[len(want)-2].State = end
				k.write(k.store, want[len(want)-2])
				k.holds(over, k.store, want...)
			}
		}
	}
	// A serial number and an enrollment ID that are the same are two subjects.
	a := k.action("serial", escrow.Subject{SerialNumber: "same"}, bypass.Pending)
	b := k.action("enrollment", escrow.Subject{EnrollmentID: "same"}, bypass.Pending)
	want := append(k.all(k.store, 100, false), a, b)
	for _, a := range []bypass.Action{a, b} {
		if err := k.store.Create(k.ctx, copied([]bypass.Action{a})[0]); err != nil {
			k.Fatalf("an action is in the way of its subject only: Create gives the error %v", err)
		}
	}
	k.holds(over, k.store, want...)
}

// fixed has changes do what they may not. A store may refuse that, or leave it
// out.
func (k actions) fixed() {
	const (
		promise = "ID and subject of an action stay as they are, and one that is over stays over"
		nothing = "nothing is written when an update gives an error"
	)
	want := []bypass.Action{
		k.action("open", serial, bypass.Active), k.action("over", serial, bypass.Done), k.action("alone", device(1), bypass.Canceled),
		k.action("of an enrollment", enrollment, bypass.Failed),
	}
	k.create(k.store, want...)
	for i, edit := range []func(*bypass.Action){
		func(a *bypass.Action) { a.ID = "another" },
		func(a *bypass.Action) { a.ID = want[1].ID },
		func(a *bypass.Action) { a.ID = "" },
		func(a *bypass.Action) { a.Subject.SerialNumber = "another" },
		func(a *bypass.Action) { a.Subject = escrow.Subject{EnrollmentID: a.Subject.SerialNumber} },
		func(a *bypass.Action) { a.Subject = escrow.Subject{} },
		func(a *bypass.Action) {
			if a.State.Over() {
				a.State = bypass.Pending
			}
		},
		func(a *bypass.Action) {
			if a.State.Over() {
				a.State = bypass.Active
			}
		},
	} {
		for j, before := range want {
			err := k.store.Update(k.ctx, before.ID, func(a *bypass.Action) error {
				a.Device.UDID = fmt.Sprint(i)
				edit(a)
				return nil
			})
			for _, s := range []bypass.Store{k.store, k.open()} {
				got := k.all(s, 100, false)
				if len(got) != len(want) {
					k.Fatalf("%s: of %d actions there are %d", promise, len(want), len(got))
				}
				for _, a := range got {
					at := slices.IndexFunc(want, func(b bypass.Action) bool { return a.ID == b.ID })
					if at < 0 || a.Subject != want[at].Subject || a.State.Over() != want[at].State.Over() {
						k.Fatalf("%s: one did not", promise)
					}
					if at == j && err == nil {
						want[at] = a // what else came of it is the store's to say
					}
				}
				if err != nil {
					k.holds(nothing, s, want...)
				}
				k.holds(promise, s, want...)
			}
		}
	}
}

func (k actions) reopen() {
	const (
		seen = "a call that returns without an error is durable: another handle sees it at once"
		kept = "a call that returns without an error is durable: a store that is opened again has it"
	)
	other := k.open()
	k.holds(seen, other)
	a, b, c := k.action("a", serial, bypass.Pending), k.action("b", device(1), bypass.Pending), k.action("c", serial, bypass.Active)
	k.create(k.store, a)
	k.holds(seen, other, a)
	k.fails("it is ErrOpen, whichever handle the other action came by", other.Create(k.ctx, c), bypass.ErrOpen)
	k.create(other, b)
	k.holds(seen, k.store, a, b)
	a.State, a.EndedAt = bypass.Done, noon
	k.write(other, a)
	k.holds(seen, k.store, a, b)
	k.create(k.store, c)
	k.holds(seen, other, a, b, c)

	again := k.open()
	k.holds(kept, again, a, b, c)
	d := k.action("d", enrollment, bypass.Failed)
	k.create(again, d)
	c.State = bypass.Canceled
	k.write(again, c)
	for _, s := range []bypass.Store{k.store, other, again} {
		k.holds(kept, s, a, b, c, d)
	}
}
