package activationlock_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/bypasscode"
)

// typed are devices on which a person wants to type a code.
var typed = []struct {
	name string
	activationlock.Device
	kinds []activationlock.LockKind
	steps bool
}{
	{"iPhone, iOS 26.1", activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(true)}, lockKinds, true},
	{"iPhone, iOS 15.0", activationlock.Device{ProductName: "iPhone9,1", OSVersion: "15.0", Supervised: new(true)}, lockKinds[1:2], true},
	{"iPhone, iOS 14.8", activationlock.Device{ProductName: "iPhone9,1", OSVersion: "14.8", Supervised: new(true)}, lockKinds[1:2], true},
	{"iPhone, iOS 7.1", activationlock.Device{ProductName: "iPhone5,1", OSVersion: "7.1", Supervised: new(true)}, lockKinds[1:2], true},
	{"iPhone, iOS 7.0", activationlock.Device{ProductName: "iPhone5,1", OSVersion: "7.0.4", Supervised: new(true)}, lockKinds[1:2], false},
	{"iPhone, version unknown", activationlock.Device{ProductName: "iPhone17,3", Supervised: new(true)}, lockKinds[1:2], true},
	{"iPhone, unsupervised", activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(false)}, lockKinds[2:], true},
	{
		"iPhone, unsupervised, of no organization",
		activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", Supervised: new(false), InOrganization: new(false)}, lockKinds[1:2], false,
	},
	{"iPhone, user enrollment", activationlock.Device{ProductName: "iPhone17,3", OSVersion: "26.1", UserEnrollment: true}, lockKinds[1:2], false},
	{
		"Shared iPad", activationlock.Device{ProductName: "iPad13,1", OSVersion: "26.1", SharedIPad: new(true), InOrganization: new(true)}, lockKinds[:2], true,
	},
	{"Mac, macOS 26.1", activationlock.Device{ProductName: "Mac14,2", OSVersion: "26.1", Supervised: new(true), LockSupported: new(true)}, lockKinds, true},
	{"Mac, macOS 10.15", activationlock.Device{ProductName: "MacBookPro16,1", OSVersion: "10.15.7", LockSupported: new(true)}, lockKinds[1:2], true},
	{"Mac, macOS 10.14", activationlock.Device{ProductName: "MacBookPro15,1", OSVersion: "10.14.6", LockSupported: new(true)}, lockKinds[1:2], false},
	{"Mac, chip unknown", activationlock.Device{ProductName: "Macmini7,1", OSVersion: "12.7"}, lockKinds[1:2], true},
	{"Mac without chip", activationlock.Device{ProductName: "Macmini7,1", OSVersion: "12.7", LockSupported: new(false)}, lockKinds[1:2], false},
	{"Vision Pro", activationlock.Device{ProductName: "RealityDevice14,1", OSVersion: "26.1", Supervised: new(true)}, lockKinds, true},
	{"Apple Watch", activationlock.Device{ProductName: "Watch7,1", OSVersion: "26.1"}, lockKinds[1:2], false},
	{"Apple TV", activationlock.Device{ProductName: "AppleTV14,1", OSVersion: "26.1"}, lockKinds[1:2], false},
	{"unknown", activationlock.Device{}, lockKinds[1:2], false},
}

func TestInstructionsGolden(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, l := range activationlock.Languages() {
		for _, d := range typed {
			for _, k := range d.kinds {
				in := activationlock.ManualEntry(d.Device, k, l)
				fmt.Fprintf(&out, "[%s] %s, lock %s; documented: %t\n", l, d.name, k.Label(l), in.Documented)
				for i, s := range in.Steps {
					fmt.Fprintf(&out, "  %d. %s\n", i+1, s)
				}
				for _, n := range in.Notes {
					fmt.Fprintf(&out, "  - %s\n", n)
				}
				fmt.Fprintln(&out)
			}
		}
	}
	golden(t, "instructions.txt", out.String())
}

func TestManualEntry(t *testing.T) {
	t.Parallel()
	for _, d := range typed {
		can := d.Can(activationlock.TypeCode)
		for _, k := range append(slices.Clone(lockKinds), "new") {
			english := activationlock.ManualEntry(d.Device, k, activationlock.English)
			require.Equal(t, d.steps, len(english.Steps) > 0, d.name)
			require.False(t, can.Verdict == activationlock.No && len(english.Steps) > 0, "%s: steps to nowhere", d.name)
			require.Equal(t, d.steps && d.name != "Vision Pro", english.Documented, d.name)
			for i, r := range can.Reasons {
				require.Equal(t, r.Label(activationlock.English), english.Notes[i], d.name)
			}
			require.NotEmpty(t, english.Notes, d.name)
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(english.Notes))), len(english.Notes), d.name)

			// In Dutch the same, and another language gives English.
			dutch := activationlock.ManualEntry(d.Device, k, activationlock.Dutch)
			require.Len(t, dutch.Steps, len(english.Steps))
			require.Len(t, dutch.Notes, len(english.Notes))
			require.Equal(t, english.Documented, dutch.Documented)
			for _, s := range slices.Concat(english.Steps, english.Notes) {
				require.NotContains(t, slices.Concat(dutch.Steps, dutch.Notes), s, d.name)
			}
			require.Equal(t, english, activationlock.ManualEntry(d.Device, k, "fr"))
		}
	}
	notes := func(of int, k activationlock.LockKind) string {
		return strings.Join(activationlock.ManualEntry(typed[of].Device, k, activationlock.English).Notes, "\n")
	}
	const anyName = "type any name"
	require.Contains(t, notes(0, user), anyName)
	require.Contains(t, notes(1, user), anyName)
	require.NotContains(t, notes(2, user), anyName)
	require.Contains(t, notes(5, user), anyName, "of a version that is not known")
	require.Contains(t, notes(9, user), "the code that the server made opens it", "a Shared iPad")
	require.NotContains(t, notes(0, user), "server token", "no lock of the organization")
}

func TestRevealGroups(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17":  {"J4DNT", "6VT2Y", "3LD8", "1VV7", "AT3U", "LW17"},
		"j4dnt-6vt2y-3ld8-1vv7-at3u-lw17":  {"j4dnt-6vt2y-3ld8-1vv7-at3u-lw17"},
		"J4DNT6VT2Y3LD81VV7AT3ULW17":       {"J4DNT6VT2Y3LD81VV7AT3ULW17"},
		"J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW18":  {"J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW18"}, // no code ends so
		" J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17": {" J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17"},
		"-":                                {"-"},
		"":                                 nil,
	} {
		require.Equal(t, want, activationlock.RevealGroups(bypasscode.NewText(text)), "%q", text)
	}
}
