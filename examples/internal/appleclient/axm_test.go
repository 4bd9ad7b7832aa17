package appleclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/examples/internal/appleclient"
)

func newAccount(t *testing.T) appleclient.Account {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return appleclient.Account{ClientID: "SCHOOLAPI.example", KeyID: "key-example", Key: key, Scope: appleclient.School}
}

// oauth plays the token service and the API behind it.
type oauth struct {
	t       *testing.T
	account appleclient.Account
	now     time.Time
	lasts   int      // seconds; what expires_in says
	grants  []string // "" grants a token; else the answer, as in "429 body"
	api     []int    // what the API answers; 200 after that
	ids     map[string]bool
	tokens  int
	asked   []string // with what token, the API
}

func (o *oauth) client() *appleclient.AxM {
	o.now, o.ids = time.Date(2026, time.November, 30, 12, 0, 0, 0, time.UTC), map[string]bool{}
	axm, err := appleclient.NewAxM(o.account, roundTrip(o.serve), func() time.Time { return o.now })
	require.NoError(o.t, err)
	return axm
}

func (o *oauth) serve(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "account.apple.com" {
		return o.grant(req)
	}
	require.Equal(o.t, "application/json", req.Header.Get("Accept"))
	o.asked = append(o.asked, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	status := http.StatusOK
	if len(o.api) > 0 {
		status, o.api = o.api[0], o.api[1:]
	}
	if status != http.StatusOK {
		return respond(req, status, `{"errors": [{"code": "EXAMPLE"}]}`, "Retry-After", "120")
	}
	return respond(req, status, `{"data": {"id": "XXFAKE0SER1", "attributes": {"isLocked": true, "lockType": "USER"}}}`)
}

func (o *oauth) grant(req *http.Request) (*http.Response, error) {
	raw, err := io.ReadAll(req.Body)
	require.NoError(o.t, err)
	form, err := url.ParseQuery(string(raw))
	require.NoError(o.t, err)
	o.verify(req, form)
	if len(o.grants) > 0 {
		var answer string
		if answer, o.grants = o.grants[0], o.grants[1:]; answer != "" {
			var status int
			fmt.Sscan(answer, &status)
			answer = strings.ReplaceAll(answer[4:], "ASSERTION", form.Get("client_assertion"))
			return respond(req, status, answer, "Retry-After", "120")
		}
	}
	o.tokens++
	return respond(req, http.StatusOK, fmt.Sprintf(`{"access_token": "hush-token-%d", "token_type": "Bearer", "expires_in": %d, "scope": "school.api"}`, o.tokens, o.lasts))
}

// verify checks a request for a token as the service would.
func (o *oauth) verify(req *http.Request, form url.Values) {
	t := o.t
	require.Equal(t, http.MethodPost, req.Method)
	require.Equal(t, "https://account.apple.com/auth/oauth2/token", req.URL.String())
	require.Equal(t, "application/x-www-form-urlencoded", req.Header.Get("Content-Type"))
	require.Equal(t, "application/json", req.Header.Get("Accept"))
	assertion := form.Get("client_assertion")
	form.Del("client_assertion")
	require.Equal(t, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"SCHOOLAPI.example"}, "scope": {"school.api"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}, form)
	form.Set("client_assertion", assertion)

	parts := strings.Split(assertion, ".")
	require.Len(t, parts, 3)
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	require.JSONEq(t, `{"alg": "ES256", "kid": "key-example", "typ": "JWT"}`, string(decode(parts[0])))
	var claims struct {
		Iss, Sub, Aud, Jti string
		Iat, Exp           int64
	}
	decoder := json.NewDecoder(strings.NewReader(string(decode(parts[1]))))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&claims))
	require.Equal(t, "SCHOOLAPI.example", claims.Iss)
	require.Equal(t, "SCHOOLAPI.example", claims.Sub)
	require.Equal(t, "https://account.apple.com/auth/oauth2/v2/token", claims.Aud)
	require.Equal(t, o.now.Unix(), claims.Iat)
	require.Equal(t, o.now.Add(15*time.Minute).Unix(), claims.Exp)
	require.GreaterOrEqual(t, len(claims.Jti), 16)
	require.False(t, o.ids[claims.Jti], "each assertion has an ID of its own")
	o.ids[claims.Jti] = true

	signature := decode(parts[2])
	require.Len(t, signature, 64)
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	require.True(t, ecdsa.Verify(&o.account.Key.PublicKey, digest[:], r, s))
}

func TestAxMTokenIsKept(t *testing.T) {
	t.Parallel()
	o := &oauth{t: t, account: newAccount(t), lasts: 3600}
	axm := o.client()
	ask := func() {
		t.Helper()
		req := statusRequest(t)
		resp, err := axm.Do(req)
		require.NoError(t, err)
		require.Same(t, req, resp.Request)
		require.Empty(t, req.Header.Get("Authorization"), "the caller's request gets no token")
		answer := apple.ReadStatus(resp, err)
		require.Equal(t, apple.Done, answer.Outcome)
		require.Equal(t, apple.LockUser, answer.LockType)
	}
	ask()
	o.now = o.now.Add(59*time.Minute - time.Second)
	ask()
	require.Equal(t, []string{"hush-token-1", "hush-token-1"}, o.asked)
	o.now = o.now.Add(time.Second)
	ask()
	require.Equal(t, []string{"hush-token-1", "hush-token-1", "hush-token-2"}, o.asked, "a minute before it expires")

	o.lasts = 0
	o.now = o.now.Add(time.Hour)
	ask()
	ask()
	require.Equal(t, 4, o.tokens, "a token that does not say for how long serves once")
}

// The signature has 64 bytes also when one of its numbers is short, which happens
// with one in 128.
func TestAxMSignature(t *testing.T) {
	t.Parallel()
	o := &oauth{t: t, account: newAccount(t)}
	axm := o.client()
	for range 300 {
		require.Equal(t, apple.Done, apple.ReadStatus(axm.Do(statusRequest(t))).Outcome)
	}
}

func TestAxMTokenRefused(t *testing.T) {
	t.Parallel()
	o := &oauth{t: t, account: newAccount(t), lasts: 3600, api: []int{http.StatusUnauthorized}}
	axm := o.client()
	require.Equal(t, apple.Done, apple.ReadStatus(axm.Do(statusRequest(t))).Outcome)
	require.Equal(t, []string{"hush-token-1", "hush-token-2"}, o.asked, "once more, with another token")

	o.asked, o.api = nil, []int{http.StatusUnauthorized, http.StatusUnauthorized}
	require.Equal(t, apple.SessionOver, apple.ReadStatus(axm.Do(statusRequest(t))).Outcome)
	require.Equal(t, []string{"hush-token-2", "hush-token-3"}, o.asked, "and not twice")
	require.Equal(t, apple.Done, apple.ReadStatus(axm.Do(statusRequest(t))).Outcome)
	require.Equal(t, 3, o.tokens)

	for _, status := range []int{http.StatusTooManyRequests, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
		o.asked, o.api = nil, []int{status}
		answer := apple.ReadStatus(axm.Do(statusRequest(t)))
		require.Equal(t, status, answer.StatusCode)
		require.Equal(t, 2*time.Minute, answer.RetryAfter)
		require.Equal(t, []string{"hush-token-3"}, o.asked)
	}
	require.Equal(t, 3, o.tokens)
}

func TestAxMNoToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answer, code string
		want         apple.Outcome
		wait         time.Duration
	}{
		{`400 {"error": "invalid_client"}`, "invalid_client", apple.SessionOver, 2 * time.Minute},
		{`401 {"error": "invalid_client"}`, "invalid_client", apple.SessionOver, 2 * time.Minute},
		{`403 forbidden`, "", apple.SessionOver, 2 * time.Minute},
		{`400 {"error": "ASSERTION"}`, "", apple.SessionOver, 2 * time.Minute},
		{`400 {"error": "\"}ASSERTION", "error_description": "ASSERTION"}`, "", apple.SessionOver, 2 * time.Minute},
		{`429 slow down`, "", apple.Later, 2 * time.Minute},
		{`503 ASSERTION`, "", apple.Later, 2 * time.Minute},
		{`302 `, "", apple.NoAnswer, 0},
		{`200 {"access_token": "", "token_type": "Bearer"}`, "", apple.NoAnswer, 0},
		{`200 {"access_token": "a\r\nX: b", "token_type": "Bearer"}`, "", apple.NoAnswer, 0},
		{`200 {"access_token": "hush-token", "token_type": "mac"}`, "", apple.NoAnswer, 0},
		{`200 ASSERTION`, "", apple.NoAnswer, 0},
		{`201 {"access_token": "hush-token", "token_type": "Bearer"}`, "", apple.NoAnswer, 0},
	} {
		o := &oauth{t: t, account: newAccount(t), lasts: 3600, grants: []string{test.answer}}
		axm := o.client()
		answer := apple.ReadStatus(axm.Do(statusRequest(t)))
		require.Equal(t, test.want, answer.Outcome, test.answer)
		require.Equal(t, test.code, answer.ErrorCode, test.answer)
		require.Equal(t, test.wait, answer.RetryAfter, test.answer)
		require.Empty(t, o.asked, "the API is asked nothing")
		said := fmt.Sprintf("%v %+v", answer, answer)
		require.NotContains(t, said, "eyJ", "no assertion")
		require.NotContains(t, said, "hush")
		require.Equal(t, apple.Done, apple.ReadStatus(axm.Do(statusRequest(t))).Outcome, "the next try is a new one")
	}
}

// Many callers get by on one token, and who waits for it can stop waiting.
func TestAxMOneRefresh(t *testing.T) {
	t.Parallel()
	o := &oauth{t: t, account: newAccount(t), lasts: 3600}
	o.client()
	var asking atomic.Int32
	var mu sync.Mutex
	wait := make(chan struct{})
	axm, err := appleclient.NewAxM(o.account, roundTrip(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host == "account.apple.com" {
			asking.Add(1)
			<-wait
		}
		mu.Lock()
		defer mu.Unlock()
		return o.serve(req)
	}), func() time.Time { return o.now })
	require.NoError(t, err)
	var all sync.WaitGroup
	for range 8 {
		req := statusRequest(t)
		all.Go(func() {
			if outcome := apple.ReadStatus(axm.Do(req)).Outcome; outcome != apple.Done {
				t.Errorf("want done, got %s", outcome)
			}
		})
	}
	for asking.Load() == 0 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = axm.Do(statusRequest(t).WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
	close(wait)
	all.Wait()
	require.Equal(t, 1, o.tokens)

	// All of them are told at once that it is no good.
	o.api = []int{401, 401, 401, 401}
	for range 4 {
		req := statusRequest(t)
		all.Go(func() { apple.ReadStatus(axm.Do(req)) })
	}
	all.Wait()
	require.LessOrEqual(t, o.tokens, 5)
	require.Equal(t, o.tokens, int(asking.Load()))
}

// One that gives up while it asks leaves the others to ask.
func TestAxMGivesUp(t *testing.T) {
	t.Parallel()
	s := simulate(t, activationlocktest.AppleConfig{})
	axm, err := appleclient.NewAxM(newAccount(t), s.transport(nil), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = axm.Do(statusRequest(t).WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, apple.Done, apple.ReadStatus(axm.Do(statusRequest(t))).Outcome)
}

func TestNewAxM(t *testing.T) {
	t.Parallel()
	good := newAccount(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	for _, test := range []struct {
		break_ func(*appleclient.Account)
		want   string
	}{
		{func(a *appleclient.Account) { a.ClientID = "" }, "a client ID and a key ID"},
		{func(a *appleclient.Account) { a.KeyID = "" }, "a client ID and a key ID"},
		{func(a *appleclient.Account) { a.Key = nil }, "P-256"},
		{func(a *appleclient.Account) { a.Key = p384 }, "P-256"},
		{func(a *appleclient.Account) { a.Scope = "school" }, "business.api or school.api"},
		{func(a *appleclient.Account) { a.TokenURL = "http://account.apple.com/token" }, "https"},
		{func(a *appleclient.Account) { a.TokenURL = "https://user:hush@account.apple.com/token" }, "https"},
		{func(a *appleclient.Account) { a.TokenURL = "https://" }, "https"},
	} {
		account := good
		test.break_(&account)
		_, err := appleclient.NewAxM(account, nil, nil)
		require.ErrorContains(t, err, test.want)
		require.NotContains(t, err.Error(), "hush")
	}
	require.Equal(t, apple.BusinessAPI, appleclient.Business.API())
	require.Equal(t, apple.SchoolAPI, appleclient.School.API())
}
