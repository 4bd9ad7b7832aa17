package operator

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/activationlock/sdk/bypasscode/audit"
)

// ReadPrivate reads a small file that nobody else may read.
func ReadPrivate(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", nameless(err)
	case !info.Mode().IsRegular():
		return "", errors.New("it is no regular file")
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return "", errors.New("others can open the file; what mends it: chmod 600 FILE")
	case info.Size() > 16<<10:
		return "", errors.New("larger than 16 KiB")
	}
	content, err := os.ReadFile(path)
	return string(content), nameless(err)
}

// ReadAuditKey reads the key of an audit: 64 hexadecimal digits.
func ReadAuditKey(path string) (audit.Key, error) {
	digits, err := ReadPrivate(path)
	if err != nil {
		return audit.Key{}, err
	}
	random, err := hex.DecodeString(strings.TrimSpace(digits))
	if err != nil || len(random) != audit.KeySize {
		return audit.Key{}, errors.New("want 64 hexadecimal digits")
	}
	return audit.NewKey(random)
}

// nameless drops the file's name from an error: somebody may have typed a secret
// in its place.
func nameless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
