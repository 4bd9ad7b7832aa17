package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/activationlock/sdk/bypasscode/escrow"
)

// copySuffix ends the name of a file with a recovery copy.
const copySuffix = ".cms"

func runEscrowCopies(c *console, args []string) error {
	f := newFlags("alctl escrow copies", "-store FILE -out DIR", `Writes the recovery copy of each code into a file of a folder: RECORD.cms, CMS in
DER. The holder of a recovery certificate's key opens one without this program:

  openssl cms -decrypt -inform DER -in RECORD.cms -recip certificate.pem -inkey key.pem

No key is needed to write them. A file that is there is never overwritten; one
that holds another copy than the store is reported, and the exit code is 1.`, "-store codes.db -out copies")
	var store, out string
	f.text(&store, "store", "SQLite `FILE` with the codes")
	f.text(&out, "out", "`DIR` to write to; it must exist")
	if err := f.parse(c, args, 0); err != nil {
		return err
	}
	if store == "" || out == "" {
		return usageError("-store and -out are required")
	}
	if info, err := os.Stat(out); err != nil {
		return fmt.Errorf("open -out: %w", reason(err))
	} else if !info.IsDir() {
		return errors.New("open -out: it is no folder")
	}
	ctx := c.ctx
	codes, db, err := openEscrow(ctx, store, noSealer{})
	if err != nil {
		return err
	}
	defer db.Close()

	var written, there, without, failed int
	for record, err := range codes.All(ctx) {
		if err != nil {
			failed++
			c.warn("the store", err)
			break
		}
		if record.State == escrow.Purged {
			continue
		}
		isNew, err := writeCopy(ctx, codes, record, out)
		switch {
		case errors.Is(err, escrow.ErrNotFound):
			without++
		case err != nil:
			failed++
			c.warn(nameOf(record), reason(err))
		case isNew:
			written++
		default:
			there++
		}
	}
	fmt.Fprintf(&c.out, "%d written, %d there already, %d codes have none\n", written, there, without)
	if failed > 0 {
		return partialError("not all copies are written")
	}
	return nil
}

// writeCopy writes the recovery copy of a record, unless it is there.
func writeCopy(ctx context.Context, codes *escrow.Escrow, record escrow.Record, out string) (isNew bool, err error) {
	der, err := codes.RecoveryCopy(ctx, record.Subject, record.ID)
	if err != nil {
		return false, err
	}
	if strings.Trim(record.ID, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return false, errors.New("its ID is not what the library makes, and no file gets that name")
	}
	path := filepath.Join(out, record.ID+copySuffix)
	switch content, err := os.ReadFile(path); {
	case err == nil && bytes.Equal(content, der):
		return false, nil
	case err == nil:
		return false, errors.New("its file holds another copy; move that away to get the store's")
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	return true, writeWhole(path, der)
}

// writeWhole writes a file that is whole as soon as it has its name. It needs no
// links, which the file systems of memory sticks do not have.
func writeWhole(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".copy-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // an error says that it has its own name now
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
