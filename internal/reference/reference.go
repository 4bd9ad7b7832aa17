// Package reference finds the data for tests that is not part of the project:
// device messages and Apple's schemas.
package reference

import (
	"os"
	"path/filepath"
	"testing"
)

// Variable names the environment variable with the folder of the data.
const Variable = "ACTIVATIONLOCK_FIXTURES"

// Path returns a path in the folder. Where the variable is unset the test is
// skipped; in CI, where nothing may be skipped in silence, it fails.
func Path(tb testing.TB, path ...string) string {
	tb.Helper()
	root := os.Getenv(Variable)
	if root == "" {
		if os.Getenv("CI") == "true" {
			tb.Fatal(Variable + " is not set")
		}
		tb.Skip(Variable + " is not set")
	}
	return filepath.Join(append([]string{root}, path...)...)
}
