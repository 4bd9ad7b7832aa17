package activationlocktest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

var seedFlag = flag.Uint64("seed", 0, "play only the life of this seed")

func TestReadings(t *testing.T) {
	t.Parallel()
	all := activationlocktest.Readings()
	require.Equal(t, activationlocktest.Reading{}, all[0])
	require.Equal(t, "likelier", all[0].String())
	names := map[string]bool{}
	for _, r := range all {
		require.False(t, names[r.String()])
		names[r.String()] = true
	}
	require.True(t, names["WindowOver=2"])
	require.True(t, names["NewCodeWithFindMy=true"])
	require.True(t, names["StatusDelay=1h0m0s"])

	rng := rand.New(rand.NewPCG(1, 2))
	random := map[string]bool{}
	for range 50 {
		random[activationlocktest.RandomReading(rng).String()] = true
	}
	require.Greater(t, len(random), 45)
}

// Whatever Apple means: a server that keeps every code, fetches before it allows
// and again once Find My is on, opens the lock.
func TestCarefulServer(t *testing.T) {
	t.Parallel()
	readings := activationlocktest.Readings()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		readings = append(readings, activationlocktest.RandomReading(rng))
	}
	for _, r := range readings {
		for _, product := range []string{"iPhone17,3", "Mac14,2", "RealityDevice14,1"} {
			d := enrolled(t, activationlocktest.DeviceConfig{ProductName: product, Supervised: true, Reading: r})
			a := activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: r})
			require.NoError(t, a.Add(d, true))
			var codes []bypasscode.Text
			fetch := func() {
				if code, result := askCode(t, d); result == mdmcmd.BypassCodeHeld {
					codes = append(codes, code)
				}
			}
			fetch()
			allow(t, d, true)
			require.NoError(t, d.SetFindMy(true))
			fetch()
			require.Equal(t, activationlocktest.UserLinked, a.Lock(serial).Kind)
			require.True(t, slices.ContainsFunc(codes, a.Lock(serial).OpensWith), "%s: %s", product, r)
		}
	}
}

// Random lives: whatever happens, messages are well-formed, and what they and
// Apple say agrees with the truth.
func TestRandomLives(t *testing.T) {
	t.Parallel()
	if *seedFlag != 0 {
		live(t, *seedFlag)
		return
	}
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed=%d", seed+1), func(t *testing.T) {
			t.Parallel()
			live(t, seed+1)
		})
	}
}

// serverCode is of one server for all lives, since a hash takes its time.
var serverCode = sync.OnceValues(func() (bypasscode.Code, bypasscode.Hash) {
	code := bypasscode.New()
	hash, err := code.Hash()
	if err != nil {
		panic(err)
	}
	return code, hash
})

func live(t *testing.T, seed uint64) {
	server, hash := serverCode()
	rng := rand.New(rand.NewPCG(seed, 0))
	chance := func(p float64) bool { return rng.Float64() < p }
	c := newClock()
	r := activationlocktest.RandomReading(rng)
	products := []string{"iPhone17,3", "iPad14,3", "Mac14,2", "RealityDevice14,1", "Watch7,1", "AppleTV14,1"}
	config := activationlocktest.DeviceConfig{
		SerialNumber: serial, ProductName: products[rng.IntN(len(products))], Supervised: chance(0.8), ADE: chance(0.5),
		AwaitConfiguration: chance(0.3), Reading: r, Rand: rand.NewChaCha8([32]byte{byte(seed)}), Now: c.Now, IMEI: "350000000000019",
	}
	config.SharedIPad = config.ProductName == "iPad14,3" && chance(0.3)
	d, err := activationlocktest.NewDevice(config)
	require.NoError(t, err)
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{Now: c.Now, Wait: c.advance, Reading: r})
	require.NoError(t, a.Add(d, chance(0.9)))
	t.Logf("seed %d: %s, supervised %t, %s", seed, config.ProductName, config.Supervised, r)

	var given []bypasscode.Text
	var supervisedSince time.Time
	check := func(messages [][]byte, err error) {
		if errors.Is(err, activationlocktest.ErrNotEnrolled) || errors.Is(err, activationlocktest.ErrLocked) {
			require.Empty(t, messages)
			return
		}
		require.NoError(t, err)
		for _, raw := range messages {
			m, err := mdmcmd.Parse(raw)
			require.NoError(t, err, "%s", raw)
			require.Equal(t, d.ID(), m.From().DeviceID())
			report, is := m.(*mdmcmd.Report)
			if !is {
				continue
			}
			if code, result := report.BypassCodeAnswer(); result == mdmcmd.BypassCodeHeld {
				require.True(t, d.Supervised())
				require.True(t, code.Equal(d.Code()))
				endless := config.ProductName == "Mac14,2" && r.NoWindowOnMacs
				require.True(t, endless || c.Now().Before(supervisedSince.Add(15*day)))
				given = append(given, code)
			}
			if q := report.QueryResponses; q != nil && q.IsActivationLockEnabled != nil {
				require.Equal(t, a.Lock(serial).Kind != activationlocktest.NotLocked, *q.IsActivationLockEnabled)
			}
		}
	}
	s := session(t, a)
	opens := func(l activationlocktest.Lock, code bypasscode.Text) bool {
		if l.Kind == activationlocktest.OrganizationLinked { // OpensWith takes its time
			return code.Equal(server.Text())
		}
		return l.OpensWith(code)
	}
	for range 120 {
		before := a.Lock(serial)
		switch n := rng.IntN(100); {
		case n < 12:
			was, canEnroll := d.Supervised(), d.Activated()
			messages, err := d.Enroll()
			require.Equal(t, !canEnroll && err != nil, errors.Is(err, activationlocktest.ErrLocked))
			if d.Supervised() && !was {
				supervisedSince = c.Now()
			}
			check(messages, err)
		case n < 50:
			all := commands()
			raw, err := mdmcmd.Encode("uuid", all[rng.IntN(len(all))])
			require.NoError(t, err)
			check(d.Answer(raw))
		case n < 56:
			check(d.Idle())
		case n < 66:
			d.SetFindMy(chance(0.7)) // may be impossible
		case n < 69:
			d.Erase()
			require.NoError(t, d.Restore(chance(0.5)))
			require.Equal(t, before.Kind, a.Lock(serial).Kind, "nothing but a code or a person lifts it")
			require.Equal(t, before.Kind == activationlocktest.NotLocked, d.Activated())
		case n < 71:
			check(d.CheckOut())
		case n < 75:
			if len(given) > 0 {
				code := given[rng.IntN(len(given))]
				opened := d.TypeCode(code)
				require.False(t, opened && !opens(before, code) && !r.LooseCodes)
			}
		case n < 82:
			codes := append(slices.Clone(given), server.Text())
			code := codes[rng.IntN(len(codes))]
			switch w := unlock(t, a, d, code); w.Code {
			case 200:
				require.True(t, before.Kind == activationlocktest.NotLocked || opens(before, code))
			case 404:
				require.Equal(t, before.Kind, a.Lock(serial).Kind)
			default:
				t.Fatalf("status %d", w.Code)
			}
		case n < 87:
			status := lockStatus(t, serve(a, lockRequest(s, `{"device":"XXFAKE0SER1","escrow_key":"`+hash.String()+`"}`)))
			require.Equal(t, status == "SUCCESS", before.Kind == activationlocktest.NotLocked && a.Lock(serial).Kind == activationlocktest.OrganizationLinked)
		case n < 89:
			a.OwnerTurnsOff(serial)
			require.NotEqual(t, activationlocktest.UserLinked, a.Lock(serial).Kind)
		case n < 91:
			a.AdministratorTurnsOff(serial)
		case n < 92:
			a.Migrate(serial, chance(0.3))
			supervisedSince = c.Now().Add(1000 * day) // until it enrolls
			if !d.Enrolled() && d.Activated() {
				check(d.Enroll())
				supervisedSince = c.Now()
			}
		case n < 94:
			d.MakeCode()
		case n < 96:
			d.NotNow(rng.IntN(3))
			d.AnswerEmpty(rng.IntN(2))
			d.Lose(rng.IntN(2))
			d.SendTwice(rng.IntN(2))
		default:
			c.advance(time.Duration(rng.IntN(10)) * day)
		}
		lock := a.Lock(serial)
		require.Equal(t, lock.Kind, d.Lock().Kind)
		if lock.Kind == activationlocktest.UserLinked && before.Kind != lock.Kind {
			require.False(t, config.SharedIPad)
			require.True(t, d.FindMy())
			require.True(t, d.Activated())
		}
	}
	for _, code := range given {
		require.True(t, slices.ContainsFunc(d.Codes(), code.Equal))
	}
}

// host is a small MDM server: one device, one queue.
type host struct {
	t          *testing.T
	queue      [][]byte
	checkIns   []mdmcmd.Message
	reports    []*mdmcmd.Report
	refuseWith int
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.refuseWith != 0 {
		w.WriteHeader(h.refuseWith)
		return
	}
	body, err := io.ReadAll(r.Body)
	assert.NoError(h.t, err)
	assert.Equal(h.t, http.MethodPut, r.Method)
	m, err := mdmcmd.Parse(body)
	if !assert.NoError(h.t, err) {
		return
	}
	report, is := m.(*mdmcmd.Report)
	if !is {
		assert.Equal(h.t, "application/x-apple-aspen-mdm-checkin", r.Header.Get("Content-Type"))
		h.checkIns = append(h.checkIns, m)
		return
	}
	h.reports = append(h.reports, report)
	if len(h.queue) > 0 {
		w.Write(h.queue[0])
		h.queue = h.queue[1:]
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	h := &host{t: t}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	d := newDevice(t, activationlocktest.DeviceConfig{Supervised: true})
	_, err := d.Poll(t.Context(), server.Client(), server.URL)
	require.ErrorIs(t, err, activationlocktest.ErrNotEnrolled)
	messages, err := d.Enroll()
	require.NoError(t, err)
	require.NoError(t, d.CheckIn(t.Context(), server.Client(), server.URL, messages))
	require.Len(t, h.checkIns, 2)

	queue := func(cs ...mdmcmd.Command) {
		for _, c := range cs {
			raw, err := mdmcmd.Encode(mdmcmd.NewUUID(""), c)
			require.NoError(t, err)
			h.queue = append(h.queue, raw)
		}
	}
	queue(mdmcmd.ActivationLockBypassCode, mdmcmd.SecurityInfo)
	d.NotNow(1)
	n, err := d.Poll(t.Context(), server.Client(), server.URL)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []mdmcmd.Status{mdmcmd.Idle, mdmcmd.NotNow, mdmcmd.Acknowledged}, []mdmcmd.Status{h.reports[0].Status, h.reports[1].Status, h.reports[2].Status})

	d.SetReachable(false)
	n, err = d.Poll(t.Context(), server.Client(), server.URL)
	require.NoError(t, err)
	require.Zero(t, n)
	d.SetReachable(true)

	h.refuseWith = 500
	_, err = d.Poll(t.Context(), server.Client(), server.URL)
	require.Error(t, err)
	require.Error(t, d.CheckIn(t.Context(), server.Client(), server.URL, messages))
	h.refuseWith = 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Poll(ctx, server.Client(), server.URL)
	require.ErrorIs(t, err, context.Canceled)

	queue(mdmcmd.RemoveProfile{Identifier: "com.example.mdm"}, mdmcmd.SecurityInfo)
	n, err = d.Poll(t.Context(), server.Client(), server.URL)
	require.NoError(t, err)
	require.Equal(t, 1, n, "then it listens no more")
	require.IsType(t, &mdmcmd.CheckOut{}, h.checkIns[2])
	require.False(t, d.Enrolled())
}
