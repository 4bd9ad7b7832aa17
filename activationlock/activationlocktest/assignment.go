package activationlocktest

import (
	"crypto/rand"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"github.com/activationlock/sdk/bypasscode"
)

const sessionHeader = "X-ADM-Auth-Session"

// ExpireSessions makes all sessions of the ADE service expire.
func (a *Apple) ExpireSessions() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for session := range a.sessions {
		a.sessions[session] = false
	}
}

// NewSession returns a session token of the ADE service, as GET /session answers,
// for clients that are to be tested without that.
func (a *Apple) NewSession() string {
	session := rand.Text() // nothing depends on it
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[session] = true
	return session
}

// session answers the request for a session, without checking its signature.
func (a *Apple) session(w http.ResponseWriter, r *request) {
	switch {
	case r.Method != http.MethodGet:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	case r.Header.Get("User-Agent") == "":
		http.Error(w, "USER_AGENT_MISSING", http.StatusBadRequest)
	case !strings.HasPrefix(r.Header.Get("Authorization"), "OAuth "):
		http.Error(w, "unauthorized", http.StatusUnauthorized)
	default:
		writeJSON(w, http.StatusOK, map[string]string{"auth_session_token": a.NewSession()})
	}
}

// activationLock answers the request to lock a device.
func (a *Apple) activationLock(w http.ResponseWriter, r *request) {
	session := r.Header.Get(sessionHeader)
	a.mu.Lock()
	valid, made := a.sessions[session]
	a.mu.Unlock()
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	case r.Header.Get("User-Agent") == "":
		http.Error(w, "USER_AGENT_MISSING", http.StatusBadRequest)
		return
	case session == "" || made && !valid:
		http.Error(w, "session token expired", http.StatusUnauthorized)
		return
	case !made:
		http.Error(w, "FORBIDDEN", http.StatusForbidden)
		return
	}
	if a.config.OneUseSessions {
		a.mu.Lock()
		a.sessions[session] = false
		a.mu.Unlock()
	}
	w.Header().Set(sessionHeader, a.NewSession())

	var body map[string]any // keys that are not known are ignored
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	malformed := err != nil || kind != "application/json" || json.Unmarshal(r.body, &body) != nil
	text := func(key string) string {
		value, is := body[key].(string)
		_, present := body[key]
		malformed = malformed || present && (!is || value == "")
		return value
	}
	serial, digits, message := text("device"), text("escrow_key"), text("lost_message")
	lock := Lock{Kind: CreatorLinked, Message: message}
	if digits != "" {
		lock.Kind = OrganizationLinked
		lock.Hash, err = bypasscode.ParseHash(digits)
		malformed = malformed || err != nil || a.config.Reading.UpperHashRefused && digits != strings.ToLower(digits)
	}
	if malformed || serial == "" {
		http.Error(w, "MALFORMED_REQUEST_BODY", http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"serial_number": serial, "response_status": a.lockFor(serial, lock)})
}

// lockFor locks a device for the organization and returns the response_status.
func (a *Apple) lockFor(serial string, lock Lock) string {
	r := a.get(serial)
	if a.config.OldProgram {
		return "ORG_NOT_SUPPORTED"
	}
	if r == nil || !r.inOrganization {
		return "NOT_ACCESSIBLE"
	}
	switch d := r.device; {
	case d.platform == ios:
	case d.platform == macos && a.config.Reading.LocksMacs && !d.config.NoT2:
	case d.platform == visionos && a.config.Reading.LocksVisionPro:
	default:
		return "DEVICE_NOT_SUPPORTED"
	}
	if !a.turnOn(serial, lock) {
		return "DEVICE_ALREADY_LOCKED"
	}
	return "SUCCESS"
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
