//go:build !race

package engine_test

// fleetSize is the number of devices of the fleet.
const fleetSize = 500
