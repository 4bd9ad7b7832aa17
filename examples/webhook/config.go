package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/operator"
	"github.com/activationlock/sdk/mdmcmd"
)

// variablePrefix begins the names of the environment variables.
const variablePrefix = "ACTIVATIONLOCK_WEBHOOK_"

// config is what flags and environment say.
type config struct {
	listen          string
	tlsCert, tlsKey string
	kind            string // of the server
	serverURL       string
	store           string
	sealTo          []seal.PublicKey
	options         mdmcmd.MDMOptions
	adopt           string
	every           time.Duration
	answerWithin    time.Duration
	logFormat       string
	apiKey, hmacKey string
	password        string
	databaseAddress string
	publicKeys      []string // as given
	allowLock       bool
	secretFiles     map[string]*string // by flag
}

const (
	kindNano  = "nanomdm"
	kindMicro = "micromdm"
)

// secrets are given in files that only their owner can read, or in the
// environment; an argument could be seen by every process of the machine.
var secrets = []struct {
	name, usage string
	to          func(*config) *string
}{
	{"api-key", "the key of the server's API", func(c *config) *string { return &c.apiKey }},
	{"hmac-key", "the key with which the server signs its events: NanoMDM's -webhook-hmac-key", func(c *config) *string { return &c.hmacKey }},
	{"password", "the password that events have to show; MicroMDM takes it in the address of its -command-webhook-url", func(c *config) *string { return &c.password }},
	{"dsn", "the address of a database in place of -store: postgres://user:password@host/database or mysql://user:password@tcp(host)/database", func(c *config) *string { return &c.databaseAddress }},
}

// errUsage means that flags or environment are not as they should be.
type errUsage struct{ error }

func usage(format string, args ...any) error { return errUsage{fmt.Errorf(format, args...)} }

// variable is the environment variable of a flag.
func variable(flagName string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

func (c *config) flags() *flag.FlagSet {
	f := flag.NewFlagSet("webhook", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.listen, "listen", "127.0.0.1:9005", "`ADDRESS` to listen on; beyond the machine itself only with -hmac-key-file or -password-file")
	f.StringVar(&c.tlsCert, "tls-cert", "", "PEM `FILE` with the certificate chain, to listen with TLS")
	f.StringVar(&c.tlsKey, "tls-key", "", "PEM `FILE` with the key of -tls-cert")
	f.StringVar(&c.kind, "server", kindNano, "`KIND` of the server: nanomdm or micromdm")
	f.StringVar(&c.serverURL, "server-url", "http://127.0.0.1:9000", "`URL` of the server's API")
	f.StringVar(&c.store, "store", "escrow.db", "SQLite `FILE` for codes and records; made if it is not there")
	f.Func("seal-to", "public `KEY` that codes are sealed to, as alctl escrow keygen prints it, or a file with such lines; several are separated by commas, or the flag is given again (required)", func(s string) error {
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				c.publicKeys = append(c.publicKeys, part)
			}
		}
		return nil
	})
	f.BoolVar(&c.allowLock, "allow-lock", false, "allow Activation Lock on each supervised device whose code is in escrow; without it codes are collected and nothing else")
	f.Func("mdm-option", "`NAME=BOOLEAN` of another MDM option that your devices have, since those that are not named might be reset: BootstrapTokenAllowed, PromptUserToAllowBootstrapTokenForAuthentication or IdleRebootAllowed; several are separated by commas", c.setOptions)
	f.StringVar(&c.adopt, "adopt", "", "`FILE` with the enrollment IDs (UDIDs) of devices that are enrolled already, one a line; they are asked within a day")
	f.DurationVar(&c.every, "every", time.Minute, "`TIME` after which the schedule is looked at again")
	f.DurationVar(&c.answerWithin, "answer-within", 24*time.Hour, "`TIME` that a device has to answer before it is asked again; also how long an event that got lost goes unnoticed")
	f.StringVar(&c.logFormat, "log", "text", "`FORMAT` of the log on standard error: text or json")
	c.secretFiles = map[string]*string{}
	for _, s := range secrets {
		c.secretFiles[s.name] = f.String(s.name+"-file", "", "`FILE` that only you can read, with "+s.usage)
	}
	return f
}

func (c *config) setOptions(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		b, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("want NAME=true or NAME=false")
		}
		switch name {
		case "BootstrapTokenAllowed":
			c.options.BootstrapTokenAllowed = &b
		case "PromptUserToAllowBootstrapTokenForAuthentication":
			c.options.PromptUserToAllowBootstrapTokenForAuthentication = &b
		case "IdleRebootAllowed":
			c.options.IdleRebootAllowed = &b
		default:
			return errors.New("unknown option")
		}
	}
	return nil
}

// readConfig reads flags, and the environment for those that are not given. With
// -h it prints the help and returns flag.ErrHelp.
func readConfig(args []string, lookup func(string) (string, bool), out io.Writer) (config, error) {
	var c config
	f := c.flags()
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		printHelp(out, f)
		return c, err
	} else if err != nil {
		return c, usage("%v", err)
	}
	if f.NArg() > 0 {
		return c, usage("there are only flags, no arguments")
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	f.VisitAll(func(fl *flag.Flag) {
		if value, ok := lookup(variable(fl.Name)); ok && !given[fl.Name] && err == nil {
			if invalid := f.Set(fl.Name, value); invalid != nil {
				err = usage("%s: %v", variable(fl.Name), invalid)
			}
		}
	})
	if err == nil {
		err = c.readSecrets(lookup)
	}
	if err == nil {
		err = c.check()
	}
	return c, err
}

func (c *config) readSecrets(lookup func(string) (string, bool)) error {
	for _, s := range secrets {
		name, path := "-"+s.name+"-file", *c.secretFiles[s.name]
		value, ok := lookup(variable(s.name))
		if path != "" {
			content, err := operator.ReadPrivate(path)
			if err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
			value, ok = content, true
		} else {
			name = variable(s.name)
		}
		if !ok {
			continue
		}
		// An empty one would turn a check off that somebody wanted.
		if value = strings.TrimSpace(value); value == "" {
			return usage("%s: it is empty", name)
		}
		*s.to(c) = value
	}
	return nil
}

func (c *config) check() (err error) {
	if c.serverURL, err = apiAddress(c.serverURL); err != nil {
		return usage("-server-url: %w", err)
	}
	switch {
	case c.kind != kindNano && c.kind != kindMicro:
		return usage("-server is neither nanomdm nor micromdm")
	case c.logFormat != "text" && c.logFormat != "json":
		return usage("-log is neither text nor json")
	case c.every <= 0 || c.answerWithin <= 0:
		return usage("-every and -answer-within are more than 0")
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return usage("-tls-cert and -tls-key go together")
	case c.apiKey == "":
		return usage("the key of the server's API is missing: want -api-key-file or %s", variable("api-key"))
	case len(c.publicKeys) == 0:
		return usage("-seal-to is missing; what makes keys: go run ./examples/alctl escrow keygen -out escrow.key >escrow.pub")
	case c.hmacKey == "" && c.password == "" && !loopback(c.listen):
		return usage("-listen %s takes events from other machines, and anybody could post some: want -hmac-key-file or -password-file", c.listen)
	}
	if c.allowLock {
		c.options.ActivationLockAllowedWhileSupervised = new(true)
	}
	c.sealTo, err = readPublicKeys(c.publicKeys)
	return err
}

// loopback reports whether an address can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// local reports whether a URL stays on this machine.
func local(address string) bool {
	u, err := url.Parse(address)
	return err == nil && loopback(net.JoinHostPort(u.Hostname(), "0"))
}

// readPublicKeys reads keys, and files with keys.
func readPublicKeys(given []string) (keys []seal.PublicKey, err error) {
	for _, g := range given {
		content := g
		if !strings.HasPrefix(g, "activationlock-escrow-") {
			read, err := os.ReadFile(g)
			if err != nil {
				return nil, fmt.Errorf("read -seal-to: %w", withoutName(err))
			}
			content = string(read)
		}
		before := len(keys)
		for line := range strings.Lines(content) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			if strings.HasPrefix(line, "activationlock-escrow-private-") {
				return nil, errors.New("read -seal-to: it is a private key, which belongs where codes are read and not here; want the public one that keygen printed")
			}
			key, err := seal.ParsePublicKey(line)
			if err != nil {
				return nil, fmt.Errorf("read -seal-to: %w", err)
			}
			keys = append(keys, key)
		}
		if len(keys) == before {
			return nil, errors.New("read -seal-to: it has no public key")
		}
	}
	return keys, nil
}

// withoutName drops the file's name from an error: somebody may have typed a secret
// in its place.
func withoutName(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func printHelp(w io.Writer, f *flag.FlagSet) {
	fmt.Fprint(w, `Usage: webhook -seal-to KEY|FILE [flags]

Takes in the events of a NanoMDM or MicroMDM server, keeps every bypass code of
its devices in escrow, and queues its own commands through the server's API.

Each flag can be set in the environment, too; the flag wins.

Flags:
`)
	f.VisitAll(func(fl *flag.Flag) {
		name, text := flag.UnquoteUsage(fl)
		if name != "" {
			name = " " + name
		}
		if fl.DefValue != "" && fl.DefValue != "false" {
			text += " (default " + fl.DefValue + ")"
		}
		fmt.Fprintf(w, "  -%s%s\n    \t%s\n    \t%s\n", fl.Name, name, text, variable(fl.Name))
	})
	fmt.Fprint(w, "\nSecrets, in place of their files:\n")
	for _, s := range secrets {
		fmt.Fprintf(w, "  %s\n    \t%s\n", variable(s.name), s.usage)
	}
	fmt.Fprint(w, `
Example:
  ACTIVATIONLOCK_WEBHOOK_API_KEY=secret webhook -seal-to escrow.pub -allow-lock
`)
}
