package apple_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/apple"
)

// status makes the request and ends when the test does.
func status(t *testing.T, api apple.API, serialNumber string) *http.Request {
	t.Helper()
	req, err := apple.StatusRequest(api, serialNumber)
	require.NoError(t, err)
	return req.WithContext(t.Context())
}

func TestStatusRequest(t *testing.T) {
	t.Parallel()
	for api, want := range map[apple.API]string{
		apple.BusinessAPI:               "https://api-business.apple.com/v1/orgDevices/XXFAKE0SER1/activationLockStatus",
		apple.SchoolAPI:                 "https://api-school.apple.com/v1/orgDevices/XXFAKE0SER1/activationLockStatus",
		apple.SchoolAPI + "/":           "https://api-school.apple.com/v1/orgDevices/XXFAKE0SER1/activationLockStatus",
		"https://127.0.0.1:8443":        "https://127.0.0.1:8443/v1/orgDevices/XXFAKE0SER1/activationLockStatus",
		"https://[::1]:8443":            "https://[::1]:8443/v1/orgDevices/XXFAKE0SER1/activationLockStatus",
		"https://proxy.example/apple//": "https://proxy.example/apple/v1/orgDevices/XXFAKE0SER1/activationLockStatus",
	} {
		req := status(t, api, "XXFAKE0SER1")
		require.Equal(t, want, req.URL.String())
		require.Equal(t, "GET", req.Method)
		require.Equal(t, http.Header{"Accept": {"application/json"}}, req.Header)
		require.Nil(t, req.Body)
		require.Zero(t, req.ContentLength)
	}
}

// Nothing in a serial number can become another path or a query.
func TestStatusRequestEncodesOnce(t *testing.T) {
	t.Parallel()
	for serial, want := range map[string]string{
		"A/B": "A%2FB", "../x": "..%2Fx", "A?b=c": "A%3Fb=c", "A#b": "A%23b", "%41": "%2541", "A B+C": "A%20B+C", "é": "%C3%A9",
		"\xff\x00": "%FF%00", "A;b,c": "A%3Bb%2Cc", "...": "...", "A\r\nHost: x": "A%0D%0AHost:%20x",
	} {
		req := status(t, apple.SchoolAPI, serial)
		require.Equal(t, "/v1/orgDevices/"+want+"/activationLockStatus", req.URL.EscapedPath())
		require.Equal(t, "/v1/orgDevices/"+serial+"/activationLockStatus", req.URL.Path)
		require.Equal(t, "/v1/orgDevices/"+want+"/activationLockStatus", req.URL.RequestURI())
		require.Equal(t, "api-school.apple.com", req.Host)
		require.Empty(t, req.URL.RawQuery)
		require.Empty(t, req.URL.Fragment)
	}
}

func TestStatusRequestRefuses(t *testing.T) {
	t.Parallel()
	const noAddress, more = "apple: status request: the API is no https address", "apple: status request: the API is more than a base address"
	for _, test := range []struct {
		api          apple.API
		serial, want string
	}{
		{apple.SchoolAPI, "", "apple: status request: no serial number"},
		{apple.SchoolAPI, ".", "apple: status request: the serial number is a relative path"},
		{apple.SchoolAPI, "..", "apple: status request: the serial number is a relative path"},
		{"", "S", noAddress},
		{"api-school.apple.com", "S", noAddress},
		{"http://api-school.apple.com", "S", noAddress},
		{"https:", "S", noAddress},
		{"https://", "S", noAddress},
		{"https://:443", "S", noAddress},
		{"https:api-school.apple.com", "S", noAddress},
		{"https://x\n", "S", noAddress},
		{"https://x/%zz", "S", noAddress},
		{"https://x y", "S", noAddress},
		{"https://user:secret@x", "S", more},
		{"https://x?", "S", more},
		{"https://x?a=b", "S", more},
		{"https://x#", "S", more},
		{"https://x#a", "S", more},
	} {
		req, err := apple.StatusRequest(test.api, test.serial)
		require.EqualError(t, err, test.want, "%q", test.api) // so no value is in it
		require.Nil(t, req)
	}
}

// reports is Apple's answer with the attributes.
func reports(attributes string) string {
	return `{"data":{"type":"activationLockStatus","id":"XXFAKE0SER1","attributes":{` + attributes + `}},` +
		`"links":{"self":"https://api-school.apple.com/v1/orgDevices/XXFAKE0SER1/activationLockStatus"}}`
}

func TestReadStatusAttributes(t *testing.T) {
	t.Parallel()
	yes, no := new(true), new(false)
	for attributes, want := range map[string]struct {
		locked   *bool
		lockType apple.LockType
	}{
		`"isLocked":true,"lockType":"MDM"`:     {yes, apple.LockMDM},
		`"isLocked":true,"lockType":"USER"`:    {yes, apple.LockUser},
		`"isLocked":true,"lockType":"NEW"`:     {yes, "NEW"},
		`"isLocked":true,"lockType":"none"`:    {yes, "none"},
		`"isLocked":true,"lockType":"NONE\t"`:  {yes, "NONE "},
		`"isLocked":true`:                      {yes, ""},
		`"isLocked":true,"lockType":null`:      {yes, ""},
		`"isLocked":true,"lockType":""`:        {yes, ""},
		`"isLocked":false`:                     {no, ""},
		`"isLocked":false,"lockType":null`:     {no, ""},
		`"isLocked":false,"lockType":"NONE"`:   {no, apple.LockNone},
		`"lockType":"NONE"`:                    {no, apple.LockNone},
		`"lockType":"MDM"`:                     {yes, apple.LockMDM},
		`"lockType":"USER"`:                    {yes, apple.LockUser},
		`"isLocked":null,"lockType":"USER"`:    {yes, apple.LockUser},
		`"isLocked":null,"lockType":"NONE"`:    {no, apple.LockNone},
		`"new":{"isLocked":7},"isLocked":true`: {yes, ""},
		`"isLocked":true,"isLocked":false`:     {no, ""},

		// Contradictions, and what is not understood.
		`"isLocked":true,"lockType":"NONE"`:          {nil, apple.LockNone},
		`"isLocked":false,"lockType":"MDM"`:          {nil, apple.LockMDM},
		`"isLocked":false,"lockType":"USER"`:         {nil, apple.LockUser},
		`"isLocked":false,"lockType":"NEW"`:          {nil, "NEW"},
		`"isLocked":false,"lockType":"none"`:         {nil, "none"},
		`"isLocked":false,"lockType":" NONE"`:        {nil, " NONE"},
		`"lockType":"NEW"`:                           {nil, "NEW"},
		`"lockType":"user"`:                          {nil, "user"},
		`"lockType":""`:                              {nil, ""},
		``:                                           {nil, ""},
		`"isLocked":null`:                            {nil, ""},
		`"isLocked":"true"`:                          {nil, ""},
		`"isLocked":"false","lockType":"NONE"`:       {nil, apple.LockNone},
		`"isLocked":0,"lockType":"NONE"`:             {nil, apple.LockNone},
		`"isLocked":false,"lockType":7`:              {nil, ""},
		`"isLocked":false,"lockType":["USER"]`:       {nil, ""},
		`"IsLocked":false`:                           {nil, ""},
		`"islocked":false,"locktype":"NONE"`:         {nil, ""},
		`"isLocked":false,"lockType":"` + code + `"`: {nil, "[redacted]"},
		`"isLocked":false,"lockType":"\u001b` + strings.Repeat("[]", 200) + `\n"`: {nil, apple.LockType(" " + strings.Repeat("[]", 31) + "[")},
	} {
		got := apple.ReadStatus(response(200, reports(attributes)), nil)
		outcome := apple.Failed
		if want.locked != nil {
			outcome = apple.Done
		}
		got.Detail = ""
		require.Equal(t, apple.StatusAnswer{
			Answer: apple.Answer{Outcome: outcome, StatusCode: 200}, SerialNumber: "XXFAKE0SER1", Locked: want.locked, LockType: want.lockType,
		}, got, attributes)
	}
}

func TestReadStatusBodies(t *testing.T) {
	t.Parallel()
	locked := reports(`"isLocked":true,"lockType":"MDM"`)
	done := func(serial string) apple.StatusAnswer {
		return apple.StatusAnswer{Answer: apple.Answer{Outcome: apple.Done}, SerialNumber: serial, Locked: new(true), LockType: apple.LockMDM}
	}
	const attributes = `"attributes":{"isLocked":true,"lockType":"MDM"}`
	errorsOf := func(list string) string { return `{"errors":` + list + `,"data":{"id":"S",` + attributes + `}}` }
	known := apple.StatusAnswer{SerialNumber: "S", LockType: apple.LockMDM}
	for body, want := range map[string]apple.StatusAnswer{
		locked:                                     done("XXFAKE0SER1"),
		" " + locked + "\n":                        done("XXFAKE0SER1"),
		`{"data":{` + attributes + `}}`:            done(""),
		`{"data":{"id":7,` + attributes + `}}`:     done(""),
		`{"data":{"id":"S\n",` + attributes + `}}`: done("S "),
		`{"data":{"id":"` + strings.Repeat("S ", 99) + `",` + attributes + `}}`: done(strings.Repeat("S ", 32)),
		`{"data":{"id":"` + hash + `",` + attributes + `}}`:                     done("[redacted]"),
		errorsOf(`[]`):                          done("S"),
		errorsOf(`null`):                        done("S"),
		errorsOf(`[{}]`):                        known,
		errorsOf(`[null]`):                      known,
		errorsOf(`{}`):                          known,
		errorsOf(`"x"`):                         known,
		errorsOf(`["x"]`):                       known,
		errorsOf(`[{"code":7}]`):                known,
		errorsOf(`[{"code":"A"},{"code":"B"}]`): {SerialNumber: "S", LockType: apple.LockMDM, ErrorCode: "A"},
		`{"errors":[{"id":"x","status":"404","code":"NOT_FOUND","title":"t","detail":"d"}]}`: {ErrorCode: "NOT_FOUND"},
		`{"errors":[{"code":"` + code + `"}]}`:                                               {ErrorCode: "[redacted]"},
		`{"errors":[{"code":"\u0000` + strings.Repeat("[", 99) + `"}]}`:                      {ErrorCode: " " + strings.Repeat("[", 63)},
		`{"data":null}`:                                      {},
		`{"data":[` + locked + `]}`:                          {},
		`{"data":"x"}`:                                       {},
		`{"data":{"id":"S"}}`:                                {SerialNumber: "S"},
		`{"data":{"id":"S","attributes":null}}`:              {SerialNumber: "S"},
		`{"data":{"id":"S","attributes":[]}}`:                {SerialNumber: "S"},
		`{"data":{"id":"S","isLocked":true}}`:                {SerialNumber: "S"},
		`{"Data":{"id":"S",` + attributes + `}}`:             {},
		`{"data":{"id":"S","Attributes":{"isLocked":true}}}`: {SerialNumber: "S"},
		`{` + attributes + `}`:                               {},
		`[` + locked + `]`:                                   {},
		locked + "x":                                         {},
		locked[:len(locked)-1]:                               {},
		"":                                                   {},
		"null":                                               {},
		"true":                                               {},
		"{}":                                                 {},
		"<html>isLocked</html>":                              {},
		strings.Repeat(`{"data":`, 8000) + "1" + strings.Repeat("}", 8000):                   {},
		`{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `,` + locked[1:]: {},
	} {
		for _, contentType := range []string{"application/json", "text/html; charset=x", ""} {
			r := response(200, body)
			r.Header.Set("Content-Type", contentType)
			got := apple.ReadStatus(r, nil)
			if want.Outcome == "" {
				want.Outcome = apple.Failed
			}
			want.StatusCode = 200
			got.Detail = ""
			require.Equal(t, want, got, "%.200q", body)
		}
	}
	got := apple.ReadStatus(&http.Response{StatusCode: 200}, nil)
	require.Equal(t, apple.StatusAnswer{Answer: apple.Answer{Outcome: apple.Failed, StatusCode: 200}}, got)
}

func TestReadStatusBoundsTheBody(t *testing.T) {
	t.Parallel()
	unlocked := reports(`"isLocked":false`)
	for name, test := range map[string]struct {
		body io.Reader
		want apple.Outcome
	}{
		"endless":                  {endless("no! "), apple.Failed},
		"endless depth":            {endless("["), apple.Failed},
		"more follows":             {io.MultiReader(strings.NewReader(unlocked), endless("x")), apple.Failed},
		"white space follows":      {io.MultiReader(strings.NewReader(unlocked), endless(" ")), apple.Done},
		"behind the bound":         {strings.NewReader(`{"x":"` + strings.Repeat("x", 66_000) + `",` + unlocked[1:]), apple.Failed},
		"large":                    {strings.NewReader(`{"x":"` + strings.Repeat("x", 60_000) + `",` + unlocked[1:]), apple.Done},
		"breaks off":               {io.MultiReader(strings.NewReader(unlocked[:len(unlocked)-1]), breaksOff{}), apple.Failed},
		"breaks off at once":       {breaksOff{}, apple.Failed},
		"breaks off after the end": {io.MultiReader(strings.NewReader(unlocked), breaksOff{}), apple.Done},
	} {
		body := &watched{Reader: test.body}
		got := apple.ReadStatus(&http.Response{StatusCode: 200, Body: body}, nil)
		require.Equal(t, test.want, got.Outcome, name)
		require.Equal(t, test.want == apple.Done, got.Locked != nil, name)
		require.LessOrEqual(t, body.read, 64<<10, name)
		require.True(t, body.closed, name)
	}
}

func TestReadStatusHTTPErrors(t *testing.T) {
	t.Parallel()
	const jsonError = `{"errors":[{"id":"1","status":"403","code":"FORBIDDEN_ERROR","title":"t","detail":"d"},{"code":"SECOND"}]}`
	for code, want := range map[int]apple.Outcome{
		400: apple.Malformed, 401: apple.SessionOver, 403: apple.Refused, 404: apple.NotFound, 405: apple.Refused, 406: apple.Malformed,
		409: apple.Refused, 410: apple.Refused, 429: apple.Later, 500: apple.Later, 502: apple.Later, 503: apple.Later, 504: apple.Later,
		201: apple.Failed, 202: apple.Failed, 204: apple.Failed, 206: apple.Failed, 302: apple.Refused, 304: apple.Refused,
	} {
		for body, errorCode := range map[string]string{
			jsonError: "FORBIDDEN_ERROR", "": "", "<html>no</html>": "", "T_C_NOT_SIGNED": "", reports(`"isLocked":false`): "",
			`{"errors":[]}`: "", `{"errors":{"code":"x"}}`: "", `{"code":"x"}`: "", jsonError[:len(jsonError)-1]: "",
		} {
			got := apple.ReadStatus(response(code, body), nil)
			require.Equal(t, apple.StatusAnswer{Answer: apple.Answer{Outcome: want, StatusCode: code, Detail: body}, ErrorCode: errorCode}, got)
		}
	}
	broken := errors.New("broken")
	require.Equal(t, apple.StatusAnswer{Answer: apple.Answer{Outcome: apple.NoAnswer, Err: broken}}, apple.ReadStatus(nil, broken))
	require.Equal(t, apple.StatusAnswer{Answer: apple.Answer{Outcome: apple.NoAnswer, Err: broken}},
		apple.ReadStatus(response(200, reports(`"isLocked":false`)), broken))
	require.Equal(t, apple.StatusAnswer{Answer: apple.Answer{Outcome: apple.NoAnswer}}, apple.ReadStatus(nil, nil))
}

func TestStatusOverTheNetwork(t *testing.T) {
	t.Parallel()
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			clients := newAuthority(t)
			says := reports(`"isLocked":true,"lockType":"USER"`)
			s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, p.http2, r.ProtoMajor == 2)
				assert.Equal(t, "GET", r.Method)
				assert.Equal(t, "api-school.apple.com", r.Host)
				assert.Equal(t, "/v1/orgDevices/XX%2F1/activationLockStatus", r.RequestURI)
				assert.Equal(t, []string{"application/json"}, r.Header["Accept"])
				assert.Equal(t, "Bearer token", r.Header.Get("Authorization"))
				io.WriteString(w, says)
			}, p.set)
			c := client(t, s, clients.issue())
			req := status(t, apple.SchoolAPI, "XX/1")
			req.Header.Set("Authorization", "Bearer token")
			require.Equal(t, apple.StatusAnswer{
				Answer:       apple.Answer{Outcome: apple.Done, StatusCode: 200, Detail: says},
				SerialNumber: "XXFAKE0SER1", Locked: new(true), LockType: apple.LockUser,
			}, apple.ReadStatus(c.Do(req)))
		})
	}
}

// A client follows redirects of a GET with a GET; what it finds is not Apple's
// word on this device all the same.
func TestStatusRedirects(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	push := clients.issue()
	for _, redirect := range []int{301, 302, 303, 307, 308} {
		s := service(t, clients, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				io.WriteString(w, reports(`"isLocked":false`))
				return
			}
			http.Redirect(w, r, "/elsewhere", redirect)
		})
		c := client(t, s, push)
		got := apple.ReadStatus(c.Do(status(t, apple.SchoolAPI, "XXFAKE0SER1")))
		require.Equal(t, apple.Refused, got.Outcome)
		require.Equal(t, 200, got.StatusCode)
		require.Nil(t, got.Locked)
		require.Empty(t, got.SerialNumber)

		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		got = apple.ReadStatus(c.Do(status(t, apple.SchoolAPI, "XXFAKE0SER1")))
		require.Equal(t, apple.Refused, got.Outcome)
		require.Equal(t, redirect, got.StatusCode)

		c.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("we follow nobody") }
		got = apple.ReadStatus(c.Do(status(t, apple.SchoolAPI, "XXFAKE0SER1")))
		require.Equal(t, apple.Refused, got.Outcome)
		require.Equal(t, redirect, got.StatusCode)
		require.Error(t, got.Err)
	}
}

func TestStatusOverTLSFaults(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	s := service(t, clients, func(http.ResponseWriter, *http.Request) { t.Error("the request got through") })
	c := client(t, s, clients.issue())
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "" // so it must be Apple's
	got := apple.ReadStatus(c.Do(status(t, apple.SchoolAPI, "XXFAKE0SER1")))
	require.Equal(t, apple.Refused, got.Outcome)
	var fault *url.Error
	require.ErrorAs(t, got.Err, &fault)
}

func FuzzReadStatus(f *testing.F) {
	for _, code := range []int{200, 202, 400, 401, 403, 404, 406, 429, 500} {
		for _, body := range []string{
			"", reports(`"isLocked":true,"lockType":"MDM"`), reports(`"isLocked":false`), reports(`"lockType":"NONE"`), reports(`"isLocked":false,"lockType":"USER"`),
			`{"errors":[{"code":"` + hash + `"}]}`, `{"data":{"id":"\u202e"}}`, "\xff", "[[[", `{"data":{"attributes":{"islocked":true}}}`,
		} {
			f.Add(code, body, "Sun, 22 Nov 2026 09:00:30 GMT")
		}
	}
	f.Fuzz(func(t *testing.T, code int, says, retryAfter string) {
		body := &watched{Reader: strings.NewReader(says)}
		header := http.Header{"Retry-After": {retryAfter}, "Date": {"Sun, 22 Nov 2026 09:00:00 GMT"}}
		got := apple.ReadStatus(&http.Response{StatusCode: code, Header: header, Body: body}, nil)
		require.True(t, body.closed)
		require.LessOrEqual(t, body.read, 64<<10)
		requireShowable(t, got.Answer, got.SerialNumber, string(got.LockType), got.ErrorCode)
		require.Equal(t, code, got.StatusCode)
		require.Equal(t, got.Outcome == apple.Done, got.Locked != nil)
		if got.Locked == nil {
			return
		}
		require.Equal(t, 200, code)
		var o map[string]any
		require.NoError(t, json.Unmarshal([]byte(says), &o))
		data, ok := o["data"].(map[string]any)
		require.True(t, ok)
		attributes, ok := data["attributes"].(map[string]any)
		require.True(t, ok)
		// Neither of the two says the opposite, and one of them says it.
		isLocked, lockType := fmt.Sprint(attributes["isLocked"]), fmt.Sprint(attributes["lockType"])
		if *got.Locked {
			require.Contains(t, []string{"true", "<nil>"}, isLocked)
			require.NotEqual(t, "NONE", lockType)
			require.True(t, isLocked == "true" || lockType == "MDM" || lockType == "USER")
		} else {
			require.Contains(t, []string{"false", "<nil>"}, isLocked)
			require.Contains(t, []string{"NONE", "<nil>", ""}, lockType)
			require.True(t, isLocked == "false" || lockType == "NONE")
		}
	})
}
