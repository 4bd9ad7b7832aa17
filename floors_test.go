package sdk_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/activationlock/sdk"

// floors says how high each package lives. A package imports only packages of
// lower floors.
var floors = map[string]int{
	"internal/hostile":                  -1, // for tests
	"internal/reference":                -1, // for tests
	"internal/secret":                   -1,
	"internal/spreadsheet":              -1,
	"bypasscode":                        0,
	"bypasscode/audit":                  0,
	"bypasscode/seal":                   0,
	"internal/plist":                    0,
	"internal/cms":                      0,
	"mdmcmd":                            1,
	"activationlock/apple":              1,
	"bypasscode/escrow":                 1,
	"activationlock":                    2,
	"bypasscode/transfer":               2,
	"activationlock/bypass":             3,
	"inventory":                         3,
	"internal/cursor":                   4,
	"activationlock/engine":             5,
	"activationlock/memstore":           5,
	"activationlock/sqlstore":           5,
	"activationlock/storetest":          5,
	"activationlock/activationlocktest": 6,
	".":                                 6,
}

// soleImporters are the only packages that may import a library with sharp
// edges.
var soleImporters = map[string]string{
	"github.com/groob/plist": "internal/plist",
	"go.mozilla.org/pkcs7":   "internal/cms",
}

func TestFloors(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for file, imports := range sources(t) {
		pkg := path.Dir(file)
		seen[pkg] = true
		floor, known := floors[pkg]
		require.True(t, known, "package %s has no floor", pkg)
		for _, imported := range imports {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			if importer, sharp := soleImporters[imported]; sharp {
				require.Equal(t, importer, pkg, "%s imports %s", file, imported)
				continue
			}
			lower, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				first, _, _ := strings.Cut(imported, "/")
				require.NotContains(t, first, ".", "%s imports %s, which is not of the standard library", file, imported)
				continue
			}
			below, known := floors[lower]
			require.True(t, known, "package %s has no floor", lower)
			require.Less(t, below, floor, "%s imports upwards: %s", file, lower)
		}
	}
	for pkg := range floors {
		require.True(t, seen[pkg], "package %s is gone", pkg)
	}
}

// sources returns the imports of each Go file of the module.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	require.NoError(t, filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name == "examples" || name != "." && strings.HasPrefix(entry.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		imports := []string{}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, imported)
		}
		found[filepath.ToSlash(name)] = imports
		return nil
	}))
	return found
}

func TestThreeDirectRequirements(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	var direct []string
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1) {
		direct = append(direct, m[1])
	}
	slices.Sort(direct)
	require.Equal(t, []string{"github.com/groob/plist", "github.com/stretchr/testify", "go.mozilla.org/pkcs7"}, direct)
	require.NotContains(t, string(mod), "replace")
}
