package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	nanolibhttp "github.com/micromdm/nanolib/http"
	"github.com/micromdm/nanolib/log"
	httpapi "github.com/micromdm/nanomdm/http/api"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/engine"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/examples/internal/operator"
	"github.com/activationlock/sdk/inventory"
)

// api is what administrators talk to. Who has its password may unlock devices, and
// says who he is: a server of your own knows that by itself.
func (h *host) api(password string, nano log.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/pushcert", httpapi.NewStorePushCertHandler(h.store, nano))
	mux.Handle("/v1/push/", http.StripPrefix("/v1/push/", httpapi.PushToIDsHandler(h.pusher, nano, httpapi.PathIDGetter)))
	mux.Handle("/v1/enqueue/", guard(http.StripPrefix("/v1/enqueue/",
		httpapi.RawCommandEnqueueToIDsHandler(h.store, h.pusher, nano, httpapi.PathIDGetter))))
	// NanoMDM's /v1/escrowkeyunlock is left out: it goes past escrow and audit.
	mux.HandleFunc("GET /v1/activationlock/report.csv", h.report)
	mux.HandleFunc("GET /v1/activationlock/{serial}", h.device)
	mux.HandleFunc("POST /v1/activationlock/{serial}/unlock", h.unlockDevice)

	// A browser that knows the password must not be used by another page.
	var authorized http.Handler = http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, 1<<20))
	return nanolibhttp.NewSimpleBasicAuthHandler(authorized, "nanomdm", password, "nanomdm")
}

// reportTimeout is how long a report may take: a fleet can be large.
const reportTimeout = 10 * time.Minute

// report writes a table of all devices.
func (h *host) report(w http.ResponseWriter, r *http.Request) {
	language := activationlock.Language(r.FormValue("language"))
	rows := inventory.Rows(r.Context(), h.records, inventory.Query{Sort: inventory.BySerialNumber, Filter: inventory.Filter{Live: true}})
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reportTimeout)) // else the server's holds
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	if _, err := inventory.WriteCSV(w, rows, language); err != nil {
		h.logger.ErrorContext(r.Context(), "report", "error", err)
		panic(http.ErrAbortHandler) // half a report must not look like a whole one
	}
}

// deviceAnswer is what is known of a device.
type deviceAnswer struct {
	SerialNumber string                `json:"serialNumber"`
	EnrollmentID string                `json:"enrollmentID"`
	Status       activationlock.Status `json:"status"`
	StatusLabel  string                `json:"statusLabel"`
	Lock         lockAnswer            `json:"lock"`
	CanErase     permission            `json:"canErase"`
	CanReassign  permission            `json:"canReassign"`
	Findings     []finding             `json:"findings"`
	Codes        []heldCode            `json:"codes"`
	LastUnlock   *action               `json:"lastUnlock"` // null if there is none
}

type lockAnswer struct {
	State  string    `json:"state"`
	Kind   string    `json:"kind"`
	Source string    `json:"source"`
	At     time.Time `json:"at,omitzero"`
}

type permission struct {
	Verdict string   `json:"verdict"` // yes, no or unknown
	Reasons []string `json:"reasons"`
}

type finding struct {
	Kind     inventory.FindingKind `json:"kind"`
	Severity string                `json:"severity"`
	Label    string                `json:"label"`
	Advice   string                `json:"advice"`
}

// heldCode is about a code, and has none in it.
type heldCode struct {
	RecordID  string    `json:"recordID"`
	Kind      string    `json:"kind"`
	FirstSeen time.Time `json:"firstSeen"`
	LastSeen  time.Time `json:"lastSeen"`
}

type action struct {
	ID        string        `json:"id"`
	State     bypass.State  `json:"state"`
	Reason    bypass.Reason `json:"reason,omitempty"`
	Label     string        `json:"label"`
	Aftermath string        `json:"aftermath,omitempty"`
	By        string        `json:"by"`
	StartedAt time.Time     `json:"startedAt"`
	NextAt    time.Time     `json:"nextAt,omitzero"`
	Warning   string        `json:"warning,omitempty"`
}

func actionOf(a *bypass.Action, evidence []activationlock.Evidence) *action {
	label := a.State.Label(activationlock.English)
	if a.Reason != "" {
		label += ": " + a.Reason.Label(activationlock.English)
	}
	answer := &action{ID: a.ID, State: a.State, Reason: a.Reason, Label: label, By: a.By.Actor, StartedAt: a.StartedAt, NextAt: a.NextAt}
	if a.State == bypass.Done {
		answer.Aftermath = a.Aftermath(evidence).Label(activationlock.English)
	}
	return answer
}

func permissionOf(a activationlock.Answer) permission {
	p := permission{Verdict: a.Verdict.Label(activationlock.English), Reasons: []string{}}
	for _, reason := range a.Reasons {
		p.Reasons = append(p.Reasons, reason.Label(activationlock.English))
	}
	return p
}

// device answers what is known of a device.
func (h *host) device(w http.ResponseWriter, r *http.Request) {
	ctx, serial := r.Context(), r.PathValue("serial")
	d, err := h.engine.Device(ctx, serial)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	erase, err := h.engine.CanErase(ctx, serial)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	reassign, err := h.engine.CanReassign(ctx, serial)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	const english = activationlock.English
	answer := deviceAnswer{
		SerialNumber: d.Record.Facts.SerialNumber, EnrollmentID: d.Record.EnrollmentID,
		Status: d.Status, StatusLabel: d.Status.Label(english),
		Lock:     lockAnswer{State: d.Lock.State.Label(english), Kind: d.Lock.Kind.Label(english), Source: d.Lock.Source.Label(english), At: d.Lock.At},
		CanErase: permissionOf(erase), CanReassign: permissionOf(reassign),
		Findings: []finding{}, Codes: []heldCode{},
	}
	for _, f := range d.Record.Summary.Findings {
		answer.Findings = append(answer.Findings, finding{f.Kind, f.Severity.Label(english), f.Label(english), f.Advice(english)})
	}
	for _, c := range d.Codes {
		answer.Codes = append(answer.Codes, heldCode{c.ID, string(c.Kind), c.FirstSeen, c.LastSeen})
	}
	if d.LastBypass != nil {
		answer.LastUnlock = actionOf(d.LastBypass, d.Record.Evidence)
	}
	writeJSON(w, http.StatusOK, answer)
}

// unlockDevice has the lock of a device removed.
func (h *host) unlockDevice(w http.ResponseWriter, r *http.Request) {
	ctx, serial := r.Context(), r.PathValue("serial")
	var wish struct {
		Actor  string `json:"actor"`
		Reason string `json:"reason"`
		InHand bool   `json:"inHand"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if decoder.Decode(&wish) != nil {
		writeError(w, http.StatusBadRequest, `want {"actor": …, "reason": …, "inHand": true}`)
		return
	}
	switch {
	case !escrow.ValidIdentifier(wish.Actor) || !escrow.ValidIdentifier(wish.Reason):
		writeError(w, http.StatusBadRequest, "actor and reason are required, with at most 255 bytes of text each")
		return
	case operator.HoldsCode(wish.Actor) || operator.HoldsCode(wish.Reason):
		writeError(w, http.StatusBadRequest, "actor or reason holds a code; they go into the audit, where everybody reads them")
		return
	}
	// Better no action than one that waits for a certificate.
	if _, err := h.unlock.certificate(ctx); err != nil {
		h.logger.ErrorContext(ctx, "unlock", "error", err)
		writeError(w, http.StatusServiceUnavailable, "there is no push certificate; store it with PUT /v1/pushcert")
		return
	}
	started, warning, err := h.engine.Bypass(ctx, serial, engine.Unlock{
		Act: escrow.Act{Actor: wish.Actor, Reason: wish.Reason}, InHand: wish.InHand,
	})
	if err != nil && !errors.Is(err, bypass.ErrOpen) {
		h.refuse(w, r, err)
		return
	}
	d, found := h.engine.Device(ctx, serial)
	if found != nil {
		h.logger.ErrorContext(ctx, "unlock", "error", found) // it is done all the same
	}
	answer := actionOf(&started, d.Record.Evidence)
	if err != nil { // somebody else's is under way
		writeJSON(w, http.StatusConflict, answer)
		return
	}
	if warning != "" {
		answer.Warning = warning.Label(activationlock.English)
	}
	writeJSON(w, http.StatusOK, answer)
}

// refuse answers with an error. What is not for the administrator to know is
// logged.
func (h *host) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, inventory.ErrNotFound):
		writeError(w, http.StatusNotFound, "no such device")
	case errors.Is(err, engine.ErrDisputed):
		writeError(w, http.StatusConflict, "several enrollments claim this serial number")
	case errors.Is(err, bypass.ErrNotInHand):
		writeError(w, http.StatusBadRequest, "inHand has to be true: a lock that is removed from afar helps a thief")
	default:
		h.logger.ErrorContext(r.Context(), "api", "call", r.Pattern, "error", err)
		writeError(w, http.StatusInternalServerError, "this failed; the log says why")
	}
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, struct {
		Error string `json:"error"`
	}{text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone, and nobody to tell
}
