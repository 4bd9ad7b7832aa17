package appleclient_test

import (
	"context"
	"io"
	"net/http"
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

var serverToken = &appleclient.ServerToken{
	ConsumerKey: "CK_example", ConsumerSecret: "CS_hush-consumer", AccessToken: "AT_example", AccessSecret: "AS_hush-access",
}

const (
	gotSession = "GET /session OK"
	gotLock    = "POST /device/activationlock OK"
	gotNoLock  = "POST /device/activationlock Unauthorized"
)

func TestADESessions(t *testing.T) {
	t.Parallel()
	for _, oneUse := range []bool{false, true} {
		s, seen := simulate(t, activationlocktest.AppleConfig{OneUseSessions: oneUse}), 0
		ade := appleclient.NewADE(serverToken, s.transport(nil))
		lock := func(serial string) {
			t.Helper()
			req, code := lockRequest(t, serial)
			resp, err := ade.Do(req)
			require.NoError(t, err)
			require.Same(t, req, resp.Request)
			require.Empty(t, req.Header.Get(apple.SessionHeader), "the caller's request keeps no session")
			answer := apple.ReadLock(resp, err)
			require.Equal(t, apple.Done, answer.Outcome)
			hash, err := code.Hash()
			require.NoError(t, err)
			require.Equal(t, hash, s.Lock(serial).Hash)
			require.Equal(t, "Call 555-0100.", s.Lock(serial).Message)
		}
		lock(serial)
		require.Equal(t, []string{gotSession, gotLock}, s.calls(&seen))
		lock("XXFAKE0SER2")
		require.Equal(t, []string{gotLock}, s.calls(&seen), "the session is kept")
		s.ExpireSessions()
		lock("XXFAKE0SER3")
		require.Equal(t, []string{gotNoLock, gotSession, gotLock}, s.calls(&seen), "once more, with the whole body")
		for _, r := range s.Requests() {
			if r.Path == "/device/activationlock" {
				require.Contains(t, r.HeaderNames, "User-Agent")
				require.Contains(t, r.HeaderNames, "X-Server-Protocol-Version")
			}
		}
	}
}

// A session that is over at once is not asked for again and again.
func TestADESessionOver(t *testing.T) {
	t.Parallel()
	s, seen := simulate(t, activationlocktest.AppleConfig{}), 0
	over := activationlocktest.Fault{Status: http.StatusUnauthorized}
	s.Script(activationlocktest.LockService, activationlocktest.Fault{}, over)
	req, _ := lockRequest(t, serial)
	answer := apple.ReadLock(appleclient.NewADE(serverToken, s.transport(nil)).Do(req))
	require.Equal(t, apple.SessionOver, answer.Outcome)
	require.Equal(t, []string{gotSession, gotNoLock}, s.calls(&seen))
}

// Why there is no session decides what to do next, as with the lock service's own
// answers.
func TestADENoSession(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault activationlocktest.Fault
		want  apple.Outcome
	}{
		{activationlocktest.Fault{Status: http.StatusForbidden, Body: `"T_C_NOT_SIGNED"`}, apple.TermsNotSigned},
		{activationlocktest.Fault{Status: http.StatusForbidden, Body: "ACCESS_DENIED"}, apple.Refused},
		{activationlocktest.Fault{Status: http.StatusUnauthorized}, apple.SessionOver},
		{activationlocktest.Fault{Status: http.StatusTooManyRequests, RetryAfter: 90 * time.Second}, apple.Later},
		{activationlocktest.Fault{Status: http.StatusServiceUnavailable, RetryAfter: 90 * time.Second}, apple.Later},
		{activationlocktest.Fault{Drop: true}, apple.NoAnswer},
	} {
		s := simulate(t, activationlocktest.AppleConfig{})
		s.Script(activationlocktest.LockService, test.fault)
		req, _ := lockRequest(t, serial)
		answer := apple.ReadLock(appleclient.NewADE(serverToken, s.transport(nil)).Do(req))
		require.Equal(t, test.want, answer.Outcome)
		require.Equal(t, test.fault.Status, answer.StatusCode)
		require.Equal(t, test.fault.RetryAfter, answer.RetryAfter)
		require.Equal(t, activationlocktest.NotLocked, s.Lock(serial).Kind)
	}
}

// A server may answer before it has read the request; the second one is whole all
// the same. Each answer is read, up to a limit, and closed.
func TestADEAnsweredEarly(t *testing.T) {
	t.Parallel()
	var bodies []*body
	var locked string
	posts := 0
	by := roundTrip(func(req *http.Request) (*http.Response, error) {
		status, content := http.StatusOK, io.Reader(strings.NewReader(`{"auth_session_token": "hush-session"}`))
		if req.Method == http.MethodPost {
			if posts++; posts == 2 {
				status, content = http.StatusUnauthorized, endless{}
			} else {
				sent, err := io.ReadAll(req.Body)
				require.NoError(t, err)
				locked, content = string(sent), strings.NewReader(`{"response_status": "SUCCESS"}`)
			}
			require.Equal(t, "hush-session", req.Header.Get(apple.SessionHeader))
			req.Body.Close()
		} else {
			require.Regexp(t, `^OAuth .*oauth_signature_method="HMAC-SHA1"`, req.Header.Get("Authorization"))
		}
		b := &body{Reader: content}
		bodies = append(bodies, b)
		resp, err := respond(req, status, "")
		resp.Body = b
		return resp, err
	})
	ade := appleclient.NewADE(serverToken, by)
	first, _ := lockRequest(t, serial)
	require.Equal(t, apple.Done, apple.ReadLock(ade.Do(first)).Outcome)
	second, code := lockRequest(t, "XXFAKE0SER2")
	require.Equal(t, apple.Done, apple.ReadLock(ade.Do(second)).Outcome)
	hash, err := code.Hash()
	require.NoError(t, err)
	require.JSONEq(t, `{"device": "XXFAKE0SER2", "escrow_key": "`+hash.String()+`", "lost_message": "Call 555-0100."}`, locked)
	require.Len(t, bodies, 5)
	for _, b := range bodies {
		require.True(t, b.closed)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Two sessions at once disturb each other, so there are none; and who waits for
// their turn can stop waiting.
func TestADEOneAtATime(t *testing.T) {
	t.Parallel()
	var under, sessions atomic.Int32
	wait := make(chan struct{})
	by := roundTrip(func(req *http.Request) (*http.Response, error) {
		require.Equal(t, int32(1), under.Add(1))
		defer under.Add(-1)
		<-wait
		runtime.Gosched()
		if req.Method == http.MethodPost {
			return respond(req, http.StatusOK, `{"response_status": "SUCCESS"}`)
		}
		sessions.Add(1)
		return respond(req, http.StatusOK, `{"auth_session_token": "hush-session"}`)
	})
	ade := appleclient.NewADE(serverToken, by)
	var all sync.WaitGroup
	for range 8 {
		req, _ := lockRequest(t, serial)
		all.Go(func() {
			if outcome := apple.ReadLock(ade.Do(req)).Outcome; outcome != apple.Done {
				t.Errorf("want done, got %s", outcome)
			}
		})
	}
	for under.Load() == 0 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, _ := lockRequest(t, serial)
	_, err := ade.Do(req.WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
	close(wait)
	all.Wait()
	require.Equal(t, int32(1), sessions.Load())
}
