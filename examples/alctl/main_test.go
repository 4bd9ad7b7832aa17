package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
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
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", built+string(os.PathListSeparator)+e.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails": fails,
			"fill":  fill,
		},
	})
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
