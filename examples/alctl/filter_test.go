package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// What can be filtered by is all that the library has.
func TestFilterKnowsAll(t *testing.T) {
	for _, of := range []struct{ file, kind string }{
		{"inventory/finding.go", "FindingKind"}, {"inventory/record.go", "Ownership"}, {"activationlock/status.go", "Status"},
		{"activationlock/answer.go", "Verdict"}, {"mdmcmd/platform.go", "Platform"},
	} {
		content, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(of.file)))
		require.NoError(t, err)
		want := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^\t\w+ +`+of.kind+` = "(\w*)"`).FindAllStringSubmatch(string(content), -1) {
			want[m[1]] = true
		}
		if of.kind == "Status" || of.kind == "Platform" { // without a constant for it
			want[""] = true
		}
		got := map[string]bool{}
		switch of.kind {
		case "FindingKind":
			add(got, findingKinds)
		case "Ownership":
			add(got, ownerships)
		case "Status":
			add(got, statuses)
		case "Verdict":
			add(got, verdicts)
		case "Platform":
			add(got, platforms)
		}
		require.Equal(t, want, got, of.kind)
	}
}

func add[S ~string](to map[string]bool, from []S) {
	for _, s := range from {
		to[string(s)] = true
	}
}
