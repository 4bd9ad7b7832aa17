package apple_test

import (
	"encoding/hex"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
)

// services reads the same answer as each of the services does.
var services = map[string]struct {
	method string
	read   func(*http.Response, error) apple.Answer
}{
	"unlock": {"POST", apple.ReadUnlock},
	"lock":   {"POST", func(r *http.Response, err error) apple.Answer { return apple.ReadLock(r, err).Answer }},
	"status": {"GET", func(r *http.Response, err error) apple.Answer { return apple.ReadStatus(r, err).Answer }},
}

// response is an answer as a client returns it.
func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

// The documentation promises what to do next for each: every outcome has its
// own name, and none is the zero value.
func TestOutcomesDiffer(t *testing.T) {
	t.Parallel()
	all := []apple.Outcome{
		apple.Done, apple.NotFound, apple.Malformed, apple.Refused, apple.Later, apple.NoAnswer,
		apple.SessionOver, apple.TermsNotSigned, apple.AlreadyLocked, apple.NotPossible, apple.Failed,
	}
	slices.Sort(all)
	require.Len(t, slices.Compact(all), 11)
	require.NotContains(t, all, apple.Outcome(""))
}

// Whatever the status, only the service that gives it a meaning succeeds, and
// only by what its documentation says.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for status := range 700 {
		want := apple.Refused
		switch {
		case status == 400:
			want = apple.Malformed
		case status == 429 || status >= 500:
			want = apple.Later
		case status >= 200 && status < 300:
			want = apple.Failed
		}
		own := map[string]map[int]apple.Outcome{
			"unlock": {200: apple.Done, 404: apple.NotFound},
			"lock":   {401: apple.SessionOver, 403: apple.SessionOver},
			"status": {401: apple.SessionOver, 404: apple.NotFound, 406: apple.Malformed},
		}
		for name, s := range services {
			want := want
			if o, ok := own[name][status]; ok {
				want = o
			}
			got := s.read(response(status, "a page"), nil)
			require.Equal(t, apple.Answer{Outcome: want, StatusCode: status, Detail: "a page"}, got, name)
		}
	}
}

// What a client got after following a redirect is not the service's answer.
func TestRedirectedAnswers(t *testing.T) {
	t.Parallel()
	for name, s := range services {
		for _, body := range []string{"a page", success, "T_C_NOT_SIGNED", `{"data":{"id":"XXFAKE0SER1","attributes":{"isLocked":true}}}`} {
			for _, status := range []int{200, 202, 400, 401, 403, 404, 406, 429, 500} {
				r := response(status, body)
				r.Request = &http.Request{Method: s.method, Response: &http.Response{StatusCode: 307}}
				require.Equal(t, apple.Answer{Outcome: apple.Refused, StatusCode: status, Detail: body}, s.read(r, nil), name)
				r = response(status, body)
				r.Request = &http.Request{Method: map[string]string{"POST": "GET", "GET": "HEAD"}[s.method]}
				require.Equal(t, apple.Answer{Outcome: apple.Refused, StatusCode: status, Detail: body}, s.read(r, nil), name)
				r = response(status, body)
				r.Request = &http.Request{Method: s.method}
				require.Equal(t, s.read(response(status, body), nil), s.read(r, nil), name)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const date = "Sun, 22 Nov 2026 09:00:00 GMT"
	for _, test := range []struct {
		retryAfter, date string
		want             time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"1", "", time.Second},
		{"120", date, 2 * time.Minute},
		{" 120 ", "", 0}, // HTTP takes the spaces off before
		{"86400", "", 24 * time.Hour},
		{"86401", "", 24 * time.Hour},
		{"4294967296", "", 24 * time.Hour},
		{"9223372036854775807", "", 24 * time.Hour},
		{"99999999999999999999999999", "", 24 * time.Hour},
		{"-1", "", 0},
		{"-10000000000", "", 0}, // times a billion it overflows to more than nothing
		{"-99999999999999999999999999", "", 0},
		{"+5", "", 0},
		{"1.5", "", 0},
		{"1e3", "", 0},
		{"soon", date, 0},
		{"Sun, 22 Nov 2026 09:00:30 GMT", date, 30 * time.Second},
		{"Sunday, 22-Nov-26 09:00:30 GMT", date, 30 * time.Second},
		{"Sun Nov 22 09:00:30 2026", date, 30 * time.Second},
		{"Sun, 22 Nov 2026 09:00:30 GMT", "", 0},
		{"Sun, 22 Nov 2026 09:00:30 GMT", "today", 0},
		{"Sun, 22 Nov 2026 08:00:00 GMT", date, 0},
		{"Thu, 22 Nov 2029 09:00:00 GMT", date, 24 * time.Hour},
		{"Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", 24 * time.Hour},
	} {
		h := http.Header{}
		if test.retryAfter != "" {
			h.Set("Retry-After", test.retryAfter)
		}
		if test.date != "" {
			h.Set("Date", test.date)
		}
		for name, s := range services {
			for _, status := range []int{429, 503} {
				got := s.read(&http.Response{StatusCode: status, Header: h, Body: http.NoBody}, nil)
				require.Equal(t, apple.Answer{Outcome: apple.Later, StatusCode: status, RetryAfter: test.want}, got, "%s: %+v", name, test)
			}
		}
	}
}

func detail(body string) string {
	return apple.ReadUnlock(&http.Response{StatusCode: 404, Body: io.NopCloser(strings.NewReader(body))}, nil).Detail
}

func TestDetail(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"":                                        "",
		" \r\n\t ":                                "",
		"escrow key mismatch\n":                   "escrow key mismatch",
		`{"error": "escrow key mismatch"}`:        `{"error": "escrow key mismatch"}`,
		"two\r\nlines":                            "two  lines",
		"\x1b[31mred\x07":                         "[31mred",
		"a\x00b\x7fc":                             "a b c",
		"a\u009bc \u0085":                         "a c",       // control characters above ASCII
		"a\u202eb\u2028c\ufeffd\u200be":           "a b c d e", // nor those that turn the line round
		"caf\u00e9 \u4e2d\u6587":                  "caf\u00e9 \u4e2d\u6587",
		"\xff\xfea\xc3":                           "a",
		"\ufffd":                                  "",
		code:                                      "[redacted]",
		"key " + code + " mismatch":               "key [redacted] mismatch",
		"key=" + code + "&x=y":                    "key=[redacted]&x=y",
		strings.ToLower(code):                     "[redacted]",
		code + " " + strings.ToLower(code):        "[redacted] [redacted]",
		strings.ReplaceAll(code, "-", ""):         "[redacted]",
		strings.ReplaceAll(code, "-", "\u2013"):   "[redacted]",
		code[:30] + "8":                           code[:30] + "8", // no code ends in 8
		"J4DNT-6VT2Y-3LD8":                        "J4DNT-6VT2Y-3LD8",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8":    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		strings.Repeat("x ", 200) + code:          strings.Repeat("x ", 200) + "[redacted]",
		hash:                                      "[redacted]",
		strings.ToUpper(hash):                     "[redacted]",
		`{"escrow_key":"` + hash + `"}`:           `{"escrow_key":"[redacted]"}`,
		hash + hash:                               "[redacted]",
		"f" + hash + "0.":                         "[redacted].",
		hash[:63]:                                 hash[:63],
		"f" + hash[:31] + "-" + hash[:31] + "f":   "f" + hash[:31] + "-" + hash[:31] + "f",
		strings.Repeat("x ", 200) + hash:          strings.Repeat("x ", 200) + "[redacted]",
		strings.Repeat("x ", 255) + hash:          strings.Repeat("x ", 255) + "[r",
		strings.Repeat("x ", 256) + hash:          strings.TrimSpace(strings.Repeat("x ", 256)),
		strings.Repeat("x ", 300) + hash:          strings.TrimSpace(strings.Repeat("x ", 256)),
		strings.Repeat("x ", 240) + hash + " yes": strings.Repeat("x ", 240) + "[redacted]",
		strings.Repeat("é", 300):                  strings.Repeat("é", 256),
		"x" + strings.Repeat("é", 300):            "x" + strings.Repeat("é", 255),
	} {
		require.Equal(t, want, detail(body), "%q", body)
		for name, s := range services {
			require.Equal(t, want, s.read(response(404, body), nil).Detail, name)
		}
	}
}

// Wherever in the body a code is, and whatever is next to it, no good part of
// it is shown: not even where the body is cut in the middle of it.
func TestDetailNeverShowsACode(t *testing.T) {
	t.Parallel()
	const seed = 20261122
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 1))
	const symbols = "0123456789ACDEFGHJKLMNPQRTUVWXYZ"
	junk := []rune(symbols + "   ---..,,{}\"=&\n\x00é\u2010\u4e2dBIOSbios")
	some := func(n int) string {
		var b strings.Builder
		for range random.IntN(n + 1) {
			b.WriteRune(junk[random.IntN(len(junk))])
		}
		return b.String()
	}
	filler := strings.Repeat("so. ", 200)
	wide := strings.Repeat("\u202e. ", 200) // becomes shorter on being made printable
	for round := range 2000 {
		bits := make([]byte, bypasscode.Size)
		for i := range bits {
			bits[i] = byte(random.Uint32())
		}
		made, err := bypasscode.FromBytes(bits)
		require.NoError(t, err)
		secret := made.Reveal()
		plain := strings.ReplaceAll(secret, "-", "")
		shapes := []string{secret, strings.ToLower(secret), plain, strings.ToLower(plain), strings.ReplaceAll(secret, "-", "\u2013")}
		if round%4 == 0 { // a hash instead
			plain = strings.ToUpper(hex.EncodeToString(append(bits, bits...)))
			shapes = []string{plain, strings.ToLower(plain)}
		}
		shape := shapes[random.IntN(len(shapes))]
		body := some(40) + shape + some(40)
		switch round % 3 {
		case 1:
			body = filler[:random.IntN(600)] + body
		case 2:
			body = wide[:random.IntN(700)] + body
		}
		got := detail(body)
		require.LessOrEqual(t, len(got), 512)
		require.False(t, strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", got)
		left := strings.Map(func(r rune) rune {
			if strings.ContainsRune("-\u2013", r) {
				return -1
			}
			return r
		}, strings.ToUpper(got))
		for i := 0; i+10 <= len(plain); i++ {
			require.False(t, strings.Contains(left, plain[i:i+10]), "%q in %q gives %q", shape, body, got)
		}
	}
}
