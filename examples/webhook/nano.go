package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/micromdm/nanomdm/api"

	"github.com/activationlock/sdk/activationlock/engine"
)

// nanoMDM is a NanoMDM server.
type nanoMDM struct{ api apiClient }

func (s nanoMDM) deliver(ctx context.Context, id string, commands []engine.Queued) error {
	id, err := pathID(id)
	if err != nil {
		return err
	}
	for _, c := range commands {
		// Pushed once, below: NanoMDM answers 500 also when only the push failed.
		var result api.APIResult
		err := s.api.call(ctx, http.MethodPut, "/v1/enqueue/"+id+"?nopush=1", c.Plist, http.StatusOK, &result)
		switch {
		case err != nil:
		case result.Error() != nil:
			err = errors.New("the server did not queue it")
		case result.CommandUUID != c.UUID:
			err = errors.New("the answer is to another command")
		}
		if err != nil {
			return fmt.Errorf("queue %s: %w", c.RequestType, err)
		}
	}
	if err := s.push(ctx, id); err != nil {
		return fmt.Errorf("queued, but not pushed: %w", err)
	}
	return nil
}

func (s nanoMDM) push(ctx context.Context, id string) error {
	id, err := pathID(id)
	if err != nil {
		return err
	}
	var result api.APIResult
	err = s.api.call(ctx, http.MethodGet, "/v1/push/"+id, nil, http.StatusOK, &result)
	if err == nil && result.Error() != nil {
		err = errors.New("the server could not push")
	}
	return err
}
