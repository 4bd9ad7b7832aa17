package audit_test

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode/audit"
)

var update = flag.Bool("update", false, "write the golden chains that are missing; those that are there never change")

// goldenEvents has every act, and the extremes of each field.
func goldenEvents() []audit.Event {
	var events []audit.Event
	for i := range 8 {
		events = append(events, event(i))
	}
	return append(events,
		audit.Event{Act: "x", At: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), Actor: "\n", Reason: "\U0001F512 à"},
		audit.Event{Act: "x", At: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC), Actor: strings.Repeat("a", audit.MaxText), Reason: " ", Detail: "\t"},
	)
}

func formatChain(key []byte, entries []audit.Entry, head audit.Head) string {
	var b strings.Builder
	fmt.Fprintln(&b, "# A chain of version 1, to verify for ever. A key here is published: never use it.")
	if key != nil {
		fmt.Fprintf(&b, "key %x\n", key)
	}
	for _, e := range entries {
		fmt.Fprintf(&b, "\nentry %d\nact %q\nat %s\nactor %q\nreason %q\nserial %q\nenrollment %q\nrecord %q\ndetail %q\ndigest %s\n",
			e.Number, e.Act, e.At.Format(time.RFC3339Nano), e.Actor, e.Reason, e.SerialNumber, e.EnrollmentID, e.RecordID, e.Detail, e.Digest)
	}
	fmt.Fprintf(&b, "\nhead %s\n", head)
	return b.String()
}

func readChain(t *testing.T, text string) (key []byte, entries []audit.Entry, head audit.Head) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		field, value, _ := strings.Cut(line, " ")
		var err error
		switch field {
		case "key":
			key, err = hex.DecodeString(value)
			require.NoError(t, err)
			continue
		case "head":
			head, err = audit.ParseHead(value)
			require.NoError(t, err)
			continue
		case "entry":
			number, err := strconv.ParseInt(value, 10, 64)
			require.NoError(t, err)
			entries = append(entries, audit.Entry{Number: number})
			continue
		}
		e := &entries[len(entries)-1]
		switch field {
		case "at":
			e.At, err = time.Parse(time.RFC3339Nano, value)
			require.NoError(t, err)
			continue
		case "digest":
			n, err := hex.Decode(e.Digest[:], []byte(value))
			require.NoError(t, err)
			require.Len(t, e.Digest, n)
			continue
		}
		value, err = strconv.Unquote(value)
		require.NoError(t, err)
		switch field {
		case "act":
			e.Act = audit.Act(value)
		case "actor":
			e.Actor = value
		case "reason":
			e.Reason = value
		case "serial":
			e.SerialNumber = value
		case "enrollment":
			e.EnrollmentID = value
		case "record":
			e.RecordID = value
		case "detail":
			e.Detail = value
		default:
			t.Fatalf("unknown field %s", field)
		}
	}
	return key, entries, head
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]byte{"chain.txt": nil, "chain-with-key.txt": keyBytes(1)} {
		var key audit.Key
		if want != nil {
			key = testKey(t, want[0])
		}
		// What is written today is what was written then.
		made := &table{}
		head, err := newLog(t, made, key).Append(t.Context(), goldenEvents()...)
		require.NoError(t, err)
		path := filepath.Join("testdata", name)
		if _, err := os.Stat(path); *update && errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(path, []byte(formatChain(want, made.rows, head)), 0o644))
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, formatChain(want, made.rows, head), string(content))

		raw, entries, kept := readChain(t, string(content))
		require.Equal(t, want, raw)
		require.Len(t, entries, 10)
		log := newLog(t, &table{rows: entries}, key)
		verified, err := log.Verify(t.Context(), kept)
		require.NoError(t, err)
		require.Equal(t, kept, verified)
		_, err = log.Append(t.Context(), event(20)) // and it goes on
		require.NoError(t, err)
		verified, err = log.Verify(t.Context(), kept)
		require.NoError(t, err)
		require.EqualValues(t, 11, verified.Number)
	}
}
