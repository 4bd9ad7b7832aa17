package appleclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/micromdm/nanodep/client"
)

// ServerToken is the decrypted server token of a portal: the four values that
// sessions of the ADE service are opened with, and when they expire.
type ServerToken = client.OAuth1Tokens

// ADE sends requests to the ADE service. Nanodep's transport opens sessions, adds
// their token, takes over a renewed one, and when Apple says that a session is over,
// opens another and sends the request once more.
//
// One request is under way at a time: two would open two sessions at once, which are
// said to disturb each other. Servers that share a server token are better off to
// share the session too: see [client.SessionStore].
type ADE struct {
	client *http.Client
	turn   chan struct{}
}

// NewADE returns a client for the holder of a server token.
func NewADE(token *ServerToken, by http.RoundTripper) *ADE {
	by = whole{by}
	return &ADE{
		client: Client(client.NewTransport(by, sessions{Client(by)}, held{token}, nil)),
		turn:   make(chan struct{}, 1),
	}
}

// depName is what nanodep calls the one server token by.
const depName = "activationlock"

// Do sends a request, twice if its session is over. If Apple opens no session, that
// answer comes back: nothing was locked then.
func (a *ADE) Do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	sent := req.Clone(client.WithName(ctx, depName)) // nanodep writes into the header
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("appleclient: read the request: %w", err)
		}
		// Without GetBody nanodep keeps what was read of the body until the answer
		// came, which need not be all of it.
		sent.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		sent.Body, _ = sent.GetBody()
		sent.ContentLength = int64(len(body))
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	resp, err := a.client.Do(sent)
	return answer(req, resp, err)
}

// sessions asks for sessions. What is no session is a refusal: nanodep's own error
// has the body in its text, and loses the header that says when to ask again.
type sessions struct{ *http.Client }

func (s sessions) Do(req *http.Request) (*http.Response, error) {
	resp, err := s.Client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		return nil, &refusal{resp}
	}
	return resp, err
}

// whole reads each answer to its end, up to a limit: nanodep reads without one, and
// leaves the answer open that tells it of a session's end.
type whole struct{ by http.RoundTripper }

func (w whole) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.by.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := beginning(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// held is the one server token.
type held struct{ token *ServerToken }

func (h held) RetrieveAuthTokens(context.Context, string) (*ServerToken, error) { return h.token, nil }
