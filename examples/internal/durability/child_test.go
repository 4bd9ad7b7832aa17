package durability_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/activationlock/memstore"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
)

var act = escrow.Act{Actor: "tester", Reason: "test"}

// wish is for a code that no person is to see.
func wish(subject escrow.Subject, recordID string) escrow.Reveal {
	return escrow.Reveal{Subject: subject, RecordID: recordID, Purpose: escrow.ToUnlock, Act: act}
}

// newAudit is an audit that nobody looks at.
func newAudit() *audit.Log {
	log, err := audit.New(audit.Config{Store: memstore.New().Audit()})
	if err != nil {
		panic(err)
	}
	return log
}

// childVariable makes this program a child.
const childVariable = "ACTIVATIONLOCK_DURABILITY_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	if err := runChild(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// mode is how a child does its task.
type mode string

const (
	steady  mode = "steady"  // an error ends it
	patient mode = "patient" // what fails is tried again, as devices do
	// early is a server with a mistake: it reports before the commit, which then
	// never comes.
	early mode = "early"
	// single commits one capture for each line that it is sent.
	single mode = "single"
	// careless is single on SQLite, past the store and with synchronous NORMAL.
	careless mode = "careless"
)

// task is what a child is told on its standard input, whose end ends it.
type task struct {
	Mode    mode
	Storage database.Storage
	Seed    uint64
	Round   int
	// Keys are private. Codes are sealed to the first, and rotated to the second.
	Keys [2]string
}

// report is a line on a child's standard output, after Escrow has returned
// without an error.
type report struct {
	Number   int // of the code, see codeOf; zero of one that escrow made
	Hash     string
	Subject  escrow.Subject
	RecordID string
	// Join: what was filed under the Subject belongs to this serial number too.
	// The other fields are empty.
	Join string
	// Action is one of a bypass, and Tries how often it was changed. The other
	// fields are empty.
	Action string
	Tries  int
}

// codeOf returns the code of a number.
func codeOf(seed uint64, number int) bypasscode.Code {
	var in [16]byte
	binary.BigEndian.PutUint64(in[:], seed)
	binary.BigEndian.PutUint64(in[8:], uint64(number))
	sum := sha256.Sum256(in[:])
	code, err := bypasscode.FromBytes(sum[:bypasscode.Size])
	if err != nil {
		panic(err) // never
	}
	return code
}

const (
	workers   = 6
	perRound  = 1 << 20
	perWorker = 1 << 16 // numbers that a worker has in a round
)

// numberOf returns the number of a worker's nth code. None is zero.
func numberOf(round, worker, n int) int { return round*perRound + worker*perWorker + n + 1 }

// commandUUID says of which code the answer was, for the check of codes that
// nobody reported.
func commandUUID(number, again int) string { return fmt.Sprintf("command %d %d", number, again) }

func numberIn(commandUUID string) (number int, err error) {
	var again int
	_, err = fmt.Sscanf(commandUUID, "command %d %d", &number, &again)
	return number, err
}

var noon = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

// captureOf returns the capture of a number.
func captureOf(t task, subject escrow.Subject, number, again int) escrow.Capture {
	return escrow.Capture{
		Subject: subject, Kind: bypasscode.Device, Text: codeOf(t.Seed, number).Text(), Cause: escrow.CauseSchedule,
		EnrollmentID: fmt.Sprint("giver ", number/perWorker), CommandUUID: commandUUID(number, again),
		ReceivedAt: noon.Add(time.Duration(number%perWorker+again) * time.Second),
		Device:     escrow.Device{UDID: "udid", ProductType: "iPhone17,3", IMEI: "350000000000019"},
	}
}

// keyrings returns the keyring that collects and the one that rotates, which
// opens everything.
func (t task) keyrings() (collect, rotate *seal.Keyring, err error) {
	var keys [2]seal.PrivateKey
	for i, line := range t.Keys {
		if keys[i], err = seal.ParsePrivateKey(line); err != nil {
			return nil, nil, err
		}
	}
	if collect, err = seal.NewKeyring([]seal.PublicKey{keys[0].Public()}); err != nil {
		return nil, nil, err
	}
	rotate, err = seal.NewKeyring([]seal.PublicKey{keys[1].Public()}, keys[:]...)
	return collect, rotate, err
}

// child is a server that captures codes.
type child struct {
	task
	codes, rotating *escrow.Escrow
	actions         bypass.Store
	mu              sync.Mutex // of the standard output
}

// runChild does what the standard input says.
func runChild() error {
	in := json.NewDecoder(os.Stdin)
	c := &child{}
	if err := in.Decode(&c.task); err != nil {
		return err
	}
	if c.Mode == careless {
		return c.careless(in)
	}
	var db *sql.DB
	var err error
	ctx := context.Background()
	if c.Storage.Dialect == sqlstore.SQLite {
		db, err = sqlstore.OpenSQLite(ctx, c.Storage.Driver, c.Storage.Source)
	} else {
		db, err = sql.Open(c.Storage.Driver, c.Storage.Source)
	}
	if err != nil {
		return err
	}
	store, err := sqlstore.New(db, c.Storage.Dialect)
	if err != nil {
		return err
	}
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	collect, rotate, err := c.keyrings()
	if err != nil {
		return err
	}
	c.actions = store.Actions()
	keeps := store.Escrow()
	if c.Mode == early {
		keeps = earlyStore{keeps, c}
	}
	if c.codes, err = escrow.New(escrow.Config{Audit: newAudit(), Store: keeps, Sealer: collect}); err != nil {
		return err
	}
	if c.rotating, err = escrow.New(escrow.Config{Audit: newAudit(), Store: keeps, Sealer: rotate}); err != nil {
		return err
	}
	if c.Mode == single {
		return c.single(in)
	}
	failed := make(chan error)
	go func() {
		_, err := in.Token() // nothing more is sent
		failed <- fmt.Errorf("the standard input ended: %w", err)
	}()
	count := workers
	if c.Mode == early {
		count = 1
	}
	for worker := range count {
		go func() { failed <- c.work(ctx, worker) }()
	}
	return <-failed
}

// report writes a line, all of it at once.
func (c *child) report(r report) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = os.Stdout.Write(append(line, '\n'))
	return err
}

// try does something that a patient child does until it succeeds.
func (c *child) try(do func() error) error {
	err := do()
	if c.Mode != patient || err == nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for err != nil {
		<-tick.C
		err = do()
	}
	return nil
}

// work captures codes for ever, in ways that the seed has chosen.
func (c *child) work(ctx context.Context, worker int) error {
	r := rand.New(rand.NewPCG(c.Seed, uint64(numberOf(c.Round, worker, 0))))
	var subjects []escrow.Subject // by number
	actions := 0
	for {
		// Other children of this storage had the same devices.
		serial := fmt.Sprintf("SERIAL%d-%d", c.Round/2, r.IntN(4))
		n := 16
		if c.Mode != early { // which is about codes
			n++
		}
		switch r.IntN(n) {
		case 16:
			if err := c.bypass(ctx, fmt.Sprintf("%d %d", c.Round, worker), actions); err != nil {
				return err
			}
			actions++
		case 0:
			if err := c.lock(ctx, r, serial); err != nil {
				return err
			}
		case 1:
			if err := c.try(func() error { _, err := c.rotating.Rotate(ctx, act, "", nil); return err }); err != nil {
				return err
			}
		case 2, 3: // a code again, another answer or the same once more
			if len(subjects) == 0 {
				continue
			}
			n := r.IntN(len(subjects))
			if err := c.capture(ctx, subjects[n], numberOf(c.Round, worker, n), r.IntN(3)); err != nil {
				return err
			}
		case 4, 5, 6: // while the serial number is not known
			enrollment := fmt.Sprintf("enrollment %d %d %d", c.Round, worker, len(subjects)/8)
			subjects = append(subjects, escrow.Subject{EnrollmentID: enrollment})
			if err := c.capture(ctx, subjects[len(subjects)-1], numberOf(c.Round, worker, len(subjects)-1), 0); err != nil {
				return err
			}
			if r.IntN(2) == 0 {
				continue
			}
			if err := c.try(func() error { return c.codes.Join(ctx, enrollment, serial) }); err != nil {
				return err
			}
			if err := c.report(report{Subject: subjects[len(subjects)-1], Join: serial}); err != nil {
				return err
			}
		default:
			subjects = append(subjects, escrow.Subject{SerialNumber: serial})
			if err := c.capture(ctx, subjects[len(subjects)-1], numberOf(c.Round, worker, len(subjects)-1), 0); err != nil {
				return err
			}
		}
	}
}

// capture commits a code, and reports it then.
func (c *child) capture(ctx context.Context, subject escrow.Subject, number, again int) error {
	var kept escrow.Record
	if err := c.try(func() (err error) {
		kept, err = c.codes.Capture(ctx, captureOf(c.task, subject, number, again))
		return err
	}); err != nil {
		return err
	}
	return c.report(report{Number: number, Subject: subject, RecordID: kept.ID})
}

// lock makes a code for a lock of the organization, and reports it before the
// lock call, which is refused now and then.
func (c *child) lock(ctx context.Context, r *rand.Rand, serial string) error {
	var kept escrow.Record
	if err := c.try(func() (err error) {
		kept, err = c.codes.LockCode(ctx, escrow.Lock{SerialNumber: serial, At: noon})
		return err
	}); err != nil {
		return err
	}
	if err := c.report(report{Hash: kept.Hash.String(), Subject: kept.Subject, RecordID: kept.ID}); err != nil {
		return err
	}
	verdict := escrow.Verdict{State: escrow.Current, At: noon}
	if r.IntN(2) == 0 {
		verdict = escrow.Verdict{State: escrow.Void, Reason: "refused", At: noon}
	}
	return c.try(func() error {
		_, err := c.codes.Mark(ctx, kept.Subject, kept.ID, verdict)
		return err
	})
}

// bypass creates an action and changes it until it is over, and reports each step.
func (c *child) bypass(ctx context.Context, worker string, n int) error {
	id := fmt.Sprintf("action %s %d", worker, n)
	a := bypass.Action{
		ID: id, Subject: escrow.Subject{SerialNumber: "device of " + worker}, By: act, State: bypass.Pending, StartedAt: noon,
		Attempts: []bypass.Attempt{{RecordID: "1", Kind: bypasscode.Device}},
	}
	if err := c.try(func() error {
		err := c.actions.Create(ctx, a)
		if c.Mode == patient && errors.Is(err, bypass.ErrExists) { // it was created, and nobody said so
			err = nil
		}
		return err
	}); err != nil {
		return err
	}
	for tries := 0; ; {
		if err := c.report(report{Action: id, Tries: tries}); err != nil || tries == 3 {
			return err
		}
		tries++
		if err := c.try(func() error {
			return c.actions.Update(ctx, id, func(a *bypass.Action) error {
				if a.State = bypass.Active; tries == 3 {
					a.State = bypass.Done
				}
				a.Attempts[0].Tries = tries
				return nil
			})
		}); err != nil {
			return err
		}
	}
}

// earlyStore reports what it is about to commit, and waits for its death.
type earlyStore struct {
	escrow.Store
	of *child
}

func (s earlyStore) Update(ctx context.Context, subject escrow.Subject, change func([]escrow.Entry) ([]escrow.Entry, error)) error {
	return s.Store.Update(ctx, subject, func(entries []escrow.Entry) ([]escrow.Entry, error) {
		changed, err := change(entries)
		if err != nil {
			return nil, err
		}
		for _, e := range changed {
			number, err := numberIn(e.CommandUUID)
			if err != nil { // a lock code
				number = 0
			}
			r := report{Number: number, Subject: e.Subject, RecordID: e.ID}
			if number == 0 {
				r.Hash = e.Hash.String()
			}
			if err := s.of.report(r); err != nil {
				return nil, err
			}
		}
		if len(changed) == 0 {
			return nil, nil
		}
		select {}
	})
}

// single commits a capture for each line. Its report is the answer.
func (c *child) single(in *json.Decoder) error {
	for n := 0; ; n++ {
		if done, err := ended(in); done {
			return err
		}
		subject := escrow.Subject{SerialNumber: fmt.Sprintf("SERIAL%d", n)}
		if err := c.capture(context.Background(), subject, numberOf(c.Round, 0, n), 0); err != nil {
			return err
		}
	}
}

// careless commits a row for each line.
func (c *child) careless(in *json.Decoder) error {
	db, err := sql.Open(c.Storage.Driver, c.Storage.Source)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		"PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "CREATE TABLE codes (number INTEGER)",
	} {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	for n := 0; ; n++ {
		if done, err := ended(in); done {
			return err
		}
		if _, err := db.Exec("INSERT INTO codes VALUES (?)", n); err != nil {
			return err
		}
		if err := c.report(report{Number: n}); err != nil {
			return err
		}
	}
}

// ended waits for the next line.
func ended(in *json.Decoder) (bool, error) {
	var line struct{}
	err := in.Decode(&line)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return err != nil, err
}
