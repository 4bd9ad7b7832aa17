package apple_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
)

// inPlaceOfApple returns a transport that reaches handler under every name.
func inPlaceOfApple(handler http.HandlerFunc) (transport *http.Transport, stop func()) {
	server := httptest.NewTLSServer(handler)
	transport = server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.ServerName = "example.com"
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server.Listener.Addr().String())
	}
	return transport, server.Close
}

func ExampleUnlockRequest() {
	transport, stop := inPlaceOfApple(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL)
		if r.FormValue("escrowKey") != "J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17" {
			http.Error(w, "escrow key mismatch", http.StatusNotFound)
		}
	})
	defer stop()

	// A host's client has its push certificate for MDM in TLSClientConfig.Certificates.
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}

	for _, code := range []string{"3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", "J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17"} {
		req, err := apple.UnlockRequest(apple.Unlock{
			SerialNumber: "XXFAKE0SER1",
			ProductType:  "iPhone17,3",
			IMEI:         "350000000000019",
			Code:         bypasscode.NewText(code),
			Organization: "Example School",
			RequestedBy:  "jane.admin@example.org",
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		answer := apple.ReadUnlock(client.Do(req))
		fmt.Println(answer.Outcome, answer.StatusCode, answer.Detail)
	}
	// Output:
	// POST /deviceservicesworkers/escrowKeyUnlock?imei=350000000000019&productType=iPhone17%2C3&serial=XXFAKE0SER1
	// not found 404 escrow key mismatch
	// POST /deviceservicesworkers/escrowKeyUnlock?imei=350000000000019&productType=iPhone17%2C3&serial=XXFAKE0SER1
	// done 200
}

func ExampleReadUnlock() {
	answer := apple.ReadUnlock(&http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"90"}}}, nil)
	switch answer.Outcome {
	case apple.Done:
		fmt.Println("unlocked")
	case apple.NotFound:
		fmt.Println("try the next code")
	case apple.Later, apple.NoAnswer:
		fmt.Println("try the same code again in", answer.RetryAfter)
	default:
		fmt.Println("stop:", answer.Outcome)
	}
	// Output: try the same code again in 1m30s
}

// withHeader adds a header to every request: where a host does not have a
// transport that keeps the session for it, it writes one.
type withHeader struct {
	http.RoundTripper
	name, value string
}

func (t withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(t.name, t.value)
	return t.RoundTripper.RoundTrip(r)
}

func ExampleLockRequest() {
	transport, stop := inPlaceOfApple(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL, r.Header.Get(apple.SessionHeader))
		body, _ := io.ReadAll(r.Body)
		fmt.Printf("%s\n", body)
		var asked struct{ Device string }
		json.Unmarshal(body, &asked)
		fmt.Fprintf(w, `{"serial_number":%q,"response_status":"SUCCESS"}`, asked.Device)
	})
	defer stop()
	client := &http.Client{Transport: withHeader{transport, apple.SessionHeader, "session-token"}}

	// In place of bypasscode.New, whose code is filed in escrow before the lock.
	code, err := bypasscode.Parse("J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17")
	if err != nil {
		fmt.Println(err)
		return
	}
	hash, err := code.Hash()
	if err != nil {
		fmt.Println(err)
		return
	}
	req, err := apple.LockRequest(apple.Lock{
		SerialNumber: "XXFAKE0SER1",
		Hash:         hash,
		LostMessage:  "Property of Example School. Call 555-0100.",
		UserAgent:    "example-mdm/1.0",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := apple.ReadLock(client.Do(req))
	fmt.Println(answer.Outcome, answer.SerialNumber, answer.ResponseStatus)
	// Output:
	// POST /device/activationlock session-token
	// {"device":"XXFAKE0SER1","escrow_key":"59b9b3fa9ec4b806612b8b1fe6f12fcc3903156a58bcf4cae53a8a78dad563d3","lost_message":"Property of Example School. Call 555-0100."}
	// done XXFAKE0SER1 SUCCESS
}

// An answer that breaks off leaves it open whether the device is locked.
func ExampleLockAnswer_MaybeLocked() {
	answer := apple.ReadLock(nil, io.ErrUnexpectedEOF)
	if answer.MaybeLocked() {
		fmt.Println("keep the code, and send the same hash again")
	}
	// Output: keep the code, and send the same hash again
}

func ExampleStatusRequest() {
	transport, stop := inPlaceOfApple(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL)
		if r.Header.Get("Authorization") != "Bearer access-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, `{"data":{"type":"activationLockStatus","id":"XXFAKE0SER1","attributes":{"isLocked":true,"lockType":"USER"}}}`)
	})
	defer stop()
	client := &http.Client{Transport: withHeader{transport, "Authorization", "Bearer access-token"}}

	req, err := apple.StatusRequest(apple.SchoolAPI, "XXFAKE0SER1")
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := apple.ReadStatus(client.Do(req))
	if answer.Outcome != apple.Done || answer.SerialNumber != "XXFAKE0SER1" {
		fmt.Println("unknown:", answer.Outcome, answer.ErrorCode)
		return
	}
	fmt.Println(*answer.Locked, answer.LockType)
	// Output:
	// GET /v1/orgDevices/XXFAKE0SER1/activationLockStatus
	// true USER
}
