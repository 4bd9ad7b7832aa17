package embedding

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/activationlock/sdk/activationlock/engine"
)

const maxEvent = 16 << 20

// README nanocmd begin

// beforeNanoCMD stands before NanoCMD's webhook handler: a workflow would come too
// late, since NanoCMD forgets a finished step before it runs it, and drops errors. The
// engine sees each event first, and NanoCMD gets it without the code.
func beforeNanoCMD(nanocmd http.Handler, locks *engine.Engine, queue func(ctx context.Context, id string, commands []engine.Queued) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
		var event map[string]json.RawMessage
		if err != nil || json.Unmarshal(body, &event) != nil {
			http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
			return
		}
		for key, handle := range map[string]func(context.Context, engine.Enrollment, []byte) (engine.Outcome, error){
			"checkin_event": locks.HandleCheckin, "acknowledge_event": locks.HandleReport,
		} {
			var from struct {
				ID  string `json:"udid"`
				Raw []byte `json:"raw_payload"`
			}
			if json.Unmarshal(event[key], &from) != nil || len(from.Raw) == 0 {
				continue
			}
			out, err := handle(r.Context(), engine.Enrollment{ID: from.ID}, from.Raw)
			if err != nil { // for NanoMDM's log; the code is asked for again
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
				return
			}
			if err := queue(r.Context(), from.ID, out.Commands); err != nil {
				logError(r.Context(), "commands not queued", from.ID, err)
			}
			if body, err = redactEvent(event, key, out.Redacted); err != nil {
				http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
				return
			}
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		nanocmd.ServeHTTP(w, r)
	})
}

// README nanocmd end

// redactEvent puts what NanoCMD may see in place of the message.
func redactEvent(event map[string]json.RawMessage, key string, redacted []byte) ([]byte, error) {
	var inner map[string]json.RawMessage
	err := json.Unmarshal(event[key], &inner)
	if err != nil {
		return nil, err
	}
	if inner["raw_payload"], err = json.Marshal(redacted); err != nil {
		return nil, err
	}
	if event[key], err = json.Marshal(inner); err != nil {
		return nil, err
	}
	return json.Marshal(event)
}
