package spreadsheet_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/spreadsheet"
)

func TestHarmlessAnywhere(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"": "", "=1": "'=1", "a;b": "a;b", "a;=1;b": "a;'=1;b", "a\t=1": "a\t'=1", "a;-1;+2;@x": "a;'-1;'+2;'@x", ";=1": ";'=1", "=1;=2": "'=1;'=2",
		"a; =1": "a; =1", "a;'=1": "a;''=1", "a;\t=1": "a;'\t'=1",
	} {
		require.Equal(t, want, spreadsheet.HarmlessAnywhere(cell), "%q", cell)
	}
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"": "", "iPad": "iPad", "it's": "it's", "'quoted'": "'quoted'",
		"=1+1": "'=1+1", "+31": "'+31", "-1": "'-1", "@sum": "'@sum", "\tx": "'\tx", "\rx": "'\rx", "\nx": "'\nx",
		"＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠a": "'＠a",
		"'=1": "''=1", "''=1": "'''=1", "'": "'",
	} {
		require.Equal(t, want, spreadsheet.Harmless(cell), "%q", cell)
		require.Equal(t, cell, spreadsheet.Restore(want), "%q", cell)
	}
}
