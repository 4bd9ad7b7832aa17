package mdmcmd_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/internal/reference"
	"github.com/activationlock/sdk/mdmcmd"
)

// Python's plistlib is another implementation of property lists, in both
// directions.
func python(t *testing.T, script string, args ...string) []byte {
	t.Helper()
	name, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3 is not installed")
		}
		t.Skip("python3 is not installed")
	}
	var stderr bytes.Buffer
	command := exec.Command(name, append([]string{"-c", script}, args...)...)
	command.Stderr = &stderr
	out, err := command.Output()
	require.NoError(t, err, stderr.String())
	return out
}

func TestPythonReadsCommands(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var files []string
	var want []any
	for i, test := range commands {
		raw, err := mdmcmd.Encode("1-"+test.name, test.command)
		require.NoError(t, err)
		file := filepath.Join(folder, strconv.Itoa(i)+".plist")
		require.NoError(t, os.WriteFile(file, raw, 0o600))
		files = append(files, file)
		want = append(want, bytesAsHex(readDictionary(t, raw)))
	}
	const script = `import json, plistlib, sys
print(json.dumps([plistlib.load(open(f, "rb")) for f in sys.argv[1:]], default=lambda b: {"bytes": b.hex()}))`
	out := python(t, script, files...)
	var got []any
	require.NoError(t, json.Unmarshal(out, &got))
	require.Equal(t, want, got)
}

// bytesAsHex replaces data by what JSON can hold.
func bytesAsHex(v any) any {
	switch v := v.(type) {
	case dict:
		out := dict{}
		for key, member := range v {
			out[key] = bytesAsHex(member)
		}
		return out
	case []any:
		out := []any{}
		for _, member := range v {
			out = append(out, bytesAsHex(member))
		}
		return out
	case data:
		return dict{"bytes": hex.EncodeToString([]byte(v))}
	}
	return v
}

func TestParseReadsPython(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "*.plist"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	if root := os.Getenv(reference.Variable); root != "" {
		more, err := filepath.Glob(filepath.Join(root, "fixtures", "*", "*.plist"))
		require.NoError(t, err)
		files = append(files, more...)
	}
	// Another layout, and another order of the keys, too.
	const script = `import plistlib, sys
folder = sys.argv[1]
for i, f in enumerate(sys.argv[2:]):
    message = plistlib.load(open(f, "rb"))
    for kind, order in ("sorted", True), ("reverse", False):
        if not order:
            message = dict(sorted(message.items(), reverse=True))
        plistlib.dump(message, open(f"{folder}/{i}-{kind}.plist", "wb"), sort_keys=order)`
	folder := t.TempDir()
	python(t, script, append([]string{folder}, files...)...)
	for i, file := range files {
		want, wantErr := mdmcmd.Parse(readFile(t, file))
		for _, kind := range []string{"sorted", "reverse"} {
			got, err := mdmcmd.Parse(readFile(t, folder, strconv.Itoa(i)+"-"+kind+".plist"))
			require.Equal(t, wantErr, err, file)
			require.Equal(t, comparison(want), comparison(got), file)
		}
	}
}

// comparison is a message with its code, which hides from comparisons, as a
// string beside it.
func comparison(m mdmcmd.Message) any {
	r, ok := m.(*mdmcmd.Report)
	if !ok || r.BypassCode == nil {
		return m
	}
	rest := *r
	rest.BypassCode = nil
	return struct {
		rest mdmcmd.Report
		code string
	}{rest, r.BypassCode.Reveal()}
}
