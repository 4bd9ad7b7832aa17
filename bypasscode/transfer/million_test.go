package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/transfer"
)

var (
	update  = flag.Bool("update", false, "write the golden bundles that are missing; those that are there never change")
	manyFor = flag.Int("rows", 20_000, "rows of the test of a large fleet")
)

// numbered returns the nth of many codes.
func numbered(n int) bypasscode.Text {
	raw := sha256.Sum256([]byte(fmt.Sprint(n)))
	c, err := bypasscode.FromBytes(raw[:16])
	if err != nil {
		panic(err)
	}
	return c.Text()
}

// heap is the greatest size of what is alive, seen every so often.
type heap struct {
	rows         int
	first, worst uint64
}

func (h *heap) look() {
	h.rows++
	if h.rows%(*manyFor/8) != 0 {
		return
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if h.first == 0 {
		h.first = m.HeapAlloc
	}
	h.worst = max(h.worst, m.HeapAlloc)
}

// counting is a store that takes everything and keeps nothing.
type counting struct {
	escrow.Store
	rows int
}

func (c *counting) Update(_ context.Context, _ escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	changed, err := change(nil)
	c.rows += len(changed)
	return err
}

func (c *counting) Entries(context.Context, escrow.Subject) ([]escrow.Entry, error) { return nil, nil }

func (c *counting) Scan(context.Context, string, int) ([]escrow.Entry, error) { return nil, nil }

// bare hides nothing; the test is of sizes.
type bare struct{}

func (bare) Seal(_ context.Context, text, _ []byte) ([]byte, error) { return bytes.Clone(text), nil }

// Many rows are written into a bundle, read, imported, written as CSV, read and
// imported, all at once and in constant memory. Not parallel: it measures.
func TestManyRows(t *testing.T) {
	n := *manyFor
	h := &heap{}
	count := 0
	made := func(yield func(escrow.Portable, error) bool) {
		for i := range n {
			p := plain(fmt.Sprintf("%026d", i), "x")
			p.Text = numbered(i)
			if !yield(p, nil) {
				return
			}
			h.look()
		}
	}
	// pipe joins a writer and a reader.
	pipe := func(write func(io.Writer) error, read func(io.Reader) iter.Seq2[escrow.Portable, error]) iter.Seq2[escrow.Portable, error] {
		return func(yield func(escrow.Portable, error) bool) {
			r, w := io.Pipe()
			go func() { w.CloseWithError(write(w)) }()
			defer r.Close()
			for p, err := range read(r) {
				if !yield(p, err) {
					return
				}
			}
		}
	}
	throughBundle := pipe(func(w io.Writer) error {
		_, err := transfer.WriteBundle(t.Context(), w, keys(), made, nil)
		return err
	}, func(r io.Reader) iter.Seq2[escrow.Portable, error] {
		return transfer.ReadBundle(t.Context(), r, keys())
	})
	throughCSV := pipe(func(w io.Writer) error {
		_, err := transfer.WriteCSV(w, throughBundle, nil)
		return err
	}, func(r io.Reader) iter.Seq2[escrow.Portable, error] {
		return transfer.ReadCSV(r, transfer.AsWritten(at(9)))
	})

	acts, err := audit.New(audit.Config{Store: memstore.New().Audit()})
	require.NoError(t, err)
	store := &counting{}
	e, err := escrow.New(escrow.Config{Store: store, Sealer: bare{}, Audit: acts})
	require.NoError(t, err)
	began := time.Now()
	how := escrow.Import{Act: escrow.Act{Actor: "tester", Reason: "size"}}
	for r, err := range e.Import(t.Context(), how, throughCSV) {
		require.NoError(t, err)
		if r.Outcome != escrow.Added || r.Row != count+1 {
			t.Fatal(r.Row, r.Outcome, r.Err)
		}
		count++
	}
	require.Equal(t, n, count)
	require.Equal(t, n, store.rows)
	t.Logf("%d rows in %v, heap %d KiB at first, %d KiB at most", n, time.Since(began).Round(time.Millisecond), h.first>>10, h.worst>>10)
	require.NotZero(t, h.first)
	require.Less(t, h.worst, h.first+2<<20, "memory grows with the rows")
}

// A dry run keeps a little of each row.
func TestManyRowsDry(t *testing.T) {
	n := *manyFor
	h := &heap{}
	acts, err := audit.New(audit.Config{Store: memstore.New().Audit()})
	require.NoError(t, err)
	e, err := escrow.New(escrow.Config{Store: &counting{}, Sealer: bare{}, Audit: acts})
	require.NoError(t, err)
	rows := func(yield func(escrow.Portable, error) bool) {
		for i := range n {
			p := plain(fmt.Sprintf("%026d", i), "x")
			p.Text = numbered(i)
			if !yield(p, nil) {
				return
			}
		}
	}
	began := time.Now()
	how := escrow.Import{Act: escrow.Act{Actor: "tester", Reason: "size"}, DryRun: true}
	for r, err := range e.Import(t.Context(), how, rows) {
		require.NoError(t, err)
		require.Equal(t, escrow.Added, r.Outcome)
		h.look()
	}
	t.Logf("%d rows in %v, %d bytes each", n, time.Since(began).Round(time.Millisecond), (h.worst-h.first)*8/7/uint64(n))
	require.Less(t, h.worst, h.first+uint64(n)*600+1<<20)
}
