// Package activationlock knows the truth about a device's Activation Lock, as
// far as anybody can.
//
// No single source tells whether a lock is on: the device's own answer can be
// wrong both ways, says Apple. [Evidence] therefore keeps a value with its
// source and time, and [Derive] makes a [Lock] of all of it: on, off or
// unknown. [StatusOf] puts that together with what is known of the device and
// of its codes, and gives the one value that a report shows, a [Status], which
// has a label in each [Language].
//
// Everything here is a pure function of its arguments.
package activationlock
