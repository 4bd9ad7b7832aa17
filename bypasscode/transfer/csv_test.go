package transfer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/transfer"
)

var now = at(100)

func columns() transfer.Columns {
	return transfer.Columns{SerialNumber: "Serial", DeviceCode: "Code", FirstSeen: "Seen", ReceivedAt: now}
}

// lines summarises what a file gives: row, kind, serial number, code or error.
func lines(file string, c transfer.Columns) (found []string, err error) {
	rows, err := read(transfer.ReadCSV(strings.NewReader(file), c))
	for _, p := range rows {
		what := p.Text.Reveal()
		if p.Err != nil {
			what = p.Err.Error()
		}
		found = append(found, fmt.Sprintf("%d %s %q %s", p.Row, p.Record.Kind, p.Record.Subject.SerialNumber, what))
	}
	return found, err
}

func TestReadCSV(t *testing.T) {
	t.Parallel()
	good := func(n int) string { return fmt.Sprintf("%d device \"S%d\" %s", n, n, code) }
	const head = "Serial,Code,Seen\n"
	for name, test := range map[string]struct {
		file string
		want []string
	}{
		"plain":                  {head + "S1," + code + ",\nS2," + code + ",", []string{good(1), good(2)}},
		"a byte order mark":      {"\ufeff" + head + "S1," + code + ",\n", []string{good(1)}},
		"a mark and quotes":      {"\ufeff\"Serial\",\"Code\",\"Seen\"\r\n\"S1\",\"" + code + "\",\"\"\r\n", []string{good(1)}},
		"other case and order":   {"x, code ,SEEN,sErial\n,\t" + code + " ,,S1\n", []string{good(1)}},
		"as people write":        {head + "S1," + strings.ToLower(strings.ReplaceAll(code, "-", "")) + ",\n", []string{good(1)}},
		"look-alikes":            {head + "S1," + strings.Replace(code, "1", "I", 1) + ",\n", []string{`1 device "S1" transfer: the code is none`}},
		"no code":                {head + "S1,secret,\nS2," + code + ",\n", []string{`1 device "S1" transfer: the code is none`, good(2)}},
		"an empty code":          {head + "S1,  ,\nS2," + code + ",\n", []string{`1  "S1" escrow: an empty code is not kept`, good(2)}},
		"a short row":            {head + "S1\nS2," + code + "\n", []string{`1  "S1" escrow: an empty code is not kept`, good(2)}},
		"empty cells beyond":     {head + "S1," + code + ",,, ,\n", []string{good(1)}},
		"cells beyond":           {head + "S1," + code + ",,x\nS2," + code + ",\n", []string{`1 device "S1" transfer: the row has more cells than the first line`, good(2)}},
		"cells beyond, no code":  {head + "S1,,,x\n", []string{`1  "S1" transfer: the row has more cells than the first line`}},
		"empty lines":            {head + "\n\nS1," + code + ",\n\r\n\nS2," + code + ",\n", []string{good(1), good(2)}},
		"a stray quote":          {head + "S1,a\"b,\nS2," + code + ",\n", []string{`1  "" transfer: the row is no CSV (RFC 4180)`, good(2)}},
		"no serial number":       {head + "," + code + ",\nS2," + code + ",\n", []string{`1 device "" transfer: the serial number is none`, good(2)}},
		"one of several lines":   {head + "\"S\n1\"," + code + ",\nS2," + code + ",\n", []string{"1 device \"S\\n1\" transfer: the serial number is none", good(2)}},
		"NUL":                    {head + "S\x001," + code + ",\nS2," + code + ",\n", []string{"1 device \"S\\x001\" transfer: the serial number is none", good(2)}},
		"no UTF-8":               {head + "S\xff," + code + ",\nS2," + code + ",\n", []string{"1 device \"S\\xff\" transfer: the serial number is none", good(2)}},
		"no UTF-8 in the code":   {head + "S1," + code + "\xff,\n", []string{`1 device "S1" transfer: the code is none`}},
		"an apostrophe":          {head + "'=S1," + code + ",\n", []string{`1 device "=S1" ` + code}},
		"another apostrophe":     {head + "'S1," + code + ",\n", []string{`1 device "'S1" ` + code}},
		"no time":                {head + "S1," + code + ",yesterday\n", []string{`1 device "S1" transfer: the time is none`}},
		"nothing":                {head, nil},
		"a cell of many letters": {head + "S1," + code + ",\nS2," + strings.Repeat("A", 1<<19) + ",\n", []string{good(1), `2 device "S2" transfer: the code is none`}},
	} {
		got, err := lines(test.file, columns())
		require.NoError(t, err, name)
		require.Equal(t, test.want, got, name)
	}
}

func TestReadCSVEnds(t *testing.T) {
	t.Parallel()
	const head = "Serial,Code,Seen\n"
	const lost = "transfer: read CSV: row 2: a quoted cell does not end, or the row is longer than 1 MiB"
	first := "S1," + code + ",\n"
	for name, test := range map[string]struct {
		file, want string
		rows       int
	}{
		"empty":               {"", "transfer: read CSV: the file is empty", 0},
		"no column":           {"Serial,Seen\n", `transfer: read CSV: no column is named "Code"`, 0},
		"two columns":         {"Serial,Code,Seen,code\n", `transfer: read CSV: two columns are named "Code"`, 0},
		"a cut head":          {"\"Serial,Code", "transfer: read CSV: the first line is no CSV (RFC 4180), or longer than 1 MiB", 0},
		"a long head":         {strings.Repeat("x", 2<<20), "transfer: read CSV: the first line is no CSV (RFC 4180), or longer than 1 MiB", 0},
		"an open quote":       {head + first + "S2,\"abc,\nS3," + code + ",\n", lost, 1},
		"a quote closed late": {head + first + "S2,\"abc,\nS3,\"" + code + "\",\n", lost, 1},
		"a long row":          {head + first + "S2," + strings.Repeat("x", 2<<20) + "\n" + first, lost, 1},
		"a long quoted row":   {head + first + "S2,\"" + strings.Repeat("x\n", 1<<20) + "\n" + first, lost, 1},
	} {
		got, err := lines(test.file, columns())
		require.EqualError(t, err, test.want, name)
		require.Len(t, got, test.rows, name)
	}
	for name, change := range map[string]func(*transfer.Columns){
		"serial number": func(c *transfer.Columns) { c.SerialNumber = "" },
		"code":          func(c *transfer.Columns) { c.DeviceCode = "" },
		"time":          func(c *transfer.Columns) { c.ReceivedAt = time.Time{} },
		"one for both":  func(c *transfer.Columns) { c.ServerCode = "CODE" },
		"comma":         func(c *transfer.Columns) { c.Comma = '"' },
	} {
		c := columns()
		change(&c)
		got, err := lines(head+first, c)
		require.Error(t, err, name)
		require.Empty(t, got)
	}
	for n := range len(head + first) {
		_, err := read(transfer.ReadCSV(io.MultiReader(strings.NewReader((head + first)[:n]), iotest.ErrReader(errDown)), columns()))
		require.ErrorIs(t, err, errDown)
	}
	for range transfer.ReadCSV(strings.NewReader(head+first+first), columns()) {
		break
	}
	// A reader without end is not read for ever.
	_, err := read(transfer.ReadCSV(io.MultiReader(strings.NewReader(head+"\""), forever{}), columns()))
	require.Error(t, err)
}

type forever struct{}

func (forever) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

func TestReadTwoCodes(t *testing.T) {
	t.Parallel()
	got, err := lines("serial_number;user_based_albc;device_based_albc\nS1;"+code+";"+code2+"\nS2;;"+code2+"\nS3;junk;"+code2+"\nS4;;\n", func() transfer.Columns {
		c := transfer.TwoCodes(now)
		c.Comma = ';'
		return c
	}())
	require.NoError(t, err)
	require.Equal(t, []string{
		`1 device "S1" ` + code, `1 server "S1" ` + code2, `2 server "S2" ` + code2,
		`3 device "S3" transfer: the code is none`, `3 server "S3" ` + code2, `4  "S4" escrow: an empty code is not kept`,
	}, got)
}

func TestCSVRecords(t *testing.T) {
	t.Parallel()
	c := transfer.AsWritten(now)
	for _, test := range []struct {
		first, last string
		want        [2]time.Time
	}{
		{"", "", [2]time.Time{now, now}},
		{"2026-11-22T12:00:00+02:00", "", [2]time.Time{at(1), at(1)}},
		{"", "2026-11-22 10:00:00", [2]time.Time{at(1), at(1)}},
		{"2026-11-22", "2026-11-22 10:00:00", [2]time.Time{at(-9), at(1)}},
		{"2026-11-22 10:00:00", "2026-11-22", [2]time.Time{at(-9), at(-9)}},
		{"0001-01-01T00:00:00Z", "0001-01-01 00:00:00", [2]time.Time{now, now}},
		{"2199-01-01", "2199-01-01", [2]time.Time{now, now}},
	} {
		file := "serial_number,device_code,server_code,udid,product_type,imei,imei2,meid,state,first_seen,last_seen\n" +
			"S1,," + code + ",u,p,i,j,m,disputed," + test.first + "," + test.last + "\n"
		rows, err := read(transfer.ReadCSV(strings.NewReader(file), c))
		require.NoError(t, err)
		require.NoError(t, rows[0].Err)
		r := rows[0].Record
		require.True(t, r.FirstSeen.Equal(test.want[0]), r.FirstSeen)
		require.True(t, r.LastSeen.Equal(test.want[1]), r.LastSeen)
		r.FirstSeen, r.LastSeen = time.Time{}, time.Time{}
		require.Equal(t, escrow.Record{
			Subject: escrow.Subject{SerialNumber: "S1"}, Kind: bypasscode.Server, State: escrow.Disputed, Cause: escrow.CauseImport,
			ReceivedAt: now, Device: escrow.Device{SerialNumber: "S1", UDID: "u", ProductType: "p", IMEI: "i", IMEI2: "j", MEID: "m"},
		}, r)
	}
}

// What is written is read again, and no cell of it begins a formula.
func TestCSVRoundTrip(t *testing.T) {
	t.Parallel()
	odd := []string{
		"plain", "=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''=1", "'plain", "'", "''", "a,b", "a;b", "\"quoted\"", "a\nb",
		"\tx", "＝1", "'－1", "É", "=cmd|' /C calc'!A0", "-", "'-", "#N/A",
	}
	var rows []escrow.Portable
	for i, s := range odd {
		p := plain(fmt.Sprint(i), code)
		p.Record.Kind = []bypasscode.Kind{bypasscode.Device, bypasscode.Server}[i%2]
		p.Record.Device = escrow.Device{SerialNumber: p.Record.Subject.SerialNumber, UDID: s, ProductType: s, IMEI: s, IMEI2: s, MEID: s}
		p.Record.State, p.Record.FirstSeen, p.Record.LastSeen = escrow.Superseded, at(i), at(i+1)
		if !strings.ContainsAny(s, " \n\t") {
			p.Record.Subject.SerialNumber, p.Record.Device.SerialNumber = s, s
		}
		rows = append(rows, p)
	}
	var out bytes.Buffer
	n, err := transfer.WriteCSV(&out, rowsOf(rows...), nil)
	require.NoError(t, err)
	require.Equal(t, transfer.Written{Rows: int64(len(rows))}, n)
	for _, cell := range strings.FieldsFunc(out.String(), func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		require.NotContains(t, "=+-@\t＝＋－＠", string([]rune(strings.TrimPrefix(cell, "\""))[:1]), cell)
	}
	got, err := read(transfer.ReadCSV(&out, transfer.AsWritten(now)))
	require.NoError(t, err)
	require.Len(t, got, len(rows))
	for i, p := range got {
		require.NoError(t, p.Err, odd[i])
		want := rows[i].Record
		want.ID, want.Cause, want.ReceivedAt = "", escrow.CauseImport, now
		require.True(t, want.FirstSeen.Equal(p.Record.FirstSeen) && want.LastSeen.Equal(p.Record.LastSeen))
		want.FirstSeen, want.LastSeen = p.Record.FirstSeen, p.Record.LastSeen
		require.Equal(t, want, p.Record)
		require.Equal(t, code, p.Text.Reveal())
	}
}

func TestWriteCSV(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := full()
	bare := plain("A", code)
	bare.Record.FirstSeen = time.Time{}
	byID := plain("B", code)
	byID.Record.Subject = escrow.Subject{EnrollmentID: "E"}
	_, err := transfer.WriteCSV(&out, rowsOf(p, bare, byID), nil)
	require.NoError(t, err)
	require.Equal(t, "serial_number,enrollment_id,state,first_seen,last_seen,udid,product_type,imei,imei2,meid,device_code,server_code\r\n"+
		"s,giver,void,2026-11-22T13:00:00Z,2026-11-22T14:00:00Z,u,p,i,j,m,,"+code2+"\r\n"+
		"XXFAKEA,,current,,2026-11-22T10:00:00Z,,,,,,"+code+",\r\n"+
		",E,current,2026-11-22T10:00:00Z,2026-11-22T10:00:00Z,,,,,,"+code+",\r\n", out.String())
}

type fake struct{ bytes.Buffer }

func (f *fake) Errorf(format string, args ...any) { fmt.Fprintf(&f.Buffer, format, args...) }

func TestNothingShowsACode(t *testing.T) {
	t.Parallel()
	rows, err := read(transfer.ReadCSV(strings.NewReader("Serial,Code,Seen\nS1,"+code+",\nS2,"+code[:30]+"X,\nS3,"+code+",then\nS4,a\""+code+",\n"), columns()))
	require.NoError(t, err)
	fromBundle, err := open(bundle(t, plain("A", code)))
	require.NoError(t, err)
	for _, v := range []any{rows, rows[0], rows[1], rows[2], rows[3], &rows[0], fromBundle, fromBundle[0], transfer.Written{}, columns()} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		diff := &fake{}
		require.False(t, assert.Equal(diff, v, "other"))
		out.Write(diff.Bytes())
		if encoded, err := json.Marshal(v); err == nil {
			out.Write(encoded)
		}
		require.NotContains(t, out.String(), code[:20])
		require.NotContains(t, out.String(), fmt.Sprintf("%x", code[:20]))
	}
	_, err = json.Marshal(rows[0])
	require.ErrorIs(t, err, bypasscode.ErrSecret)
	require.False(t, errors.Is(rows[1].Err, escrow.ErrEmpty))
}

func FuzzReadCSV(f *testing.F) {
	f.Add([]byte("Serial,Code,Seen\nS1,"+code+",2026-01-01\n"), ",")
	f.Add([]byte("\ufeff\"Serial\";\"Code\";Seen\r\n\"S\"\"1\";x;\r\n'=S;"+code+";\n\""), ";")
	f.Fuzz(func(t *testing.T, file []byte, comma string) {
		c := columns()
		for _, r := range comma {
			c.Comma = r
		}
		rows, err := read(transfer.ReadCSV(bytes.NewReader(file), c))
		if err != nil {
			require.NotContains(t, err.Error(), code)
		}
		row := 0
		var good []escrow.Portable
		for _, p := range rows {
			require.True(t, p.Row == row || p.Row == row+1)
			row = p.Row
			require.Equal(t, p.Err == nil, !p.Text.IsZero())
			if p.Err == nil {
				_, err := p.Text.Code()
				require.NoError(t, err)
				good = append(good, p)
			}
		}
		var out bytes.Buffer
		_, err = transfer.WriteCSV(&out, rowsOf(good...), nil)
		require.NoError(t, err)
		again, err := read(transfer.ReadCSV(&out, transfer.AsWritten(now)))
		require.NoError(t, err)
		require.Len(t, again, len(good))
		for i := range good {
			require.NoError(t, again[i].Err)
			require.Equal(t, good[i].Record.Subject, again[i].Record.Subject)
			require.True(t, good[i].Text.Equal(again[i].Text))
		}
	})
}
