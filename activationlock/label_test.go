package activationlock_test

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

func TestEverythingHasALabelInEveryLanguage(t *testing.T) {
	t.Parallel()
	languages := []string{}
	for _, l := range activationlock.Languages() {
		languages = append(languages, string(l))
	}
	require.ElementsMatch(t, constants(t, "Language"), languages)
	statuses, terms := constants(t, "Status"), constants(t, "Term")
	require.GreaterOrEqual(t, len(statuses), 7)
	require.GreaterOrEqual(t, len(terms), 4)
	for _, l := range activationlock.Languages() {
		texts := []string{}
		for _, s := range statuses {
			text := activationlock.Status(s).Label(l)
			require.Equal(t, s == string(activationlock.NotApplicable), text == "", "%s in %q: %q", s, l, text)
			texts = append(texts, text)
		}
		for _, term := range terms {
			text := activationlock.Term(term).Label(l)
			require.NotEmpty(t, text, "%s in %q", term, l)
			texts = append(texts, text)
		}
		for i, text := range texts {
			require.Equal(t, strings.TrimSpace(text), text)
			require.Equal(t, i, slices.Index(texts, text), "%q in %q says two things", text, l)
			// A label that is missing falls back to English, so one that is the
			// same in two languages is one that was forgotten.
			if l != activationlock.English && text != "" {
				english := append(slices.Clone(statuses), terms...)[i]
				require.NotEqual(t, activationlock.Status(english).Label(activationlock.English), text, "in %q", l)
			}
		}
	}
	// Statuses and terms share one table.
	all := append(statuses, terms...)
	slices.Sort(all)
	require.Len(t, slices.Compact(all), len(statuses)+len(terms))
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
	require.Empty(t, activationlock.Status("of the future").Label(activationlock.Dutch))
	require.Empty(t, activationlock.Term("of the future").Label(activationlock.English))
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
