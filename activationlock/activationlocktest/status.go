package activationlocktest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	statusPrefix = "/v1/orgDevices/"
	statusSuffix = "/activationLockStatus"
)

func statusID(path string) string {
	rest, found := strings.CutPrefix(path, statusPrefix)
	if !found {
		return ""
	}
	return strings.TrimSuffix(rest, statusSuffix)
}

// token answers the request for an access token, whoever signed its assertion.
func (a *Apple) token(w http.ResponseWriter, r *request) {
	form := r.form()
	if r.Method != http.MethodPost || form.Get("grant_type") != "client_credentials" || form.Get("client_assertion") == "" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 3600, "scope": form.Get("scope"),
	})
}

// status answers activationLockStatus.
func (a *Apple) status(w http.ResponseWriter, r *request) {
	fail := func(status int, code, title string) {
		writeJSON(w, status, map[string]any{"errors": []any{map[string]string{
			"id": "00000000-0000-0000-0000-000000000000", "status": strconv.Itoa(status), "code": code, "title": title, "detail": title + ".",
		}}})
	}
	bearer, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.Method != http.MethodGet:
		fail(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "Method not allowed")
		return
	case !found || bearer == "":
		fail(http.StatusUnauthorized, "NOT_AUTHORIZED", "Authentication credentials are missing or invalid")
		return
	case !slices.ContainsFunc(strings.Split(r.Header.Get("Accept"), ","), func(accepted string) bool {
		kind, _, _ := strings.Cut(accepted, ";")
		return strings.TrimSpace(kind) == "application/json"
	}):
		fail(http.StatusNotAcceptable, "NOT_ACCEPTABLE", "The media type is not acceptable")
		return
	}
	serial := statusID(r.URL.Path)
	known := a.get(serial)
	if known == nil || !known.inOrganization {
		fail(http.StatusNotFound, "NOT_FOUND", "The specified resource does not exist")
		return
	}
	lock := a.told(known)
	attributes := map[string]any{"isLocked": true, "lockType": "MDM"}
	switch {
	case lock.LostMode || lock.Kind == OrganizationLinked || lock.Kind == CreatorLinked:
	case lock.Kind == UserLinked:
		attributes["lockType"] = "USER"
	default:
		attributes = map[string]any{"isLocked": false, "lockType": "NONE"}
		if a.config.Reading.NoLockType {
			delete(attributes, "lockType")
		}
	}
	if fields, asked := r.URL.Query()["fields[activationLockStatus]"]; asked {
		wanted := strings.Split(strings.Join(fields, ","), ",")
		for name := range attributes {
			if !slices.Contains(wanted, name) {
				delete(attributes, name)
			}
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"data":  map[string]any{"type": "activationLockStatus", "id": serial, "attributes": attributes},
		"links": map[string]string{"self": "https://" + r.Host + r.URL.Path},
	})
}

// told is the lock as the AxM API tells it, which may be old.
func (a *Apple) told(known *record) Lock {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.config.Now().Add(-a.config.Reading.StatusDelay)
	for i := len(known.times) - 1; i > 0; i-- {
		if !known.times[i].After(at) {
			return known.history[i]
		}
	}
	return known.history[0]
}
