package benchmark

import (
	"context"
	"crypto/x509"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage"
	"github.com/micromdm/nanomdm/storage/mysql"
	"github.com/micromdm/nanomdm/storage/pgsql"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock/activationlocktest"
	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/examples/nanomdm/decorator"
	"github.com/activationlock/sdk/inventory"
	"github.com/activationlock/sdk/mdmcmd"
)

// nanoStore is what NanoMDM's service needs here.
type nanoStore interface {
	storage.ServiceStore
	storage.CertAuthStore
	storage.CommandEnqueuer
}

// onMariaDB is NanoMDM's storage with the one statement of a report in words that
// MariaDB has, too.
type onMariaDB struct {
	*mysql.MySQLStorage
	db *sql.DB
}

func (s onMariaDB) StoreCommandReport(r *mdm.Request, result *mdm.CommandResults) error {
	if _, err := s.db.ExecContext(r.Context(), "UPDATE enrollments SET last_seen_at = CURRENT_TIMESTAMP WHERE id = ?", r.ID); err != nil {
		return err
	}
	if result.Status == "Idle" {
		return nil
	}
	_, err := s.db.ExecContext(r.Context(), `
INSERT INTO command_results
    (id, command_uuid, status, result, not_now_at, not_now_tally)
VALUES
    (?, ?, ?, ?, NULL, 0)
ON DUPLICATE KEY
UPDATE
    status = VALUES(status),
    result = VALUES(result);`, r.ID, result.CommandUUID, result.Status, result.Raw)
	return err
}

// nano is NanoMDM on a database, alone and with the engine around it.
type nano struct {
	*managed
	db            *sql.DB
	store         nanoStore
	alone, around service.CheckinAndCommandService
}

func newNano(b *testing.B, d sqlstore.Dialect) *nano {
	b.Helper()
	s := database.New(b, d)
	opened, ours := s.Store(b)
	n := &nano{managed: newManaged(b, opened, ours, func(string) inventory.Schedule { return never{} })}
	schema := pgsql.Schema
	if d == sqlstore.MySQL {
		schema = mysql.Schema
		s = s.With("multiStatements", "true")
	}
	n.db = s.Open(b)
	n.db.SetMaxOpenConns(16)
	n.db.SetMaxIdleConns(16)
	_, err := n.db.ExecContext(b.Context(), schema)
	require.NoError(b, err)
	if d == sqlstore.MySQL {
		storage, err := mysql.New(mysql.WithDB(n.db))
		require.NoError(b, err)
		n.store = onMariaDB{storage, n.db}
	} else {
		n.store, err = pgsql.New(pgsql.WithDB(n.db))
		require.NoError(b, err)
	}
	n.alone = certauth.New(nanomdm.New(n.store), n.store)
	n.around = certauth.New(&decorator.Decorator{
		CheckinAndCommandService: nanomdm.New(n.store), Engine: n.Engine, Store: n.store,
		Wake:   func(context.Context, string) error { return nil }, // no check-ins
		Logger: slog.New(slog.DiscardHandler),
	}, n.store)
	return n
}

// certificate is that of a device. NanoMDM looks at nothing but its bytes.
func certificate(id string) *x509.Certificate { return &x509.Certificate{Raw: []byte(id)} }

// enroll enrolls devices in the engine and in NanoMDM.
func (n *nano) enroll(b *testing.B, prefix string, devices int) []*activationlocktest.Device {
	b.Helper()
	list := n.managed.enroll(b, prefix, devices)
	for _, d := range list {
		id := d.ID()
		for _, statement := range []string{
			"INSERT INTO devices (id, serial_number, authenticate, authenticate_at) VALUES ('" + id + "', '" + d.Config().SerialNumber + "', '<plist/>', CURRENT_TIMESTAMP)",
			"INSERT INTO enrollments (id, device_id, type, topic, push_magic, token_hex, last_seen_at) VALUES ('" + id + "', '" + id + "', 'Device', 'topic', 'magic', '00', CURRENT_TIMESTAMP)",
			"INSERT INTO cert_auth_associations (id, sha256) VALUES ('" + id + "', '" + certauth.HashCert(certificate(id)) + "')",
		} {
			_, err := n.db.ExecContext(b.Context(), statement)
			require.NoError(b, err)
		}
	}
	return list
}

// session is what a device sends after a push.
type session struct {
	id      string
	results []*mdm.CommandResults
}

// session makes reports of a device, and has the commands that they answer in
// NanoMDM's queue.
func (n *nano) session(b *testing.B, d *activationlocktest.Device, kinds []kind) session {
	b.Helper()
	s := session{id: d.ID()}
	for _, k := range kinds {
		results, err := mdm.DecodeCommandResults(k.make(b, n.managed, d))
		require.NoError(b, err)
		if results.CommandUUID != "" {
			command := &mdm.Command{CommandUUID: results.CommandUUID, Raw: []byte(`<?xml version="1.0" encoding="UTF-8"?><plist/>`)}
			command.Command.RequestType = k.what
			_, err := n.store.EnqueueCommand(b.Context(), []string{s.id}, command)
			require.NoError(b, err)
		}
		s.results = append(s.results, results)
	}
	return s
}

func (s session) play(b *testing.B, as service.CheckinAndCommandService) {
	for _, results := range s.results {
		r := mdm.NewRequestWithContext(b.Context(), certificate(s.id))
		if _, err := as.CommandAndReportResults(r, results); err != nil {
			b.Error(err)
		}
	}
}

// mix is what a fleet sends: of a hundred reports 45 are Idle, 45 answer commands of
// the host's own, and 10 those of the engine, one of them with a code. Who gives that
// is a device of its own, as its record is set back to before it each time.
func mix() (sessions [][]kind) {
	for i := range 45 {
		s := []kind{idle, other}
		if i < 9 {
			s = append(s, information)
		}
		sessions = append(sessions, s)
	}
	return append(sessions, []kind{firstCode})
}

// firstCode is the code of a device that enrolls, for which it is allowed the lock.
var firstCode = kind{"code", "ActivationLockBypassCode", true, func(b *testing.B, m *managed, d *activationlocktest.Device) []byte {
	require.NoError(b, m.store.Inventory().Update(b.Context(), d.ID(), func(r *inventory.Record) error {
		r.OptionsSent, r.CodeID, r.CodeWanted = mdmcmd.MDMOptions{}, "", true
		delete(r.Exchanges, mdmcmd.Settings{}.RequestType())
		return nil
	}))
	return code.make(b, m, d)
}}

func alike(n int, k kind) (sessions [][]kind) {
	for range n {
		sessions = append(sessions, []kind{k})
	}
	return sessions
}

// BenchmarkNanoMDM has NanoMDM's CommandAndReportResults with the engine around it, by
// the decorator that hosts are told to copy, beside NanoMDM alone, both behind
// NanoMDM's own check of certificates and on the same database server; see mix for
// what a fleet sends. Of a device that was silent for an hour or more, the engine notes
// with its first report that it is there; else what says nothing new is not written.
//
//	go test -run '^$' -bench NanoMDM -benchtime 5s -timeout 1h ./examples/internal/benchmark
func BenchmarkNanoMDM(b *testing.B) {
	for _, d := range []sqlstore.Dialect{sqlstore.PostgreSQL, sqlstore.MySQL} {
		b.Run(string(d), func(b *testing.B) {
			n := newNano(b, d)
			mixed := mix()
			ours, theirs := n.enroll(b, "FAKEA", len(mixed)+10), n.enroll(b, "FAKEB", len(mixed)+10)
			for _, c := range []struct {
				name, what string
				sessions   [][]kind
				atOnce     int
				since      time.Duration // the session before
			}{
				{"mix", "100 reports of a fleet", mixed, 1, time.Minute},
				{"mix-at-once", "the same, 9 devices at once", mixed, 9, time.Minute},
				{"mix-hourly", "100 reports of a fleet, silent for an hour", mixed, 1, time.Hour},
				{"idle", idle.what, alike(9, idle), 1, time.Second},
				{"other", other.what, alike(9, other), 1, time.Second},
				{"information", information.what, alike(9, information), 1, time.Second},
				{"code", firstCode.what, alike(9, firstCode), 1, time.Second},
			} {
				b.Run(c.name, func(b *testing.B) {
					reports := 0
					for _, s := range c.sessions {
						reports += len(s)
					}
					our, their := make([]session, len(c.sessions)), make([]session, len(c.sessions))
					row := compared{store: string(d), what: c.what, yardstick: "NanoMDM alone"}
					row.before = func() {
						n.now = n.now.Add(c.since)
						for i, s := range c.sessions {
							at := i
							if s[0].name == firstCode.name { // none of those that others are measured with
								at = len(mixed) + i%10
							}
							our[i], their[i] = n.session(b, ours[at], s), n.session(b, theirs[at], s)
						}
					}
					play := func(sessions []session, as service.CheckinAndCommandService) {
						atOnce(c.atOnce, func(i int) {
							for _, s := range sessions[i*len(sessions)/c.atOnce : (i+1)*len(sessions)/c.atOnce] {
								s.play(b, as)
							}
						})
					}
					beside(b, row, reports, func() { play(our, n.around) }, func() { play(their, n.alone) })
				})
			}
		})
	}
}
