// Apple calls Apple's three services with the credentials of an organization, by the
// same client that an engine is given: it asks for the lock of a device, locks it
// for the organization, and has the lock removed.
//
//	go run ./examples/apple -h
//
// Without credentials, Apple is played on this machine.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/appleclient"
	"github.com/activationlock/sdk/examples/internal/operator"
	"github.com/activationlock/sdk/inventory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, appleclient.Transport))
}

const help = `Usage: apple                          play all three calls with a simulated Apple
       apple status SERIAL -axm-… FLAGS
       apple lock   SERIAL -ade-token FILE -store FILE -key FILE -actor NAME -reason TEXT
                    [-product IDENTIFIER] [-message TEXT]
       apple unlock SERIAL -push-cert FILE -push-key FILE -store FILE -key FILE
                    -organization NAME -actor NAME -reason TEXT -in-hand

Calls Apple's services with the credentials of an organization, by the client that
an engine of a server is given (examples/internal/appleclient, to be copied).

  status  asks the Apple Business or School Manager API whether the device is locked
  lock    locks it for the organization, with a code that is in the escrow first
  unlock  has the lock removed with the codes of the escrow

lock and unlock are real: they change the device. Files with secrets must be
readable by you alone (chmod 600). The store is a SQLite file, made if there is
none; "alctl escrow" and "alctl bypass" work on it too.

Exit codes: 0 done, 1 failed or not done yet, 2 wrong usage.

Flags:
`

// usageError is a command line that makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }

// run runs one command line and returns its exit code. The transport connects to
// Apple.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, transport func(*tls.Certificate) *http.Transport) int {
	err := func() error {
		if len(args) == 0 {
			return play(ctx, stdout)
		}
		var o options
		f := o.flags()
		if err := o.parse(f, args); errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stdout, help)
			f.SetOutput(stdout)
			f.PrintDefaults()
			return nil
		} else if err != nil {
			return err
		}
		return o.run(ctx, stdout, transport)
	}()
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted; what is on record stays, and the same again goes on")
	}
	fmt.Fprintf(stderr, "apple: %v\n", err)
	if _, wrong := errors.AsType[usageError](err); wrong {
		fmt.Fprintln(stderr, `Run "apple -h" for help.`)
		return 2
	}
	return 1
}

// options are what the command line says.
type options struct {
	command, serial string

	pushCert, pushKey, adeToken                  string
	clientID, keyID, accountKey, scope, tokenURL string

	store, key, auditKey, organization, actor, reason, message, product, imei, imei2 string
	inHand                                                                           bool
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("apple", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.StringVar(&o.pushCert, "push-cert", "", "unlock: `FILE` with the push certificate for MDM (PEM)")
	f.StringVar(&o.pushKey, "push-key", "", "unlock: `FILE` with its key (PEM, not encrypted)")
	f.StringVar(&o.adeToken, "ade-token", "", "lock: `FILE` with the server token of the portal, decrypted")
	f.StringVar(&o.clientID, "axm-client-id", "", "status: client `ID` of the API account")
	f.StringVar(&o.keyID, "axm-key-id", "", "status: `ID` of its key")
	f.StringVar(&o.accountKey, "axm-key", "", "status: `FILE` with its key (PEM)")
	f.StringVar(&o.scope, "axm-scope", string(appleclient.Business), "status: `SCOPE` of the account, business.api or school.api")
	f.StringVar(&o.tokenURL, "axm-token-url", appleclient.TokenURL, "status: `URL` that gives access tokens")
	f.StringVar(&o.store, "store", "", "lock, unlock: SQLite `FILE` with the codes and devices")
	f.StringVar(&o.key, "key", "", "lock, unlock: `FILE` with the private key that codes are sealed to; \"alctl escrow keygen\" makes one")
	f.StringVar(&o.auditKey, "audit-key", "", "lock, unlock: `FILE` with the audit's key if the store's audit has one")
	f.StringVar(&o.actor, "actor", "", "lock, unlock: `NAME` of who does this; goes into the audit, and to Apple")
	f.StringVar(&o.reason, "reason", "", "lock, unlock: `TEXT` why; goes into the audit")
	f.StringVar(&o.product, "product", "", "lock, unlock: model `IDENTIFIER` such as iPhone17,3, of a device that the store does not know")
	f.StringVar(&o.imei, "imei", "", "lock, unlock: `IMEI` of slot one, with -product")
	f.StringVar(&o.imei2, "imei2", "", "lock, unlock: `IMEI` of slot two, with -product")
	f.StringVar(&o.message, "message", "", "lock: `TEXT` on the activation screen")
	f.StringVar(&o.organization, "organization", "", "unlock: `NAME` of the organization; goes to Apple")
	f.BoolVar(&o.inHand, "in-hand", false, "unlock: the device is in your hand; required, as a lock that is lifted from afar helps a thief")
	return f
}

// parse reads the arguments; flags may stand before and after the others.
func (o *options) parse(f *flag.FlagSet, args []string) error {
	var operands []string
	for {
		switch err := f.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			return err
		case err != nil: // whose text quotes what was typed
			return usageError("a flag is unknown, or has no value")
		}
		if f.NArg() == 0 {
			break
		}
		operands, args = append(operands, f.Arg(0)), f.Args()[1:]
	}
	if len(operands) == 1 && operands[0] == "help" {
		return flag.ErrHelp
	}
	if len(operands) == 0 || !slices.Contains([]string{"status", "lock", "unlock"}, operands[0]) {
		return usageError("want status, lock or unlock, and a serial number; nothing at all plays with a simulated Apple")
	}
	if len(operands) != 2 || operands[1] == "" {
		return usageError("want one serial number")
	}
	o.command, o.serial = operands[0], operands[1]
	return o.check()
}

// check checks what the command needs.
func (o *options) check() error {
	needs := map[string][]string{
		"status": {"axm-client-id", o.clientID, "axm-key-id", o.keyID, "axm-key", o.accountKey},
		"lock":   {"ade-token", o.adeToken, "store", o.store, "key", o.key, "actor", o.actor, "reason", o.reason},
		"unlock": {"push-cert", o.pushCert, "push-key", o.pushKey, "store", o.store, "key", o.key, "organization", o.organization, "actor", o.actor, "reason", o.reason},
	}[o.command]
	var missing []string
	for i := 0; i < len(needs); i += 2 {
		if needs[i+1] == "" {
			missing = append(missing, "-"+needs[i])
		}
	}
	switch {
	case len(missing) > 0:
		return usageError(o.command + " needs " + strings.Join(missing, ", "))
	case o.command == "unlock" && !o.inHand:
		return usageError("-in-hand is required: say so only if you have the device in your hand")
	case appleclient.Scope(o.scope).API() == "":
		return usageError("-axm-scope is business.api or school.api")
	}
	for _, text := range []string{o.serial, o.organization, o.actor, o.reason, o.message, o.product, o.imei, o.imei2} {
		switch {
		case text != "" && !escrow.ValidIdentifier(text):
			return usageError("a text has more than 255 bytes, or is not UTF-8")
		case operator.HoldsCode(text):
			return usageError("a text holds a bypass code; it would be stored where everybody reads it")
		}
	}
	return nil
}

// run does what the command line says.
func (o *options) run(ctx context.Context, out io.Writer, transport func(*tls.Certificate) *http.Transport) error {
	d := &desk{out: out, organization: o.organization}
	if err := o.route(d, transport); err != nil {
		return err
	}
	if o.command == "status" {
		return d.status(ctx, o.serial)
	}
	key, err := seal.ReadKeyFile(o.key)
	if err != nil {
		return fmt.Errorf("read -key: %w", withoutPath(err))
	}
	var auditKey audit.Key
	if o.auditKey != "" {
		if auditKey, err = operator.ReadAuditKey(o.auditKey); err != nil {
			return fmt.Errorf("read -audit-key: %w", err)
		}
	}
	closeStore, err := d.open(ctx, o.store, key, auditKey)
	if err != nil {
		return err
	}
	defer closeStore()
	if err := d.know(ctx, o.serial, inventory.Facts{ProductName: o.product, Cellular: cellular(o.imei, o.imei2)}); err != nil {
		return err
	}
	act := escrow.Act{Actor: o.actor, Reason: o.reason}
	if o.command == "lock" {
		err = d.lock(ctx, o.serial, act, o.message)
	} else {
		err = d.unlock(ctx, o.serial, act)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nWhere to look: go run ./examples/alctl status -store %q -serial %q\n", o.store, o.serial)
	return nil
}

// route makes a client for each service that there are credentials for.
func (o *options) route(d *desk, transport func(*tls.Certificate) *http.Transport) error {
	var route appleclient.Route
	if o.pushCert != "" || o.pushKey != "" {
		certificate, err := os.ReadFile(o.pushCert)
		if err != nil {
			return fmt.Errorf("read -push-cert: %w", withoutPath(err))
		}
		key, err := operator.ReadPrivate(o.pushKey)
		if err != nil {
			return fmt.Errorf("read -push-key: %w", err)
		}
		push, err := appleclient.PushCertificate(certificate, key, time.Now())
		if err != nil {
			return fmt.Errorf("read -push-cert and -push-key: %w", err)
		}
		route.Unlock = appleclient.Client(told{transport(push), d.out})
	}
	if o.adeToken != "" {
		content, err := operator.ReadPrivate(o.adeToken)
		if err != nil {
			return fmt.Errorf("read -ade-token: %w", err)
		}
		token, err := appleclient.ParseServerToken(content, time.Now())
		if err != nil {
			return fmt.Errorf("read -ade-token: %w", err)
		}
		route.Lock = appleclient.NewADE(token, told{transport(nil), d.out})
	}
	if o.accountKey != "" {
		content, err := operator.ReadPrivate(o.accountKey)
		if err != nil {
			return fmt.Errorf("read -axm-key: %w", err)
		}
		key, err := appleclient.ParseAccountKey(content)
		if err != nil {
			return fmt.Errorf("read -axm-key: %w", err)
		}
		account := appleclient.Account{ClientID: o.clientID, KeyID: o.keyID, Key: key, Scope: appleclient.Scope(o.scope), TokenURL: o.tokenURL}
		if route.Status, err = appleclient.NewAxM(account, told{transport(nil), d.out}, nil); err != nil {
			return err
		}
		route.StatusAPI = account.Scope.API()
	}
	d.doer, d.api = route, route.StatusAPI
	return nil
}
