//go:build linux && !race

package reference

import "syscall"

// LimitMemory ends the process when it writes to much more memory than that. It
// does nothing where it cannot, nor under the race detector, which needs
// terabytes of its own.
func LimitMemory(bytes uint64) error {
	const data = 2 // RLIMIT_DATA, which counts what is mapped for writing
	return syscall.Setrlimit(data, &syscall.Rlimit{Cur: bytes, Max: bytes})
}
