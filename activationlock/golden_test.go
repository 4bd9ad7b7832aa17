package activationlock_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "if the change is meant: go test ./activationlock -run Golden -update")
}

// column is an input of a table, with all its values.
type column struct {
	name   string
	values []string
}

// table writes, for people to read, what a function makes of all combinations of
// its inputs' values, which it gets by their indices. A line holds for all the
// values that it names.
func table(w io.Writer, inputs []column, results []string, of func(pick []int) []string) {
	var lines [][]string
	for pick := make([]int, len(inputs)); pick != nil; pick = next(pick, inputs) {
		var line []string
		for i, p := range pick {
			line = append(line, inputs[i].values[p])
		}
		lines = append(lines, append(line, of(pick)...))
	}
	// Lines that differ in one column only become one, column by column.
	for c := len(inputs) - 1; c >= 0; c-- {
		var shorter [][]string
		at := map[string]int{}
		count := map[int]int{}
		for _, line := range lines {
			key := strings.Join(line[:c], "\x00") + "\x00\x00" + strings.Join(line[c+1:], "\x00")
			i, there := at[key]
			if !there {
				i = len(shorter)
				at[key] = i
				shorter = append(shorter, line)
			} else {
				shorter[i][c] += "|" + line[c]
			}
			count[i]++
		}
		for i, line := range shorter {
			if len(inputs[c].values) > 1 && count[i] == len(inputs[c].values) {
				line[c] = "any"
			}
		}
		lines = shorter
	}

	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var cells []string
	for _, in := range inputs {
		cells = append(cells, in.name)
	}
	for _, line := range append([][]string{append(cells, results...)}, lines...) {
		for c, cell := range line {
			if c < len(inputs) && len(inputs[c].values) == 1 {
				continue // tells nothing
			}
			fmt.Fprint(tabs, cell)
			if c < len(line)-1 {
				fmt.Fprint(tabs, "\t")
			}
		}
		fmt.Fprintln(tabs)
	}
	tabs.Flush()
}

// next is the combination after pick, nil after the last.
func next(pick []int, inputs []column) []int {
	for i := len(pick) - 1; i >= 0; i-- {
		if pick[i]++; pick[i] < len(inputs[i].values) {
			return pick
		}
		pick[i] = 0
	}
	return nil
}
