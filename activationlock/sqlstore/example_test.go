package sqlstore_test

import (
	"context"
	"fmt"
	"log"

	"github.com/activationlock/sdk/activationlock/sqlstore"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

func Example() {
	ctx := context.Background()
	// With import _ "modernc.org/sqlite". For the others, sql.Open.
	db, err := sqlstore.OpenSQLite(ctx, "sqlite", "/var/lib/mdm/escrow.db")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(ctx); err != nil {
		log.Fatal(err) // says which line mends an unsafe database
	}
	entries, err := store.Escrow().Entries(ctx, escrow.Subject{SerialNumber: "XXFAKE0SER1"})
	fmt.Println(len(entries), err)
}
