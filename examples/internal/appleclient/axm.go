package appleclient

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock/apple"
)

// TokenURL is where access tokens are asked for. Some clients use /v2/token.
const TokenURL = "https://account.apple.com/auth/oauth2/token"

// audience is who assertions are for, wherever they are sent.
const audience = "https://account.apple.com/auth/oauth2/v2/token"

// Scope is which of the two APIs an account is for.
type Scope string

const (
	Business Scope = "business.api"
	School   Scope = "school.api"
)

// API is the base address of the scope's API; "" for an unknown scope.
func (s Scope) API() apple.API {
	switch s {
	case Business:
		return apple.BusinessAPI
	case School:
		return apple.SchoolAPI
	}
	return ""
}

// Account is an API account as an administrator makes it in the portal.
type Account struct {
	ClientID, KeyID string
	Key             *ecdsa.PrivateKey // P-256
	Scope           Scope
	TokenURL        string // default [TokenURL]
}

const (
	// assertionFor is how long an assertion holds. Apple allows 180 days; one that
	// is made for each token needs no more than clocks may differ.
	assertionFor = 15 * time.Minute
	// renewBefore is how long before its end a token is used no more.
	renewBefore = time.Minute
)

// AxM sends requests to the AxM API with an access token, which it asks for with a
// client assertion, keeps until shortly before it expires, and asks for anew, once,
// when Apple answers 401.
type AxM struct {
	account Account
	client  *http.Client
	clock   func() time.Time
	turn    chan struct{} // to look at the token, or to ask for one
	held    *accessToken
}

type accessToken struct {
	reveal func() string // out of the reach of printers
	until  time.Time
}

// NewAxM returns a client for an API account. The clock is time.Now if it is nil.
func NewAxM(account Account, by http.RoundTripper, clock func() time.Time) (*AxM, error) {
	if account.TokenURL == "" {
		account.TokenURL = TokenURL
	}
	if clock == nil {
		clock = time.Now
	}
	address, err := url.Parse(account.TokenURL)
	switch {
	case account.ClientID == "" || account.KeyID == "":
		return nil, errors.New("appleclient: an API account has a client ID and a key ID")
	case account.Key == nil || account.Key.Curve != elliptic.P256():
		return nil, errors.New("appleclient: the key of an API account is one on the curve P-256")
	case account.Scope.API() == "":
		return nil, errors.New("appleclient: the scope of an API account is business.api or school.api")
	case err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil:
		return nil, errors.New("appleclient: the token URL is no https address")
	}
	return &AxM{account: account, client: Client(by), clock: clock, turn: make(chan struct{}, 1)}, nil
}

// Do sends a request. If Apple gives no access token, that answer comes back, with
// 401 for whatever says that the account is refused.
func (a *AxM) Do(req *http.Request) (*http.Response, error) {
	var refused *accessToken
	for {
		token, err := a.token(req.Context(), refused)
		if err != nil {
			return answer(req, nil, err)
		}
		sent := req.Clone(req.Context())
		sent.Header.Set("Authorization", "Bearer "+token.reveal())
		resp, err := a.client.Do(sent)
		// What has a body could not be sent again.
		if err != nil || resp.StatusCode != http.StatusUnauthorized || refused != nil || req.Body != nil {
			return answer(req, resp, err)
		}
		resp.Body.Close()
		refused = token
	}
}

// token returns an access token other than one that was refused. Of several
// callers, one asks Apple while the others wait for it.
func (a *AxM) token(ctx context.Context, refused *accessToken) (*accessToken, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if a.held != nil && a.held != refused && a.clock().Before(a.held.until) {
		return a.held, nil
	}
	var err error
	a.held, err = a.ask(ctx)
	return a.held, err
}

// ask asks for an access token.
func (a *AxM) ask(ctx context.Context) (*accessToken, error) {
	now := a.clock()
	assertion, err := a.assertion(now)
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {a.account.ClientID}, "scope": {string(a.account.Scope)},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.account.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("appleclient: the token URL is no https address")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("appleclient: ask for an access token: %w", err)
	}
	body, err := beginning(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("appleclient: ask for an access token: %w", err)
	}
	if resp.StatusCode >= 400 {
		return nil, &refusal{asOfAPI(resp, body)}
	}
	var granted struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int64  `json:"expires_in"` // seconds
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &granted) != nil || granted.Token == "" ||
		!strings.EqualFold(granted.Type, "Bearer") || strings.ContainsFunc(granted.Token, notGraphic) {
		return nil, fmt.Errorf("appleclient: ask for an access token: the answer %d has none", resp.StatusCode)
	}
	// Without expires_in, or with too little of it, it serves for one request.
	lasts := time.Duration(min(max(granted.Expires, 0), 24*60*60)) * time.Second
	return &accessToken{func() string { return granted.Token }, now.Add(lasts - renewBefore)}, nil
}

func notGraphic(r rune) bool { return r <= ' ' || r > '~' }

// assertion makes the JWT that says who asks, signed with ES256 (RFC 7518, 3.4).
func (a *AxM) assertion(now time.Time) (string, error) {
	// Texts and numbers, which JSON takes.
	header, _ := json.Marshal(map[string]string{"alg": "ES256", "kid": a.account.KeyID, "typ": "JWT"})
	claims, _ := json.Marshal(map[string]any{
		"iss": a.account.ClientID, "sub": a.account.ClientID, "aud": audience,
		"iat": now.Unix(), "exp": now.Add(assertionFor).Unix(), "jti": rand.Text(),
	})
	base64url := base64.RawURLEncoding.EncodeToString
	text := base64url(header) + "." + base64url(claims)
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, a.account.Key, digest[:])
	if err != nil {
		return "", fmt.Errorf("appleclient: make an assertion: %w", err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64url(signature), nil
}

// asOfAPI makes a refusal of the token service one of the API: 429 and 5xx as they
// are, with the time to wait, and 401 for the rest. Of the body only OAuth's word
// for the error is kept (RFC 6749, 5.2), in the form of the API's errors.
func asOfAPI(resp *http.Response, body []byte) *http.Response {
	var problem struct{ Error string }
	if json.Unmarshal(body, &problem) != nil || len(problem.Error) > 40 || strings.Trim(problem.Error, "abcdefghijklmnopqrstuvwxyz_") != "" {
		problem.Error = ""
	}
	if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		resp.StatusCode = http.StatusUnauthorized
		resp.Status = "401 " + http.StatusText(http.StatusUnauthorized)
	}
	said := fmt.Sprintf(`{"errors": [{"code": "%s", "title": "The token service gave no access token"}]}`, problem.Error)
	resp.Body = io.NopCloser(strings.NewReader(said))
	resp.ContentLength = int64(len(said))
	return resp
}
