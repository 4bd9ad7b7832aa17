package activationlock_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
)

// sourceFiles are the package's files.
func sourceFiles(t *testing.T) (files []*ast.File) {
	t.Helper()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, f := range entries {
		if strings.HasSuffix(f.Name(), ".go") && !strings.HasSuffix(f.Name(), "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
			require.NoError(t, err)
			files = append(files, file)
		}
	}
	return files
}

// constants reads the values of a type's constants from the package's source,
// so that one without a label cannot hide.
func constants(t *testing.T, typ string) (values []string) {
	t.Helper()
	for _, file := range sourceFiles(t) {
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
					literal, ok := v.(*ast.BasicLit)
					require.True(t, ok, "%s is no literal", spec.Names[0])
					value, err := strconv.Unquote(literal.Value)
					require.NoError(t, err)
					values = append(values, value)
				}
			}
		}
	}
	return values
}

// labelled are the types that have labels.
var labelled = map[string]func(value string, l activationlock.Language) string{
	"Status":     func(v string, l activationlock.Language) string { return activationlock.Status(v).Label(l) },
	"Term":       func(v string, l activationlock.Language) string { return activationlock.Term(v).Label(l) },
	"State":      func(v string, l activationlock.Language) string { return activationlock.State(v).Label(l) },
	"LockKind":   func(v string, l activationlock.Language) string { return activationlock.LockKind(v).Label(l) },
	"Source":     func(v string, l activationlock.Language) string { return activationlock.Source(v).Label(l) },
	"Confidence": func(v string, l activationlock.Language) string { return activationlock.Confidence(v).Label(l) },
	"Verdict":    func(v string, l activationlock.Language) string { return activationlock.Verdict(v).Label(l) },
	"Reason":     func(v string, l activationlock.Language) string { return activationlock.Reason(v).Label(l) },
	"Ability":    func(v string, l activationlock.Language) string { return activationlock.Ability(v).Label(l) },
	"Aftermath":  func(v string, l activationlock.Language) string { return activationlock.Aftermath(v).Label(l) },
	"Step":       func(v string, l activationlock.Language) string { return activationlock.Step(v).Label(l) },
}

// No type with a method Label is left out above.
func TestEveryLabelledTypeIsTested(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, file := range sourceFiles(t) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "Label" {
				found[f.Recv.List[0].Type.(*ast.Ident).Name] = true
			}
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(labelled)), slices.Collect(maps.Keys(found)))
}

func TestEverythingHasALabelInEveryLanguage(t *testing.T) {
	t.Parallel()
	languages := []string{}
	for _, l := range activationlock.Languages() {
		languages = append(languages, string(l))
	}
	require.ElementsMatch(t, constants(t, "Language"), languages)
	for typ, label := range labelled {
		values := constants(t, typ)
		require.GreaterOrEqual(t, len(values), 3, typ)
		for _, l := range activationlock.Languages() {
			texts := map[string]string{}
			for _, value := range values {
				text := label(value, l)
				blank := typ == "Status" && value == string(activationlock.NotApplicable)
				require.Equal(t, blank, text == "", "%s %q in %q: %q", typ, value, l, text)
				require.Equal(t, strings.TrimSpace(text), text)
				other, twice := texts[text]
				require.False(t, twice, "%s %q and %q in %q both say %q", typ, value, other, l, text)
				texts[text] = value
				// A label that is missing falls back to English, so one that is the
				// same in two languages is one that was forgotten.
				require.True(t, l == activationlock.English || blank || text != label(value, activationlock.English), "%s %q in %q", typ, value, l)
			}
		}
		require.Empty(t, label("of the future", activationlock.Dutch), typ)
	}
}

// Wherever texts are written, they are in every language, and sentences end.
func TestEveryTextIsInEveryLanguage(t *testing.T) {
	t.Parallel()
	count := 0
	for _, file := range sourceFiles(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			table, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if m, ok := table.Type.(*ast.MapType); !ok || fmt.Sprint(m.Value) != "texts" {
				return true
			}
			for _, row := range table.Elts {
				key, languages := fmt.Sprint(row.(*ast.KeyValueExpr).Key), map[string]string{}
				for _, text := range row.(*ast.KeyValueExpr).Value.(*ast.CompositeLit).Elts {
					value, err := strconv.Unquote(text.(*ast.KeyValueExpr).Value.(*ast.BasicLit).Value)
					require.NoError(t, err)
					languages[fmt.Sprint(text.(*ast.KeyValueExpr).Key)] = value
				}
				require.ElementsMatch(t, []string{"English", "Dutch"}, slices.Collect(maps.Keys(languages)), key)
				require.Equal(t, strings.HasSuffix(languages["English"], "."), strings.HasSuffix(languages["Dutch"], "."), key)
				require.NotContains(t, languages["Dutch"], " je ", "%s: formal Dutch says u", key)
				count++
			}
			return false
		})
	}
	require.Greater(t, count, 90, "tables that the test does not see")
}

// People search their old reports for these texts, so they are exact.
func TestClassicTexts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status         activationlock.Status
		english, dutch string
	}{
		{activationlock.EnabledWithBypassCode, "Enabled with bypass code", "Ingeschakeld met bypass-code"},
		{
			activationlock.EnabledWithoutBypassCodeNotSupervised,
			"Enabled without bypass code (device is not supervised)",
			"Ingeschakeld zonder bypass-code (apparaat niet onder supervisie)",
		},
		{
			activationlock.EnabledWithoutBypassCodeUnreachable,
			"Enabled without bypass code (device cannot be reached)",
			"Ingeschakeld zonder bypass-code (apparaat kan niet worden bereikt)",
		},
		{activationlock.NotEnabled, "Not enabled", "Niet ingeschakeld"},
		{activationlock.NotApplicable, "", ""},
	} {
		require.Equal(t, test.english, test.status.Label(activationlock.English))
		require.Equal(t, test.dutch, test.status.Label(activationlock.Dutch))
	}
	require.Equal(t, "Activation Lock Status", activationlock.TermActivationStatus.Label(activationlock.English))
	require.Equal(t, "Supervised", activationlock.TermSupervised.Label(activationlock.English))
	require.Equal(t, "Yes", activationlock.TermYes.Label(activationlock.English))
	require.Equal(t, "No", activationlock.TermNo.Label(activationlock.English))
	require.Equal(t, "Ja", activationlock.TermYes.Label(activationlock.Dutch))
	require.Equal(t, "Nee", activationlock.TermNo.Label(activationlock.Dutch))
}

func TestLabelFallsBackToEnglish(t *testing.T) {
	t.Parallel()
	for _, l := range []activationlock.Language{"fr", "", "NL", "nl-BE"} {
		require.Equal(t, "Not enabled", activationlock.NotEnabled.Label(l))
		require.Equal(t, "Yes", activationlock.TermYes.Label(l))
		require.Equal(t, "No", activationlock.SupervisedLabel(new(false), l))
		require.Empty(t, activationlock.NotApplicable.Label(l))
	}
}

func TestSupervisedLabel(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		supervised     *bool
		english, dutch string
	}{{nil, "", ""}, {new(true), "Yes", "Ja"}, {new(false), "No", "Nee"}} {
		require.Equal(t, test.english, activationlock.SupervisedLabel(test.supervised, activationlock.English))
		require.Equal(t, test.dutch, activationlock.SupervisedLabel(test.supervised, activationlock.Dutch))
	}
}

// A caller may keep and change the list.
func TestLanguagesAreNotShared(t *testing.T) {
	t.Parallel()
	activationlock.Languages()[0] = "xx"
	require.Equal(t, []activationlock.Language{activationlock.English, activationlock.Dutch}, activationlock.Languages())
}
