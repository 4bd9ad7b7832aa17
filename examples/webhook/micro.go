package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/activationlock/sdk/activationlock/engine"
)

// microMDM is a MicroMDM server that takes raw commands. It pushes by itself when a command
// is queued, and tells of nothing that goes wrong with that.
type microMDM struct{ api apiClient }

func (s microMDM) deliver(ctx context.Context, id string, commands []engine.Queued) error {
	id, err := pathID(id)
	if err != nil {
		return err
	}
	for _, c := range commands {
		var answer struct {
			Payload struct {
				CommandUUID string `json:"command_uuid"`
			} `json:"payload"`
		}
		err := s.api.call(ctx, http.MethodPost, "/v1/commands/"+id, c.Plist, http.StatusCreated, &answer)
		if err == nil && answer.Payload.CommandUUID != c.UUID {
			err = errors.New("the answer is to another command")
		}
		if err != nil {
			return fmt.Errorf("queue %s: %w", c.RequestType, err)
		}
	}
	return nil
}
