package appleclient

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/engine"
)

// ErrNowhere means that a request is for no host of Apple, or for one that there are
// no credentials for.
var ErrNowhere = errors.New("appleclient: no client for the host of this request")

// Route sends each request to the client of its host, and to no other. It is an
// [engine.Doer]. Without a client, requests to that service are refused; a host
// without a server token asks for no locks, and one without an API account leaves
// engine.Config.StatusAPI empty.
type Route struct {
	Unlock engine.Doer // with the push certificate: [Client] and [Transport]
	Lock   engine.Doer // [NewADE]
	Status engine.Doer // [NewAxM]
	// StatusAPI is where Status has an account: [Scope.API], as in engine.Config.
	StatusAPI apple.API
}

// Do sends a request.
func (r Route) Do(req *http.Request) (*http.Response, error) {
	if next := r.client(req); next != nil {
		return next.Do(req)
	}
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, ErrNowhere
}

func (r Route) client(req *http.Request) engine.Doer {
	if req.URL.Scheme != "https" || req.URL.Host == "" || req.Host != "" && req.Host != req.URL.Host {
		return nil
	}
	switch req.URL.Host {
	case host(apple.UnlockURL):
		return r.Unlock
	case host(apple.LockURL):
		return r.Lock
	case host(string(r.StatusAPI)):
		return r.Status
	}
	return nil
}

// host is the host of an address, "" if there is none.
func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
