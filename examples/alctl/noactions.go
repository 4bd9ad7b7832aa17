package main

import (
	"context"
	"errors"

	"github.com/activationlock/sdk/activationlock/bypass"
)

// noActions is the store of actions of a database that has none.
type noActions struct{}

func (noActions) Create(context.Context, bypass.Action) error {
	return errors.New("there is no table of actions")
}

func (noActions) Update(context.Context, string, func(*bypass.Action) error) error {
	return bypass.ErrNotFound
}

func (noActions) Get(context.Context, string) (bypass.Action, error) {
	return bypass.Action{}, bypass.ErrNotFound
}

func (noActions) OfDevice(context.Context, string) ([]bypass.Action, error) { return nil, nil }

func (noActions) Scan(context.Context, string, int, bool) ([]bypass.Action, error) { return nil, nil }
