package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock/engine"
)

// server is the device management server, as far as its API goes.
type server interface {
	// deliver queues commands for an enrollment, in this order and up to the first
	// that fails, and has the device pushed.
	deliver(ctx context.Context, id string, commands []engine.Queued) error
}

const (
	callWithin = 10 * time.Second
	maxAnswer  = 64 << 10
)

// apiClient calls the API of a server.
type apiClient struct {
	base      string // without a slash at the end
	user, key string
	client    *http.Client
}

func newAPI(base, user, key string) apiClient {
	return apiClient{base: base, user: user, key: key, client: &http.Client{
		Timeout: callWithin,
		// A redirect would take the key to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// call makes one call and reads the JSON of its answer, which must have the wanted
// status. No error quotes the answer, nor the key.
func (a apiClient) call(ctx context.Context, method, path string, body []byte, status int, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address of the API is malformed")
	}
	req.SetBasicAuth(a.user, a.key)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/xml")
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("the server answers %d: is the API key the right one?", resp.StatusCode)
	case resp.StatusCode != status:
		return fmt.Errorf("the server answers %d", resp.StatusCode)
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	}
	if json.Unmarshal(content, answer) != nil {
		return errors.New("the answer is not the one of such a server")
	}
	return nil
}

// pathID is an enrollment ID as part of a path. Identifiers of devices have
// letters, digits and hyphens; with a comma or a slash in it, an ID that somebody
// made up would name other devices, or another call.
func pathID(id string) (string, error) {
	for _, r := range id {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
		default:
			return "", errors.New("the enrollment ID is none of a device")
		}
	}
	if id == "" {
		return "", errors.New("the enrollment ID is empty")
	}
	return id, nil
}

// apiAddress checks the address of an API.
func apiAddress(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("want an address such as http://127.0.0.1:9000")
	}
	if u.User != nil {
		return "", errors.New("the key of the API is no part of the address")
	}
	return strings.TrimRight(u.String(), "/"), nil
}
