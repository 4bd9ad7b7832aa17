package activationlocktest

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/activationlock/sdk/bypasscode"
)

// AppleConfig configures a simulated Apple. The zero value works.
type AppleConfig struct {
	// Reading answers what Apple does not say.
	Reading Reading
	// Now is the clock; nil is [time.Now].
	Now func() time.Time
	// Wait is called for the latency of a [Fault]; nil does not wait. Tests give
	// one that moves their clock.
	Wait func(time.Duration)
	// RequireCertificate: unlock requests without a TLS client certificate get
	// 403. [Apple.Start] refuses them earlier, in the TLS handshake.
	RequireCertificate bool
	// OneUseSessions: each answer of the ADE service renews the session, and the
	// one before has expired. Else renewal leaves it valid.
	OneUseSessions bool
	// OldProgram: the organization has not moved to Apple Business or School
	// Manager, so that every lock request ends in ORG_NOT_SUPPORTED.
	OldProgram bool
}

// Apple plays Apple's three services that concern Activation Lock, and keeps the
// true lock of each device. It is an [http.Handler] that goes by the path and
// does not mind the host:
//   - POST /deviceservicesworkers/escrowKeyUnlock
//   - GET /session and POST /device/activationlock
//   - POST /auth/oauth2/token and GET /v1/orgDevices/{id}/activationLockStatus
//
// Signatures are not checked: any Authorization header of the right kind will
// do.
//
// Methods that take a serial number panic if no device with it was added, except
// [Apple.Lock]. All methods are safe for use by several goroutines.
type Apple struct {
	config AppleConfig

	mu       sync.Mutex
	devices  map[string]*record
	sessions map[string]bool // false: expired
	scripts  map[Service][]Fault
	limits   map[Service]*limit
	requests []Request
	tried    map[string][]bypasscode.Text
	hashes   map[[bypasscode.Size]byte]bypasscode.Hash
}

// record is what Apple knows of a device.
type record struct {
	device         *Device
	inOrganization bool
	history        []Lock      // oldest first; the last is the true one
	times          []time.Time // when each began
}

// NewApple makes an Apple that knows no device yet.
func NewApple(config AppleConfig) *Apple {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Wait == nil {
		config.Wait = func(time.Duration) {}
	}
	return &Apple{
		config: config, devices: map[string]*record{}, sessions: map[string]bool{},
		scripts: map[Service][]Fault{}, limits: map[Service]*limit{}, tried: map[string][]bypasscode.Text{}, hashes: map[[bypasscode.Size]byte]bypasscode.Hash{},
	}
}

// Add makes the device known, with the lock that it has. From then on its Find
// My turns on the lock here, and it activates only when its lock here is off.
// InOrganization: the organization owns it, so that the ADE service and the AxM
// API know it, too. A serial number that is known already is an error.
func (a *Apple) Add(d *Device, inOrganization bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	lock := d.lock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.devices[d.config.SerialNumber] != nil {
		return errors.New("activationlocktest: a device with this serial number was added before")
	}
	a.devices[d.config.SerialNumber] = &record{device: d, inOrganization: inOrganization, history: []Lock{lock}, times: []time.Time{{}}}
	d.apple = a
	return nil
}

// Service is one of Apple's services.
type Service string

const (
	UnlockService Service = "unlock" // escrowKeyUnlock
	LockService   Service = "lock"   // the ADE service: session and activationlock
	StatusService Service = "status" // the AxM API: token and activationLockStatus
)

// Fault is what happens to one request. The zero Fault lets it pass.
type Fault struct {
	// Wait is for how long nothing happens, before anything else.
	Wait time.Duration
	// Processed: the request takes effect, whatever its sender gets to know of it.
	// It matters only together with Drop or Status.
	Processed bool
	// Drop closes the connection without an answer.
	Drop bool
	// Status is the HTTP status that is answered, with Body and RetryAfter (in
	// whole seconds; 0 leaves the header out), in place of the true answer; 0
	// gives that.
	Status     int
	Body       string
	RetryAfter time.Duration
}

// Script says what happens to the next requests of a service, one Fault each, in
// their order and after those of earlier calls. Requests that [Apple.LimitRate]
// refuses do not count.
func (a *Apple) Script(s Service, faults ...Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scripts[s] = append(a.scripts[s], faults...)
}

// LimitRate makes a service answer 429 with Retry-After, in seconds, to more
// than n requests within the window, which begins with the first of them. 0
// requests lifts the limit.
func (a *Apple) LimitRate(s Service, n int, window time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits[s] = &limit{n: n, window: window}
}

type limit struct {
	n, used int
	window  time.Duration
	start   time.Time
}

// wait is for how long a request has to wait, 0 if it may pass.
func (l *limit) wait(now time.Time) time.Duration {
	if l == nil || l.n == 0 {
		return 0
	}
	if l.used == 0 || !now.Before(l.start.Add(l.window)) {
		l.start, l.used = now, 0
	}
	if l.used >= l.n {
		return l.start.Add(l.window).Sub(now)
	}
	l.used++
	return 0
}

// Request is what was received, without any secret: of headers, query and form
// only the names.
type Request struct {
	Service      Service // "" for unknown paths
	Method       string
	Path         string
	SerialNumber string // as the request names it
	// HeaderNames, QueryKeys and FormKeys (of the body) are sorted.
	HeaderNames, QueryKeys, FormKeys []string
	Status                           int // that was answered; 0 if the connection was closed
	Time                             time.Time
}

// Requests returns the requests so far, oldest first.
func (a *Apple) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// CodesTried returns the codes that unlock requests for the serial number had,
// oldest first, whatever came of them.
func (a *Apple) CodesTried(serial string) []bypasscode.Text {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.tried[serial])
}

// maxBody bounds what is read of a request.
const maxBody = 64 << 10

// ServeHTTP answers one request. To close a connection without an answer, it
// panics with [http.ErrAbortHandler], as net/http wants it.
func (a *Apple) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	received := request{Request: r}
	answer := a.unknown
	switch path := r.URL.Path; {
	case path == "/deviceservicesworkers/escrowKeyUnlock":
		received.service, answer = UnlockService, a.unlock
	case path == "/session":
		received.service, answer = LockService, a.session
	case path == "/device/activationlock":
		received.service, answer = LockService, a.activationLock
	case path == "/auth/oauth2/token" || path == "/auth/oauth2/v2/token":
		received.service, answer = StatusService, a.token
	case strings.HasPrefix(path, statusPrefix) && strings.HasSuffix(path, statusSuffix):
		received.service, answer = StatusService, a.status
	}
	if r.Body != nil {
		body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
		if err == nil {
			received.body = body
		}
	}
	index, fault := a.receive(&received)

	if fault.Wait > 0 {
		a.config.Wait(fault.Wait)
	}
	out := httptest.NewRecorder()
	if fault.Processed || !fault.Drop && fault.Status == 0 {
		answer(out, &received)
	}
	if fault.Drop {
		panic(http.ErrAbortHandler)
	}
	if fault.Status != 0 {
		out = httptest.NewRecorder()
		if fault.RetryAfter > 0 {
			out.Header().Set("Retry-After", strconv.Itoa(int((fault.RetryAfter+time.Second-1)/time.Second)))
		}
		out.WriteHeader(fault.Status)
		out.WriteString(fault.Body)
	}
	a.mu.Lock()
	a.requests[index].Status = out.Code
	a.mu.Unlock()
	maps.Copy(w.Header(), out.Header())
	w.WriteHeader(out.Code)
	w.Write(out.Body.Bytes())
}

// request is a request whose body has been read.
type request struct {
	*http.Request
	service Service
	body    []byte
}

// form reads the body as a form; empty if it is none.
func (r *request) form() url.Values {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil
	}
	form, err := url.ParseQuery(string(r.body))
	if err != nil {
		return nil
	}
	return form
}

// receive records the request and says what happens to it.
func (a *Apple) receive(r *request) (index int, fault Fault) {
	form, query := r.form(), r.URL.Query()
	var serial string
	switch r.service {
	case UnlockService:
		serial = cmp.Or(query.Get("serial"), form.Get("serial"))
	case LockService:
		var body struct{ Device string }
		if json.Unmarshal(r.body, &body) == nil {
			serial = body.Device
		}
	case StatusService:
		serial = statusID(r.URL.Path)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.config.Now()
	a.requests = append(a.requests, Request{
		Service: r.service, Method: r.Method, Path: r.URL.Path, SerialNumber: serial,
		HeaderNames: slices.Sorted(maps.Keys(r.Header)), QueryKeys: slices.Sorted(maps.Keys(query)),
		FormKeys: slices.Sorted(maps.Keys(form)), Time: now,
	})
	if r.service == UnlockService {
		for _, code := range slices.Concat(query["escrowKey"], form["escrowKey"]) {
			a.tried[serial] = append(a.tried[serial], bypasscode.NewText(code))
		}
	}
	if wait := a.limits[r.service].wait(now); wait > 0 {
		fault = Fault{Status: http.StatusTooManyRequests, Body: "too many requests", RetryAfter: wait}
	} else if script := a.scripts[r.service]; len(script) > 0 {
		fault, a.scripts[r.service] = script[0], script[1:]
	}
	return len(a.requests) - 1, fault
}

func (a *Apple) unknown(w http.ResponseWriter, r *request) {
	http.Error(w, "not found", http.StatusNotFound)
}

// get returns a record; nil if the serial number is not known.
func (a *Apple) get(serial string) *record {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.devices[serial]
}
