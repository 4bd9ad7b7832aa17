package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/escrow"
	"github.com/activationlock/sdk/bypasscode/seal"
	"github.com/activationlock/sdk/examples/internal/database"
	"github.com/activationlock/sdk/inventory"
)

var (
	update = flag.Bool("update", false, "write the golden parts of testdata/script anew")
	built  string // folder of the built program
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "alctl"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built)
	name := "alctl"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(built, name), ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func TestScripts(t *testing.T) {
	p := scripts()
	p.Dir = filepath.Join("testdata", "script")
	testscript.Run(t, p)
}

// scripts are the parameters of all scripts, with the environment variables that
// they get, as names and values in turn.
func scripts(env ...string) testscript.Params {
	return testscript.Params{
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", built+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Values[simulated{}] = &scripted{}
			for pair := range slices.Chunk(env, 2) {
				e.Setenv(pair[0], pair[1])
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"answers":   answers,
			"apple":     startApple,
			"collect":   collect,
			"enroll":    enroll,
			"fails":     fails,
			"fill":      fill,
			"interrupt": interrupt,
			"locked":    lockPhone,
			"mask":      mask,
			"sql":       execSQL,
			"tried":     tried,
		},
	}
}

// The same script on each database that servers share.
func TestServers(t *testing.T) {
	for dialect, scheme := range map[sqlstore.Dialect]string{sqlstore.PostgreSQL: "", sqlstore.MySQL: "mysql://"} {
		t.Run(string(dialect), func(t *testing.T) {
			source := scheme + database.New(t, dialect).Source
			nowhere := regexp.MustCompile(`/[a-z_0-9]+($|\?)`).ReplaceAllString(source, "/hush_hush$1")
			p := scripts("ALCTL_DSN", source, "NOWHERE", nowhere)
			p.Files = []string{filepath.Join("testdata", "server.txtar")}
			testscript.Run(t, p)
		})
	}
}

// interrupt file lines command... gives a command a file as the beginning of its
// standard input, which then goes on without end; interrupts it once it has
// printed that many lines; and leaves what it printed in stdout.txt and
// stderr.txt. It must fail.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: interrupt file lines command...")
	}
	lines, err := strconv.Atoi(args[1])
	ts.Check(err)
	c := exec.Command(filepath.Join(built, args[2]), args[3:]...)
	c.Dir = ts.Getenv("WORK")
	var complaint bytes.Buffer
	c.Stderr = &complaint
	in, err := c.StdinPipe()
	ts.Check(err)
	out, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	_, err = in.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	var printed bytes.Buffer
	r := bufio.NewReader(out)
	for range lines {
		line, err := r.ReadString('\n')
		printed.WriteString(line)
		if err != nil {
			break // what it says shows what is missing
		}
	}
	ts.Check(c.Process.Signal(os.Interrupt))
	_, err = printed.ReadFrom(r)
	ts.Check(err)
	exit, ok := errors.AsType[*exec.ExitError](c.Wait())
	ts.Check(os.WriteFile(ts.MkAbs("stdout.txt"), printed.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("stderr.txt"), complaint.Bytes(), 0o600))
	if !ok || exit.ExitCode() != 1 {
		ts.Fatalf("want exit code 1, got %v: %s", exit, &complaint)
	}
}

// fails 1|2 command... runs a command that must end with that exit code, print
// nothing, and explain itself on standard error in the form that goes with it.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails code command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("want exit code %s, got: %v", args[0], err)
	}
	if ts.ReadFile("stdout") != "" {
		ts.Fatalf("it printed something")
	}
	lines := strings.SplitAfter(ts.ReadFile("stderr"), "\n")
	lines, rest := lines[:len(lines)-1], lines[len(lines)-1]
	want := map[string]int{"1": 1, "2": 2}[args[0]]
	switch {
	case len(lines) != want || rest != "" || !strings.HasPrefix(lines[0], "alctl: ") || len(lines[0]) == len("alctl: \n"):
		ts.Fatalf("an error has the wrong form")
	case want == 2 && !(strings.HasPrefix(lines[1], `Run "alctl`) && strings.HasSuffix(lines[1], " -h\" for help.\n")):
		ts.Fatalf("wrong usage does not say how to get help")
	}
}

// fill file size writes a property list that is padded to a number of bytes.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fill file size")
	}
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	content := []byte("<plist><string>padded</string></plist>")
	content = append(content, bytes.Repeat([]byte(" "), size-len(content))...)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o600))
}

// collect [-crash] store keys certificate|- serial|enrollment:ID code... captures
// codes of a device as a server does that has public keys only. With -crash it
// leaves the files that a server leaves that is killed.
func collect(ts *testscript.TestScript, neg bool, args []string) {
	crash := len(args) > 0 && args[0] == "-crash"
	if crash {
		args = args[1:]
	}
	if neg || len(args) < 5 {
		ts.Fatalf("usage: collect [-crash] store keys certificate|- serial|enrollment:ID code...")
	}
	ctx := context.Background()
	path := ts.MkAbs(args[0])
	db, err := sqlstore.OpenSQLite(ctx, "sqlite", path)
	ts.Check(err)
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	ts.Check(err)
	ts.Check(store.Migrate(ctx))

	var recipients []seal.PublicKey
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		key, err := seal.ParsePublicKey(line)
		ts.Check(err)
		recipients = append(recipients, key)
	}
	keys, err := seal.NewKeyring(recipients)
	ts.Check(err)
	config := escrow.Config{Store: store.Escrow(), Sealer: keys}
	if args[2] != "-" {
		block, _ := pem.Decode([]byte(ts.ReadFile(args[2])))
		certificate, err := x509.ParseCertificate(block.Bytes)
		ts.Check(err)
		config.Recovery = []*x509.Certificate{certificate}
	}
	codes, err := escrow.New(config)
	ts.Check(err)

	subject := escrow.Subject{SerialNumber: args[3]}
	id, enrolled := strings.CutPrefix(args[3], "enrollment:")
	if enrolled {
		subject = escrow.Subject{EnrollmentID: id}
	}
	noon := time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)
	for hour, code := range args[4:] {
		enrollment := id
		if !enrolled { // a device that was erased enrolls again
			enrollment = "enrollment with " + code[:5]
		}
		_, err := codes.Capture(ctx, escrow.Capture{
			Subject: subject, Kind: bypasscode.Device, Text: bypasscode.NewText(code),
			Cause: escrow.CauseEnrollment, EnrollmentID: enrollment, ReceivedAt: noon.Add(time.Duration(hour) * time.Hour),
			Device: escrow.Device{UDID: "UDID of " + id, ProductType: "iPhone17,3", IMEI: "350000000000019"},
		})
		ts.Check(err)
	}
	if !crash {
		return
	}
	left := map[string][]byte{}
	for _, suffix := range []string{"", "-wal"} {
		left[path+suffix], err = os.ReadFile(path + suffix)
		ts.Check(err)
	}
	ts.Check(db.Close())
	for path, content := range left {
		ts.Check(os.WriteFile(path, content, 0o600))
	}
}

// enroll store [copies] writes the inventory of testdata/fleet.json into a store,
// each record so many times.
func enroll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: enroll store [copies]")
	}
	copies := 1
	if len(args) > 1 {
		var err error
		copies, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	ts.Check(enrollFleet(ts.MkAbs(args[0]), copies))
}

func enrollFleet(path string, copies int) error {
	ctx, now := context.Background(), time.Now().UTC()
	raw, err := os.ReadFile(filepath.Join("testdata", "fleet.json"))
	if err != nil {
		return err
	}
	raw = []byte(strings.NewReplacer(
		"JUST NOW", now.Add(-time.Minute).Format(time.RFC3339), "SOON", now.Add(time.Hour).Format(time.RFC3339),
	).Replace(string(raw)))
	var fleet []inventory.Record
	if err := json.Unmarshal(raw, &fleet); err != nil {
		return err
	}
	db, err := sqlstore.OpenSQLite(ctx, "sqlite", path)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return err
	}
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	for i := range copies {
		for _, r := range fleet {
			if i > 0 {
				r.EnrollmentID += " again " + strconv.Itoa(i)
			}
			if err := store.Inventory().Update(ctx, r.EnrollmentID, func(to *inventory.Record) error { *to = r; return nil }); err != nil {
				return err
			}
		}
	}
	return nil
}

// execSQL changes a store behind the library's back.
func execSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql store statement")
	}
	db, err := sqlstore.OpenSQLite(context.Background(), "sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	result, err := db.Exec(args[1])
	ts.Check(err)
	if rows, err := result.RowsAffected(); err != nil || rows == 0 {
		ts.Fatalf("nothing was changed: %v", err)
	}
}
