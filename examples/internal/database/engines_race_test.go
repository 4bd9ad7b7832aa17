//go:build race

package database_test

// enginesDevices is smaller with the race detector, which makes SQLite many times slower.
const enginesDevices = 4
