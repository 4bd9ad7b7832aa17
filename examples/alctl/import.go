package main

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/transfer"
	"github.com/activationlock/sdk/examples/internal/operator"
)

func runEscrowImport(c *console, args []string) error {
	f := newFlags("alctl escrow import", storeUsage+" -actor NAME -reason TEXT -key FILE BUNDLE\n"+
		"       alctl escrow import "+storeUsage+" -actor NAME -reason TEXT -public KEY -csv FILE -column NAME=COLUMN...", `Takes in the codes of a bundle, as export writes it, or of a CSV file. Nothing is
overwritten: a code that is there stays as it is, and none supersedes one that a
device gave. Codes are sealed to the keys of -public, without it to those of -key;
name all that the server has.

Rows that fail are reported, the others still come, and the exit code is 1.
Interrupted, it says how to go on. Importing a row twice does no harm.

Columns of a CSV file are named by its first line: -column serial=… and one or
both of device=… (codes that devices made) and server=… (codes made for locks of
the organization); udid, product, imei, imei2, meid and seen (a time) can be
there. -csv-two-codes is short for serial=serial_number device=user_based_albc
server=device_based_albc.`,
		"-store codes.db -actor anna -reason \"from the old server\" -public escrow.pub -public offline.pub \\\n"+
			"    -csv codes.csv -column serial=\"Serial Number\" -column device=\"Bypass Code\" -dry-run")
	a := c.access(f)
	a.audited()
	var keys, public, recovery []string
	i := importing{console: c}
	columns := transfer.Columns{}
	f.texts(&keys, "key", "`FILE` with a private key that the bundle is sealed to; may be given more than once")
	f.publicKeys(&public, "public", "who may read the codes here")
	f.recovery(&recovery)
	f.text(&i.csv, "csv", "CSV `FILE`; \"-\" is standard input, as it is for a bundle")
	f.columns(&columns)
	twoCodes := f.Bool("csv-two-codes", false, "the columns are serial_number, user_based_albc and device_based_albc")
	f.comma(&columns.Comma)
	f.BoolVar(&a.create, "create", false, "make the store if there is none")
	f.BoolVar(&a.dryRun, "dry-run", false, "only say what would happen")
	f.IntVar(&i.skip, "skip", 0, "pass over the first `N` rows")
	f.BoolVar(&i.rows, "rows", false, "print what becomes of each row")
	f.BoolVar(&i.json, "json", false, "print JSON objects, one per line")
	if err := a.parse(args, 1); err != nil {
		return err
	}
	mapped := columns != transfer.Columns{Comma: columns.Comma}
	switch {
	case (i.csv != "") == (f.NArg() > 0):
		return usageError("want either a bundle or -csv")
	case i.csv == "" && (mapped || *twoCodes || columns.Comma != 0):
		return usageError("-column, -csv-two-codes and -comma are for -csv")
	case i.csv == "" && len(keys) == 0:
		return usageError("a bundle takes -key")
	case i.csv != "" && mapped == *twoCodes:
		return usageError("-csv takes either -column or -csv-two-codes")
	case mapped && (columns.SerialNumber == "" || columns.DeviceCode == "" && columns.ServerCode == ""):
		return usageError("want -column serial=… and -column device=… or server=…")
	case len(keys)+len(public) == 0:
		return usageError("want -public or -key: keys to seal the codes to")
	case i.skip < 0:
		return usageError("-skip is a number of rows")
	}
	columns.ReceivedAt = time.Now()
	if *twoCodes {
		comma := columns.Comma
		columns = transfer.TwoCodes(columns.ReceivedAt)
		columns.Comma = comma
	}
	recipients, err := c.readPublicKeys("public", public)
	if err != nil {
		return err
	}
	sealer, err := readKeys(keys, recipients...)
	if err != nil {
		return err
	}
	config, err := c.recoveryConfig(recovery)
	if err != nil {
		return err
	}
	ctx, stop := c.interruptible()
	defer stop()
	in := &input{ctx: ctx}
	size, source, err := i.open(in, f.Args())
	if err != nil {
		return err
	}
	defer in.close()
	o, err := a.open(ctx, sealer, config)
	if err != nil {
		return err
	}
	defer o.close()

	rows := transfer.ReadBundle(ctx, in, sealer)
	if i.csv != "" {
		rows = transfer.ReadCSV(in, columns)
	}
	progress := c.progress("rows", size, true)
	defer progress.end()
	how := escrow.Import{Act: *a.by, Source: source, DryRun: a.dryRun, Skip: i.skip}
	err = explained(ctx, i.take(o.Import(ctx, how, unmixed(rows)), func() { progress.step(in.read) }))
	progress.end()
	return i.finish(err, a.dryRun)
}

// importing is an import and what has become of it.
type importing struct {
	*console
	csv        string
	rows, json bool
	skip       int // rows that are done
	row        int // the one that is being done
	count      map[escrow.Outcome]int
}

// open opens the file to import. It returns its size, -1 if nobody knows it, and
// what the audit is told of it.
func (i *importing) open(in *input, operands []string) (size int64, source string, err error) {
	what, path := "-csv", i.csv
	source = "CSV file"
	if path == "" {
		what, path, source = "the bundle", operands[0], "bundle"
	}
	if path == "-" {
		in.from, in.wait = i.in, true
		return -1, source, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return 0, "", fmt.Errorf("read %s: %w", what, reason(err))
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return 0, "", fmt.Errorf("read %s: %w", what, reason(err))
	}
	in.from, in.closer, size = file, file, info.Size()
	if !info.Mode().IsRegular() {
		in.wait, size = true, -1
	}
	if named := source + " " + filepath.Base(path); escrow.ValidIdentifier(named) && !operator.HoldsCode(named) {
		source = named
	}
	return size, source, nil
}

// unmixed refuses rows whose serial number is a code: stores keep serial numbers
// as they are, for everybody to read.
func unmixed(rows iter.Seq2[escrow.Portable, error]) iter.Seq2[escrow.Portable, error] {
	return func(yield func(escrow.Portable, error) bool) {
		for p, err := range rows {
			if operator.HoldsCode(p.Record.Subject.SerialNumber) {
				p.Err = errors.New("its serial number is a code, as if columns were mixed up")
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// importedRow is what became of a row, in JSON.
type importedRow struct {
	Row          int    `json:"row"`
	Outcome      string `json:"outcome"`
	SerialNumber string `json:"serialNumber,omitempty"`
	EnrollmentID string `json:"enrollmentID,omitempty"`
	Kind         string `json:"kind,omitempty"`
	State        string `json:"state,omitempty"`
	RecordID     string `json:"record,omitempty"`
	Error        string `json:"error,omitempty"`
}

// take takes in the rows.
func (i *importing) take(results iter.Seq2[escrow.Imported, error], each func()) error {
	i.row, i.count = i.skip, map[escrow.Outcome]int{}
	for r, err := range results {
		if err != nil {
			return err
		}
		if r.Row > i.row { // a row may have two codes
			i.skip, i.row = i.row, r.Row
		}
		i.count[r.Outcome]++
		each()
		if r.Outcome == escrow.Failed {
			i.warn(fmt.Sprintf("row %d", r.Row), r.Err)
		}
		if !i.rows {
			continue
		}
		if err := i.print(r); err != nil {
			return err
		}
	}
	i.skip = i.row
	return nil
}

func (i *importing) print(r escrow.Imported) error {
	row := importedRow{
		Row: r.Row, Outcome: string(r.Outcome), SerialNumber: r.Record.Subject.SerialNumber, EnrollmentID: r.Record.Subject.EnrollmentID,
		Kind: string(r.Record.Kind), State: string(r.Record.State), RecordID: r.Record.ID,
	}
	if operator.HoldsCode(row.SerialNumber) { // see unmixed
		row.SerialNumber = "[redacted]"
	}
	if r.Err != nil {
		row.Error = r.Err.Error()
	}
	if i.json {
		return printLine(i.stdout, row)
	}
	device := row.SerialNumber
	if device == "" {
		device = "enrollment " + row.EnrollmentID
	}
	if row.Kind != "" {
		device += " " + row.Kind
	}
	if _, err := fmt.Fprintf(i.stdout, "row %d: %s: %s\n", row.Row, printable(device), row.Outcome); err != nil {
		return fmt.Errorf("write the output: %w", reason(err))
	}
	return nil
}

// importSummary is the end of an import, in JSON.
type importSummary struct {
	DryRun bool `json:"dryRun,omitempty"`
	Added  int  `json:"added"`
	Known  int  `json:"known"`
	Empty  int  `json:"empty"`
	Failed int  `json:"failed"`
	Skip   int  `json:"skip"` // how to go on
}

// finish prints how many codes came in, and returns what is to be said of err.
func (i *importing) finish(err error, dryRun bool) error {
	s := importSummary{dryRun, i.count[escrow.Added], i.count[escrow.Known], i.count[escrow.Empty], i.count[escrow.Failed], i.skip}
	if err != nil && len(i.count) == 0 {
		return err
	}
	if i.json {
		if err := printLine(&i.out, s); err != nil {
			return err
		}
	} else {
		if dryRun {
			fmt.Fprint(&i.out, "nothing is changed; this would be: ")
		}
		fmt.Fprintf(&i.out, "%d added, %d known, %d rows without a code, %d failed\n", s.Added, s.Known, s.Empty, s.Failed)
	}
	switch {
	case err != nil:
		return partialError(fmt.Sprintf("%v; what is done stays; to go on: the same with -skip %d", err, i.skip))
	case s.Failed > 0:
		return partialError(fmt.Sprintf("%d of %d codes failed", s.Failed, s.Failed+s.Added+s.Known))
	}
	return nil
}

// columns is a flag that names a column of a CSV file.
func (f *flags) columns(to *transfer.Columns) {
	names := map[string]*string{
		"serial": &to.SerialNumber, "device": &to.DeviceCode, "server": &to.ServerCode, "udid": &to.UDID, "product": &to.ProductType,
		"imei": &to.IMEI, "imei2": &to.IMEI2, "meid": &to.MEID, "seen": &to.FirstSeen, "last": &to.LastSeen, "state": &to.State,
	}
	f.Func("column", "`NAME=COLUMN` of a CSV file; given once for each", func(s string) error {
		name, column, _ := strings.Cut(s, "=")
		column = strings.TrimSpace(column)
		at, known := names[name]
		switch {
		case !known:
			return errors.New("want serial, device, server, udid, product, imei, imei2, meid, seen, last or state, and the name of a column")
		case column == "":
			return errors.New("the name of the column is empty")
		case *at != "":
			return errors.New("it is given twice")
		case operator.HoldsCode(column): // errors name columns
			return errors.New("it is a code, not the name of a column")
		}
		*at = column
		return nil
	})
}

// comma is a flag with what stands between the cells of a CSV file.
func (f *flags) comma(to *rune) {
	f.Func("comma", "`CHARACTER` between the cells of a CSV file, or \"tab\"; default a comma", func(s string) error {
		if s == "tab" {
			s = "\t"
		}
		r, size := utf8.DecodeRuneInString(s)
		if size == 0 || size != len(s) || r == utf8.RuneError || strings.ContainsRune("\"\r\n", r) {
			return errors.New("want one character")
		}
		*to = r
		return nil
	})
}
