//go:build !race

package database_test

// enginesDevices is the number of devices in TestEngines.
const enginesDevices = 12
