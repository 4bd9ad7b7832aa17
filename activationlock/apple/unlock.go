package apple

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/activationlock/sdk/bypasscode"
)

// UnlockURL is the address of Apple's unlock service (escrowKeyUnlock).
const UnlockURL = "https://deviceservices-external.apple.com/deviceservicesworkers/escrowKeyUnlock"

// Unlock asks Apple to remove the Activation Lock of one device. The device
// takes no part in it.
type Unlock struct {
	SerialNumber string // required
	ProductType  string // required; the device's ProductName, for example "iPhone17,3"
	IMEI         string // digits; of slot one; empty for devices without cellular
	IMEI2        string // digits; of slot two; empty for devices with one SIM
	MEID         string // of slot one; empty for devices without cellular

	// Code is the code as the device reported it or as the server made it
	// ([bypasscode.Code.Text]); required. It is the code, never the hash.
	Code bypasscode.Text

	// Organization and RequestedBy (a mail address, directory ID or name) are
	// for Apple's audit; both required. Apple calls them orgName and guid.
	Organization string
	RequestedBy  string
}

// UnlockRequest makes the HTTP request for u. Identifiers go into the query,
// the code into the body; what is empty is left out, never sent empty. Printing
// the request does not show the code. Use [http.Request.WithContext] to bound
// it in time.
//
// A request is sent once: it has no GetBody, so that no redirect can make a
// client send the code to another address. Make a new one to try again.
//
// Source: Apple, "Creating and using bypass codes".
func UnlockRequest(u Unlock) (*http.Request, error) {
	query, body := url.Values{}, url.Values{}
	for _, p := range []struct {
		values      url.Values
		key, value  string
		required    bool
		description string
	}{
		{query, "serial", u.SerialNumber, true, "serial number"},
		{query, "productType", u.ProductType, true, "product type"},
		{query, "imei", u.IMEI, false, "IMEI"},
		{query, "imei2", u.IMEI2, false, "second IMEI"},
		{query, "meid", u.MEID, false, "MEID"},
		{body, "escrowKey", u.Code.Reveal(), true, "code"},
		{body, "orgName", u.Organization, true, "organization"},
		{body, "guid", u.RequestedBy, true, "requester"},
	} {
		if p.value != "" {
			p.values.Set(p.key, p.value)
		} else if p.required {
			return nil, errors.New("apple: unlock request: no " + p.description)
		}
	}
	for _, imei := range []string{u.IMEI, u.IMEI2} {
		if strings.Trim(imei, digits) != "" {
			return nil, errors.New("apple: unlock request: an IMEI has digits only")
		}
	}
	req, err := post(UnlockURL+"?"+query.Encode(), "application/x-www-form-urlencoded", body.Encode())
	if err != nil {
		return nil, fmt.Errorf("apple: unlock request: %w", err)
	}
	return req, nil
}

// post makes a request that is sent once and whose body printers do not reach.
func post(address, contentType, body string) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.ContentLength = int64(len(body))
	req.Body = io.NopCloser(bodyReader{strings.NewReader(body).Read}) // without GetBody
	return req, nil
}

// bodyReader reads what printers of the request cannot reach.
type bodyReader struct{ read func([]byte) (int, error) }

func (r bodyReader) Read(p []byte) (int, error) { return r.read(p) }

var unlockService = service{http.MethodPost, maxDetail + longestSecret + 1, map[int]Outcome{
	http.StatusOK:       Done,
	http.StatusNotFound: NotFound,
}}

// ReadUnlock reads what an HTTP client returned for an unlock request, its
// error included, so that it can take the two results of Do directly. It reads
// a bounded part of the body and closes it. Apple documents no format of the
// body; the status decides.
func ReadUnlock(resp *http.Response, err error) Answer {
	answer, _ := unlockService.read(resp, err)
	return answer
}
