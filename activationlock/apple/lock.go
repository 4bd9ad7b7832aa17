package apple

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode"
)

// LockURL is the address of the ADE service that locks a device.
const LockURL = "https://mdmenrollment.apple.com/device/activationlock"

// SessionHeader is where the host's client puts the session token of the ADE
// service into a lock request. Any answer may carry a new token there, which
// replaces the old one. Transports such as nanodep's do both by themselves.
const SessionHeader = "X-ADM-Auth-Session"

const (
	defaultUserAgent       = "activationlock-sdk"
	defaultProtocolVersion = 7
)

// Lock asks Apple to turn the Activation Lock of one device on, for the
// organization. The device takes no part in it; it must be in Apple Business or
// School Manager, and within reach of the server token.
type Lock struct {
	SerialNumber string // required

	// Hash is of a server code ([bypasscode.Code.Hash]); required. File the code
	// in escrow before the request is sent, and send the same hash on every new
	// try: nothing gets from the hash back to the code.
	Hash bypasscode.Hash

	// LostMessage is what the activation screen shows; optional. Apple documents
	// no limit of its length.
	LostMessage string

	// UserAgent names the host's product; printable ASCII. Apple requires one;
	// empty means "activationlock-sdk".
	UserAgent string

	// ProtocolVersion selects the behaviour of the service
	// (X-Server-Protocol-Version). 0 means 7, which other clients send;
	// the lowest version that has this call is unconfirmed.
	ProtocolVersion int
}

// LockRequest makes the HTTP request for l. The host's client adds the session
// token as [SessionHeader]. What is empty is left out, never sent empty. Use
// [http.Request.WithContext] to bound the request in time.
//
// A request is sent once: it has no GetBody, so that no redirect can make a
// client send the hash, and the session token with it, to another address. Make
// a new one to try again, with the same hash. Transports that send it a second
// time with a new session must keep the body, as nanodep's does.
//
// Source: Apple, "Activation Lock a device" and "ActivationLockRequest".
func LockRequest(l Lock) (*http.Request, error) {
	if l.Hash == (bypasscode.Hash{}) {
		return nil, errors.New("apple: lock request: no hash")
	}
	return lockRequest(l, l.Hash.String())
}

// LockToTokenCreatorRequest makes a request for l like [LockRequest], but
// without a hash, which must not be set. No bypass code will ever open that
// lock: only the Apple Account of the person who created the server token in
// the portal does, and that person may leave.
func LockToTokenCreatorRequest(l Lock) (*http.Request, error) {
	if l.Hash != (bypasscode.Hash{}) {
		return nil, errors.New("apple: lock request: a hash, for a lock that no code opens")
	}
	return lockRequest(l, "")
}

func lockRequest(l Lock, escrowKey string) (*http.Request, error) {
	if l.UserAgent == "" {
		l.UserAgent = defaultUserAgent
	}
	if l.ProtocolVersion == 0 {
		l.ProtocolVersion = defaultProtocolVersion
	}
	switch {
	case l.SerialNumber == "":
		return nil, errors.New("apple: lock request: no serial number")
	case !utf8.ValidString(l.SerialNumber): // JSON would make it another one
		return nil, errors.New("apple: lock request: the serial number is not UTF-8")
	case !utf8.ValidString(l.LostMessage):
		return nil, errors.New("apple: lock request: the lost message is not UTF-8")
	case strings.TrimSpace(l.UserAgent) == "" || strings.ContainsFunc(l.UserAgent, notPrintableASCII):
		return nil, errors.New("apple: lock request: the user agent is not printable ASCII")
	case l.ProtocolVersion < 0:
		return nil, errors.New("apple: lock request: the protocol version is negative")
	}
	body, err := json.Marshal(struct {
		Device      string `json:"device"`
		EscrowKey   string `json:"escrow_key,omitempty"`
		LostMessage string `json:"lost_message,omitempty"`
	}{l.SerialNumber, escrowKey, l.LostMessage})
	if err != nil {
		return nil, fmt.Errorf("apple: lock request: %w", err)
	}
	req, err := post(LockURL, "application/json;charset=UTF8", string(body))
	if err != nil {
		return nil, fmt.Errorf("apple: lock request: %w", err)
	}
	req.Header.Set("User-Agent", l.UserAgent)
	req.Header.Set("X-Server-Protocol-Version", strconv.Itoa(l.ProtocolVersion))
	return req, nil
}

func notPrintableASCII(r rune) bool { return r < ' ' || r > '~' }

// LockAnswer is Apple's answer to a lock request.
type LockAnswer struct {
	Answer
	// SerialNumber is as Apple named it, "" if it did not; at most 64 bytes.
	// Compare it with the one that was asked for.
	SerialNumber string
	// ResponseStatus is as Apple wrote it, "" if it did not; at most 64 bytes,
	// printable.
	ResponseStatus string
}

var lockService = service{http.MethodPost, maxBody, map[int]Outcome{
	http.StatusOK:           Failed, // until the body says more
	http.StatusUnauthorized: SessionOver,
	http.StatusForbidden:    SessionOver,
}}

// ReadLock reads what an HTTP client returned for a lock request, its error
// included, so that it can take the two results of Do directly. It reads at
// most 64 KiB of the body and closes it. That Apple answers 200 is no success
// yet: only SUCCESS in the body is.
//
// Source: Apple, "ActivationLockResponse"; the values of response_status and
// the bodies of errors as clients of the service have recorded them.
func ReadLock(resp *http.Response, err error) LockAnswer {
	shared, body := lockService.read(resp, err)
	answer := LockAnswer{Answer: shared}
	switch {
	case answer.Outcome == Failed && answer.StatusCode == http.StatusOK:
		o := parse([]byte(body))
		status := o.text("response_status")
		switch status {
		case "SUCCESS":
			answer.Outcome = Done
		case "DEVICE_ALREADY_LOCKED":
			answer.Outcome = AlreadyLocked
		case "NOT_ACCESSIBLE", "ORG_NOT_SUPPORTED", "DEVICE_NOT_SUPPORTED":
			answer.Outcome = NotPossible
		}
		answer.SerialNumber = shown(o.text("serial_number"), maxWord)
		answer.ResponseStatus = shown(status, maxWord)
	case answer.Outcome == SessionOver && answer.StatusCode == http.StatusForbidden:
		// Plain text, which may be in quotation marks.
		if strings.Contains(body, "T_C_NOT_SIGNED") {
			answer.Outcome = TermsNotSigned
		} else if strings.Contains(body, "ACCESS_DENIED") {
			answer.Outcome = Refused
		}
	}
	return answer
}

// MaybeLocked reports whether the device may have been locked with the hash of
// this request although Apple did not say so: without an answer, after 5xx,
// FAILED, an unknown status or an unreadable body. Keep the code of the hash as
// one that may open the device: if the next try finds the device
// [AlreadyLocked], the lock may be the one that this request made.
func (a LockAnswer) MaybeLocked() bool {
	switch a.Outcome {
	case NoAnswer, Failed:
		return true
	case Later:
		return a.StatusCode >= 500
	case Refused:
		// A connection can break in TLS after Apple read the request.
		return a.StatusCode == 0 && !beforeSending(a.Err)
	default:
		return false
	}
}
