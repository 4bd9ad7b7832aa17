package seal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const maxKeyFile = 16 << 10

// WriteKeyFile writes the key to a new file that only its owner can read, below
// comments that say what it is and name its public key. A file that exists is
// never overwritten: the error then is fs.ErrExist. When it returns
// without an error, the file and its name are on disk; after any other error
// there is no file.
func WriteKeyFile(path string, key PrivateKey) error {
	if key.secret == nil {
		return errNoKey
	}
	text := "# Private key of an Activation Lock escrow. Whoever has it reads the bypass codes.\n" +
		"# Servers that only collect codes need this line instead, the public key:\n" +
		"# " + key.Public().String() + "\n" +
		key.Reveal() + "\n"

	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("seal: create key file: %w", err)
	}
	_, err = file.WriteString(text)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		// Half a key would also stand in the way of the next attempt.
		return errors.Join(fmt.Errorf("seal: write key file: %w", err), os.Remove(path))
	}
	return nil
}

// syncDir makes the name of a new file durable. Windows has no such call.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ReadKeyFile reads the private key from a file as [WriteKeyFile] writes it:
// comment lines, which start with #, and then the key's line. The file has to
// be a regular one, at most 16 KiB, and, except on Windows, closed to group and
// others. No error quotes what is in it.
func ReadKeyFile(path string) (PrivateKey, error) {
	// Opening a pipe would wait for its other end.
	info, err := os.Stat(path)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("seal: read key file: %w", err)
	}
	if err := checkKeyFile(path, info); err != nil {
		return PrivateKey{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("seal: read key file: %w", err)
	}
	defer file.Close()
	// The name may stand for another file by now.
	if info, err = file.Stat(); err != nil {
		return PrivateKey{}, fmt.Errorf("seal: read key file: %w", err)
	}
	if err := checkKeyFile(path, info); err != nil {
		return PrivateKey{}, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("seal: read key file: %w", err)
	}
	if len(text) > maxKeyFile {
		return PrivateKey{}, fmt.Errorf("seal: key file %q is larger than 16 KiB", path)
	}
	line := string(text)
	for strings.HasPrefix(line, "#") {
		_, line, _ = strings.Cut(line, "\n")
	}
	key, err := ParsePrivateKey(line)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("%w, in key file %q", err, path)
	}
	return key, nil
}

func checkKeyFile(path string, info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("seal: key file %q is not a regular file", path)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("seal: key file is open to others than its owner, run: chmod 600 %q", path)
	}
	return nil
}
