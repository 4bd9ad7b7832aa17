package apple

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/activationlock/sdk/bypasscode"
)

// Outcome is what a call came to, by what to do next.
type Outcome string

const (
	// Done: Apple did what was asked. Unlock: the lock is removed. Lock: the
	// device is locked with the hash of the request. Status: Apple told the
	// state, and StatusAnswer.Locked is set.
	Done Outcome = "done"
	// NotFound: 404. Unlock: Apple does not know the device, or the code is
	// wrong; which one it does not say; try the next code. Status: the
	// organization does not manage this serial number; stop.
	NotFound Outcome = "not found"
	// Malformed: 400, and 406 of the status service: Apple could not read the
	// request. All services; mend the request, do not repeat it.
	Malformed Outcome = "malformed"
	// Refused: Apple, or the TLS connection, refused: 403 where it has no
	// outcome of its own, 401 of the unlock service, an undocumented 4xx, or a
	// redirect. All services; stop. Nothing was done, and no code was tried; only
	// a TLS fault of the lock service leaves a doubt ([LockAnswer.MaybeLocked]).
	// One of the unlock service is most likely the client certificate.
	Refused Outcome = "refused"
	// Later: 429 or 5xx. All services; send the same again, after RetryAfter or
	// with growing pauses.
	Later Outcome = "later"
	// NoAnswer: the request may or may not have reached Apple. All services;
	// send the same again. With TLS 1.3 a refused client certificate can show
	// so too, when the connection is gone before the client read why.
	NoAnswer Outcome = "no answer"
	// SessionOver: 401, and 403 of the lock service without a reason that has an
	// outcome of its own. Lock and status; get a new session (status: a new
	// access token) and send the same once more, then stop.
	SessionOver Outcome = "session over"
	// TermsNotSigned: 403 with T_C_NOT_SIGNED. Lock; stop until an
	// administrator accepted Apple's new terms in the portal.
	TermsNotSigned Outcome = "terms"
	// AlreadyLocked: DEVICE_ALREADY_LOCKED. Lock; stop. The code behind the hash
	// of this request does not open that lock, unless an earlier request with
	// the same hash may have made it ([LockAnswer.MaybeLocked]).
	AlreadyLocked Outcome = "already locked"
	// NotPossible: NOT_ACCESSIBLE, ORG_NOT_SUPPORTED or DEVICE_NOT_SUPPORTED.
	// Lock; stop: this token cannot lock this device.
	NotPossible Outcome = "not possible"
	// Failed: no success, yet nobody said that nothing happened: FAILED or a
	// response_status newer than this package, a 200 whose body cannot be read
	// or contradicts itself, or an undocumented 2xx. All services; send the same
	// (with the same code or hash) once more, then ask Apple's support.
	Failed Outcome = "failed"
)

// Answer is what the answers of all services have.
type Answer struct {
	Outcome    Outcome
	StatusCode int           // 0 without an HTTP answer
	RetryAfter time.Duration // 0 if Apple did not say; at most a day
	// Detail is the beginning of the body, at most 512 bytes of printable
	// characters, without anything that looks like a code or a hash. Show it, do
	// not decide on it.
	Detail string
	// Err is the error of the host's client, if there was no answer.
	Err error
}

const (
	digits        = "0123456789"
	hexDigits     = digits + "abcdefABCDEF"
	maxBody       = 64 << 10 // the documented answers have a few hundred bytes
	maxDetail     = 512
	maxWord       = 64
	maxRetryAfter = 24 * time.Hour

	// In bytes: without dashes, and with those of text programs.
	shortestCode  = 26
	longestCode   = 26 + 5*3
	hashLength    = 64
	longestSecret = max(longestCode, hashLength)
)

// service is how the answers of one service are read.
type service struct {
	method string
	body   int64           // how much of it is read, in bytes
	means  map[int]Outcome // of the status codes that mean something of their own
}

// read makes of what an HTTP client returned the part of the answer that all
// services have, and returns the beginning of the body with it. It closes the
// body.
func (s service) read(resp *http.Response, err error) (Answer, string) {
	if err != nil || resp == nil {
		answer := Answer{Outcome: NoAnswer, Err: err}
		if isTLS(err) {
			answer.Outcome = Refused
		}
		// An answer together with an error is a redirect against the client's policy.
		if resp != nil && resp.StatusCode/100 == 3 {
			answer.Outcome, answer.StatusCode = Refused, resp.StatusCode
		}
		return answer, ""
	}
	answer := Answer{StatusCode: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	outcome, own := s.means[resp.StatusCode]
	switch code := resp.StatusCode; {
	case redirected(resp.Request, s.method):
		answer.Outcome = Refused
	case own:
		answer.Outcome = outcome
	case code == http.StatusBadRequest:
		answer.Outcome = Malformed
	case code == http.StatusTooManyRequests || code >= 500:
		answer.Outcome = Later
	case code/100 == 2: // an undocumented success is not taken for one
		answer.Outcome = Failed
	default:
		answer.Outcome = Refused
	}
	if resp.Body == nil {
		return answer, ""
	}
	defer resp.Body.Close()
	// That a body breaks off is no error here: no part of a JSON object is an
	// object, and nothing else depends on how the body ends.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, s.body))
	answer.Detail = strings.TrimSpace(shown(string(body), maxDetail))
	return answer, string(body)
}

// redirected reports whether the client went to another address, where nobody
// was asked what the service was asked: redirects from a POST become a GET
// without the body, and whatever answered there is not the service.
func redirected(sent *http.Request, method string) bool {
	return sent != nil && (sent.Response != nil || sent.Method != method)
}

// isTLS reports whether the connection failed in TLS: mostly in the handshake,
// where Apple refuses a client certificate.
func isTLS(err error) bool {
	var remote *net.OpError // how crypto/tls wraps an alert of the peer
	if errors.As(err, &remote) && remote.Op == "remote error" {
		return true
	}
	var record tls.RecordHeaderError
	return errors.As(err, &record) || beforeSending(err)
}

// beforeSending reports whether err can only have happened before the request
// was sent: the client did not trust the server, or that did not speak TLS.
func beforeSending(err error) bool {
	var server *tls.CertificateVerificationError
	return errors.As(err, &server) || errors.Is(err, http.ErrSchemeMismatch)
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

// shown makes the beginning of what Apple wrote fit to be shown: at most most
// bytes, printable, and without secrets. Of a text that is cut, as much of the
// end goes as may be the beginning of a secret.
func shown(s string, most int) string {
	cut := len(s) > most+longestSecret
	if cut {
		s = s[:most+longestSecret]
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == '\ufffd' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	end := len(s)
	if cut {
		end -= longestSecret
	}
	end = min(end, most)
	var out strings.Builder
	secret := 0 // up to where
	for i := 0; i < end; i++ {
		if n := max(codeLike(s[i:]), hashLike(s[i:])); n > 0 {
			if secret <= i {
				out.WriteString("[redacted]")
			}
			secret = max(secret, i+n)
		}
		if secret <= i {
			out.WriteByte(s[i])
		}
	}
	text := strings.ToValidUTF8(out.String(), "")
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
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

// hashLike returns the length of a hash if s begins with one, else 0.
func hashLike(s string) int {
	if len(s) < hashLength || strings.Trim(s[:hashLength], hexDigits) != "" {
		return 0
	}
	return hashLength
}

// object is a JSON object. Its keys are told apart by case, which decoding into
// a struct does not do.
type object map[string]json.RawMessage

// parse returns nil for what is no object.
func parse(body []byte) (o object) {
	if json.Unmarshal(body, &o) != nil {
		return nil
	}
	return o
}

// value decodes what is under key into v. A missing key and null leave v alone
// and are no error.
func (o object) value(key string, v any) error {
	if raw, ok := o[key]; ok {
		return json.Unmarshal(raw, v)
	}
	return nil
}

// text returns the string under key, "" for anything else.
func (o object) text(key string) string {
	var s string
	_ = o.value(key, &s) // which leaves s alone if it fails
	return s
}
