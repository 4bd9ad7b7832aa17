package transfer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"iter"
	"log"
	"math/big"
	"strings"
	"time"

	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/bypasscode/transfer"
)

var (
	ctx  = context.Background()
	noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)
	ada  = escrow.Act{Actor: "ada@example.com", Reason: "we move, ticket 4711"}
)

// newServer is an escrow in memory with a key of its own.
func newServer(recovery ...*x509.Certificate) (*escrow.Escrow, *seal.Keyring, seal.PublicKey) {
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{key.Public()}, key)
	if err != nil {
		log.Fatal(err)
	}
	store := memstore.New()
	acts, err := audit.New(audit.Config{Store: store.Audit()})
	if err != nil {
		log.Fatal(err)
	}
	codes, err := escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys, Audit: acts, Recovery: recovery})
	if err != nil {
		log.Fatal(err)
	}
	return codes, keys, key.Public()
}

// captured is a server with a device's two codes.
func captured(recovery ...*x509.Certificate) (*escrow.Escrow, *seal.Keyring) {
	codes, keys, _ := newServer(recovery...)
	for day, code := range []string{"3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86"} {
		if _, err := codes.Capture(ctx, escrow.Capture{
			Subject: escrow.Subject{SerialNumber: "XXFAKE0SER1"}, Kind: bypasscode.Device, Text: bypasscode.NewText(code),
			Cause: escrow.CauseEnrollment, ReceivedAt: noon.AddDate(0, 0, day-9),
		}); err != nil {
			log.Fatal(err)
		}
	}
	return codes, keys
}

// Another product gave its codes as a CSV file. Every row says what became of it.
func ExampleReadCSV() {
	const file = `"Device Name","Serial Number","Bypass Code"
Reception,XXFAKE0SER1,3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4
Library,XXFAKE0SER2,8lnyddvnkugyrce6gu3yfdct86
Workshop,XXFAKE0SER3,none
Store room,XXFAKE0SER4,
`
	codes, _, _ := newServer()
	columns := transfer.Columns{SerialNumber: "Serial Number", DeviceCode: "Bypass Code", ReceivedAt: noon}
	how := escrow.Import{Act: ada, Source: "export of the old MDM"}
	for row, err := range codes.Import(ctx, how, transfer.ReadCSV(strings.NewReader(file), columns)) {
		if err != nil {
			fmt.Println(err) // the rows so far are imported; run it again
			return
		}
		fmt.Println(row.Row, row.Record.Subject.SerialNumber, row.Outcome, row.Err)
	}
	// Output:
	// 1 XXFAKE0SER1 added <nil>
	// 2 XXFAKE0SER2 added <nil>
	// 3 XXFAKE0SER3 failed transfer: the code is none
	// 4 XXFAKE0SER4 empty <nil>
}

// counted tells how far the rows are.
func counted(rows iter.Seq2[escrow.Portable, error], progress func(done int)) iter.Seq2[escrow.Portable, error] {
	return func(yield func(escrow.Portable, error) bool) {
		done := 0
		for row, err := range rows {
			if !yield(row, err) {
				return
			}
			done++
			progress(done)
		}
	}
}

// A server moves: the old one seals a bundle to the new one's public key.
func ExampleWriteBundle() {
	oldServer, _ := captured()
	newCodes, newKeys, newPublic := newServer()

	theirs, err := seal.NewKeyring([]seal.PublicKey{newPublic})
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	rows := counted(oldServer.Export(ctx, ada, ""), func(done int) { fmt.Println("exported", done) })
	if _, err := transfer.WriteBundle(ctx, &file, theirs, rows, nil); err != nil {
		fmt.Println(err)
		return
	}

	for _, dryRun := range []bool{true, false, false} { // once more does no harm
		outcomes := map[escrow.Outcome]int{}
		how := escrow.Import{Act: ada, Source: "old.example.com", DryRun: dryRun}
		for row, err := range newCodes.Import(ctx, how, transfer.ReadBundle(ctx, bytes.NewReader(file.Bytes()), newKeys)) {
			if err != nil {
				fmt.Println(err)
				return
			}
			outcomes[row.Outcome]++
		}
		fmt.Println("dry run:", dryRun, outcomes)
	}
	found, err := newCodes.Records(ctx, escrow.Subject{SerialNumber: "XXFAKE0SER1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range found {
		fmt.Println(r.LastSeen.Format(time.DateOnly), r.State)
	}
	// Output:
	// exported 1
	// exported 2
	// dry run: true map[added:2]
	// dry run: false map[added:2]
	// dry run: false map[known:2]
	// 2026-11-14 current
	// 2026-11-13 superseded
}

// The server is lost, and with it its key. What is left is the bundle of last
// night, sealed to a key in a safe. It is cut off, so what it has is taken first.
func ExampleReadBundle() {
	lost, _ := captured()
	safe, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := seal.NewKeyring([]seal.PublicKey{safe.Public()}, safe)
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	if _, err := transfer.WriteBundle(ctx, &file, keys, lost.Export(ctx, ada, ""), nil); err != nil {
		fmt.Println(err)
		return
	}
	file.Truncate(file.Len() - 7)

	codes, _, _ := newServer()
	how := escrow.Import{Act: ada, Source: "the bundle of last night"}
	for row, err := range codes.Import(ctx, how, transfer.ReadBundle(ctx, &file, keys)) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(row.Record.Subject.SerialNumber, row.Outcome)
	}
	// Output:
	// XXFAKE0SER1 added
	// XXFAKE0SER1 added
	// escrow: import: transfer: the end of the bundle is missing
}

// The server is lost, and its key too, but not the recovery copies, nor the key
// of their certificate.
func Example_recoveryCopies() {
	certificate, key := holder()
	lost, _ := captured(certificate)
	var copies [][]byte
	for record, err := range lost.All(ctx) { // every night, into the backup
		if err != nil {
			fmt.Println(err)
			return
		}
		der, err := lost.RecoveryCopy(ctx, record.Subject, record.ID)
		if err != nil {
			fmt.Println(err)
			return
		}
		copies = append(copies, der)
	}

	rows := func(yield func(escrow.Portable, error) bool) {
		for i, der := range copies {
			p := escrow.Portable{Row: i + 1}
			var r escrow.Recovered
			if r, p.Err = escrow.OpenRecoveryCopy(der, certificate, key); p.Err == nil {
				p.Text = r.Text
				p.Record = escrow.Record{
					ID: r.RecordID, Subject: escrow.SubjectOf(r.Device.SerialNumber, r.EnrollmentID), Kind: r.Kind,
					State: escrow.Current, Cause: escrow.CauseImport, EnrollmentID: r.EnrollmentID,
					ReceivedAt: r.ReceivedAt, LastSeen: r.ReceivedAt, Device: r.Device,
				}
			}
			if !yield(p, nil) {
				return
			}
		}
	}
	codes, _, _ := newServer()
	for row, err := range codes.Import(ctx, escrow.Import{Act: ada, Source: "recovery copies"}, rows) {
		if err != nil || row.Err != nil {
			fmt.Println(err, row.Err)
			return
		}
	}
	found, err := codes.Records(ctx, escrow.Subject{SerialNumber: "XXFAKE0SER1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range found { // copies say nothing of states, so the newest first
		fmt.Println(r.LastSeen.Format(time.DateOnly))
	}
	// Output:
	// 2026-11-14
	// 2026-11-13
}

// holder makes a certificate and its key. Real ones are made and kept elsewhere.
func holder() (*x509.Certificate, *rsa.PrivateKey) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Recovery"}, NotAfter: noon.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	return certificate, key
}

// A product that exports a code of each kind per device.
func ExampleTwoCodes() {
	const file = `serial_number,user_based_albc,device_based_albc
XXFAKE0SER1,3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4,8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86
`
	codes, _, _ := newServer()
	how := escrow.Import{Act: ada, Source: "export of the old MDM"}
	for row, err := range codes.Import(ctx, how, transfer.ReadCSV(strings.NewReader(file), transfer.TwoCodes(noon))) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.Row, row.Record.Kind, row.Outcome)
	}
	// Output:
	// 1 device added
	// 1 server added
}

// What WriteCSV wrote can be read again.
func ExampleAsWritten() {
	old, _ := captured()
	var file bytes.Buffer
	if _, err := transfer.WriteCSV(&file, old.Export(ctx, ada, ""), nil); err != nil {
		log.Fatal(err)
	}
	codes, _, _ := newServer()
	how := escrow.Import{Act: ada, Source: "the other server"}
	for row, err := range codes.Import(ctx, how, transfer.ReadCSV(&file, transfer.AsWritten(noon))) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.Record.State, row.Outcome)
	}
	// Unordered output:
	// superseded added
	// current added
}
