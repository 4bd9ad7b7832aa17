package activationlock_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
)

var abilities = []activationlock.Ability{
	activationlock.FetchCode, activationlock.AllowLock, activationlock.UnlockOverNetwork,
	activationlock.LockForOrganization, activationlock.AskDevice, activationlock.TypeCode,
}

// verdict names the verdict and the reasons of an answer.
func verdict(a activationlock.Answer) []string {
	var reasons []string
	for _, r := range a.Reasons {
		reasons = append(reasons, string(r))
	}
	return []string{cmp.Or(string(a.Verdict), "unknown"), cmp.Or(strings.Join(reasons, ", "), "-")}
}

// Every ability of every kind of device, for people to read.
func TestEligibilityGolden(t *testing.T) {
	t.Parallel()
	facts := []string{"unknown", "no", "yes"} // as in answers
	var names []string
	for _, a := range abilities {
		names = append(names, string(a))
	}
	one := []string{"unknown"}
	var out strings.Builder
	for _, p := range []struct {
		name, product                            string
		versions                                 []string
		supervised, shared, chip, manageable, in []string
	}{
		{"iPhone", "iPhone17,3", []string{"unknown", "6.1", "7.0", "7.1", "9.2", "9.3", "15.8", "16.0", "26.1"}, facts, one, one, one, facts},
		{"iPad", "iPad13,1", []string{"unknown", "6.1", "7.0", "7.1", "9.2", "9.3", "15.8", "16.0", "26.1"}, facts, facts, one, one, facts},
		{"Mac", "Mac14,2", []string{"unknown", "10.14", "10.15", "12.7", "13.0", "26.1"}, facts, one, facts, facts, facts},
		{"Vision Pro", "RealityDevice14,1", []string{"unknown", "1.1", "2.0", "26.1"}, facts, one, one, one, facts},
		{"Apple Watch", "Watch7,1", []string{"unknown", "10.0", "26.1"}, facts, one, one, one, facts},
		{"Apple TV", "AppleTV14,1", []string{"unknown", "26.1"}, facts, one, one, one, facts},
		{"unknown", "", []string{"unknown", "26.1"}, facts, one, one, one, facts},
	} {
		inputs := []column{
			{"ability", names}, {"version", p.versions}, {"supervised", p.supervised}, {"Shared iPad", p.shared},
			{"T2 chip or Apple silicon", p.chip}, {"manageable", p.manageable}, {"in organization", p.in},
		}
		fmt.Fprintf(&out, "%s\n\n", p.name)
		table(&out, inputs, []string{"verdict", "reasons"}, func(pick []int) []string {
			return verdict(activationlock.Device{
				ProductName: p.product, OSVersion: strings.TrimPrefix(p.versions[pick[1]], "unknown"), Supervised: answers[pick[2]], SharedIPad: answers[pick[3]],
				LockSupported: answers[pick[4]], LockManageable: answers[pick[5]], InOrganization: answers[pick[6]],
			}.Can(abilities[pick[0]]))
		})
		fmt.Fprintln(&out)
		for _, a := range abilities {
			require.Equal(t, activationlock.Answer{Verdict: activationlock.No, Reasons: []activationlock.Reason{activationlock.ReasonUserEnrollment}},
				activationlock.Device{ProductName: p.product, OSVersion: "26.1", UserEnrollment: true}.Can(a), "%s %s", p.name, a)
		}
	}
	fmt.Fprintln(&out, "User enrollment of any device: no, userEnrollment")
	golden(t, "eligibility.txt", out.String())
}

// The table of supported systems, as the reference states it.
func TestSupportedSystems(t *testing.T) {
	t.Parallel()
	yes, no := new(true), new(false)
	const y, n, u = activationlock.Yes, activationlock.No, activationlock.VerdictUnknown
	mac := activationlock.Device{ProductName: "Mac14,2", OSVersion: "15.1", Supervised: yes, LockSupported: yes, LockManageable: yes, InOrganization: yes}
	with := func(d activationlock.Device, change func(*activationlock.Device)) activationlock.Device {
		change(&d)
		return d
	}
	phone := activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: yes, InOrganization: yes}
	pad := activationlock.Device{ProductName: "iPad13,1", OSVersion: "26.1", Supervised: yes, SharedIPad: no, InOrganization: yes}
	vision := activationlock.Device{ProductName: "RealityDevice14,1", OSVersion: "26.1", Supervised: yes, InOrganization: yes}
	for _, test := range []struct {
		name   string
		device activationlock.Device
		want   [6]activationlock.Verdict // code, allow, unlock, lock, ask, type
		lock   activationlock.State
	}{
		{"iOS 6", with(phone, func(d *activationlock.Device) { d.OSVersion = "6.1" }), [6]activationlock.Verdict{n, n, n, n, n, n}, off},
		{"iOS 7.0", with(phone, func(d *activationlock.Device) { d.OSVersion = "7.0.4" }), [6]activationlock.Verdict{n, y, n, n, y, n}, off},
		{"iOS 7.1", with(phone, func(d *activationlock.Device) { d.OSVersion = "7.1" }), [6]activationlock.Verdict{y, y, y, n, y, y}, on},
		{"iOS 9.3", with(phone, func(d *activationlock.Device) { d.OSVersion = "9.3" }), [6]activationlock.Verdict{y, y, y, y, y, y}, on},
		{"iPhone", phone, [6]activationlock.Verdict{y, y, y, y, y, y}, on},
		{"iPhone, nothing else known", activationlock.Device{ProductName: "iPhone17,3"}, [6]activationlock.Verdict{u, u, u, u, u, u}, unknown},
		{"iPhone of no organization", with(phone, func(d *activationlock.Device) { d.InOrganization = no }), [6]activationlock.Verdict{y, y, y, n, y, y}, on},
		{"unsupervised iPhone", with(phone, func(d *activationlock.Device) { d.Supervised = no }), [6]activationlock.Verdict{n, n, y, y, y, y}, on},
		{"unsupervised iPhone of no organization", with(phone, func(d *activationlock.Device) { d.Supervised, d.InOrganization = no, no }), [6]activationlock.Verdict{n, n, n, n, y, n}, on},
		{"unsupervised iPhone, perhaps of one", with(phone, func(d *activationlock.Device) { d.Supervised, d.InOrganization = no, nil }), [6]activationlock.Verdict{n, n, u, u, y, u}, on},
		{"iPhone, supervision unknown", with(phone, func(d *activationlock.Device) { d.Supervised = nil }), [6]activationlock.Verdict{u, u, y, y, y, y}, on},
		{"iPad", pad, [6]activationlock.Verdict{y, y, y, y, y, y}, on},
		{"Shared iPad", with(pad, func(d *activationlock.Device) { d.SharedIPad = yes }), [6]activationlock.Verdict{n, n, y, y, n, y}, on},
		{"perhaps a Shared iPad", with(pad, func(d *activationlock.Device) { d.SharedIPad = nil }), [6]activationlock.Verdict{u, u, y, y, y, y}, on},
		{"iPad before there were shared ones", with(pad, func(d *activationlock.Device) { d.SharedIPad, d.OSVersion = nil, "9.2" }), [6]activationlock.Verdict{y, y, y, n, y, y}, on},
		{"macOS 10.14", with(mac, func(d *activationlock.Device) { d.OSVersion = "10.14.6" }), [6]activationlock.Verdict{n, n, n, n, n, n}, off},
		{"macOS 10.15", with(mac, func(d *activationlock.Device) { d.OSVersion = "10.15" }), [6]activationlock.Verdict{y, y, y, u, y, y}, on},
		{"Mac", mac, [6]activationlock.Verdict{y, y, y, u, y, y}, on},
		{"Mac without chip", with(mac, func(d *activationlock.Device) { d.LockSupported = no }), [6]activationlock.Verdict{n, n, n, n, n, n}, off},
		{"Mac, perhaps without", with(mac, func(d *activationlock.Device) { d.LockSupported = nil }), [6]activationlock.Verdict{u, u, u, u, y, u}, unknown},
		{"Mac that is not manageable", with(mac, func(d *activationlock.Device) { d.LockManageable = no }), [6]activationlock.Verdict{n, n, y, u, y, y}, on},
		{"Mac, perhaps not", with(mac, func(d *activationlock.Device) { d.LockManageable = nil }), [6]activationlock.Verdict{u, u, y, u, y, y}, on},
		{"unsupervised Mac", with(mac, func(d *activationlock.Device) { d.Supervised = no }), [6]activationlock.Verdict{n, n, u, u, y, u}, on},
		{"visionOS 1", with(vision, func(d *activationlock.Device) { d.OSVersion = "1.3" }), [6]activationlock.Verdict{n, n, u, u, n, u}, on},
		{"Vision Pro", vision, [6]activationlock.Verdict{y, y, u, u, n, u}, on},
		{"Apple Watch", activationlock.Device{ProductName: "Watch7,1", OSVersion: "26.1", Supervised: yes}, [6]activationlock.Verdict{n, n, n, n, y, n}, on},
		{"Apple TV", activationlock.Device{ProductName: "AppleTV14,1", OSVersion: "26.1", Supervised: yes}, [6]activationlock.Verdict{n, n, n, n, n, n}, off},
		{"user enrollment", with(phone, func(d *activationlock.Device) { d.UserEnrollment = true }), [6]activationlock.Verdict{n, n, n, n, n, n}, on},
		{"nothing known", activationlock.Device{}, [6]activationlock.Verdict{u, u, u, u, u, u}, unknown},
	} {
		require.Equal(t, test.lock, test.device.HasLock(), test.name)
		for i, a := range abilities {
			answer := test.device.Can(a)
			require.Equal(t, test.want[i], answer.Verdict, "%s: %s: %v", test.name, a, answer.Reasons)
			require.Equal(t, test.want[i] == y, answer.Yes())
			require.True(t, answer.Yes() || len(answer.Reasons) > 0, "%s: %s: nobody says why not", test.name, a)
		}
	}
	// An ability of a newer version is not known, and not known to be impossible.
	require.Equal(t, u, phone.Can("new").Verdict)
	require.NotEmpty(t, phone.Can("new").Reasons)

	// What a yes has to be taken with.
	deprecated := []activationlock.Reason{activationlock.ReasonQueryDeprecated}
	for version, want := range map[string][]activationlock.Reason{"15.8": nil, "16.0": deprecated, "26.1": deprecated} {
		phone.OSVersion = version
		require.Equal(t, want, phone.Can(activationlock.AskDevice).Reasons, version)
	}
	for version, want := range map[string][]activationlock.Reason{"12.7": nil, "13.0": deprecated} {
		mac.OSVersion = version
		require.Equal(t, want, mac.Can(activationlock.AskDevice).Reasons, version)
	}
	require.Equal(t, []activationlock.Reason{activationlock.ReasonWindow}, phone.Can(activationlock.FetchCode).Reasons)
	pad.SharedIPad = yes
	require.Equal(t, []activationlock.Reason{activationlock.ReasonServerCodeOnly}, pad.Can(activationlock.TypeCode).Reasons)
}
