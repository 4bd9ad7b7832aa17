package activationlock_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
)

var now = epoch.Add(365 * 24 * time.Hour)

func days(ago float64) time.Time { return now.Add(-time.Duration(ago * 24 * float64(time.Hour))) }

// locks are what evidence may come to.
var locks = []struct {
	name string
	activationlock.Lock
}{
	{"unknown", activationlock.Lock{}},
	{"unknown, lock call no answer", activationlock.Lock{Source: lockCall, At: days(1)}},
	{"on, kind unknown", activationlock.Lock{State: on, Source: device, At: days(1), Confidence: activationlock.Reported}},
	{"on, user", activationlock.Lock{State: on, Kind: user, Source: status, At: days(1), Confidence: activationlock.Stated}},
	{"on, organization", activationlock.Lock{State: on, Kind: organization, Source: lockCall, At: days(1), Confidence: activationlock.Certain}},
	{"off, device", activationlock.Lock{State: off, Source: device, At: days(0.01), Confidence: activationlock.Reported}},
	{"off, Apple, now", activationlock.Lock{State: off, Source: status, At: days(0.01), Confidence: activationlock.Stated}},
	{"off, unlock call, now", activationlock.Lock{State: off, Source: unlock, At: days(0.01), Confidence: activationlock.Certain}},
	{"off, Apple, a day", activationlock.Lock{State: off, Source: status, At: days(1), Confidence: activationlock.Stated}},
	{"off, Apple, 2 days", activationlock.Lock{State: off, Source: status, At: days(2), Confidence: activationlock.Stated}},
	{"off, unlock call, 9 days", activationlock.Lock{State: off, Source: unlock, At: days(9), Confidence: activationlock.Certain}},
	{"off, doubted", activationlock.Lock{
		State: off, Source: status, At: days(0.01), Confidence: activationlock.Doubted,
		Conflicts: []activationlock.Evidence{{State: on, Source: device, At: days(0.02)}},
	}},
}

var devices = []struct {
	name string
	activationlock.Device
}{
	{"iPhone", activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)}},
	{"iPhone, unsupervised", activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(false)}},
	{"Shared iPad", activationlock.Device{ProductName: "iPad13,1", OSVersion: "26.1", Supervised: new(true), SharedIPad: new(true)}},
	{"Mac", activationlock.Device{ProductName: "Mac14,2", OSVersion: "26.1", Supervised: new(true), LockSupported: new(true)}},
	{"Mac without chip", activationlock.Device{ProductName: "Macmini7,1", OSVersion: "12.7", Supervised: new(true), LockSupported: new(false)}},
	{"Vision Pro", activationlock.Device{ProductName: "RealityDevice14,1", OSVersion: "26.1", Supervised: new(true)}},
	{"Apple Watch", activationlock.Device{ProductName: "Watch7,1", OSVersion: "26.1", Supervised: new(true)}},
	{"Apple TV", activationlock.Device{ProductName: "AppleTV14,1", OSVersion: "26.1", Supervised: new(true)}},
	{"iOS 7.0", activationlock.Device{ProductName: "iPhone5,1", OSVersion: "7.0.4", Supervised: new(true)}},
	{"unknown", activationlock.Device{}},
}

var holds = []string{"none", "void", "doubtful", "good"}

// held are the codes of a kind: one, and with it all that are worse.
func held(kind bypasscode.Kind, best int) []activationlock.HeldCode {
	return slices.Clone([]activationlock.HeldCode{{Kind: kind, Void: true}, {Kind: kind, Doubtful: true}, {Kind: kind}}[:best])
}

func steps(s []activationlock.Step) string {
	var names []string
	for _, step := range s {
		names = append(names, string(step))
	}
	return cmp.Or(strings.Join(names, ", "), "-")
}

// The decisions for people to read.
func TestDecisionGolden(t *testing.T) {
	t.Parallel()
	var names []string
	for _, l := range locks {
		names = append(names, l.name)
	}
	facts := []string{"unknown", "no", "yes"} // as in answers
	var out strings.Builder
	for _, question := range []struct {
		name    string
		inputs  int // as far as they matter
		results []string
		of      func(activationlock.Situation) []string
	}{
		{"CanReassign", 2, []string{"verdict", "reasons"}, func(s activationlock.Situation) []string { return verdict(s.CanReassign(now)) }},
		{"CanErase", 4, []string{"verdict", "reasons"}, func(s activationlock.Situation) []string { return verdict(s.CanErase(now)) }},
		{"ReturnToService", 4, []string{"verdict", "steps", "reasons"}, func(s activationlock.Situation) []string {
			plan, answer := s.ReturnToService(now)
			return []string{verdict(answer)[0], steps(plan), verdict(answer)[1]}
		}},
	} {
		for _, d := range devices {
			fmt.Fprintf(&out, "%s: %s\n\n", question.name, d.name)
			inputs := []column{{"lock", names}, {"Find My", facts}, {"device code", holds}, {"server code", holds}}[:question.inputs]
			table(&out, inputs, question.results, func(pick []int) []string {
				s := activationlock.Situation{Device: d.Device, Lock: locks[pick[0]].Lock, FindMy: answers[pick[1]]}
				if len(pick) > 2 {
					s.Codes = append(held(bypasscode.Device, pick[2]), held(bypasscode.Server, pick[3])...)
				}
				return question.of(s)
			})
			fmt.Fprintln(&out)
		}
	}
	golden(t, "decisions.txt", out.String())
}

// settled reports whether nobody has reason to doubt that there is no lock, by
// evidence no older than that.
func settled(s activationlock.Situation, oldest time.Duration) bool {
	l := s.Lock
	stated := l.Confidence == activationlock.Stated || l.Confidence == activationlock.Certain
	if l.State == off && stated && len(l.Conflicts) == 0 && now.Sub(l.At) <= oldest && now.Sub(l.At) >= -time.Hour {
		return true
	}
	lockless := s.Device.HasLock() == off &&
		(s.Device.OSVersion != "7.0.4" || !strings.HasPrefix(s.Device.ProductName, "iP")) // iOS 7.0 has a lock, and no code
	return lockless && l.State != on && l.Source != lockCall
}

// The rules of safety, stated apart from the code, for all situations there are.
func TestDecisionsAreSafe(t *testing.T) {
	t.Parallel()
	const seed = 20261122
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	reassign, erase, service := map[activationlock.Verdict]int{}, map[activationlock.Verdict]int{}, map[activationlock.Verdict]int{}
	versions := []string{"", "6.1", "7.0.4", "7.1", "12.7", "17.0", "18.0", "26.1", "strange"}
	for range 25000 {
		s := activationlock.Situation{
			Device: devices[random.IntN(len(devices))].Device, Lock: locks[random.IntN(len(locks))].Lock, FindMy: answers[random.IntN(3)],
			Codes: append(held(bypasscode.Device, random.IntN(4)), held(bypasscode.Server, random.IntN(4))...),
		}
		random.Shuffle(len(s.Codes), func(i, j int) { s.Codes[i], s.Codes[j] = s.Codes[j], s.Codes[i] })
		s.Device.Supervised, s.Device.UserEnrollment = answers[random.IntN(3)], random.IntN(10) == 0
		if random.IntN(2) == 0 {
			s.Device.OSVersion = versions[random.IntN(len(versions))]
		}
		if random.IntN(4) == 0 {
			s.Lock.At = []time.Time{{}, days(8), days(8).Add(-1), days(1), days(1).Add(-1), now, now.Add(59 * time.Minute), now.Add(2 * time.Hour), days(-365)}[random.IntN(9)]
		}
		what := func() string {
			return fmt.Sprintf("%s, %+v, user enrollment %t, version %q", show(s), s.Lock, s.Device.UserEnrollment, s.Device.OSVersion)
		}
		check := func(holds bool, why string) {
			t.Helper()
			if !holds {
				require.Fail(t, why, what())
			}
		}
		good := func(k bypasscode.Kind) bool {
			return slices.ContainsFunc(s.Codes, func(c activationlock.HeldCode) bool { return c.Kind == k && !c.Void && !c.Doubtful })
		}
		findMy := s.FindMy != nil && *s.FindMy

		r := s.CanReassign(now)
		reassign[r.Verdict]++
		check(!r.Yes() || settled(s, 8*24*time.Hour), "reassigned with a lock that may be on")
		check(!r.Yes() || s.Lock.Source != lockCall, "reassigned after a lock call without an answer")
		check(!r.Yes() || !findMy || s.Device.HasLock() == off, "reassigned with Find My on")
		check(!s.Device.UserEnrollment || r.Verdict == activationlock.No, "reassigned a person's own device")
		check(s.Lock.State != on || r.Verdict == activationlock.No, "a lock that is on is a no")
		check(r.Yes() || len(r.Reasons) > 0, "nobody says why not")

		e := s.CanErase(now)
		erase[e.Verdict]++
		if e.Yes() && !settled(s, 24*time.Hour) {
			switch {
			case s.Lock.State == on && s.Lock.Kind == user:
				check(good(bypasscode.Device), "erased without the device's code")
			case s.Lock.State == on && s.Lock.Kind == organization, s.Device.SharedIPad != nil && *s.Device.SharedIPad:
				check(good(bypasscode.Server), "erased without the server's code")
			case s.Lock.Source == lockCall:
				check(good(bypasscode.Device) && good(bypasscode.Server), "erased after a lock call without an answer, without both codes")
			default:
				check(good(bypasscode.Device), "erased without the device's code, kind unknown")
				known := findMy || s.Lock.State == off
				never := !slices.ContainsFunc(s.Codes, func(c activationlock.HeldCode) bool { return c.Kind == bypasscode.Server })
				check(good(bypasscode.Server) || known && never, "erased without the server's code, kind unknown")
			}
			unsupervised := s.Device.Supervised != nil && !*s.Device.Supervised
			check(!unsupervised || good(bypasscode.Server), "erased with a device code of before")
			check(slices.Contains([]string{"iPhone17,3", "iPad13,1", "Mac14,2", "Macmini7,1", "iPhone5,1"}, s.Device.ProductName), "nobody knows that codes open this")
		}
		if findMy && e.Yes() && len(s.Codes) == 0 && s.Device.HasLock() != off {
			check(now.Sub(s.Lock.At) <= time.Hour, "erased long after an unlock, with Find My on")
		}
		check(!r.Yes() || e.Yes() || now.Sub(s.Lock.At) > 24*time.Hour, "what may be reassigned may be erased, unless it was asked long ago")
		check(!s.Device.UserEnrollment || e.Verdict == activationlock.No, "erased a person's own device")
		check(s.Lock.State != on || s.Usable() || e.Verdict == activationlock.No, "erased a locked device without a code")
		check(e.Yes() || len(e.Reasons) > 0, "nobody says why not")
		check(!e.Yes() || s.Lock.State != on || e.Reasons[0] == activationlock.ReasonUnlockFirst, "a yes that forgets the lock")

		plan, a := s.ReturnToService(now)
		service[a.Verdict]++
		check(len(plan) == 0 || slices.Index(plan, activationlock.StepErase) == len(plan)-1, "erase is not last, or not once")
		check(a.Yes() || len(plan) == 0 || plan[0] == activationlock.StepReadState, "a plan without a yes that does not begin with a look")
		check(!a.Yes() || len(plan) > 0 && plan[0] != activationlock.StepReadState, "a yes without a plan")
		check(!a.Yes() || e.Yes(), "returned to service what may not be erased")
		check(!a.Yes() || settled(s, 24*time.Hour) || plan[0] == activationlock.StepUnlock, "erased a lock that may be on")
		check(a.Verdict != activationlock.No || plan == nil, "a plan for a no")
		for _, reason := range slices.Concat(r.Reasons, e.Reasons, a.Reasons) {
			check(reason.Label(activationlock.Dutch) != "", "a reason without a sentence")
		}
	}
	for _, counts := range []map[activationlock.Verdict]int{reassign, erase, service} {
		for _, v := range []activationlock.Verdict{activationlock.Yes, activationlock.No, activationlock.VerdictUnknown} {
			require.Greater(t, counts[v], 300, "%v %v %v", reassign, erase, service)
		}
	}
}

// Of nothing, nothing is known.
func TestDecisionsOfNothing(t *testing.T) {
	t.Parallel()
	var s activationlock.Situation
	require.Equal(t, activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonLockUnknown}}, s.CanReassign(now))
	require.Equal(t, activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonLockUnknown}}, s.CanErase(now))
	plan, answer := s.ReturnToService(now)
	require.Nil(t, plan)
	require.Equal(t, activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonPlatformUnknown}}, answer)
}

// The kind of a lock that is not on says nothing of the next one.
func TestKindOfNoLock(t *testing.T) {
	t.Parallel()
	for _, state := range []activationlock.State{off, unknown} {
		s := activationlock.Situation{
			Device: devices[0].Device, Lock: activationlock.Lock{State: state, Kind: user, Source: device, Confidence: activationlock.Reported},
			Codes: []activationlock.HeldCode{{Kind: bypasscode.Device}, {Kind: bypasscode.Server, Doubtful: true}},
		}
		require.False(t, s.CanErase(now).Yes(), state)
	}
}

// The limits of age, to the moment.
func TestEvidenceAge(t *testing.T) {
	t.Parallel()
	s := activationlock.Situation{Device: devices[0].Device, Lock: locks[6].Lock}
	const day = 24 * time.Hour
	yes, no := new(true), new(false)
	for _, test := range []struct {
		age             time.Duration
		findMy          *bool
		erase, reassign activationlock.Reason
	}{
		{0, nil, activationlock.ReasonLockOff, activationlock.ReasonLockOff},
		{day, nil, activationlock.ReasonLockOff, activationlock.ReasonLockOff},
		{day + 1, nil, activationlock.ReasonEvidenceOld, activationlock.ReasonLockOff},
		{8 * day, no, activationlock.ReasonEvidenceOld, activationlock.ReasonLockOff},
		{8*day + 1, nil, activationlock.ReasonEvidenceOld, activationlock.ReasonEvidenceOld},
		{day + 1, yes, activationlock.ReasonEvidenceOld, activationlock.ReasonFindMyOn},
		{0, yes, activationlock.ReasonFindMyOn, activationlock.ReasonFindMyOn},
		{time.Hour + 1, yes, activationlock.ReasonFindMyOn, activationlock.ReasonFindMyOn},
		{time.Hour + 1, no, activationlock.ReasonLockOff, activationlock.ReasonLockOff},
		{-time.Hour, nil, activationlock.ReasonLockOff, activationlock.ReasonLockOff},
		{-time.Hour - 1, nil, activationlock.ReasonLockUnknown, activationlock.ReasonLockUnknown},
	} {
		s.Lock.At, s.FindMy = now.Add(-test.age), test.findMy
		for _, got := range []activationlock.Answer{s.CanErase(now), s.CanReassign(now)} {
			require.Equal(t, got.Reasons[0] == activationlock.ReasonLockOff, got.Yes(), "%v", test.age)
		}
		require.Equal(t, test.reassign, s.CanReassign(now).Reasons[0], "%v", test.age)
		require.Equal(t, test.erase, s.CanErase(now).Reasons[0], "%v", test.age)
	}

	// With Find My on, the lock may have come on since Apple's status was made.
	s.Lock.At, s.FindMy = now, new(true)
	for _, supervised := range []*bool{nil, new(false), new(true)} {
		s.Device.Supervised = supervised
		require.Equal(t, activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonFindMyOn}}, s.CanErase(now))
	}
	s.Lock.Source, s.Lock.Confidence = unlock, activationlock.Certain
	require.True(t, s.CanErase(now).Yes(), "just unlocked: erase at once")
	require.Equal(t, activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonFindMyOn}}, s.CanReassign(now))
}

// When devices can return to service.
func TestReturnToServiceVersions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		product, version string
		want             activationlock.Answer
	}{
		{"iPhone17,3", "16.7", activationlock.Answer{Verdict: activationlock.No, Reasons: []activationlock.Reason{activationlock.ReasonVersionTooOld}}},
		{"iPhone17,3", "17.0", activationlock.Answer{Verdict: activationlock.Yes, Reasons: []activationlock.Reason{activationlock.ReasonLockOff}}},
		{"iPhone17,3", "", activationlock.Answer{Reasons: []activationlock.Reason{activationlock.ReasonVersionUnknown}}},
		{"AppleTV14,1", "17.9", activationlock.Answer{Verdict: activationlock.No, Reasons: []activationlock.Reason{activationlock.ReasonVersionTooOld}}},
		{"AppleTV14,1", "18.0", activationlock.Answer{Verdict: activationlock.Yes, Reasons: []activationlock.Reason{activationlock.ReasonNotApplicable}}},
		{"RealityDevice14,1", "2.5", activationlock.Answer{Verdict: activationlock.No, Reasons: []activationlock.Reason{activationlock.ReasonVersionTooOld}}},
		{"RealityDevice14,1", "26.0", activationlock.Answer{Verdict: activationlock.Yes, Reasons: []activationlock.Reason{activationlock.ReasonLockOff}}},
		{"Mac14,2", "26.1", activationlock.Answer{Verdict: activationlock.No, Reasons: []activationlock.Reason{activationlock.ReasonNoReturnToService}}},
		{"Watch7,1", "26.1", activationlock.Answer{Verdict: activationlock.No, Reasons: []activationlock.Reason{activationlock.ReasonNoReturnToService}}},
	} {
		s := activationlock.Situation{
			Device: activationlock.Device{ProductName: test.product, OSVersion: test.version, Supervised: new(true)}, Lock: locks[6].Lock,
		}
		_, got := s.ReturnToService(now)
		require.Equal(t, test.want, got, "%s %s", test.product, test.version)
	}
}
