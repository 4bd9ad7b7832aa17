package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/engine"
)

var queued = []engine.Queued{
	{UUID: "activationlock-1", RequestType: "DeviceInformation", Plist: []byte("<plist>one</plist>")},
	{UUID: "activationlock-2", RequestType: "ActivationLockBypassCode", Plist: []byte("<plist>two</plist>")},
}

// call is what a server was asked.
type call struct{ method, path, user, key, body string }

// recording answers with what is told, in turn, and remembers what it was asked.
func recording(t *testing.T, answers ...func(http.ResponseWriter)) (url string, calls *[]call) {
	t.Helper()
	calls = new([]call)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, key, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		*calls = append(*calls, call{r.Method, r.URL.RequestURI(), user, key, string(body)})
		if len(*calls) > len(answers) {
			http.Error(w, "one call too many", http.StatusTeapot)
			return
		}
		answers[len(*calls)-1](w)
	}))
	t.Cleanup(s.Close)
	return s.URL, calls
}

func answer(status int, v any) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
}

type object map[string]any

func TestNanoMDM(t *testing.T) {
	t.Parallel()
	url, calls := recording(t,
		answer(200, object{"no_push": true, "command_uuid": "activationlock-1"}),
		answer(200, object{"no_push": true, "command_uuid": "activationlock-2"}),
		answer(200, object{"status": object{udid: object{"push_result": "x"}}}),
	)
	require.NoError(t, newServer(config{kind: kindNano, serverURL: url, apiKey: "secret"}).deliver(t.Context(), udid, queued))
	require.Equal(t, []call{
		{"PUT", "/v1/enqueue/" + udid + "?nopush=1", "nanomdm", "secret", "<plist>one</plist>"},
		{"PUT", "/v1/enqueue/" + udid + "?nopush=1", "nanomdm", "secret", "<plist>two</plist>"},
		{"GET", "/v1/push/" + udid, "nanomdm", "secret", ""},
	}, *calls)
}

func TestMicroMDM(t *testing.T) {
	t.Parallel()
	payload := func(uuid string) func(http.ResponseWriter) {
		return answer(201, object{"payload": object{"udid": udid, "command_uuid": uuid}})
	}
	url, calls := recording(t, payload("activationlock-1"), payload("activationlock-2"))
	require.NoError(t, newServer(config{kind: kindMicro, serverURL: url, apiKey: "secret"}).deliver(t.Context(), udid, queued))
	require.Equal(t, []call{
		{"POST", "/v1/commands/" + udid, "micromdm", "secret", "<plist>one</plist>"},
		{"POST", "/v1/commands/" + udid, "micromdm", "secret", "<plist>two</plist>"},
	}, *calls)
}

// The first command that is not queued ends a delivery: what follows it is not to
// overtake it.
func TestNotDelivered(t *testing.T) {
	t.Parallel()
	nano := func(v object) func(http.ResponseWriter) { return answer(200, v) }
	good := nano(object{"command_uuid": "activationlock-1"})
	good2 := nano(object{"command_uuid": "activationlock-2"})
	for name, c := range map[string]struct {
		kind    string
		answers []func(http.ResponseWriter)
		err     string
	}{
		"nano: wrong key":         {kindNano, []func(http.ResponseWriter){answer(401, nil)}, "queue DeviceInformation: the server answers 401: is the API key the right one?"},
		"nano: redirect":          {kindNano, []func(http.ResponseWriter){answer(302, nil)}, "queue DeviceInformation: the server answers 302"},
		"nano: failed":            {kindNano, []func(http.ResponseWriter){answer(500, object{"command_error": "x"})}, "queue DeviceInformation: the server answers 500"},
		"nano: error and 200":     {kindNano, []func(http.ResponseWriter){nano(object{"command_uuid": "activationlock-1", "status": object{udid: object{"command_error": "x"}}})}, "queue DeviceInformation: the server did not queue it"},
		"nano: other command":     {kindNano, []func(http.ResponseWriter){good, good}, "queue ActivationLockBypassCode: the answer is to another command"},
		"nano: no JSON":           {kindNano, []func(http.ResponseWriter){func(w http.ResponseWriter) { io.WriteString(w, "<html>") }}, "queue DeviceInformation: the answer is not the one of such a server"},
		"nano: not pushed":        {kindNano, []func(http.ResponseWriter){good, good2, answer(500, nil)}, "queued, but not pushed: the server answers 500"},
		"nano: not pushed either": {kindNano, []func(http.ResponseWriter){good, good2, nano(object{"push_error": "x"})}, "queued, but not pushed: the server could not push"},
		"micro: wrong key":        {kindMicro, []func(http.ResponseWriter){answer(401, nil)}, "queue DeviceInformation: the server answers 401: is the API key the right one?"},
		"micro: 200":              {kindMicro, []func(http.ResponseWriter){answer(200, object{"error": "x"})}, "queue DeviceInformation: the server answers 200"},
		"micro: other command":    {kindMicro, []func(http.ResponseWriter){answer(201, object{"payload": object{"command_uuid": "x"}})}, "queue DeviceInformation: the answer is to another command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, calls := recording(t, c.answers...)
			err := newServer(config{kind: c.kind, serverURL: url, apiKey: "secret"}).deliver(t.Context(), udid, queued)
			require.EqualError(t, err, c.err)
			require.Len(t, *calls, len(c.answers))
		})
	}
	for _, kind := range []string{kindNano, kindMicro} {
		url, calls := recording(t)
		s := newServer(config{kind: kind, serverURL: url, apiKey: "secret"})
		for _, id := range []string{"", "A,B", "../push/A", "A/B", "A?x", "A%2CB", "..", "A B", "É"} {
			require.Error(t, s.deliver(t.Context(), id, queued), id)
		}
		require.Empty(t, *calls)
	}
}
