package activationlocktest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/activationlock/sdk/bypasscode"
)

// unlock answers escrowKeyUnlock. Texts of bodies are of no source, except
// "escrow key mismatch", which was observed.
func (a *Apple) unlock(w http.ResponseWriter, r *request) {
	malformed := func(why string) { http.Error(w, why, http.StatusBadRequest) }
	notFound := func(why string) { http.Error(w, why, http.StatusNotFound) }
	if r.Method != http.MethodPost {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if a.config.RequireCertificate && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0) {
		http.Error(w, "no client certificate", http.StatusForbidden)
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	form := r.form()
	if err != nil || form == nil {
		malformed("malformed request")
		return
	}
	for _, key := range []string{"serial", "productType", "imei", "imei2", "meid"} {
		required := key == "serial" || key == "productType"
		switch values := query[key]; {
		case len(values) > 1, len(values) == 0 && required:
			malformed("malformed query")
			return
		case len(values) == 1 && values[0] == "" && (required || !a.config.Reading.EmptyIMEIAccepted):
			malformed("malformed query")
			return
		}
	}
	for _, key := range []string{"escrowKey", "orgName", "guid"} {
		if values := form[key]; len(values) != 1 || values[0] == "" {
			malformed("malformed body")
			return
		}
	}

	serial := query.Get("serial")
	known := a.get(serial)
	if known == nil || !a.matches(known.device, query) {
		notFound("device not found")
		return
	}
	code := bypasscode.NewText(form.Get("escrowKey"))
	switch lock := a.Lock(serial); {
	case lock.Kind == NotLocked && a.config.Reading.UnlockedIsDone:
	case lock.Kind == NotLocked:
		notFound("device not locked")
	case !a.turnOff(serial, func(l Lock) bool { return a.opens(l, code) }):
		notFound("escrow key mismatch")
	default:
		known.device.unlocked()
	}
}

// matches reports whether the query describes the device.
func (a *Apple) matches(d *Device, query url.Values) bool {
	reading := a.config.Reading
	if query.Get("productType") != d.config.ProductName ||
		d.platform == macos && reading.NoUnlockOfMacs || d.platform == visionos && reading.NoUnlockOfVisionPro {
		return false
	}
	for key, has := range map[string]string{"imei": d.config.IMEI, "imei2": d.config.IMEI2, "meid": d.config.MEID} {
		value := query.Get(key)
		if reading.SpacedIMEIAccepted {
			value = strings.ReplaceAll(value, " ", "")
		}
		if value == "" && (has == "" || key == "meid" || !reading.IMEIRequired) {
			continue
		}
		if value != has {
			return false
		}
	}
	return true
}
