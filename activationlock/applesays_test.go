package activationlock_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// outcomes are all, and one that is new.
var outcomes = []apple.Outcome{
	apple.Done, apple.NotFound, apple.Malformed, apple.Refused, apple.Later, apple.NoAnswer, apple.SessionOver,
	apple.TermsNotSigned, apple.AlreadyLocked, apple.NotPossible, apple.Failed, "new",
}

func TestOfUnlock(t *testing.T) {
	t.Parallel()
	for _, o := range outcomes {
		for _, code := range []int{0, 200, 404, 503} {
			e, ok := activationlock.OfUnlock(apple.Answer{Outcome: o, StatusCode: code}, hour(1))
			require.Equal(t, o == apple.Done, ok, o)
			if ok {
				require.Equal(t, said("unlock call 200", 1), e)
			} else {
				require.Zero(t, e)
			}
		}
	}
}

// lockAnswers are all that Apple may answer to a lock call, and what that says.
var lockAnswers = []struct {
	name   string
	answer apple.Answer
	says   string // a word, "" for nothing
}{
	{"success", apple.Answer{Outcome: apple.Done, StatusCode: 200}, "lock call SUCCESS"},
	{"already locked", apple.Answer{Outcome: apple.AlreadyLocked, StatusCode: 200}, "lock call already locked"},
	{"not possible", apple.Answer{Outcome: apple.NotPossible, StatusCode: 200}, ""},
	{"failed", apple.Answer{Outcome: apple.Failed, StatusCode: 200}, "lock call no answer"},
	{"lost", apple.Answer{Outcome: apple.NoAnswer, Err: errors.New("EOF")}, "lock call no answer"},
	{"503", apple.Answer{Outcome: apple.Later, StatusCode: 503}, "lock call no answer"},
	{"429", apple.Answer{Outcome: apple.Later, StatusCode: 429}, ""},
	{"malformed", apple.Answer{Outcome: apple.Malformed, StatusCode: 400}, ""},
	{"refused", apple.Answer{Outcome: apple.Refused, StatusCode: 403}, ""},
	{"refused by TLS", apple.Answer{Outcome: apple.Refused, Err: &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}}, "lock call no answer"},
	{"not trusted", apple.Answer{Outcome: apple.Refused, Err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, ""},
	{"session over", apple.Answer{Outcome: apple.SessionOver, StatusCode: 401}, ""},
	{"terms", apple.Answer{Outcome: apple.TermsNotSigned, StatusCode: 403}, ""},
	{"not found", apple.Answer{Outcome: apple.NotFound, StatusCode: 404}, ""},
	{"new", apple.Answer{Outcome: "new", StatusCode: 200}, ""},
}

func TestOfLock(t *testing.T) {
	t.Parallel()
	seen := map[apple.Outcome]bool{}
	for _, test := range lockAnswers {
		seen[test.answer.Outcome] = true
		for _, named := range []string{"", "S", "other", "s"} {
			e, ok := activationlock.OfLock("S", apple.LockAnswer{Answer: test.answer, SerialNumber: named}, hour(1))
			want := test.says
			if named != "" && named != "S" {
				want = "lock call no answer" // whoever answered that, the device may be locked
			}
			require.Equal(t, want != "", ok, "%s, naming %q", test.name, named)
			if want == "" {
				require.Zero(t, e, "%s, naming %q", test.name, named)
			} else {
				require.Equal(t, said(want, 1), e, "%s, naming %q", test.name, named)
			}
		}
	}
	require.Len(t, seen, len(outcomes), "an outcome without a case")
}

func TestOfStatus(t *testing.T) {
	t.Parallel()
	for _, o := range outcomes {
		for _, locked := range answers {
			for kind, says := range map[apple.LockType]string{
				apple.LockUser: "Apple USER", apple.LockMDM: "Apple MDM", "": "Apple on", "NEW": "Apple on", apple.LockNone: "Apple on",
			} {
				for _, named := range []string{"", "S", "other", "s"} {
					e, ok := activationlock.OfStatus("S", apple.StatusAnswer{
						Answer: apple.Answer{Outcome: o, StatusCode: 200}, SerialNumber: named, Locked: locked, LockType: kind,
					}, hour(1))
					want := o == apple.Done && locked != nil && (named == "" || named == "S")
					require.Equal(t, want, ok, "%s, naming %q", o, named)
					switch {
					case !want:
						require.Zero(t, e)
					case *locked:
						require.Equal(t, said(says, 1), e)
					default:
						require.Equal(t, said("Apple NONE", 1), e)
					}
				}
			}
		}
	}
}

// The rule of escrow.LockCode, for all that it returns and all that Apple may
// answer: current after a success, void after a refusal of the first call, and
// otherwise as it is.
func TestOfCode(t *testing.T) {
	t.Parallel()
	const fresh, maybe, confirmed = "made for this call", "sent before, without an answer", "confirmed for an earlier lock"
	before := map[string]escrow.Record{
		fresh:     {State: escrow.Current},
		maybe:     {State: escrow.MaybeActive, StateSince: hour(0)},
		confirmed: {State: escrow.Current, StateSince: hour(0)},
	}
	for _, test := range lockAnswers {
		for name, record := range before {
			record.Kind, record.Subject = bypasscode.Server, escrow.Subject{SerialNumber: "S"}
			for _, named := range []string{"", "S", "other"} {
				what := test.name + ", " + name + ", naming " + named
				v, ok := activationlock.OfCode(record, apple.LockAnswer{Answer: test.answer, SerialNumber: named}, hour(1))
				switch says := test.says; {
				case named == "other", says == "lock call no answer":
					require.False(t, ok, what)
				case says == "lock call SUCCESS":
					require.True(t, ok, what)
					require.Equal(t, escrow.Verdict{State: escrow.Current, At: hour(1)}, v, what)
				case name == maybe:
					require.False(t, ok, what)
				case name == confirmed && says == "lock call already locked": // by it, perhaps
					require.False(t, ok, what)
				case name == confirmed:
					require.True(t, ok, what)
					require.Equal(t, escrow.Verdict{State: escrow.Current, At: hour(1)}, v, what)
				default:
					require.True(t, ok, what)
					require.Equal(t, escrow.Void, v.State, what)
					require.Equal(t, hour(1), v.At, what)
					require.Contains(t, v.Reason, string(test.answer.Outcome), what)
				}
				if !ok {
					require.Zero(t, v, what)
				}
			}
		}
	}
}

// What Apple says of a code, escrow takes.
func TestOfCodeFitsEscrow(t *testing.T) {
	t.Parallel()
	for _, test := range lockAnswers {
		for _, record := range []escrow.Record{{State: escrow.Current}, {State: escrow.Current, StateSince: hour(0)}} {
			v, ok := activationlock.OfCode(record, apple.LockAnswer{Answer: test.answer}, hour(1))
			if !ok {
				continue
			}
			require.False(t, v.At.IsZero())
			require.True(t, v.State == escrow.Current || v.State == escrow.Void)
			require.True(t, v.State == escrow.Current || escrow.ValidIdentifier(v.Reason), v.Reason)
		}
	}
}
