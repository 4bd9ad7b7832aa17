package activationlocktest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

// A device enrolls with a server that asks for its bypass code.
func ExampleDevice() {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		message, err := mdmcmd.Parse(body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		report, is := message.(*mdmcmd.Report)
		if !is {
			fmt.Printf("%T\n", message)
			return
		}
		fmt.Println(report.Status, report.BypassCode != nil)
		if !asked {
			asked = true
			command, err := mdmcmd.Encode("example-1", mdmcmd.ActivationLockBypassCode)
			if err != nil {
				fmt.Println(err)
			}
			w.Write(command)
		}
	}))
	defer server.Close()

	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXFAKE0SER1", Supervised: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	messages, err := device.Enroll()
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	if err := device.CheckIn(ctx, server.Client(), server.URL, messages); err != nil {
		fmt.Println(err)
	}
	if _, err := device.Poll(ctx, server.Client(), server.URL); err != nil {
		fmt.Println(err)
	}
	// Output:
	// *mdmcmd.Authenticate
	// *mdmcmd.TokenUpdate
	// Idle false
	// Acknowledged true
}

// A device is locked, erased, and unlocked at Apple.
func ExampleApple() {
	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXFAKE0SER1", ProductName: "iPad14,3"})
	if err != nil {
		fmt.Println(err)
		return
	}
	service := activationlocktest.NewApple(activationlocktest.AppleConfig{})
	if err := service.Add(device, true); err != nil {
		fmt.Println(err)
		return
	}
	code := bypasscode.New()
	if err := lockFor(service, "XXFAKE0SER1", code); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("locked:", service.Lock("XXFAKE0SER1").Kind)
	_, err = device.Enroll()
	fmt.Println(err)

	server, err := service.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	request, err := apple.UnlockRequest(apple.Unlock{
		SerialNumber: "XXFAKE0SER1", ProductType: "iPad14,3", Code: code.Text(),
		Organization: "Example School", RequestedBy: "jane.admin@example.org",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(apple.ReadUnlock(server.Client().Do(request)).Outcome)
	fmt.Println("activates:", device.Activated())
	// Output:
	// locked: organization
	// activationlocktest: the device is locked and not activated
	// done
	// activates: true
}

// An answer gets lost after the lock was lifted.
func ExampleApple_Script() {
	device, err := activationlocktest.NewDevice(activationlocktest.DeviceConfig{SerialNumber: "XXFAKE0SER1", ProductName: "iPad14,3"})
	if err != nil {
		fmt.Println(err)
		return
	}
	service := activationlocktest.NewApple(activationlocktest.AppleConfig{})
	if err := service.Add(device, true); err != nil {
		fmt.Println(err)
		return
	}
	code := bypasscode.New()
	if err := lockFor(service, "XXFAKE0SER1", code); err != nil {
		fmt.Println(err)
		return
	}
	server, err := service.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	service.Script(activationlocktest.UnlockService, activationlocktest.Fault{Drop: true, Processed: true})
	for range 2 {
		request, err := apple.UnlockRequest(apple.Unlock{
			SerialNumber: "XXFAKE0SER1", ProductType: "iPad14,3", Code: code.Text(),
			Organization: "Example School", RequestedBy: "jane.admin@example.org",
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		answer := apple.ReadUnlock(server.Client().Do(request))
		fmt.Printf("%s %q\n", answer.Outcome, answer.Detail)
	}
	fmt.Println("truth:", service.Lock("XXFAKE0SER1").Kind == activationlocktest.NotLocked)
	// Output:
	// no answer ""
	// not found "device not locked"
	// truth: true
}

// lockFor turns the lock on as a server does.
func lockFor(service *activationlocktest.Apple, serial string, code bypasscode.Code) error {
	hash, err := code.Hash()
	if err != nil {
		return err
	}
	request, err := apple.LockRequest(apple.Lock{SerialNumber: serial, Hash: hash})
	if err != nil {
		return err
	}
	server, err := service.Start()
	if err != nil {
		return err
	}
	defer server.Close()
	request.Header.Set(apple.SessionHeader, service.NewSession())
	resp, err := server.Client().Do(request)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
