package engine

import "time"

// Observer is told numbers, for a metrics system. Its methods must return soon, and
// are called from many goroutines. No label holds anything that a device said.
type Observer interface {
	// Counted says that there are n more of something.
	Counted(what Counter, label string, n int)
	// Took says how long a step took.
	Took(step Step, d time.Duration)
}

// Counter is something that is counted.
type Counter string

// The counters.
const (
	Events     Counter = "events"      // the label is the event's type
	Commands   Counter = "commands"    // that were planned; the label is the request type
	AppleCalls Counter = "apple_calls" // the label is the service and what came of it, as in "status: done"
)

// Step is a part of the work.
type Step string

// The steps. A message is parsed; a code goes into escrow, from which its device's
// codes are read; and what was observed and planned is recorded.
const (
	StepParse  Step = "parse"
	StepEscrow Step = "escrow"
	StepPlan   Step = "plan"
	StepRecord Step = "record"
	StepApple  Step = "apple" // one call
	StepTick   Step = "tick"  // one due record, without the calls of a Doer
)

func (e *Engine) counted(what Counter, label string, n int) {
	if e.config.Observer != nil && n > 0 {
		e.config.Observer.Counted(what, label, n)
	}
}

// took measures a step: defer e.took(StepPlan)().
func (e *Engine) took(step Step) func() {
	if e.config.Observer == nil {
		return func() {}
	}
	began := time.Now()
	return func() { e.config.Observer.Took(step, time.Since(began)) }
}
