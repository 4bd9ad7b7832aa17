package seal_test

import (
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/seal"
)

// child runs the named test again in a process of its own, with an addition to the environment.
func child(t *testing.T, environment ...string) {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	command.Env = append(os.Environ(), append(environment, "SEAL_CHILD="+t.Name())...)
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
}

func isChild(t *testing.T) bool { return os.Getenv("SEAL_CHILD") == t.Name() }

func TestKeyFileWithoutUmask(t *testing.T) {
	t.Parallel()
	if !isChild(t) {
		child(t)
		return
	}
	syscall.Umask(0)
	path := filepath.Join(t.TempDir(), "escrow.key")
	require.NoError(t, seal.WriteKeyFile(path, testKey(t, seal.X25519)))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}

func TestKeyFileIsWhollyWrittenOrGone(t *testing.T) {
	t.Parallel()
	if !isChild(t) {
		child(t)
		return
	}
	path := filepath.Join(t.TempDir(), "escrow.key")
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	full := limit
	full.Cur = 100
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full))
	err := seal.WriteKeyFile(path, testKey(t, seal.X25519))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	require.ErrorIs(t, err, syscall.EFBIG)
	require.NoFileExists(t, path)
	require.NoError(t, seal.WriteKeyFile(path, testKey(t, seal.X25519)))
}

func TestReadKeyFileDoesNotWaitForAPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := seal.ReadKeyFile(path)
	require.ErrorContains(t, err, "not a regular file")
}
