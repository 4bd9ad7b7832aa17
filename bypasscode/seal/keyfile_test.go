package seal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

func TestKeyFile(t *testing.T) {
	t.Parallel()
	for _, suite := range all {
		key := generate(t, suite)
		path := filepath.Join(t.TempDir(), "escrow.key")
		require.NoError(t, seal.WriteKeyFile(path, key))

		got, err := seal.ReadKeyFile(path)
		require.NoError(t, err)
		require.Equal(t, key.Reveal(), got.Reveal())

		content, err := os.ReadFile(path)
		require.NoError(t, err)
		lines := strings.Split(string(content), "\n")
		require.Len(t, lines, 5)
		for _, comment := range lines[:3] {
			require.True(t, strings.HasPrefix(comment, "# "))
			require.NotContains(t, comment, privatePrefix)
		}
		require.Equal(t, "# "+key.Public().String(), lines[2])
		require.Equal(t, key.Reveal(), lines[3])
		require.Empty(t, lines[4])

		// A file that exists is never overwritten.
		err = seal.WriteKeyFile(path, generate(t, suite))
		require.ErrorIs(t, err, fs.ErrExist)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, after)
	}
	require.ErrorIs(t, seal.WriteKeyFile(filepath.Join(t.TempDir(), "missing", "key"), testKey(t, seal.X25519)), fs.ErrNotExist)
	_, err := seal.ReadKeyFile(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestKeyFilePermissions(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no permission bits")
	}
	key := testKey(t, seal.X25519)
	path := filepath.Join(t.TempDir(), "escrow.key")
	require.NoError(t, seal.WriteKeyFile(path, key))
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o700} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := seal.ReadKeyFile(path)
		require.NoError(t, err, mode)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o660, 0o620, 0o601, 0o610} {
		require.NoError(t, os.Chmod(path, mode))
		got, err := seal.ReadKeyFile(path)
		require.ErrorContains(t, err, `run: chmod 600 "`+path+`"`, mode)
		require.Empty(t, got.Reveal())
	}
}

func TestReadKeyFileRefuses(t *testing.T) {
	t.Parallel()
	key := testKey(t, seal.X25519)
	dir := t.TempDir()
	for name, test := range map[string]struct{ content, want string }{
		"empty":                 {"", "malformed or damaged"},
		"comments only":         {"# a\n# b\n", "malformed or damaged"},
		"comment without end":   {"# a", "malformed or damaged"},
		"public key":            {"# a\n" + key.Public().String() + "\n", "this is a public one"},
		"two keys":              {key.Reveal() + "\n" + key.Reveal() + "\n", "malformed or damaged"},
		"comment after":         {key.Reveal() + "\n# a\n", "malformed or damaged"},
		"carriage returns":      {"# a\r\n" + key.Reveal() + "\r\n", "malformed or damaged"},
		"empty line":            {"# a\n\n" + key.Reveal() + "\n", "malformed or damaged"},
		"larger than may be":    {strings.Repeat("#\n", 8<<10) + key.Reveal(), "larger than 16 KiB"},
		"larger by a byte":      {"#" + strings.Repeat("a", 16<<10-1-len(key.Reveal())) + "\n" + key.Reveal(), "larger than 16 KiB"},
		"as large as may be":    {"#" + strings.Repeat("a", 16<<10-2-len(key.Reveal())) + "\n" + key.Reveal(), ""},
		"only the line":         {key.Reveal(), ""},
		"the line and newline":  {key.Reveal() + "\n", ""},
		"comment without space": {"#a\n" + key.Reveal(), ""},
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(test.content), 0o600))
		got, err := seal.ReadKeyFile(path)
		if test.want == "" {
			require.NoError(t, err, name)
			require.Equal(t, key.Reveal(), got.Reveal())
			continue
		}
		require.ErrorContains(t, err, test.want, name)
		require.ErrorContains(t, err, path)
		require.Empty(t, got.Reveal())
	}

	_, err := seal.ReadKeyFile(dir)
	require.ErrorContains(t, err, "not a regular file")
}

func TestReadKeyFileFollowsLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := testKey(t, seal.X25519)
	require.NoError(t, seal.WriteKeyFile(filepath.Join(dir, "key"), key))
	if err := os.Symlink("key", filepath.Join(dir, "link")); err != nil {
		t.Skip("no symbolic links here")
	}
	got, err := seal.ReadKeyFile(filepath.Join(dir, "link"))
	require.NoError(t, err)
	require.Equal(t, key.Reveal(), got.Reveal())

	// But nothing is written through one.
	require.NoError(t, os.Symlink("elsewhere", filepath.Join(dir, "dangling")))
	require.ErrorIs(t, seal.WriteKeyFile(filepath.Join(dir, "dangling"), key), fs.ErrExist)
	require.NoFileExists(t, filepath.Join(dir, "elsewhere"))
}
