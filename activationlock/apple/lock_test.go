package apple_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
)

const (
	hash    = "59b9b3fa9ec4b806612b8b1fe6f12fcc3903156a58bcf4cae53a8a78dad563d3" // of code
	success = `{"serial_number":"XXFAKE0SER1","response_status":"SUCCESS"}`
)

func fullLock(t *testing.T) apple.Lock {
	t.Helper()
	c, err := bypasscode.Parse(code)
	require.NoError(t, err)
	h, err := c.Hash()
	require.NoError(t, err)
	return apple.Lock{SerialNumber: "XXFAKE0SER1", Hash: h, LostMessage: "Property of Example School. Call 555-0100."}
}

// lock makes the request for l and ends when the test does.
func lock(t *testing.T, l apple.Lock) *http.Request {
	t.Helper()
	req, err := apple.LockRequest(l)
	require.NoError(t, err)
	return req.WithContext(t.Context())
}

func body(t *testing.T, req *http.Request) string {
	t.Helper()
	b, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	require.NoError(t, req.Body.Close())
	require.EqualValues(t, len(b), req.ContentLength)
	return string(b)
}

func TestLockRequest(t *testing.T) {
	t.Parallel()
	const wanted = `{"device":"XXFAKE0SER1","escrow_key":"` + hash + `","lost_message":"Property of Example School. Call 555-0100."}`
	req := lock(t, fullLock(t))
	require.Equal(t, "POST", req.Method)
	require.Equal(t, "https://mdmenrollment.apple.com/device/activationlock", req.URL.String())
	require.Equal(t, "mdmenrollment.apple.com", req.Host)
	require.Equal(t, http.Header{
		"Content-Type": {"application/json;charset=UTF8"}, "User-Agent": {"activationlock-sdk"}, "X-Server-Protocol-Version": {"7"},
	}, req.Header)
	require.Empty(t, req.TransferEncoding)
	require.Nil(t, req.GetBody, "nobody sends it a second time")
	require.Equal(t, wanted, body(t, req))

	l := fullLock(t)
	l.UserAgent, l.ProtocolVersion = "example-mdm/1.2 (unit test)", 10
	req = lock(t, l)
	require.Equal(t, "example-mdm/1.2 (unit test)", req.Header.Get("User-Agent"))
	require.Equal(t, "10", req.Header.Get("X-Server-Protocol-Version"))

	l = fullLock(t)
	l.LostMessage = ""
	require.Equal(t, `{"device":"XXFAKE0SER1","escrow_key":"`+hash+`"}`, body(t, lock(t, l)))
}

// Nothing in one value can become another key, and every text arrives as it is.
func TestLockRequestEncodesOnce(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`","escrow_key":"x`, "\\", "a\nb\tc\x00", "<b>&amp;</b>", "Écol \u2028 \U0001F511", "%41+ ", "null", "\ufffd",
	} {
		l := fullLock(t)
		l.SerialNumber, l.LostMessage = text, text
		var got map[string]string
		require.NoError(t, json.Unmarshal([]byte(body(t, lock(t, l))), &got))
		require.Equal(t, map[string]string{"device": text, "escrow_key": hash, "lost_message": text}, got)
	}
}

func TestLockToTokenCreatorRequest(t *testing.T) {
	t.Parallel()
	l := fullLock(t)
	req, err := apple.LockToTokenCreatorRequest(l)
	require.EqualError(t, err, "apple: lock request: a hash, for a lock that no code opens")
	require.Nil(t, req)

	l.Hash = bypasscode.Hash{}
	req, err = apple.LockToTokenCreatorRequest(l)
	require.NoError(t, err)
	require.Equal(t, lock(t, fullLock(t)).Header, req.Header)
	require.Equal(t, apple.LockURL, req.URL.String())
	require.Equal(t, "POST", req.Method)
	require.Nil(t, req.GetBody)
	require.Equal(t, `{"device":"XXFAKE0SER1","lost_message":"Property of Example School. Call 555-0100."}`, body(t, req))

	l.LostMessage = ""
	req, err = apple.LockToTokenCreatorRequest(l)
	require.NoError(t, err)
	require.Equal(t, `{"device":"XXFAKE0SER1"}`, body(t, req))

	_, err = apple.LockRequest(l)
	require.EqualError(t, err, "apple: lock request: no hash", "never by leaving something away")
}

func TestLockRequestRefuses(t *testing.T) {
	t.Parallel()
	const agent = "apple: lock request: the user agent is not printable ASCII"
	for _, test := range []struct {
		of   func(*apple.Lock)
		want string
	}{
		{func(l *apple.Lock) { l.SerialNumber = "" }, "apple: lock request: no serial number"},
		{func(l *apple.Lock) { l.SerialNumber = "XX\xff" }, "apple: lock request: the serial number is not UTF-8"},
		{func(l *apple.Lock) { l.LostMessage = "Call \xc3" }, "apple: lock request: the lost message is not UTF-8"},
		{func(l *apple.Lock) { l.UserAgent = "x\r\nX-ADM-Auth-Session: y" }, agent},
		{func(l *apple.Lock) { l.UserAgent = "é" }, agent},
		{func(l *apple.Lock) { l.UserAgent = "x\x7f" }, agent},
		{func(l *apple.Lock) { l.UserAgent = "x\t" }, agent},
		{func(l *apple.Lock) { l.UserAgent = "  " }, agent}, // sent as none
		{func(l *apple.Lock) { l.ProtocolVersion = -1 }, "apple: lock request: the protocol version is negative"},
	} {
		l := fullLock(t)
		test.of(&l)
		req, err := apple.LockRequest(l)
		require.EqualError(t, err, test.want) // so no value is in it
		require.Nil(t, req)
		l.Hash = bypasscode.Hash{}
		req, err = apple.LockToTokenCreatorRequest(l)
		require.EqualError(t, err, test.want)
		require.Nil(t, req)
	}
}

func TestPrintingLockRequestsShowsNoCode(t *testing.T) {
	t.Parallel()
	l := fullLock(t)
	req := lock(t, l)
	for _, v := range []any{l, &l, req, *req, req.Body} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			out := fmt.Sprintf(verb, v)
			require.NotEmpty(t, out)
			require.NotContains(t, out, code)
			require.NotContains(t, out, strings.ReplaceAll(code, "-", ""))
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		require.NotContains(t, fmt.Sprintf(verb, req), hash, "nor what a log has no use for")
		require.NotContains(t, fmt.Sprintf(verb, req.Body), hash)
	}
	require.Contains(t, body(t, req), hash, "it was in there all the time")
}

func TestReadLockStatuses(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]struct {
		outcome apple.Outcome
		maybe   bool
	}{
		"SUCCESS":               {apple.Done, false},
		"DEVICE_ALREADY_LOCKED": {apple.AlreadyLocked, false},
		"NOT_ACCESSIBLE":        {apple.NotPossible, false},
		"ORG_NOT_SUPPORTED":     {apple.NotPossible, false},
		"DEVICE_NOT_SUPPORTED":  {apple.NotPossible, false},
		"FAILED":                {apple.Failed, true},
		"PENDING":               {apple.Failed, true}, // newer than we are
		"success":               {apple.Failed, true},
		"Success":               {apple.Failed, true},
		"SUCCESS ":              {apple.Failed, true},
		" SUCCESS":              {apple.Failed, true},
		"SUCCESSFUL":            {apple.Failed, true},
		"device_already_locked": {apple.Failed, true},
		"not_accessible":        {apple.Failed, true},
		"":                      {apple.Failed, true},
	} {
		says := `{"serial_number":"XXFAKE0SER1","response_status":"` + status + `"}`
		body := &watched{Reader: strings.NewReader(says)}
		got := apple.ReadLock(&http.Response{StatusCode: 200, Body: body}, nil)
		require.Equal(t, apple.LockAnswer{
			Answer:       apple.Answer{Outcome: want.outcome, StatusCode: 200, Detail: says},
			SerialNumber: "XXFAKE0SER1", ResponseStatus: status,
		}, got)
		require.Equal(t, want.maybe, got.MaybeLocked(), status)
		require.True(t, body.closed)

		// Where it is not the service's success, it is nobody's.
		for _, code := range []int{201, 202, 204, 206, 302, 400, 401, 403, 404, 409, 429, 500, 503} {
			got := apple.ReadLock(response(code, says), nil)
			require.NotContains(t, []apple.Outcome{apple.Done, apple.AlreadyLocked, apple.NotPossible}, got.Outcome)
			require.Empty(t, got.ResponseStatus)
			require.Empty(t, got.SerialNumber)
		}
	}
}

func TestReadLockBodies(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]apple.LockAnswer{
		success + "\r\n":                                  {SerialNumber: "XXFAKE0SER1", ResponseStatus: "SUCCESS", Answer: apple.Answer{Outcome: apple.Done}},
		`{"response_status":"SUCCESS"}`:                   {ResponseStatus: "SUCCESS", Answer: apple.Answer{Outcome: apple.Done}},
		`{"response_status":"SUCCESS","serial_number":7}`: {ResponseStatus: "SUCCESS", Answer: apple.Answer{Outcome: apple.Done}},
		`{"new":{"x":[1,{}]},"response_status":"SUCCESS","other":null,"serial_number":"S"}`: {SerialNumber: "S", ResponseStatus: "SUCCESS", Answer: apple.Answer{Outcome: apple.Done}},
		`{"response_status":"FAILED","response_status":"SUCCESS"}`:                          {ResponseStatus: "SUCCESS", Answer: apple.Answer{Outcome: apple.Done}},
		`{"response_status":"SUCCESS","response_status":"FAILED"}`:                          {ResponseStatus: "FAILED"},
		`{"response_status":"FAILED","RESPONSE_STATUS":"SUCCESS","Serial_Number":"S"}`:      {ResponseStatus: "FAILED"},
		`{"Response_Status":"SUCCESS"}`:                                                     {},
		`{"responseStatus":"SUCCESS"}`:                                                      {},
		`{"response_status":"SUCC\u0045SS"}`:                                                {ResponseStatus: "SUCCESS", Answer: apple.Answer{Outcome: apple.Done}},
		`{"response_status":"SUCCESS\u0000"}`:                                               {ResponseStatus: "SUCCESS "},
		`{"response_status":"SUCCESS","serial_number":"S\u0000"}`:                           {SerialNumber: "S ", ResponseStatus: "SUCCESS", Answer: apple.Answer{Outcome: apple.Done}},
		`{"response_status":"\u001b[31m\u202eX` + strings.Repeat("Y", 100) + `"}`:           {ResponseStatus: " [31m X" + strings.Repeat("Y", 57)},
		`{"response_status":"` + code + `","serial_number":"` + code + `"}`:                 {ResponseStatus: "[redacted]", SerialNumber: "[redacted]"},
		`{"response_status":"` + hash + `","serial_number":"` + hash + `"}`:                 {ResponseStatus: "[redacted]", SerialNumber: "[redacted]"},
		`{"response_status":["SUCCESS"]}`:                                                   {},
		`{"response_status":{"response_status":"SUCCESS"}}`:                                 {},
		`{"response_status":200,"serial_number":"S"}`:                                       {SerialNumber: "S"},
		`{"response_status":true}`:                                                          {},
		`{"response_status":null,"serial_number":null}`:                                     {},
		`{}`:                             {},
		``:                               {},
		` `:                              {},
		`null`:                           {},
		`true`:                           {},
		`"SUCCESS"`:                      {},
		`SUCCESS`:                        {},
		`[` + success + `]`:              {},
		`[]`:                             {},
		success + `x`:                    {},
		success + success:                {},
		success[:len(success)-1]:         {},
		success[:len(success)-3]:         {},
		"\ufeff" + success:               {},
		`<html>SUCCESS</html>`:           {},
		`{"response_status":"SUCC`:       {},
		`{'response_status':'SUCCESS'}`:  {},
		`{"response_status":"SUCCESS",}`: {},
		strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000):                                     {},
		strings.Repeat("[", 60000):                                                                          {},
		`{"x":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + `,"response_status":"SUCCESS"}`: {},
	} {
		got := apple.ReadLock(response(200, body), nil)
		if want.Outcome == "" {
			want.Outcome = apple.Failed
		}
		require.LessOrEqual(t, len(got.Detail), 512)
		got.Detail = ""
		want.StatusCode = 200
		require.Equal(t, want, got, "%.200q", body)
		require.Equal(t, want.Outcome == apple.Failed, got.MaybeLocked())
	}
	got := apple.ReadLock(&http.Response{StatusCode: 200}, nil)
	require.Equal(t, apple.LockAnswer{Answer: apple.Answer{Outcome: apple.Failed, StatusCode: 200}}, got)
}

func TestReadLockBoundsTheBody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body io.Reader
		want apple.Outcome
	}{
		"endless":                      {endless("no! "), apple.Failed},
		"endless object":               {io.MultiReader(strings.NewReader(`{"x":"`), endless("x")), apple.Failed},
		"endless depth":                {endless("["), apple.Failed},
		"success behind the bound":     {strings.NewReader(`{"x":"` + strings.Repeat("x", 70_000) + `","response_status":"SUCCESS"}`), apple.Failed},
		"success, more follows":        {io.MultiReader(strings.NewReader(success), endless("x")), apple.Failed},
		"success, white space follows": {io.MultiReader(strings.NewReader(success), endless(" ")), apple.Done},
		"large success":                {strings.NewReader(`{"x":"` + strings.Repeat("x", 60_000) + `","response_status":"SUCCESS"}`), apple.Done},
		"breaks off":                   {io.MultiReader(strings.NewReader(success[:40]), breaksOff{}), apple.Failed},
		"breaks off before the end":    {io.MultiReader(strings.NewReader(success[:len(success)-1]), breaksOff{}), apple.Failed},
		"breaks off at once":           {breaksOff{}, apple.Failed},
		"breaks off behind the end":    {io.MultiReader(strings.NewReader(success), breaksOff{}), apple.Done},
	} {
		body := &watched{Reader: test.body}
		got := apple.ReadLock(&http.Response{StatusCode: 200, Body: body}, nil)
		require.Equal(t, test.want, got.Outcome, name)
		require.Equal(t, test.want == apple.Failed, got.MaybeLocked(), name)
		require.LessOrEqual(t, body.read, 64<<10, name)
		require.LessOrEqual(t, len(got.Detail), 512, name)
		require.True(t, body.closed, name)
	}
}

func TestReadLockHTTPErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		body   string
		want   apple.Outcome
		maybe  bool
	}{
		{400, "MALFORMED_REQUEST_BODY", apple.Malformed, false},
		{400, `"USER_AGENT_INVALID"`, apple.Malformed, false},
		{400, `"USER_AGENT_MISSING"`, apple.Malformed, false},
		{400, "T_C_NOT_SIGNED", apple.Malformed, false},
		{401, "", apple.SessionOver, false},
		{401, "UNAUTHORIZED", apple.SessionOver, false},
		{401, "ACCESS_DENIED", apple.SessionOver, false},
		{403, "", apple.SessionOver, false},
		{403, "FORBIDDEN", apple.SessionOver, false},
		{403, `"FORBIDDEN"`, apple.SessionOver, false},
		{403, "<html>403</html>", apple.SessionOver, false},
		{403, "access_denied", apple.SessionOver, false},
		{403, "ACCESS_DENIED", apple.Refused, false},
		{403, `"ACCESS_DENIED"`, apple.Refused, false},
		{403, `"ACCESS_DENIED"` + "\r\n", apple.Refused, false},
		{403, "T_C_NOT_SIGNED", apple.TermsNotSigned, false},
		{403, `"T_C_NOT_SIGNED"`, apple.TermsNotSigned, false},
		{403, `{"code":"T_C_NOT_SIGNED"}`, apple.TermsNotSigned, false},
		{403, success, apple.SessionOver, false},
		{404, "T_C_NOT_SIGNED", apple.Refused, false},
		{404, "", apple.Refused, false},
		{405, "", apple.Refused, false},
		{406, "", apple.Refused, false},
		{415, "", apple.Refused, false},
		{429, "", apple.Later, false},
		{500, "", apple.Later, true},
		{502, "<html>", apple.Later, true},
		{503, success, apple.Later, true},
		{504, "", apple.Later, true},
		{201, success, apple.Failed, true},
		{202, "", apple.Failed, true},
		{204, "", apple.Failed, true},
		{302, "", apple.Refused, false},
		{307, "", apple.Refused, false},
		{0, "", apple.Refused, true}, // no client says so
	} {
		got := apple.ReadLock(response(test.status, test.body), nil)
		require.Equal(t, apple.LockAnswer{Answer: apple.Answer{
			Outcome: test.want, StatusCode: test.status, Detail: strings.TrimSpace(test.body),
		}}, got)
		require.Equal(t, test.maybe, got.MaybeLocked(), "%+v", test)
	}
}

// What may have happened to the device when the client failed.
func TestMaybeLockedWithoutAnswer(t *testing.T) {
	t.Parallel()
	in := func(err error) error { return &url.Error{Op: "Post", URL: apple.LockURL, Err: err} }
	for _, test := range []struct {
		resp  *http.Response
		err   error
		want  apple.Outcome
		maybe bool
	}{
		{nil, nil, apple.NoAnswer, true},
		{nil, in(io.ErrUnexpectedEOF), apple.NoAnswer, true},
		{nil, in(context.DeadlineExceeded), apple.NoAnswer, true},
		{nil, in(&net.OpError{Op: "dial", Err: errors.New("refused")}), apple.NoAnswer, true},
		{nil, in(&net.OpError{Op: "remote error", Err: tls.AlertError(42)}), apple.Refused, true},
		{nil, in(tls.RecordHeaderError{Msg: "x"}), apple.Refused, true},
		{nil, in(&tls.CertificateVerificationError{Err: errors.New("unknown")}), apple.Refused, false},
		{nil, in(http.ErrSchemeMismatch), apple.Refused, false},
		{response(302, ""), in(errors.New("we follow nobody")), apple.Refused, false},
		{response(200, success), errors.New("and yet"), apple.NoAnswer, true},
		{response(503, ""), errors.New("and yet"), apple.NoAnswer, true},
	} {
		got := apple.ReadLock(test.resp, test.err)
		require.Equal(t, test.want, got.Outcome, "%v", test.err)
		require.Equal(t, test.err, got.Err)
		require.Equal(t, test.maybe, got.MaybeLocked(), "%v", test.err)
		require.Empty(t, got.ResponseStatus)
		require.Empty(t, got.Detail)
		if test.maybe || test.resp == nil {
			require.Zero(t, got.StatusCode)
		} else {
			require.Equal(t, test.resp.StatusCode, got.StatusCode)
		}
	}
	require.False(t, apple.LockAnswer{}.MaybeLocked())
	var everywhere []apple.Outcome
	for _, o := range []apple.Outcome{
		apple.Done, apple.NotFound, apple.Malformed, apple.Refused, apple.Later, apple.NoAnswer,
		apple.SessionOver, apple.TermsNotSigned, apple.AlreadyLocked, apple.NotPossible, apple.Failed,
	} {
		if (apple.LockAnswer{Answer: apple.Answer{Outcome: o, StatusCode: 429}}).MaybeLocked() {
			everywhere = append(everywhere, o)
		}
	}
	require.Equal(t, []apple.Outcome{apple.NoAnswer, apple.Failed}, everywhere)
}

func TestLockOverTheNetwork(t *testing.T) {
	t.Parallel()
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			clients := newAuthority(t)
			s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				assert.NoError(t, err)
				assert.Equal(t, p.http2, r.ProtoMajor == 2)
				assert.Equal(t, "POST", r.Method)
				assert.Equal(t, "mdmenrollment.apple.com", r.Host)
				assert.Equal(t, "/device/activationlock", r.RequestURI)
				assert.Equal(t, []string{"application/json;charset=UTF8"}, r.Header["Content-Type"])
				assert.Equal(t, []string{"activationlock-sdk"}, r.Header["User-Agent"])
				assert.Equal(t, []string{"7"}, r.Header["X-Server-Protocol-Version"])
				assert.Equal(t, "token", r.Header.Get(apple.SessionHeader))
				assert.JSONEq(t, `{"device":"XXFAKE0SER1","escrow_key":"`+hash+`","lost_message":"Property of Example School. Call 555-0100."}`, string(body))
				assert.EqualValues(t, len(body), r.ContentLength)
				io.WriteString(w, success)
			}, p.set)
			c := client(t, s, clients.issue())
			for range 2 {
				req := lock(t, fullLock(t))
				req.Header.Set(apple.SessionHeader, "token")
				got := apple.ReadLock(c.Do(req))
				require.Equal(t, apple.LockAnswer{
					Answer:       apple.Answer{Outcome: apple.Done, StatusCode: 200, Detail: success},
					SerialNumber: "XXFAKE0SER1", ResponseStatus: "SUCCESS",
				}, got)
			}
		})
	}
}

// No redirect gets the hash or makes a page's answer the service's.
func TestLockRedirects(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	push := clients.issue()
	for _, redirect := range []int{301, 302, 303, 307, 308} {
		s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			if r.URL.Path == "/elsewhere" {
				assert.Empty(t, body)
				io.WriteString(w, success)
				return
			}
			http.Redirect(w, r, "/elsewhere", redirect)
		})
		got := apple.ReadLock(client(t, s, push).Do(lock(t, fullLock(t))))
		require.Equal(t, apple.Refused, got.Outcome, redirect)
		require.Empty(t, got.ResponseStatus)
		require.False(t, got.MaybeLocked())
		if redirect >= 307 {
			require.Equal(t, redirect, got.StatusCode)
		}
	}
}

func TestLockAnswersThatBreakOff(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	for _, p := range protocols {
		s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", fmt.Sprint(len(success)))
			io.WriteString(w, success[:len(success)-4])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, p.set)
		got := apple.ReadLock(client(t, s, clients.issue()).Do(lock(t, fullLock(t))))
		require.NotEqual(t, apple.Done, got.Outcome, p.name)
		require.True(t, got.MaybeLocked(), p.name)
	}
}

func TestLockOverTLSFaults(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	s := service(t, clients, func(http.ResponseWriter, *http.Request) { t.Error("the request got through") })
	c := client(t, s, clients.issue())
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "" // so it must be Apple's
	got := apple.ReadLock(c.Do(lock(t, fullLock(t))))
	require.Equal(t, apple.Refused, got.Outcome)
	require.False(t, got.MaybeLocked(), "it was not sent")
	require.NotContains(t, got.Err.Error(), hash)

	got = apple.ReadLock(client(t, raw(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), nil).Do(lock(t, fullLock(t))))
	require.Equal(t, apple.Refused, got.Outcome)
	require.False(t, got.MaybeLocked())
}

// A transport may send the request again with a new session: it keeps what it
// read of the body, since there is no GetBody.
func TestLockWithANewSession(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	var bodies []string
	s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		bodies = append(bodies, string(body))
		if r.Header.Get(apple.SessionHeader) != "new" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, success)
	})
	c := client(t, s, clients.issue())
	c.Transport = renewing{c.Transport}
	got := apple.ReadLock(c.Do(lock(t, fullLock(t))))
	require.Equal(t, apple.Done, got.Outcome)
	require.Len(t, bodies, 2)
	require.Equal(t, bodies[0], bodies[1])
}

type renewing struct{ http.RoundTripper }

func (tr renewing) RoundTrip(r *http.Request) (*http.Response, error) {
	var kept bytes.Buffer
	first := r.Clone(r.Context())
	first.Header.Set(apple.SessionHeader, "old")
	first.Body = io.NopCloser(io.TeeReader(r.Body, &kept))
	resp, err := tr.RoundTripper.RoundTrip(first)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	resp.Body.Close()
	again := r.Clone(r.Context())
	again.Header.Set(apple.SessionHeader, "new")
	again.Body = io.NopCloser(&kept)
	return tr.RoundTripper.RoundTrip(again)
}

var hashes = regexp.MustCompile(`[0-9a-fA-F]{64}`)

// requireShowable is what holds for every answer, whatever Apple wrote.
func requireShowable(t *testing.T, answer apple.Answer, words ...string) {
	t.Helper()
	require.NotEmpty(t, answer.Outcome)
	require.LessOrEqual(t, len(answer.Detail), 512)
	require.GreaterOrEqual(t, answer.RetryAfter, time.Duration(0))
	require.LessOrEqual(t, answer.RetryAfter, 24*time.Hour)
	for _, word := range words {
		require.LessOrEqual(t, len(word), 64)
	}
	for _, text := range append(words, answer.Detail) {
		require.False(t, strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }), "%q", text)
		require.NotRegexp(t, hashes, text)
		for word := range strings.FieldsSeq(text) {
			for i := range len(word) {
				for n := 26; n <= min(41, len(word)-i) && word[i] != '-'; n++ {
					_, err := bypasscode.ParseLenient(word[i:i+n], false)
					require.Error(t, err, "%q", text)
				}
			}
		}
	}
}

func FuzzReadLock(f *testing.F) {
	for _, status := range []int{200, 202, 400, 401, 403, 429, 500} {
		for _, body := range []string{
			"", success, success[:20], `"T_C_NOT_SIGNED"`, "ACCESS_DENIED", `{"response_status":null}`, code, hash,
			`{"response_status":"` + code + `","serial_number":"` + hash + `"}`, "\xff\u202e", "[[[", `{"response_status":"FAILED","Response_status":"SUCCESS"}`,
		} {
			f.Add(status, body, "3")
		}
	}
	f.Fuzz(func(t *testing.T, status int, says, retryAfter string) {
		body := &watched{Reader: strings.NewReader(says)}
		got := apple.ReadLock(&http.Response{StatusCode: status, Header: http.Header{"Retry-After": {retryAfter}}, Body: body}, nil)
		require.True(t, body.closed)
		require.LessOrEqual(t, body.read, 64<<10)
		requireShowable(t, got.Answer, got.SerialNumber, got.ResponseStatus)
		require.Equal(t, status, got.StatusCode)
		require.NoError(t, got.Err)

		var o map[string]any
		readable := status == 200 && len(says) <= 64<<10 && json.Unmarshal([]byte(says), &o) == nil
		require.Equal(t, readable && o["response_status"] == "SUCCESS", got.Outcome == apple.Done)
		require.Equal(t, readable && o["response_status"] == "DEVICE_ALREADY_LOCKED", got.Outcome == apple.AlreadyLocked)
		if status == 200 {
			settled := []apple.Outcome{apple.Done, apple.AlreadyLocked, apple.NotPossible}
			require.Equal(t, !slices.Contains(settled, got.Outcome), got.MaybeLocked())
		}
		require.NotContains(t, []apple.Outcome{apple.NotFound, apple.NoAnswer}, got.Outcome)
		require.Contains(t, []apple.Outcome{
			apple.Done, apple.Malformed, apple.Refused, apple.Later, apple.SessionOver,
			apple.TermsNotSigned, apple.AlreadyLocked, apple.NotPossible, apple.Failed,
		}, got.Outcome)
	})
}
