package bypasscode_test

import (
	"context"
	"fmt"

	"github.com/activationlock/sdk/bypasscode"
)

func ExampleNew() {
	code := bypasscode.New()
	fmt.Println(code, len(code.Reveal()))
	// Output: [redacted] 31
}

func ExampleFromBytes() {
	code, err := bypasscode.FromBytes([]byte{0x1e, 0xa8, 0x41, 0xdb, 0x5e, 0xdf, 0xaf, 0xe6, 0x07, 0x5b, 0x5a, 0xe0, 0xd8, 0x45, 0xd2, 0x54})
	if err != nil {
		panic(err)
	}
	fmt.Println(code.Reveal())
	// Output: 3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4
}

func ExampleParse() {
	_, err := bypasscode.Parse("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA8")
	fmt.Println(err)
	// Output: bypasscode: symbol 26 ends the code and must be a digit from 0 to 7
}

func ExampleParseLenient() {
	code, err := bypasscode.ParseLenient(" 3um43 puyvy qydi uvcc hehj fka4", true)
	if err != nil {
		panic(err)
	}
	fmt.Println(code.Reveal())
	// Output: 3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4
}

func ExampleCode_Hash() {
	code, err := bypasscode.Parse("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4")
	if err != nil {
		panic(err)
	}
	hash, err := code.Hash()
	if err != nil {
		panic(err)
	}
	fmt.Println(hash)
	// Output: 6ab40d5eabe7218ec04182f461005600c7e3426bddd82cdb405bde9a1e0014b5
}

func ExampleHashAll() {
	fleet := []bypasscode.Code{bypasscode.New(), bypasscode.New(), bypasscode.New()}
	hashes, err := bypasscode.HashAll(context.Background(), fleet, func(done int) {
		fmt.Printf("%d of %d\n", done, len(fleet))
	})
	fmt.Println(len(hashes), err)
	// Output:
	// 1 of 3
	// 2 of 3
	// 3 of 3
	// 3 <nil>
}

func ExampleText() {
	reported := bypasscode.NewText("J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17")
	fmt.Println(reported)
	fmt.Println(reported.Reveal())
	// Output:
	// [redacted]
	// J4DNT-6VT2Y-3LD8-1VV7-AT3U-LW17
}
