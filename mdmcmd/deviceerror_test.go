package mdmcmd_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/reference"
	"github.com/activationlock/sdk/mdmcmd"
)

const (
	mdmDomain  = "MCMDMErrorDomain"
	supervisor = "MCChaperoneErrorDomain"
)

func chain(items ...mdmcmd.ErrorChainItem) mdmcmd.ErrorChain { return items }

func failure(domain string, code int64) mdmcmd.ErrorChainItem {
	return mdmcmd.ErrorChainItem{ErrorDomain: domain, ErrorCode: code}
}

// known are all pairs of domain and code that have a meaning.
var known = []struct {
	domain string
	code   int64
	want   mdmcmd.ErrorClass
}{
	{mdmDomain, 12000, mdmcmd.ErrorNotAuthorized}, // access rights invalid
	{mdmDomain, 12007, mdmcmd.ErrorNotAuthorized},
	{mdmDomain, 12008, mdmcmd.ErrorMalformed},
	{mdmDomain, 12010, mdmcmd.ErrorInternal},      // internal inconsistency
	{mdmDomain, 12020, mdmcmd.ErrorNotAuthorized}, // the server answered so
	{mdmDomain, 12021, mdmcmd.ErrorNotSupported},  // request type invalid
	{mdmDomain, 12066, mdmcmd.ErrorLostModeFailed},
	{mdmDomain, 12067, mdmcmd.ErrorNotInLostMode},
	{mdmDomain, 12068, mdmcmd.ErrorLostModeFailed}, // no location
	{mdmDomain, 12069, mdmcmd.ErrorLostModeFailed},
	{mdmDomain, 12076, mdmcmd.ErrorNotManaged}, // no per-user connections
	{mdmDomain, 12078, mdmcmd.ErrorInLostMode},
	{mdmDomain, 12079, mdmcmd.ErrorNotManaged},
	{mdmDomain, 12080, mdmcmd.ErrorLostModeFailed}, // no sound
	{mdmDomain, 12081, mdmcmd.ErrorNotTethered},
	{supervisor, 29000, mdmcmd.ErrorNotSupervised},
	{"MCSettingsErrorDomain", 28000, mdmcmd.ErrorUnknownSetting},
	{"MCInstallationErrorDomain", 4025, mdmcmd.ErrorNotSupervised}, // supervision invalid
	{"MCHTTPTransactionErrorDomain", 23000, mdmcmd.ErrorNetwork},
	{"MCHTTPTransactionErrorDomain", 23001, mdmcmd.ErrorNetwork},
	{"MCHTTPTransactionErrorDomain", 23002, mdmcmd.ErrorNetwork},
	{"MDMClientError", 74, mdmcmd.ErrorNeedsADE},
	{"MDMClientError", 91, mdmcmd.ErrorNotSupported},
}

func TestErrorClass(t *testing.T) {
	t.Parallel()
	classes := map[mdmcmd.ErrorClass]bool{mdmcmd.ErrorNone: true, mdmcmd.ErrorUnknown: true}
	byPair := map[string]bool{}
	for _, test := range known {
		classes[test.want] = true
		byPair[fmt.Sprint(test.domain, test.code)] = true
		require.Equal(t, test.want, chain(failure(test.domain, test.code)).Class(), "%s %d", test.domain, test.code)

		// Neither the domain alone nor the code alone says anything.
		for _, other := range []mdmcmd.ErrorChainItem{
			failure(test.domain, -test.code), failure(test.domain, test.code+1<<32), failure("NSOSStatusErrorDomain", test.code),
			failure("", test.code), failure(test.domain+" ", test.code), failure(test.domain, 0),
		} {
			require.Equal(t, mdmcmd.ErrorUnknown, chain(other).Class(), "%+v", other)
		}
	}
	require.Len(t, classes, 15, "classes that no error has")

	// Nothing else is known near them.
	for _, test := range known {
		for code := test.code - 100; code <= test.code+100; code++ {
			if !byPair[fmt.Sprint(test.domain, code)] {
				require.Equal(t, mdmcmd.ErrorUnknown, chain(failure(test.domain, code)).Class(), "%s %d", test.domain, code)
			}
		}
	}
}

func TestErrorClassOfChains(t *testing.T) {
	t.Parallel()
	internal, notSupervised := failure(mdmDomain, 12010), failure(supervisor, 29000)
	notAllowed, unknown := failure(mdmDomain, 12021), failure("NSOSStatusErrorDomain", -909)
	for _, test := range []struct {
		name  string
		chain mdmcmd.ErrorChain
		want  mdmcmd.ErrorClass
	}{
		{"none", nil, mdmcmd.ErrorNone},
		{"no items", mdmcmd.ErrorChain{}, mdmcmd.ErrorNone},
		{"empty item", chain(mdmcmd.ErrorChainItem{}), mdmcmd.ErrorUnknown},
		{"negative", chain(unknown), mdmcmd.ErrorUnknown},
		{"internal", chain(internal), mdmcmd.ErrorInternal},
		{"internal, then its cause", chain(internal, notSupervised), mdmcmd.ErrorNotSupervised},
		{"internal at the bottom", chain(notSupervised, internal), mdmcmd.ErrorNotSupervised},
		{"internal all around", chain(internal, notSupervised, internal), mdmcmd.ErrorNotSupervised},
		{"internal, then an unknown cause", chain(internal, unknown), mdmcmd.ErrorInternal},
		{"unknown, then internal", chain(unknown, internal), mdmcmd.ErrorInternal},
		{"unknown, then known", chain(unknown, notAllowed), mdmcmd.ErrorNotSupported},
		{"known, then unknown", chain(notAllowed, unknown), mdmcmd.ErrorNotSupported},
		{"known, unknown, known", chain(notAllowed, unknown, notSupervised), mdmcmd.ErrorNotSupervised},
		{"the innermost decides", chain(notAllowed, notSupervised), mdmcmd.ErrorNotSupervised},
		{"the innermost decides, the other way around", chain(notSupervised, notAllowed), mdmcmd.ErrorNotSupported},
		{"unknown only", chain(unknown, unknown), mdmcmd.ErrorUnknown},
	} {
		require.Equal(t, test.want, test.chain.Class(), test.name)

		// Texts decide nothing, whatever they say and in whatever language.
		for _, text := range []string{"<MCChaperoneErrorDomain:29000>", "device is not supervised", "MCMDMErrorDomain 12078", "niet toegestaan"} {
			talkative := append(mdmcmd.ErrorChain{}, test.chain...)
			for i := range talkative {
				talkative[i].LocalizedDescription, talkative[i].USEnglishDescription = text, text
			}
			require.Equal(t, test.want, talkative.Class(), test.name)
		}
	}
}

func TestErrorClassOfReports(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]mdmcmd.ErrorClass{
		"error": mdmcmd.ErrorNotSupported, "error-not-supervised": mdmcmd.ErrorNotSupervised, "error-in-lost-mode": mdmcmd.ErrorInLostMode,
		"bypass-code": mdmcmd.ErrorNone, "not-now": mdmcmd.ErrorNone, "command-format-error": mdmcmd.ErrorNone,
	} {
		require.Equal(t, want, parseReport(t, sent(t, file)).ErrorChain.Class(), file)
	}
	require.Equal(t, mdmcmd.ErrorUnknownSetting, parseReport(t, sent(t, "settings-item-error")).Settings[1].ErrorChain.Class())

	folder := reference.Path(t, "fixtures")
	for file, want := range map[string]mdmcmd.ErrorClass{
		"written-from-schema/ActivationLockBypassCode.error.not-supervised.plist":       mdmcmd.ErrorNotSupervised,
		"written-from-schema/ActivationLockBypassCode.error.lost-mode.plist":            mdmcmd.ErrorInLostMode,
		"written-from-schema/ActivationLockBypassCode.error.invalid-request-type.plist": mdmcmd.ErrorNotSupported,
		"written-from-schema/EnableLostMode.error.12066.plist":                          mdmcmd.ErrorLostModeFailed,
		"written-from-schema/AnyCommand.error.negative-code.macos.plist":                mdmcmd.ErrorUnknown,
		"nanocmd/certprof-resp-error.plist":                                             mdmcmd.ErrorUnknown,
	} {
		require.Equal(t, want, parseReport(t, readFile(t, folder, file)).ErrorChain.Class(), file)
	}
}
