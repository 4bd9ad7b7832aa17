package engine

import (
	"strings"
	"sync"
	"time"

	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// quiet remembers until when there is nothing to do for an enrollment if it says
// nothing new: nine of ten reports are Idle, or answer commands of the host's own, and
// cost no look at a store then. It is no more than a saving: what another server writes
// meanwhile, Tick finds when it is due.
type quiet struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// mostQuiet bounds the memory: some ten megabytes.
const mostQuiet = 100_000

// note remembers that a record was looked at, or written, and nothing is to be done.
func (q *quiet) note(r *inventory.Record) {
	if !r.CheckedOutAt.IsZero() {
		return // that it speaks all the same is news each time
	}
	for _, x := range r.Exchanges {
		if len(x.UUIDs) > 0 {
			return // an answer may come, even to a question of a server with another prefix
		}
	}
	until := r.Summary.At.Add(seenEvery)
	if at := r.LastSeen.Add(seenEvery); at.Before(until) {
		until = at
	}
	until = earliest(until, r.Summary.DueAt)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.until == nil || len(q.until) >= mostQuiet {
		q.until = map[string]time.Time{}
	}
	q.until[r.EnrollmentID] = until
}

// forget is for a record that is about to change.
func (q *quiet) forget(enrollmentID string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.until, enrollmentID)
}

// holds reports whether there is nothing to do still.
func (q *quiet) holds(enrollmentID string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	until, there := q.until[enrollmentID]
	return there && now.Before(until) && until.Sub(now) <= seenEvery // else a clock was set back
}

// saysNothing reports whether a message has nothing in it for a record, unless it
// answers a question.
func (e *Engine) saysNothing(m mdmcmd.Message) bool {
	r, is := m.(*mdmcmd.Report)
	return is && r.QueryResponses == nil && r.SecurityInfo == nil && !strings.HasPrefix(r.CommandUUID, e.config.UUIDPrefix)
}
