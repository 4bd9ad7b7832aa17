package bypass_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/bypass"
)

// constants reads the values of a type's constants from the package's source,
// so that one without a label cannot hide.
func constants(t *testing.T, typ string) (values []string) {
	t.Helper()
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typ {
					continue
				}
				for _, v := range spec.Values {
					value, err := strconv.Unquote(v.(*ast.BasicLit).Value)
					require.NoError(t, err)
					values = append(values, value)
				}
			}
		}
	}
	return values
}

func TestEverythingHasALabelInEveryLanguage(t *testing.T) {
	t.Parallel()
	for typ, test := range map[string]struct {
		least    int
		label    func(string, activationlock.Language) string
		sentence bool
	}{
		"State":   {6, func(s string, l activationlock.Language) string { return bypass.State(s).Label(l) }, false},
		"Reason":  {11, func(s string, l activationlock.Language) string { return bypass.Reason(s).Label(l) }, true},
		"Warning": {1, func(s string, l activationlock.Language) string { return bypass.Warning(s).Label(l) }, true},
	} {
		values := constants(t, typ)
		require.GreaterOrEqual(t, len(values), test.least)
		for _, l := range activationlock.Languages() {
			texts := []string{}
			for _, v := range values {
				text := test.label(v, l)
				require.NotEmpty(t, text, "%s %q in %q", typ, v, l)
				require.Equal(t, strings.TrimSpace(text), text)
				require.Equal(t, test.sentence, strings.HasSuffix(text, "."), text)
				require.NotContains(t, texts, text, "two things in the same words")
				texts = append(texts, text)
				if l != activationlock.English { // what is missing falls back to English
					require.NotEqual(t, test.label(v, activationlock.English), text, "%s %q in %q", typ, v, l)
				}
				// To strangers, Dutch is formal.
				words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return r < 'a' || r > 'z' })
				for _, familiar := range []string{"je", "jij", "jou", "jouw"} {
					require.False(t, l == activationlock.Dutch && slices.Contains(words, familiar), text)
				}
			}
		}
		require.Equal(t, test.label(values[len(values)-1], activationlock.English), test.label(values[len(values)-1], "fr"), "a language without labels")
		require.Empty(t, test.label("of the future", activationlock.Dutch))
	}
}

// The words that administrators know from consoles.
func TestStateNames(t *testing.T) {
	t.Parallel()
	require.ElementsMatch(t, []string{"pending", "active", "done", "failed", "notSupported", "canceled"}, constants(t, "State"))
	over := []string{}
	for _, s := range constants(t, "State") {
		if bypass.State(s).Over() {
			over = append(over, s)
		}
	}
	require.ElementsMatch(t, []string{"done", "failed", "notSupported", "canceled"}, over)
}
