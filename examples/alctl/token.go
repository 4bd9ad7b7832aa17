package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/activationlock/sdk/examples/internal/operator"
)

// readToken reads an access token.
func readToken(path string) (string, error) {
	content, err := operator.ReadPrivate(path)
	if err != nil {
		return "", fmt.Errorf("read -token-file: %w", err)
	}
	token := strings.TrimSpace(content)
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("read -token-file: want one line with an access token")
	}
	return token, nil
}

// bearer sends an access token with each request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(req)
}
