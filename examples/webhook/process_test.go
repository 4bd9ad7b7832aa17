package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/inventory"
)

// patience is how long may take what takes no time.
const patience = time.Minute

// asProgram makes the test's own binary the program.
const asProgram = "WEBHOOK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// until waits until something holds.
func until(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("in vain: %s", what)
		case <-tick.C:
		}
	}
}

// front is a fixed address before a process that comes and goes.
type front struct {
	*httptest.Server
	backend atomic.Pointer[url.URL]
	proxy   httputil.ReverseProxy
	// passing is held by requests on their way; who has it alone can kill the process
	// between two of them.
	passing sync.RWMutex
	// before is called with what a device said, before the process gets it.
	before func(raw []byte)
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := new(front)
	f.proxy = httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(f.backend.Load()) },
		ErrorLog: log.New(io.Discard, "", 0), // that nobody is there
	}
	f.Server = httptest.NewServer(f)
	f.to("http://127.0.0.1:1")
	t.Cleanup(f.Close)
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.passing.RLock()
	defer f.passing.RUnlock()
	r = r.WithContext(context.WithoutCancel(r.Context())) // it ends even if nobody waits for it any more
	if f.before != nil && r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if _, m, err := readEvent(body); err == nil && m != nil {
			f.before(m.RawPayload)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	f.proxy.ServeHTTP(w, r)
}

func (f *front) to(backend string) {
	u, err := url.Parse(backend)
	if err != nil {
		panic(err)
	}
	f.backend.Store(u)
}

// answers reports whether a GET gets 200.
func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// process is a program that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of its end
	said   *buffer
}

// buffer is a writer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func startProcess(t *testing.T, said *buffer, out io.Writer, environment []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), exited: make(chan struct{}), said: said}
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stderr, p.cmd.Stdout = said, out
	p.cmd.WaitDelay = patience
	require.NoError(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill kills a process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // which may have ended by itself
	<-p.exited
}

// program is this program as processes, one after the other, on one store.
type program struct {
	t     *testing.T
	front *front
	store string
	key   seal.PrivateKey
	said  buffer
	args  []string
	// secrets are environment variables.
	secrets []string
	*process
}

func newProgram(t *testing.T, args ...string) *program {
	t.Helper()
	folder := t.TempDir()
	p := &program{
		t: t, front: newFront(t), store: filepath.Join(folder, "escrow.db"),
		secrets: []string{variable("hmac-key") + "=" + hmacKey},
	}
	var public string
	public, p.key = newKeys(t)
	sealTo := filepath.Join(folder, "escrow.pub")
	require.NoError(t, os.WriteFile(sealTo, []byte(public+"\n"), 0o600))
	p.args = append([]string{
		"-listen", "127.0.0.1:0", "-store", p.store, "-seal-to", sealTo, "-allow-lock", "-log", "json",
		"-every", "50ms", "-answer-within", "2s",
	}, args...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the program said:\n%s", p.said.String())
		}
	})
	return p
}

// start starts the program, and waits until it takes in events.
func (p *program) start() {
	p.t.Helper()
	self, err := os.Executable()
	require.NoError(p.t, err)
	out, in := io.Pipe()
	p.process = startProcess(p.t, &p.said, in, append([]string{asProgram + "=1", variable("api-key") + "=" + apiKey}, p.secrets...), self, p.args...)
	exited := p.exited
	go func() {
		<-exited
		in.Close()
	}()
	lines := bufio.NewReader(out)
	greeted, err := lines.ReadString('\n')
	require.NoError(p.t, err, "it did not start")
	go io.Copy(io.Discard, lines)
	address, _, ok := strings.Cut(strings.TrimPrefix(greeted, "Events are taken in at "), "/webhook")
	require.True(p.t, ok, greeted)
	p.front.to(address)
	until(p.t, "the program is ready", func(ctx context.Context) bool { return answers(ctx, p.front.URL+"/readyz") })
}

const (
	apiKey   = "key-of-the-api"
	hmacKey  = "key-of-the-events"
	password = "password-of-the-events"
)

// opened is the store of a program as seen from outside.
type opened struct {
	t       *testing.T
	escrow  *escrow.Escrow
	records inventory.Store
}

func (p *program) open() opened {
	p.t.Helper()
	db, err := sqlstore.OpenSQLite(p.t.Context(), "sqlite", p.store)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { db.Close() })
	return p.openOn(db, sqlstore.SQLite)
}

func (p *program) openOn(db *sql.DB, dialect sqlstore.Dialect) opened {
	p.t.Helper()
	store, err := sqlstore.New(db, dialect)
	require.NoError(p.t, err)
	acts, err := audit.New(audit.Config{Store: store.Audit()})
	require.NoError(p.t, err)
	keys, err := seal.NewKeyring([]seal.PublicKey{p.key.Public()}, p.key)
	require.NoError(p.t, err)
	codes, err := escrow.New(escrow.Config{Store: store.Escrow(), Sealer: keys, Audit: acts})
	require.NoError(p.t, err)
	return opened{p.t, codes, store.Inventory()}
}

// exchange returns how it stands with a command.
func (o opened) exchange(d *activationlocktest.Device, requestType string) inventory.Exchange {
	o.t.Helper()
	r, err := o.records.Get(o.t.Context(), d.ID())
	if err != nil {
		require.ErrorIs(o.t, err, inventory.ErrNotFound)
	}
	return r.Exchanges[requestType]
}

// codes returns the codes that are held of a device.
func (o opened) codes(d *activationlocktest.Device) []string {
	o.t.Helper()
	return o.codesOf(escrow.Subject{SerialNumber: d.Config().SerialNumber})
}

func (o opened) codesOf(subject escrow.Subject) (codes []string) {
	o.t.Helper()
	records, err := o.escrow.Records(o.t.Context(), subject)
	require.NoError(o.t, err)
	for _, r := range records {
		text, err := o.escrow.Reveal(o.t.Context(), escrow.Reveal{
			Subject: r.Subject, RecordID: r.ID, Purpose: escrow.ToUnlock, Act: escrow.Act{Actor: "tester", Reason: "test"},
		})
		require.NoError(o.t, err)
		codes = append(codes, text.Reveal())
	}
	return codes
}

// killsAtCode has the program killed just before it gets a code for the first time.
// The channel is closed when it is dead.
func (p *program) killsAtCode() (dead chan struct{}) {
	dead = make(chan struct{})
	var once sync.Once
	p.front.before = func(raw []byte) {
		if bytes.Contains(raw, []byte("<key>ActivationLockBypassCode</key>")) {
			once.Do(func() {
				p.kill()
				close(dead)
			})
		}
	}
	return dead
}

// requireSafe requires that a device can lock itself, and only with a lock that the
// code in escrow opens.
func (o opened) requireSafe(d *activationlocktest.Device) {
	o.t.Helper()
	require.Equal(o.t, []string{d.Code().Reveal()}, o.codes(d))
	require.NoError(o.t, d.SetFindMy(true))
	require.True(o.t, d.Lock().OpensWith(d.Code()))
}

// requireDiscreet requires that nothing that was printed has a code or a key.
func requireDiscreet(t *testing.T, d *activationlocktest.Device, said ...string) {
	t.Helper()
	for _, s := range said {
		for _, secret := range []string{d.Code().Reveal(), strings.ReplaceAll(d.Code().Reveal(), "-", ""), apiKey, hmacKey, password} {
			require.NotContains(t, s, secret)
		}
	}
}

// freePort returns an address where nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// A stop that was asked for ends without an error, and with a program that is not
// ready any more.
func TestStop(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.start()
	require.True(t, answers(t.Context(), p.front.URL+"/healthz"))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.exited
	require.NoError(t, p.err)
	require.Contains(t, p.said.String(), `"msg":"stopping"`)
	require.False(t, answers(t.Context(), p.front.URL+"/healthz"))
}

// On the other databases, a program that was killed goes on where it was.
func TestDatabases(t *testing.T) {
	t.Parallel()
	for dialect, scheme := range map[sqlstore.Dialect]string{sqlstore.PostgreSQL: "", sqlstore.MySQL: "mysql://"} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			storage := database.New(t, dialect)
			p := newProgram(t)
			p.secrets = []string{variable("dsn") + "=" + scheme + storage.Source}
			p.start()
			events := recorded(t)
			post := func(event []byte) {
				t.Helper()
				resp, err := http.Post(p.front.URL+"/webhook", "application/json", bytes.NewReader(event))
				require.NoError(t, err)
				resp.Body.Close()
				require.Equal(t, http.StatusOK, resp.StatusCode)
			}
			for _, event := range events[:4] {
				post(event)
			}
			p.kill()
			o := p.openOn(storage.Open(t), dialect)
			require.Equal(t, []string{code}, o.codesOf(escrow.Subject{SerialNumber: serial}))
			p.start()
			post(events[3])
			require.Equal(t, []string{code}, o.codesOf(escrow.Subject{SerialNumber: serial}))
			require.NoFileExists(t, p.store)
			require.NotContains(t, p.said.String(), code)
		})
	}
}

// down is an inventory that cannot be read.
type down struct{ inventory.Store }

func (down) Get(context.Context, string) (inventory.Record, error) {
	return inventory.Record{}, errors.New("connection refused")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	h := &health{records: f.records, log: f.hook.log}
	status := func(handle http.HandlerFunc) int {
		w := httptest.NewRecorder()
		handle(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Code
	}
	require.Equal(t, http.StatusOK, status(h.readyz))
	h.records = down{}
	require.Equal(t, http.StatusServiceUnavailable, status(h.readyz))
	require.Equal(t, http.StatusOK, status(h.healthz), "a restart would not help")
	h.records = f.records
	h.stopping.Store(true)
	require.Equal(t, http.StatusServiceUnavailable, status(h.readyz))
}

// Devices that are enrolled already are asked.
func TestAdopt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := file(t, udid+"\n\n  00008120-000000000000002E \n"+udid+"\n"+strings.Repeat("x", 300)+"\n", 0o600)
	require.NoError(t, adopt(t.Context(), f.hook.engine, path, f.hook.log))
	require.Contains(t, f.log.String(), "new=2 known=1 invalid=1")
	f.now = f.now.Add(24 * time.Hour)
	batches, err := f.hook.engine.Tick(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, batches, 2)
	for _, b := range batches {
		require.NoError(t, f.hook.deliverBatch(t.Context(), b))
	}
	require.ElementsMatch(t, []string{udid + " DeviceInformation", "00008120-000000000000002E DeviceInformation"}, f.delivered)
}
