package main

import (
	"context"
	"errors"
	"io"
	"net/url"
	"testing"

	"github.com/micromdm/nanomdm/push"
	"github.com/stretchr/testify/require"
)

// unpushed is a push service whose pushes fail: all of them, or each by itself.
type unpushed struct{ all, each error }

func (u unpushed) Push(_ context.Context, ids []string) (map[string]*push.Response, error) {
	answers := map[string]*push.Response{}
	for _, id := range ids {
		answers[id] = &push.Response{Err: u.each}
	}
	return answers, u.all
}

// Why a push failed is said, and nothing of its address.
func TestPushFailed(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef"
	failed := &url.Error{Op: "Post", URL: "https://api.push.apple.com/3/device/" + token, Err: io.ErrUnexpectedEOF}
	for name, pusher := range map[string]unpushed{
		"all": {all: failed}, "each": {each: failed}, "both": {all: failed, each: failed},
	} {
		h := &host{pusher: pusher}
		err := h.wake(t.Context(), "device")
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
		require.NotContains(t, err.Error(), token, name)
	}
	other := errors.New("no push certificate")
	h := &host{pusher: unpushed{all: other}}
	require.ErrorIs(t, h.wake(t.Context(), "device"), other)
	h.pusher = unpushed{}
	require.NoError(t, h.wake(t.Context(), "device"))
}
