package main

import (
	"context"
	"sync"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/storage/diskv"
)

// queue is NanoMDM's storage in a folder. Its queue of a device can get lost if it is
// written twice at the same time, so that is done one by one. So is reading, which
// could otherwise come upon a command that is being taken out.
type queue struct {
	*diskv.Diskv
	mu sync.Mutex
}

func (q *queue) EnqueueCommand(ctx context.Context, ids []string, c *mdm.Command) (map[string]error, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.Diskv.EnqueueCommand(ctx, ids, c)
}

func (q *queue) StoreCommandReport(r *mdm.Request, report *mdm.CommandResults) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.Diskv.StoreCommandReport(r, report)
}

func (q *queue) RetrieveNextCommand(r *mdm.Request, skipNotNow bool) (*mdm.Command, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.Diskv.RetrieveNextCommand(r, skipNotNow)
}

func (q *queue) ClearQueue(r *mdm.Request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.Diskv.ClearQueue(r)
}
