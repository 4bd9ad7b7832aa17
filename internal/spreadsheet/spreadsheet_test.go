package spreadsheet_test

import (
	"encoding/csv"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/spreadsheet"
)

func TestHarmlessAnywhere(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"": "", "=1": "'=1", "a;b": "a;b", "a;=1;b": "a;'=1;b", "a\t=1": "a\t'=1", "a;-1;+2;@x": "a;'-1;'+2;'@x", ";=1": ";'=1", "=1;=2": "'=1;'=2",
		"a; =1": "a; =1", "a;'=1": "a;''=1", "a;\t=1": "a;'\t'=1",
		"a\n=1": "a\n'=1", "a\r=1": "a\r'=1", "a\r\n=1": "a\r\n'=1", "a\nb": "a\nb", "a\r\nb": "a\r\nb", "a\n\r=1": "a\n'\r'=1", "x\n=cmd|' /C calc'!A0;": "x\n'=cmd|' /C calc'!A0;",
		`a;"=1`: `a;'"=1`, `a;""=1;`: `a;'""=1;`, `"=1`: `"=1`, `a;"b";c`: `a;"b";c`, `a;"`: `a;"`,
	} {
		require.Equal(t, want, spreadsheet.HarmlessAnywhere(cell), "%q", cell)
	}
}

// No reader of a file of commas finds a formula in a cell of it, whatever it takes
// for a separator.
func TestHarmlessToReaders(t *testing.T) {
	t.Parallel()
	pieces := []string{"=1+1", "+1", "x", "'", `"`, `""`, ";", "\t", "\n", "\r", "\r\n", ",", " ", "＝1", ";=1;", ";\"=1;", "\n=cmd|' /C calc'!A0;"}
	for i := range len(pieces) * len(pieces) * len(pieces) {
		cell := pieces[i%len(pieces)] + pieces[i/len(pieces)%len(pieces)] + pieces[i/len(pieces)/len(pieces)]
		var file strings.Builder
		w := csv.NewWriter(&file)
		w.UseCRLF = i%2 == 0
		harmless := spreadsheet.HarmlessAnywhere(cell)
		require.NoError(t, w.Write([]string{harmless, "between", harmless, "last"}))
		w.Flush()
		for _, separator := range ",;\t" {
			r := csv.NewReader(strings.NewReader(file.String()))
			r.Comma, r.LazyQuotes, r.FieldsPerRecord = separator, separator != ',', -1
			rows, err := r.ReadAll()
			require.NoError(t, err, "%q", cell)
			for _, read := range append(slices.Concat(rows...), cells(file.String(), byte(separator))...) {
				first, _ := utf8.DecodeRuneInString(read)
				require.False(t, strings.ContainsRune("=+-@\t\r\n＝＋－＠", first), "%q gives %q by %q", cell, read, separator)
			}
		}
	}
}

// cells reads a file as spreadsheets do: a quote at the beginning of a cell goes,
// and so does the next one that is not doubled; what is after that still belongs to
// the cell.
func cells(file string, separator byte) (all []string) {
	cell, begun, quoted := "", false, false
	for i := 0; i < len(file); i++ {
		switch c := file[i]; {
		case c == '"' && !begun:
			begun, quoted = true, true
		case c == '"' && quoted && strings.HasPrefix(file[i+1:], `"`):
			cell += `"`
			i++
		case c == '"' && quoted:
			quoted = false
		case !quoted && (c == separator || c == '\n' || c == '\r'):
			all, cell, begun = append(all, cell), "", false
		default:
			cell, begun = cell+file[i:i+1], true
		}
	}
	return append(all, cell)
}
