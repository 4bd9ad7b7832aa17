package apple

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

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
	req, err := http.NewRequest(http.MethodPost, UnlockURL+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("apple: unlock request: %w", err)
	}
	form := body.Encode()
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.ContentLength = int64(len(form))
	req.Body = io.NopCloser(secretReader{strings.NewReader(form).Read})
	return req, nil
}

// secretReader reads a secret that printers of the request cannot reach.
type secretReader struct{ read func([]byte) (int, error) }

func (r secretReader) Read(p []byte) (int, error) { return r.read(p) }

// UnlockOutcome is what an unlock call came to, by what to do next.
type UnlockOutcome string

const (
	// UnlockDone: 200, the lock is removed.
	UnlockDone UnlockOutcome = "done"
	// UnlockNotFound: 404, Apple does not know the device, or the code is
	// wrong; which one it does not say. Try the next code.
	UnlockNotFound UnlockOutcome = "not found"
	// UnlockMalformed: 400, Apple could not read the request.
	UnlockMalformed UnlockOutcome = "malformed"
	// UnlockRefused: 401, 403, another undocumented 4xx, a redirect, or the TLS
	// connection was refused: most likely the client certificate. Stop; no code
	// was tried.
	UnlockRefused UnlockOutcome = "refused"
	// UnlockLater: 429 or 5xx. Try the same code again, after RetryAfter.
	UnlockLater UnlockOutcome = "later"
	// UnlockNoAnswer: the request may or may not have reached Apple. Try the
	// same code again. With TLS 1.3 a refused client certificate can show so
	// too, when the connection is gone before the client read why.
	UnlockNoAnswer UnlockOutcome = "no answer"
)

// UnlockAnswer is Apple's answer to an unlock request.
type UnlockAnswer struct {
	Outcome    UnlockOutcome
	StatusCode int           // 0 without an HTTP answer
	RetryAfter time.Duration // 0 if Apple did not say
	// Detail is the beginning of the body, printable characters only, without
	// anything that looks like a code. Apple documents no format; show it, do
	// not decide on it.
	Detail string
	// Err is the error of the host's client, if there was no answer.
	Err error
}

const (
	digits        = "0123456789"
	maxDetail     = 512
	maxRetryAfter = 24 * time.Hour

	// In bytes: without dashes, and with those of text programs.
	shortestCode = 26
	longestCode  = 26 + 5*3
)

// ReadUnlock reads what an HTTP client returned for an unlock request, its
// error included, so that it can take the two results of Do directly. It reads
// a bounded part of the body and closes it.
func ReadUnlock(resp *http.Response, err error) UnlockAnswer {
	if err != nil || resp == nil {
		outcome := UnlockNoAnswer
		// An answer together with an error is a redirect against the client's policy.
		if isTLS(err) || resp != nil && resp.StatusCode/100 == 3 {
			outcome = UnlockRefused
		}
		return UnlockAnswer{Outcome: outcome, Err: err}
	}
	answer := UnlockAnswer{StatusCode: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	switch code := resp.StatusCode; {
	case resp.Request != nil && resp.Request.Method != http.MethodPost:
		// The client followed a redirect and left the code behind: whatever
		// answered there is not the unlock service.
		answer.Outcome = UnlockRefused
	case code == http.StatusOK:
		answer.Outcome = UnlockDone
	case code == http.StatusNotFound:
		answer.Outcome = UnlockNotFound
	case code == http.StatusBadRequest:
		answer.Outcome = UnlockMalformed
	case code == http.StatusTooManyRequests || code >= 500:
		answer.Outcome = UnlockLater
	default: // an undocumented success is not taken for one
		answer.Outcome = UnlockRefused
	}
	if resp.Body != nil {
		defer resp.Body.Close()
		// The status decides; a body that breaks off changes nothing.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxDetail+longestCode))
		answer.Detail = detail(string(body), len(body) == maxDetail+longestCode)
	}
	return answer
}

// isTLS reports whether the connection failed in the TLS handshake. Apple
// refuses a client certificate there.
func isTLS(err error) bool {
	var remote *net.OpError // how crypto/tls wraps an alert of the peer
	if errors.As(err, &remote) && remote.Op == "remote error" {
		return true
	}
	var record tls.RecordHeaderError
	var server *tls.CertificateVerificationError
	return errors.As(err, &record) || errors.As(err, &server) || errors.Is(err, http.ErrSchemeMismatch)
}

// retryAfter reads seconds or a date relative to the answer's own Date, so
// that neither clock matters.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if value != "" && strings.Trim(value, digits) == "" {
		seconds, err := strconv.ParseUint(value, 10, 31)
		if err != nil { // more than fits
			return maxRetryAfter
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	now, err2 := http.ParseTime(h.Get("Date"))
	if err != nil || err2 != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// detail makes a body fit to be shown. Of one that was cut, as much of the end
// goes as may be the beginning of a code.
func detail(body string, cut bool) string {
	body = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == '\ufffd' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(body, " "))
	shown := len(body)
	if cut {
		shown -= longestCode
	}
	var out strings.Builder
	secret := 0 // up to where
	for i := 0; i < shown; i++ {
		if n := codeLike(body[i:]); n > 0 {
			if secret <= i {
				out.WriteString("[redacted]")
			}
			secret = max(secret, i+n)
		}
		if secret <= i {
			out.WriteByte(body[i])
		}
	}
	return strings.TrimSpace(strings.ToValidUTF8(out.String(), ""))
}

// codeLike returns the length of what s begins with if that is a code, with any
// dashes or none, else 0.
func codeLike(s string) int {
	word, _, _ := strings.Cut(s, " ")
	if strings.HasPrefix(word, "-") {
		return 0
	}
	for n := shortestCode; n <= min(longestCode, len(word)); n++ {
		if _, err := bypasscode.ParseLenient(word[:n], false); err == nil {
			return n
		}
	}
	return 0
}
