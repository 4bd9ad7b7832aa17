package apple_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
)

func ExampleUnlockRequest() {
	// In place of Apple.
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL)
		if r.FormValue("escrowKey") != "J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17" {
			http.Error(w, "escrow key mismatch", http.StatusNotFound)
		}
	}))
	defer server.Close()

	// A host's client has its push certificate for MDM in TLSClientConfig.Certificates.
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.ServerName = "example.com"
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server.Listener.Addr().String())
	}
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
	case apple.UnlockDone:
		fmt.Println("unlocked")
	case apple.UnlockNotFound:
		fmt.Println("try the next code")
	case apple.UnlockLater, apple.UnlockNoAnswer:
		fmt.Println("try the same code again in", answer.RetryAfter)
	default:
		fmt.Println("stop:", answer.Outcome)
	}
	// Output: try the same code again in 1m30s
}
