//go:build race

package engine_test

// fleetSize is smaller with the race detector, which makes the fleet many times slower.
const fleetSize = 40
