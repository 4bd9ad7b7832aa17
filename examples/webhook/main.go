// Webhook keeps the Activation Locks of a fleet whose device management server,
// NanoMDM or MicroMDM, cannot be recompiled: the server posts its events here, and
// commands go back through its API.
//
//	go run ./examples/webhook -seal-to escrow.pub
//
// What gets lost on the way is asked again: see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	c, err := readConfig(os.Args[1:], os.LookupEnv, os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // whoever asks twice does not want to wait
		err = run(ctx, c, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		if _, ok := errors.AsType[errUsage](err); ok {
			fmt.Fprintln(os.Stderr, "webhook -h explains each flag")
			os.Exit(2)
		}
		os.Exit(1)
	}
}
