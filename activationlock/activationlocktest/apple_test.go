package activationlocktest_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

// unlockRequest is the request of a server that knows the device well.
func unlockRequest(t *testing.T, d *activationlocktest.Device, code bypasscode.Text, change ...func(*apple.Unlock)) *http.Request {
	t.Helper()
	c := d.Config()
	u := apple.Unlock{
		SerialNumber: c.SerialNumber, ProductType: c.ProductName, IMEI: c.IMEI, IMEI2: c.IMEI2, MEID: c.MEID,
		Code: code, Organization: "Example School", RequestedBy: "jane.admin@example.org",
	}
	for _, f := range change {
		f(&u)
	}
	req, err := apple.UnlockRequest(u)
	require.NoError(t, err)
	return req.WithContext(t.Context())
}

func serve(a *activationlocktest.Apple, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func unlock(t *testing.T, a *activationlocktest.Apple, d *activationlocktest.Device, code bypasscode.Text, change ...func(*apple.Unlock)) *httptest.ResponseRecorder {
	t.Helper()
	return serve(a, unlockRequest(t, d, code, change...))
}

// locked returns a device with a user-linked lock, and the code that opens it.
func locked(t *testing.T, a *activationlocktest.Apple, config activationlocktest.DeviceConfig) (*activationlocktest.Device, bypasscode.Text) {
	t.Helper()
	config.Supervised = true
	d := enrolled(t, config)
	require.NoError(t, a.Add(d, true))
	code, _ := askCode(t, d)
	allow(t, d, true)
	require.NoError(t, d.SetFindMy(true))
	require.True(t, d.Lock().OpensWith(code))
	return d, code
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{})
	d, code := locked(t, a, activationlocktest.DeviceConfig{IMEI: "350000000000019", IMEI2: "350000000000027", MEID: "35000000000001"})
	wrong := bypasscode.New().Text()
	got := unlock(t, a, d, wrong)
	require.Equal(t, 404, got.Code)
	require.Equal(t, "escrow key mismatch\n", got.Body.String())
	for name, change := range map[string]func(*apple.Unlock){
		"serial":       func(u *apple.Unlock) { u.SerialNumber = "OTHER" },
		"product type": func(u *apple.Unlock) { u.ProductType = "iPhone1,1" },
		"imei":         func(u *apple.Unlock) { u.IMEI = u.IMEI2 },
		"imei2":        func(u *apple.Unlock) { u.IMEI2 = u.IMEI },
		"meid":         func(u *apple.Unlock) { u.MEID = "1" },
		"lower case":   func(u *apple.Unlock) { u.Code = bypasscode.NewText(strings.ToLower(code.Reveal())) },
	} {
		require.Equal(t, 404, unlock(t, a, d, code, change).Code, name)
	}
	require.Equal(t, activationlocktest.UserLinked, a.Lock(serial).Kind)
	require.Equal(t, 200, unlock(t, a, d, code, func(u *apple.Unlock) { u.IMEI, u.IMEI2, u.MEID = "", "", "" }).Code)
	require.Equal(t, activationlocktest.NotLocked, a.Lock(serial).Kind)
	require.Equal(t, 404, unlock(t, a, d, code).Code, "it is not locked")

	tried := a.CodesTried(serial)
	require.Len(t, tried, 8)
	require.True(t, tried[0].Equal(wrong))
	require.True(t, tried[6].Equal(code))
	require.Len(t, a.CodesTried("OTHER"), 1)
	for _, r := range a.Requests() {
		require.Equal(t, activationlocktest.UnlockService, r.Service)
		require.Equal(t, "POST", r.Method)
		require.Equal(t, []string{"Content-Type"}, r.HeaderNames)
		require.Equal(t, []string{"escrowKey", "guid", "orgName"}, r.FormKeys)
	}
	require.Equal(t, 404, a.Requests()[0].Status)
	require.Equal(t, 200, a.Requests()[7].Status)
}

func TestMalformedUnlock(t *testing.T) {
	t.Parallel()
	post := func(a *activationlocktest.Apple, method, kind, query, form string) int {
		r := httptest.NewRequest(method, "/deviceservicesworkers/escrowKeyUnlock?"+query, strings.NewReader(form))
		r.Header.Set("Content-Type", kind)
		return serve(a, r).Code
	}
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{})
	_, code := locked(t, a, activationlocktest.DeviceConfig{})
	form := "orgName=x&guid=y&escrowKey=" + code.Reveal()
	const query, kind = "serial=XXFAKE0SER1&productType=iPhone17%2C3", "application/x-www-form-urlencoded"
	require.Equal(t, 405, post(a, "GET", kind, query, form))
	for _, test := range [][3]string{
		{"application/json", query, form}, {"", query, form},
		{kind, "serial=XXFAKE0SER1", form}, {kind, "productType=x", form}, {kind, "serial=&productType=x", form},
		{kind, query + "&imei=", form}, {kind, query + "&imei2=", form}, {kind, query + "&meid=", form}, {kind, query + "&serial=x", form},
		{kind, query, "orgName=x&guid=y"}, {kind, query, "orgName=x&guid=&escrowKey=z"}, {kind, query, "guid=y&escrowKey=z"},
		{kind, query + "&orgName=x&guid=y&escrowKey=z", ""}, {kind, query, strings.Repeat("x", 1<<17)},
	} {
		require.Equal(t, 400, post(a, "POST", test[0], test[1], test[2]), "%q", test)
	}
	require.Equal(t, 200, post(a, "POST", kind+"; charset=utf-8", query, form))
	require.Equal(t, 404, serve(a, httptest.NewRequest("POST", "/elsewhere", nil)).Code)

	a = activationlocktest.NewApple(activationlocktest.AppleConfig{RequireCertificate: true})
	d, code := locked(t, a, activationlocktest.DeviceConfig{})
	require.Equal(t, 403, unlock(t, a, d, code).Code)
}

func TestUnlockReadings(t *testing.T) {
	t.Parallel()
	cellular := activationlocktest.DeviceConfig{IMEI: "350000000000019"}
	mac, vision := activationlocktest.DeviceConfig{ProductName: "Mac14,2"}, activationlocktest.DeviceConfig{ProductName: "RealityDevice14,1"}
	for name, test := range map[string]struct {
		set         func(*activationlocktest.Reading)
		config      activationlocktest.DeviceConfig
		query       string // in place of a full one, if not ""
		code        func(string) string
		zero, other int
	}{
		"empty IMEI":    {set: func(r *activationlocktest.Reading) { r.EmptyIMEIAccepted = true }, query: "&imei=&imei2=&meid=", zero: 400, other: 200},
		"spaced IMEI":   {set: func(r *activationlocktest.Reading) { r.SpacedIMEIAccepted = true }, config: cellular, query: "&imei=35+000000+000001+9", zero: 404, other: 200},
		"no IMEI":       {set: func(r *activationlocktest.Reading) { r.IMEIRequired = true }, config: cellular, query: "&x=y", zero: 200, other: 404},
		"lower case":    {set: func(r *activationlocktest.Reading) { r.LooseCodes = true }, code: strings.ToLower, zero: 404, other: 200},
		"no dashes":     {set: func(r *activationlocktest.Reading) { r.LooseCodes = true }, code: func(s string) string { return strings.ReplaceAll(s, "-", "") }, zero: 404, other: 200},
		"Macs":          {set: func(r *activationlocktest.Reading) { r.NoUnlockOfMacs = true }, config: mac, zero: 200, other: 404},
		"Vision Pros":   {set: func(r *activationlocktest.Reading) { r.NoUnlockOfVisionPro = true }, config: vision, zero: 200, other: 404},
		"not those":     {set: func(r *activationlocktest.Reading) { r.NoUnlockOfVisionPro, r.NoUnlockOfMacs = true, true }, zero: 200, other: 200},
		"a wrong code ": {set: func(r *activationlocktest.Reading) { *r = activationlocktest.Reading{UnlockedIsDone: true} }, code: func(string) string { return "x" }, zero: 404, other: 404},
	} {
		for _, set := range []bool{false, true} {
			var r activationlocktest.Reading
			want := test.zero
			if set {
				test.set(&r)
				want = test.other
			}
			a := activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: r})
			test.config.Reading = r
			d, code := locked(t, a, test.config)
			if test.code != nil {
				code = bypasscode.NewText(test.code(code.Reveal()))
			}
			req := unlockRequest(t, d, code)
			if test.query != "" {
				req.URL.RawQuery = url.Values{"serial": {serial}, "productType": {d.Config().ProductName}}.Encode() + test.query
			}
			require.Equal(t, want, serve(a, req).Code, "%s %t", name, set)
		}
	}
	for _, done := range []bool{false, true} {
		a := activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: activationlocktest.Reading{UnlockedIsDone: done}})
		d := enrolled(t, activationlocktest.DeviceConfig{})
		require.NoError(t, a.Add(d, true))
		require.Equal(t, done, unlock(t, a, d, bypasscode.New().Text()).Code == 200)
	}
}

// session gets a session of the ADE service.
func session(t *testing.T, a *activationlocktest.Apple) string {
	t.Helper()
	r := httptest.NewRequest("GET", "https://mdmenrollment.apple.com/session", nil)
	r.Header.Set("User-Agent", "test")
	r.Header.Set("Authorization", `OAuth oauth_consumer_key="x"`)
	w := serve(a, r)
	require.Equal(t, 200, w.Code)
	var body struct {
		Token string `json:"auth_session_token"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	require.NotEmpty(t, body.Token)
	return body.Token
}

func lockRequest(session, body string) *http.Request {
	r := httptest.NewRequest("POST", "https://mdmenrollment.apple.com/device/activationlock", strings.NewReader(body))
	r.Header.Set("User-Agent", "test")
	r.Header.Set("Content-Type", "application/json;charset=UTF8")
	if session != "" {
		r.Header.Set("X-ADM-Auth-Session", session)
	}
	return r
}

func lockStatus(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	require.Equal(t, 200, w.Code, w.Body)
	var body struct {
		SerialNumber   string `json:"serial_number"`
		ResponseStatus string `json:"response_status"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	return body.ResponseStatus
}

func TestOrganizationLock(t *testing.T) {
	t.Parallel()
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{})
	d := newDevice(t, activationlocktest.DeviceConfig{Supervised: true})
	require.NoError(t, a.Add(d, true))
	code := bypasscode.New()
	hash, err := code.Hash()
	require.NoError(t, err)
	s := session(t, a)
	w := serve(a, lockRequest(s, `{"device":"XXFAKE0SER1","escrow_key":"`+hash.String()+`","lost_message":"Call us"}`))
	require.Equal(t, "SUCCESS", lockStatus(t, w))
	require.NotEmpty(t, w.Header().Get("X-ADM-Auth-Session"))
	require.NotEqual(t, s, w.Header().Get("X-ADM-Auth-Session"))
	lock := a.Lock(serial)
	require.Equal(t, activationlocktest.OrganizationLinked, lock.Kind)
	require.Equal(t, "Call us", lock.Message)
	require.Equal(t, hash, lock.Hash)

	_, err = d.Enroll()
	require.ErrorIs(t, err, activationlocktest.ErrLocked, "out of its box, it has to activate")
	w = serve(a, lockRequest(s, `{"device":"XXFAKE0SER1","escrow_key":"`+hash.String()+`"}`))
	require.Equal(t, "DEVICE_ALREADY_LOCKED", lockStatus(t, w), "even with the same code")
	require.Equal(t, 404, unlock(t, a, d, bypasscode.NewText(hash.String())).Code, "the hash is not the code")
	require.Equal(t, 404, unlock(t, a, d, bypasscode.New().Text()).Code)
	require.Equal(t, 200, unlock(t, a, d, code.Text()).Code)
	enroll(t, d)

	// The first lock wins.
	require.Equal(t, "SUCCESS", lockStatus(t, serve(a, lockRequest(s, `{"device":"XXFAKE0SER1"}`))))
	require.Equal(t, activationlocktest.CreatorLinked, a.Lock(serial).Kind)
	allow(t, d, true)
	require.NoError(t, d.SetFindMy(true))
	require.Equal(t, activationlocktest.CreatorLinked, a.Lock(serial).Kind)
	require.Equal(t, 404, unlock(t, a, d, d.Code()).Code)
	require.False(t, a.OwnerTurnsOff(serial))
	require.True(t, a.AdministratorTurnsOff(serial))
	require.NoError(t, d.SetFindMy(true))
	require.Equal(t, activationlocktest.UserLinked, a.Lock(serial).Kind)
	require.Equal(t, "DEVICE_ALREADY_LOCKED", lockStatus(t, serve(a, lockRequest(s, `{"device":"XXFAKE0SER1"}`))))
}

func TestResponseStatuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config      activationlocktest.DeviceConfig
		foreign     bool
		set         func(*activationlocktest.Reading)
		zero, other string
	}{
		"iPad":        {config: activationlocktest.DeviceConfig{ProductName: "iPad14,3"}, zero: "SUCCESS", other: "SUCCESS"},
		"Shared iPad": {config: activationlocktest.DeviceConfig{ProductName: "iPad14,3", SharedIPad: true}, zero: "SUCCESS", other: "SUCCESS"},
		"foreign":     {foreign: true, zero: "NOT_ACCESSIBLE", other: "NOT_ACCESSIBLE"},
		"Mac":         {config: activationlocktest.DeviceConfig{ProductName: "Mac14,2"}, set: func(r *activationlocktest.Reading) { r.LocksMacs = true }, zero: "DEVICE_NOT_SUPPORTED", other: "SUCCESS"},
		"Vision Pro":  {config: activationlocktest.DeviceConfig{ProductName: "RealityDevice14,1"}, set: func(r *activationlocktest.Reading) { r.LocksVisionPro = true }, zero: "DEVICE_NOT_SUPPORTED", other: "SUCCESS"},
		"TV":          {config: activationlocktest.DeviceConfig{ProductName: "AppleTV14,1"}, zero: "DEVICE_NOT_SUPPORTED", other: "DEVICE_NOT_SUPPORTED"},
	} {
		for _, set := range []bool{false, true} {
			var r activationlocktest.Reading
			want := test.zero
			if set {
				want = test.other
				if test.set != nil {
					test.set(&r)
				}
			}
			a := activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: r})
			require.NoError(t, a.Add(newDevice(t, test.config), !test.foreign))
			require.Equal(t, want, lockStatus(t, serve(a, lockRequest(session(t, a), `{"device":"XXFAKE0SER1"}`))), name)
			require.Equal(t, "NOT_ACCESSIBLE", lockStatus(t, serve(a, lockRequest(session(t, a), `{"device":"unknown"}`))))
		}
	}
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{OldProgram: true})
	require.Equal(t, "ORG_NOT_SUPPORTED", lockStatus(t, serve(a, lockRequest(session(t, a), `{"device":"x"}`))))
}

func TestLockRequestErrors(t *testing.T) {
	t.Parallel()
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{})
	require.NoError(t, a.Add(newDevice(t, activationlocktest.DeviceConfig{}), true))
	s := session(t, a)
	upper := strings.Repeat("AB", 32)
	for _, body := range []string{
		"", "x", "[]", "{}", `{"device":""}`, `{"device":null}`, `{"device":1}`, `{"device":"XXFAKE0SER1","escrow_key":""}`,
		`{"device":"XXFAKE0SER1","lost_message":""}`, `{"device":"XXFAKE0SER1","escrow_key":"J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17"}`,
		`{"device":"XXFAKE0SER1","escrow_key":"` + strings.Repeat("g", 64) + `"}`, `{"device":"XXFAKE0SER1"} x`,
	} {
		w := serve(a, lockRequest(s, body))
		require.Equal(t, 400, w.Code, body)
		require.Contains(t, w.Body.String(), "MALFORMED_REQUEST_BODY")
	}
	r := lockRequest(s, `{"device":"XXFAKE0SER1"}`)
	r.Header.Del("User-Agent")
	w := serve(a, r)
	require.Equal(t, 400, w.Code)
	require.Contains(t, w.Body.String(), "USER_AGENT_MISSING")
	require.Equal(t, 401, serve(a, lockRequest("", `{"device":"XXFAKE0SER1"}`)).Code)
	require.Equal(t, 403, serve(a, lockRequest("made up", `{"device":"XXFAKE0SER1"}`)).Code)
	a.ExpireSessions()
	require.Equal(t, 401, serve(a, lockRequest(s, `{"device":"XXFAKE0SER1"}`)).Code)
	require.Equal(t, activationlocktest.NotLocked, a.Lock(serial).Kind)
	r = httptest.NewRequest("GET", "/session", nil)
	r.Header.Set("User-Agent", "test")
	require.Equal(t, 401, serve(a, r).Code)
	require.Equal(t, "SUCCESS", lockStatus(t, serve(a, lockRequest(session(t, a), `{"device":"XXFAKE0SER1","escrow_key":"`+upper+`"}`))))

	a = activationlocktest.NewApple(activationlocktest.AppleConfig{OneUseSessions: true, Reading: activationlocktest.Reading{UpperHashRefused: true}})
	require.NoError(t, a.Add(newDevice(t, activationlocktest.DeviceConfig{}), true))
	w = serve(a, lockRequest(session(t, a), `{"device":"XXFAKE0SER1","escrow_key":"`+upper+`"}`))
	require.Equal(t, 400, w.Code)
	s = w.Header().Get("X-ADM-Auth-Session")
	require.Equal(t, "SUCCESS", lockStatus(t, serve(a, lockRequest(s, `{"device":"XXFAKE0SER1"}`))))
	require.Equal(t, 401, serve(a, lockRequest(s, `{"device":"XXFAKE0SER1"}`)).Code)
}

func statusRequest(serial string) *http.Request {
	r := httptest.NewRequest("GET", "https://api-school.apple.com/v1/orgDevices/"+serial+"/activationLockStatus", nil)
	r.Header.Set("Authorization", "Bearer x")
	r.Header.Set("Accept", "application/json")
	return r
}

// told is what the AxM API says of the lock.
func told(t *testing.T, a *activationlocktest.Apple) map[string]any {
	t.Helper()
	w := serve(a, statusRequest(serial))
	require.Equal(t, 200, w.Code)
	var body struct {
		Data struct {
			Type, ID   string
			Attributes map[string]any
		}
		Links struct{ Self string }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	require.Equal(t, "activationLockStatus", body.Data.Type)
	require.Equal(t, serial, body.Data.ID)
	require.Equal(t, "https://api-school.apple.com/v1/orgDevices/XXFAKE0SER1/activationLockStatus", body.Links.Self)
	return body.Data.Attributes
}

func TestStatus(t *testing.T) {
	t.Parallel()
	is := func(lockType string) map[string]any {
		return map[string]any{"isLocked": lockType != "NONE", "lockType": lockType}
	}
	c := newClock()
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{Now: c.Now, Reading: activationlocktest.Reading{StatusDelay: time.Hour}})
	d, code := locked(t, a, activationlocktest.DeviceConfig{Now: c.Now})
	require.Equal(t, is("NONE"), told(t, a), "it tells what was")
	c.advance(time.Hour)
	require.Equal(t, is("USER"), told(t, a))
	require.Equal(t, 200, unlock(t, a, d, code).Code)
	require.Equal(t, is("USER"), told(t, a))
	c.advance(time.Hour)
	require.Equal(t, is("NONE"), told(t, a))
	ask(t, d, mdmcmd.EnableLostMode{Message: "x"}) // and it locks again
	c.advance(time.Hour)
	require.Equal(t, is("MDM"), told(t, a), "in Lost Mode")
	require.NoError(t, d.SetFindMy(false))
	require.True(t, a.Lock(serial).LostMode, "that is another thing")
	require.NoError(t, d.SetFindMy(true))
	require.True(t, a.Lock(serial).LostMode)
	require.NoError(t, d.SetFindMy(false))
	ask(t, d, mdmcmd.DisableLostMode)
	serve(a, lockRequest(session(t, a), `{"device":"XXFAKE0SER1"}`))
	c.advance(time.Hour)
	require.Equal(t, is("MDM"), told(t, a))

	r := statusRequest(serial)
	r.URL.RawQuery = url.Values{"fields[activationLockStatus]": {"isLocked"}}.Encode()
	require.NotContains(t, serve(a, r).Body.String(), "lockType")
	require.Equal(t, 404, serve(a, statusRequest("unknown")).Code)
	r = statusRequest(serial)
	r.Header.Del("Authorization")
	w := serve(a, r)
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Body.String(), `"errors":[{`)
	r = statusRequest(serial)
	r.Header.Set("Accept", "*/*")
	require.Equal(t, 406, serve(a, r).Code)
	r = statusRequest(serial)
	r.Method = "PATCH"
	require.Equal(t, 405, serve(a, r).Code, "nothing turns a lock off here")

	a = activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: activationlocktest.Reading{NoLockType: true}})
	require.NoError(t, a.Add(newDevice(t, activationlocktest.DeviceConfig{}), true))
	require.Equal(t, map[string]any{"isLocked": false}, told(t, a))

	a = activationlocktest.NewApple(activationlocktest.AppleConfig{})
	require.NoError(t, a.Add(newDevice(t, activationlocktest.DeviceConfig{}), false))
	require.Equal(t, 404, serve(a, statusRequest(serial)).Code, "of another organization")
}

func TestScript(t *testing.T) {
	t.Parallel()
	c := newClock()
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{Now: c.Now, Wait: c.advance})
	d, code := locked(t, a, activationlocktest.DeviceConfig{Now: c.Now})
	a.Script(activationlocktest.UnlockService,
		activationlocktest.Fault{Status: 503, Body: "later", RetryAfter: 1500 * time.Millisecond},
		activationlocktest.Fault{Drop: true},
		activationlocktest.Fault{},
		activationlocktest.Fault{Wait: time.Minute, Drop: true, Processed: true},
	)
	a.Script(activationlocktest.UnlockService, activationlocktest.Fault{Status: 200, Body: "\x00garbage"})
	a.Script(activationlocktest.StatusService, activationlocktest.Fault{Status: 500, Processed: true})
	w := unlock(t, a, d, code)
	require.Equal(t, 503, w.Code)
	require.Equal(t, "later", w.Body.String())
	require.Equal(t, "2", w.Header().Get("Retry-After"))
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { unlock(t, a, d, code) })
	require.Equal(t, activationlocktest.UserLinked, a.Lock(serial).Kind)
	require.Equal(t, 404, unlock(t, a, d, bypasscode.New().Text()).Code)
	before := c.Now()
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { unlock(t, a, d, code) })
	require.Equal(t, time.Minute, c.Now().Sub(before))
	require.Equal(t, activationlocktest.NotLocked, a.Lock(serial).Kind, "processed, and nobody knows")
	require.Equal(t, 200, unlock(t, a, d, code).Code, "garbage")
	require.Equal(t, 404, unlock(t, a, d, code).Code, "the script is over")
	var statuses []int
	for _, r := range a.Requests() {
		statuses = append(statuses, r.Status)
	}
	require.Equal(t, []int{503, 0, 404, 0, 200, 404}, statuses)
	require.Len(t, a.CodesTried(serial), 6)
	require.Equal(t, 500, serve(a, statusRequest(serial)).Code)
}

func TestLimitRate(t *testing.T) {
	t.Parallel()
	c := newClock()
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{Now: c.Now})
	d, code := locked(t, a, activationlocktest.DeviceConfig{Now: c.Now})
	a.LimitRate(activationlocktest.UnlockService, 2, time.Minute)
	wrong := bypasscode.New().Text()
	require.Equal(t, 404, unlock(t, a, d, wrong).Code)
	c.advance(20 * time.Second)
	require.Equal(t, 404, unlock(t, a, d, wrong).Code)
	w := unlock(t, a, d, code)
	require.Equal(t, 429, w.Code)
	require.Equal(t, "40", w.Header().Get("Retry-After"))
	require.Equal(t, 200, serve(a, statusRequest(serial)).Code, "each service has its own")
	c.advance(40 * time.Second)
	require.Equal(t, 200, unlock(t, a, d, code).Code)
	a.LimitRate(activationlocktest.UnlockService, 0, 0)
	for range 5 {
		require.Equal(t, 404, unlock(t, a, d, code).Code)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{RequireCertificate: true})
	d, code := locked(t, a, activationlocktest.DeviceConfig{})
	server, err := a.Start()
	require.NoError(t, err)
	t.Cleanup(server.Close)
	other, err := a.Start()
	require.NoError(t, err)
	t.Cleanup(other.Close)

	// Certificates: none, and one of another authority.
	foreign := other.Client().Transport.(*http.Transport).TLSClientConfig.GetClientCertificate
	certificate, err := foreign(nil)
	require.NoError(t, err)
	for _, push := range []*tls.Certificate{nil, certificate} {
		answer := apple.ReadUnlock(server.ClientWith(push).Do(unlockRequest(t, d, code)))
		require.Equal(t, apple.Refused, answer.Outcome, answer.Err)
		require.Zero(t, answer.StatusCode)
	}
	require.Empty(t, a.Requests())

	client := server.Client()
	a.Script(activationlocktest.UnlockService, activationlocktest.Fault{Drop: true}, activationlocktest.Fault{Status: 429, RetryAfter: time.Minute})
	require.Equal(t, apple.NoAnswer, apple.ReadUnlock(client.Do(unlockRequest(t, d, code))).Outcome)
	require.Equal(t, time.Minute, apple.ReadUnlock(client.Do(unlockRequest(t, d, code))).RetryAfter)
	answer := apple.ReadUnlock(client.Do(unlockRequest(t, d, bypasscode.New().Text())))
	require.Equal(t, apple.NotFound, answer.Outcome, answer.Err)
	require.Equal(t, "escrow key mismatch", answer.Detail)
	require.Equal(t, apple.Done, apple.ReadUnlock(client.Do(unlockRequest(t, d, code))).Outcome)

	// The other services ask for no certificate.
	anybody := server.ClientWith(nil)
	for url, want := range map[string]int{
		"https://mdmenrollment.apple.com/session":                                       401,
		"https://api-business.apple.com/v1/orgDevices/XXFAKE0SER1/activationLockStatus": 401,
		"https://api-school.apple.com/v1/orgDevices/XXFAKE0SER1/activationLockStatus":   401,
	} {
		resp, err := anybody.Get(url)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, want, resp.StatusCode)
	}
	resp, err := anybody.PostForm("https://account.apple.com/auth/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {"x"}, "scope": {"school.api"},
	})
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Contains(t, string(body), `"access_token"`)
	// What the other package writes and reads.
	hash, err := bypasscode.New().Hash()
	require.NoError(t, err)
	lock, err := apple.LockRequest(apple.Lock{SerialNumber: serial, Hash: hash})
	require.NoError(t, err)
	lock.Header.Set(apple.SessionHeader, a.NewSession())
	require.Equal(t, apple.Done, apple.ReadLock(anybody.Do(lock)).Outcome)
	status, err := apple.StatusRequest(apple.SchoolAPI, serial)
	require.NoError(t, err)
	status.Header.Set("Authorization", "Bearer x")
	require.Equal(t, apple.Done, apple.ReadStatus(anybody.Do(status)).Outcome)

	_, err = anybody.Get("https://www.apple.com/")
	require.ErrorContains(t, err, "not a host of Apple")
}

// Everything at once, for the race detector.
func TestConcurrently(t *testing.T) {
	t.Parallel()
	r := activationlocktest.Reading{Relock: activationlocktest.RelockAtOnce}
	a := activationlocktest.NewApple(activationlocktest.AppleConfig{Reading: r})
	d, code := locked(t, a, activationlocktest.DeviceConfig{Reading: r})
	question, err := mdmcmd.Encode("1", mdmcmd.DeviceInformation{Queries: mdmcmd.DefaultQueries(mdmcmd.IOS)})
	require.NoError(t, err)
	var all sync.WaitGroup
	for _, work := range []func(){
		func() { serve(a, unlockRequest(t, d, code)) },
		func() { d.Answer(question) },
		func() { assert.NoError(t, d.SetFindMy(true)) },
		func() { assert.NoError(t, d.SetFindMy(false)) },
		func() { a.OwnerTurnsOff(serial) },
		func() { a.AdministratorTurnsOff(serial) },
		func() { serve(a, statusRequest(serial)) },
		func() { a.Requests(); a.CodesTried(serial); d.Lock(); d.Activated() },
	} {
		all.Go(func() {
			for range 20 {
				work()
			}
		})
	}
	all.Wait()
}
