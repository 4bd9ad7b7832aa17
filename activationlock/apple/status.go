package apple

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// API is the base address of one of the two AxM APIs. Each has its own
// credentials.
type API string

const (
	BusinessAPI API = "https://api-business.apple.com" // Apple Business
	SchoolAPI   API = "https://api-school.apple.com"   // Apple School Manager
)

// StatusRequest makes the HTTP request that asks for the Activation Lock status
// of one device of the organization. The host's client adds the header
// "Authorization: Bearer" with its access token; that is why api must be an
// https address. Use [http.Request.WithContext] to bound the request in time.
//
// Source: Apple, "Get the Activation Lock Status for a Device".
func StatusRequest(api API, serialNumber string) (*http.Request, error) {
	base, err := url.Parse(string(api))
	switch {
	case err != nil || base.Scheme != "https" || base.Hostname() == "":
		// Without err, which has the address in it.
		return nil, errors.New("apple: status request: the API is no https address")
	case base.User != nil || strings.ContainsAny(string(api), "?#"):
		return nil, errors.New("apple: status request: the API is more than a base address")
	case serialNumber == "":
		return nil, errors.New("apple: status request: no serial number")
	case serialNumber == "." || serialNumber == "..": // would ask for something else
		return nil, errors.New("apple: status request: the serial number is a relative path")
	}
	address := strings.TrimRight(string(api), "/") + "/v1/orgDevices/" + url.PathEscape(serialNumber) + "/activationLockStatus"
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("apple: status request: the API is no https address")
	}
	req.Header.Set("Accept", "application/json") // else a client got 406
	return req, nil
}

// LockType is who locked a device.
type LockType string

const (
	// LockMDM: a device management service. Managed Lost Mode may show so too.
	LockMDM LockType = "MDM"
	// LockUser: a person, with a personal Apple Account.
	LockUser LockType = "USER"
	// LockNone: nobody.
	LockNone LockType = "NONE"
)

// StatusAnswer is Apple's answer to a status request.
type StatusAnswer struct {
	Answer
	// SerialNumber is as Apple named it, "" if it did not; at most 64 bytes.
	// Compare it with the one that was asked for.
	SerialNumber string
	// Locked is set if and only if the outcome is [Done].
	Locked *bool
	// LockType is "" if Apple did not say, which is usual for a device that is
	// not locked, or a value newer than this package, as Apple wrote it; at most
	// 64 bytes, printable. It may be set although Locked is not.
	LockType LockType
	// ErrorCode is the code of the first error that Apple named, "" if none; at
	// most 64 bytes, printable.
	ErrorCode string
}

var statusService = service{http.MethodGet, maxBody, map[int]Outcome{
	http.StatusOK:            Failed, // until the body says more
	http.StatusUnauthorized:  SessionOver,
	http.StatusNotFound:      NotFound,
	http.StatusNotAcceptable: Malformed,
}}

// ReadStatus reads what an HTTP client returned for a status request, its error
// included, so that it can take the two results of Do directly. It reads at
// most 64 KiB of the body and closes it.
//
// One of isLocked and lockType is enough: a missing isLocked follows from MDM,
// USER and NONE, not from a newer type. If they contradict each other (not
// locked, but with a type that is not NONE; locked, but NONE), if one of them
// has the wrong JSON type, or if Apple names an error in an answer of 200,
// nothing is known and the outcome is [Failed]. So it is when neither is there.
//
// Apple's page says that the call can fail with a server error for a device
// whose state has no public name: [Later] may last.
//
// Source: Apple, "ActivationLockStatusResponse", "ActivationLockType" and
// "ErrorResponse".
func ReadStatus(resp *http.Response, err error) StatusAnswer {
	shared, body := statusService.read(resp, err)
	answer := StatusAnswer{Answer: shared}
	o := parse([]byte(body))
	var problems []object
	unreadable := o.value("errors", &problems)
	if len(problems) > 0 {
		answer.ErrorCode = shown(problems[0].text("code"), maxWord)
	}
	if answer.Outcome != Failed || answer.StatusCode != http.StatusOK {
		return answer
	}

	var data, attributes object
	var isLocked *bool
	var lockType LockType
	unreadable = errors.Join(unreadable,
		o.value("data", &data), data.value("attributes", &attributes),
		attributes.value("isLocked", &isLocked), attributes.value("lockType", &lockType))
	answer.SerialNumber = shown(data.text("id"), maxWord)
	answer.LockType = LockType(shown(string(lockType), maxWord))
	if unreadable == nil && len(problems) == 0 {
		answer.Locked = locked(isLocked, lockType)
	}
	if answer.Locked != nil {
		answer.Outcome = Done
	}
	return answer
}

// locked returns nil for what is not known.
func locked(isLocked *bool, lockType LockType) *bool {
	switch {
	case lockType == "":
		return isLocked
	case isLocked == nil && (lockType == LockMDM || lockType == LockUser || lockType == LockNone):
		return new(lockType != LockNone)
	case isLocked == nil || *isLocked == (lockType == LockNone):
		return nil
	}
	return isLocked
}
