package seal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/activationlock/sdk/bypasscode/seal"
)

// A server that only collects codes has the public keys, here one for daily use
// and one that stays offline.
func Example() {
	daily, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}
	offline, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}

	collector, err := seal.NewKeyring([]seal.PublicKey{daily.Public(), offline.Public()})
	if err != nil {
		panic(err)
	}
	ctx, record := context.Background(), []byte("record 1")
	sealed, err := collector.Seal(ctx, []byte("the code"), record)
	if err != nil {
		panic(err)
	}
	_, err = collector.Open(ctx, sealed, record)
	fmt.Println(err)

	reader, err := seal.NewKeyring([]seal.PublicKey{daily.Public(), offline.Public()}, daily)
	if err != nil {
		panic(err)
	}
	text, err := reader.Open(ctx, sealed, record)
	fmt.Println(string(text), err)
	_, err = reader.Open(ctx, sealed, []byte("record 2"))
	fmt.Println(err)
	// Output:
	// seal: not sealed to any private key at hand
	// the code <nil>
	// seal: damaged, or not sealed with this associated data
}

func ExampleWriteKeyFile() {
	dir, err := os.MkdirTemp("", "escrow")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "escrow.key")

	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}
	if err := seal.WriteKeyFile(path, key); err != nil {
		panic(err)
	}
	read, err := seal.ReadKeyFile(path)
	if err != nil {
		panic(err)
	}
	fmt.Println(read.Public().Equal(key.Public()), read)
	// Output: true [redacted]
}

func ExampleParsePublicKey() {
	key, err := seal.ParsePublicKey("activationlock-escrow-public-x25519:JK1rICCTyEp9KokafgwWemCbfMXTUzFwlZtteWqkTn3C3kXc")
	if err != nil {
		panic(err)
	}
	fmt.Println(key.Suite(), key.ID())

	// A mistyped line is no key.
	_, err = seal.ParsePublicKey("activationlock-escrow-public-x25519:JK1rICCTyEp9KokafgwWemCbfMXTUzFwlZtteWqkTn4C3kXc")
	fmt.Println(err)
	// Output:
	// x25519 c2de45dc52f64609106a619a1358061a
	// seal: malformed or damaged key line
}

func ExampleKeyring_Rewrap() {
	ctx, record := context.Background(), []byte("record 1")
	old, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}
	before, err := seal.NewKeyring([]seal.PublicKey{old.Public()})
	if err != nil {
		panic(err)
	}
	sealed, err := before.Seal(ctx, []byte("the code"), record)
	if err != nil {
		panic(err)
	}

	// The new key is the recipient, the old one still opens.
	next, err := seal.GenerateKey(seal.MLKEM768X25519)
	if err != nil {
		panic(err)
	}
	rotating, err := seal.NewKeyring([]seal.PublicKey{next.Public()}, old)
	if err != nil {
		panic(err)
	}
	sealed, changed, err := rotating.Rewrap(ctx, sealed, record)
	fmt.Println(changed, err)
	sealed, changed, err = rotating.Rewrap(ctx, sealed, record)
	fmt.Println(changed, err)

	after, err := seal.NewKeyring([]seal.PublicKey{next.Public()}, next)
	if err != nil {
		panic(err)
	}
	text, err := after.Open(ctx, sealed, record)
	fmt.Println(string(text), err)
	// Output:
	// true <nil>
	// false <nil>
	// the code <nil>
}

func ExampleRecipients() {
	key, err := seal.GenerateKey(seal.X25519)
	if err != nil {
		panic(err)
	}
	keyring, err := seal.NewKeyring([]seal.PublicKey{key.Public()})
	if err != nil {
		panic(err)
	}
	sealed, err := keyring.Seal(context.Background(), []byte("the code"), nil)
	if err != nil {
		panic(err)
	}
	ids, err := seal.Recipients(sealed)
	fmt.Println(len(ids), ids[0] == key.Public().ID(), err)
	// Output: 1 true <nil>
}
