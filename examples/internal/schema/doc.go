// Package schema compares the library with Apple's published schemas. It has
// tests only; they read the schemas from the folder apple-device-management in
// $ACTIVATIONLOCK_FIXTURES, and the source of mdmcmd. The go command does not
// see when those change, so run them with
//
//	go test -count 1 ./examples/internal/schema
package schema
