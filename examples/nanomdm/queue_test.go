package main

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/storage/diskv"
	"github.com/stretchr/testify/require"
)

// A report and a new command come at the same time, and the command is not lost.
func TestQueue(t *testing.T) {
	t.Parallel()
	q := &queue{Diskv: diskv.New(t.TempDir())}
	const id = "XXFAKE-ENROLLMENT"
	request := mdm.NewRequestWithContext(t.Context(), nil)
	request.EnrollID = &mdm.EnrollID{Type: mdm.Device, ID: id}
	enqueue := func(uuid string) error {
		c := &mdm.Command{CommandUUID: uuid, Raw: []byte(uuid)}
		c.Command.RequestType = "DeviceInformation"
		failed, err := q.EnqueueCommand(t.Context(), []string{id}, c)
		if err == nil && len(failed) > 0 {
			err = fmt.Errorf("not queued: %v", failed)
		}
		return err
	}
	answer := func(uuid string) error {
		return q.StoreCommandReport(request, &mdm.CommandResults{CommandUUID: uuid, Status: "Acknowledged", Raw: []byte("report")})
	}
	last := "command-0"
	require.NoError(t, enqueue(last))
	for n := range 300 {
		next := fmt.Sprintf("command-%d", n+1)
		begin, errs := make(chan struct{}), [2]error{}
		var both sync.WaitGroup
		both.Go(func() { <-begin; errs[0] = answer(last) })
		both.Go(func() { <-begin; errs[1] = enqueue(next) })
		close(begin)
		both.Wait()
		require.NoError(t, errors.Join(errs[:]...))
		c, err := q.RetrieveNextCommand(request, false)
		require.NoError(t, err)
		require.NotNil(t, c, "%s got lost", next)
		require.Equal(t, next, c.CommandUUID)
		last = next
	}
}
