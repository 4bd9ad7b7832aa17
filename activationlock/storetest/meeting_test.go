package storetest_test

import (
	"sync"
	"time"
)

// aWhile is how long a call waits for another one. Only a call that stays alone
// waits for so long.
const aWhile = time.Second

// A meeting is where two calls of a broken store wait for each other, so that what
// goes wrong where two meet goes wrong each time. It is over when two have met.
type meeting struct {
	meet, over chan struct{}
	once       sync.Once
}

func newMeeting() *meeting {
	return &meeting{meet: make(chan struct{}), over: make(chan struct{})}
}

// wait returns when another call waits too, when none has for a while, or when the
// meeting is over.
func (m *meeting) wait() {
	select {
	case m.meet <- struct{}{}:
	case <-m.meet:
	case <-m.over:
		return
	case <-time.After(aWhile):
		return
	}
	m.once.Do(func() { close(m.over) })
}

// A glimpse is one read in the middle of a write.
type glimpse struct {
	half, seen, over chan struct{}
	once             sync.Once
}

func newGlimpse() *glimpse {
	return &glimpse{half: make(chan struct{}), seen: make(chan struct{}), over: make(chan struct{})}
}

// written is called in the middle of a write. It returns when one read has been
// made in the middle of a write, or when none has come for a while.
func (g *glimpse) written() {
	select {
	case g.half <- struct{}{}:
		<-g.seen
		g.once.Do(func() { close(g.over) })
	case <-g.over:
	case <-time.After(aWhile):
	}
}

// read reads, in the middle of a write if that is the first time and there is one
// within a while.
func (g *glimpse) read(read func()) {
	select {
	case <-g.half:
		read()
		g.seen <- struct{}{}
	case <-g.over:
		read()
	case <-time.After(aWhile):
		read()
	}
}
