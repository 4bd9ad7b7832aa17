// Nanomdm is NanoMDM with the engine inside: a device management server that
// gets hold of every bypass code before it allows the lock, asks each device
// again every week, and lifts a lock when somebody leaves.
//
//	go run ./examples/alctl escrow keygen -out escrow.key
//	openssl rand -hex 32 >api.key && chmod 600 api.key
//	go run ./examples/nanomdm -ca authority.pem -storage nanomdm -db codes.db -key escrow.key \
//	    -organization "Example School" -topic com.apple.mgmt.External.example -api-key api.key
//
// Devices want HTTPS: put a proxy with a certificate in front of it, as in front
// of NanoMDM. It sends no MDM option but the permission to lock, and others might be
// reset: if your devices have some, such as BootstrapTokenAllowed, add them to
// Policy.Options in host.go. It stops on an interrupt, after what is under way. Start one of it
// for a fleet: NanoMDM's storage is a folder here, which servers cannot share.
//
// For administrators there is, with user nanomdm and the API key as password:
//
//	PUT  /v1/pushcert                      as NanoMDM: store push certificate and key
//	PUT  /v1/push/{id}, /v1/enqueue/{id}   as NanoMDM: push, and queue a command
//	GET  /v1/activationlock/report.csv     all devices; ?language=nl
//	GET  /v1/activationlock/{serial}       what is known of a device, without its codes
//	POST /v1/activationlock/{serial}/unlock
//	     {"actor": "ada@example.org", "reason": "its user left", "inHand": true}
//
// Codes are never in an answer: alctl escrow reveal shows them, with the same
// database and key.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/micromdm/nanolib/log/stdlogfmt"
	"github.com/micromdm/nanomdm/certverify"

	"github.com/activationlock/sdk/bypasscode/seal"
)

// dsnVariable is the environment variable with the address of a database.
const dsnVariable = "NANOMDM_ACTIVATIONLOCK_DSN"

// settings are what the flags say.
type settings struct {
	listen, authority, storage string
	db, dsnFile                string
	key                        string
	recipients                 []seal.PublicKey // beside the key
	auditKey, apiKey           string
	organization, topic        string
	every                      time.Duration
	adopt                      bool
}

func main() {
	s, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // what is wrong was printed
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends it at once
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "nanomdm:", err)
		os.Exit(1)
	}
}

// parse reads the arguments, and prints what is wrong with them.
func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("nanomdm", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.listen, "listen", "127.0.0.1:9000", "`address` to listen on")
	f.StringVar(&s.authority, "ca", "", "PEM `file` with the authority of the devices' certificates (required)")
	f.StringVar(&s.storage, "storage", "", "`folder` of NanoMDM's storage: enrollments, queue, push certificates (required)")
	f.StringVar(&s.db, "db", "", "SQLite `file` with codes, audit and inventory; made if it is missing")
	f.StringVar(&s.dsnFile, "dsn-file", "", "`file` that only you can read, with the address of a database in place of -db:\npostgres://user:password@host/database or mysql://user:password@tcp(host)/database;\nwithout both, the environment variable "+dsnVariable+" has it")
	f.StringVar(&s.key, "key", "", "`file` with the private key that codes are sealed to, and opened with to lift a lock;\nalctl escrow keygen makes one (required)")
	f.Func("recipient", "public `key` that codes are sealed to as well, such as that of an offline key; may be given\nmore than once", func(line string) error {
		key, err := seal.ParsePublicKey(line)
		s.recipients = append(s.recipients, key)
		return err
	})
	f.StringVar(&s.auditKey, "audit-key", "", "`file` that only you can read, with the audit's key: 64 hexadecimal digits; give it always or never")
	f.StringVar(&s.apiKey, "api-key", "", "`file` that only you can read, with the password of the administrators' API; empty: no API")
	f.StringVar(&s.organization, "organization", "", "`name` that Apple is told with each unlock (required)")
	f.StringVar(&s.topic, "topic", "", "push `topic` whose certificate lifts locks: com.apple.mgmt.External.… (required)")
	f.DurationVar(&s.every, "every", time.Minute, "`time` between two looks at which devices are due")
	f.BoolVar(&s.adopt, "adopt", false, "first take in the devices that NanoMDM's storage had before; they are asked within a day")
	f.Usage = func() {
		fmt.Fprint(stderr, "Usage: nanomdm -ca FILE -storage FOLDER -db FILE|-dsn-file FILE -key FILE -organization NAME -topic TOPIC [flags]\n\nNanoMDM that keeps Activation Locks safe.\n\n")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return s, err
	}
	err := s.check(f.Args())
	if err != nil {
		fmt.Fprintf(stderr, "nanomdm: %v\nnanomdm -h explains the flags.\n", err)
	}
	return s, err
}

func (s settings) check(operands []string) error {
	for _, required := range []struct{ flag, value string }{
		{"ca", s.authority}, {"storage", s.storage}, {"key", s.key}, {"organization", s.organization}, {"topic", s.topic},
	} {
		if required.value == "" {
			return fmt.Errorf("-%s is required", required.flag)
		}
	}
	switch {
	case len(operands) > 0:
		return errors.New("there is more than flags")
	case s.db != "" && s.dsnFile != "":
		return errors.New("want either -db or -dsn-file")
	case s.db == "" && s.dsnFile == "" && os.Getenv(dsnVariable) == "":
		return errors.New("want -db, -dsn-file or the environment variable " + dsnVariable)
	case s.every <= 0:
		return errors.New("-every is not positive")
	}
	return nil
}

func run(ctx context.Context, s settings) error {
	pem, err := os.ReadFile(s.authority)
	if err != nil {
		return fmt.Errorf("read -ca: %w", err)
	}
	verifier, err := certverify.NewPoolVerifier(pem, nil, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return fmt.Errorf("read -ca: %w", err)
	}
	h, err := newHost(ctx, s, outside{verifier: verifier, logger: slog.Default(), nano: stdlogfmt.New()})
	if err != nil {
		return err
	}
	if s.adopt {
		fleet, err := h.adopt(ctx)
		if err != nil {
			return errors.Join(err, h.close())
		}
		slog.Info("devices taken in", "new", fleet.Adopted, "known", fleet.Known, "invalid", fleet.Invalid)
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return errors.Join(err, h.close())
	}
	slog.Info("devices check in and report at /mdm", "address", listener.Addr().String(), "api", s.apiKey != "")
	return errors.Join(h.serve(ctx, listener, s.every), h.close())
}
