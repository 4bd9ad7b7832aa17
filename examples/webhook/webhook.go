package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash/maphash"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/activationlock/sdk/activationlock/engine"
)

const (
	// maxBody is the largest event that is read: in base64, reports of large
	// application lists have some megabytes.
	maxBody = 16 << 20
	// atMost is how long an event may take, whatever becomes of who posted it.
	atMost = time.Minute
	// signatureHeader has the HMAC-SHA256 of the body in base64.
	signatureHeader = "X-Hmac-Signature"
)

// webhook takes in events.
//
// There is no way back from here to the device, which has its answer already. A
// code that could not be committed is answered with 500 for the server's log;
// its question stays open on record, and is asked again.
type webhook struct {
	engine   *engine.Engine
	server   server
	hmacKey  string // "": events are not signed
	password string // "": whoever posts need not show one
	log      *slog.Logger
	numbers  *numbers
	turns    turns
}

// turns has the messages of a device taken in one after the other: NanoMDM posts
// those that came soon after each other at the same time.
type turns [64]sync.Mutex

var turnsSeed = maphash.MakeSeed()

func (t *turns) of(device string) *sync.Mutex {
	return &t[maphash.String(turnsSeed, device)%uint64(len(t))]
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := h.take(w, r)
	h.numbers.posted(status)
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
	}
}

// take takes in one post and returns the status to answer with.
func (h *webhook) take(w http.ResponseWriter, r *http.Request) int {
	refuse := func(status int, why string) int {
		h.log.Warn("event refused", "status", status, "reason", why, "from", r.RemoteAddr)
		return status
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return http.StatusMethodNotAllowed
	}
	if h.password != "" && !passwordIs(r, h.password) {
		w.Header().Set("WWW-Authenticate", "Basic")
		return refuse(http.StatusUnauthorized, "wrong or missing password")
	}
	signature := r.Header.Get(signatureHeader)
	if h.hmacKey != "" && signature == "" { // before a large body is read
		return refuse(http.StatusUnauthorized, "not signed")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "not JSON")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(http.StatusRequestEntityTooLarge, "too large")
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "not read to its end")
	}
	if h.hmacKey != "" && !signed(body, signature, h.hmacKey) {
		return refuse(http.StatusUnauthorized, "wrong signature")
	}
	topic, m, err := readEvent(body)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if m == nil {
		return http.StatusOK
	}
	from, err := m.enrollment()
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	// A server that is killed after its post must not take the code with it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), atMost)
	defer cancel()
	return h.handle(ctx, topic, from, m.RawPayload)
}

// handle hands a message to the engine, and the commands that come out to the
// server's queue.
func (h *webhook) handle(ctx context.Context, topic string, from engine.Enrollment, raw []byte) int {
	handle := h.engine.HandleCheckin
	if topic == topicConnect {
		handle = h.engine.HandleReport
	}
	turn := h.turns.of(cmp.Or(from.ParentID, from.ID))
	turn.Lock()
	outcome, err := handle(ctx, from, raw)
	turn.Unlock()
	if err != nil { // the engine told the log
		return http.StatusInternalServerError
	}
	if err := h.deliver(ctx, from, outcome.Commands); err != nil {
		h.log.WarnContext(ctx, "delivery failed; what got lost is asked again", "enrollment", from.ID, "error", err)
	}
	return http.StatusOK
}

// deliver puts commands into the server's queue and pushes. What gets lost on the
// way is asked again.
func (h *webhook) deliver(ctx context.Context, to engine.Enrollment, commands []engine.Queued) error {
	if len(commands) == 0 {
		return nil
	}
	err := h.server.deliver(ctx, to.ID, commands)
	h.numbers.delivered(err)
	return err
}

// deliverBatch delivers what is due.
func (h *webhook) deliverBatch(ctx context.Context, b engine.Batch) error {
	return h.deliver(ctx, b.Enrollment, b.Commands)
}

// signed reports whether a signature is the HMAC of a body.
func signed(body []byte, signature, key string) bool {
	got, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}

// passwordIs reports whether a request shows a password, whatever the name. Sums
// are compared, so that the time does not tell the length.
func passwordIs(r *http.Request, password string) bool {
	_, shown, _ := r.BasicAuth()
	got, want := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
