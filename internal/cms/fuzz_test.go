package cms_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"slices"
	"testing"
	"time"

	"github.com/activationlock/sdk/internal/cms"
)

func FuzzVerifyDetached(f *testing.F) {
	// The key is the same in every process that fuzzes, so that each knows whose signatures can be good.
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{0x42}, 32))
	if err != nil {
		f.Fatal(err)
	}
	for _, der := range seeds(f, issue(key, key.Public(), time.Now()), rsaID()) {
		f.Add(der, body)
		f.Add(der, []byte{})
	}
	for _, der := range hostile() {
		f.Add(der, []byte{})
	}

	f.Fuzz(func(t *testing.T, der, content []byte) {
		before := bytes.Clone(der)
		cert, err := cms.VerifyDetached(der, content)
		if !bytes.Equal(before, der) {
			t.Fatal("input was changed")
		}
		if err != nil {
			if cert != nil || !slices.Contains(sentinels, err) {
				t.Fatalf("certificate %v, error %v", cert != nil, err)
			}
			return
		}
		// The seeds sign nothing but body, and no other signature is within a fuzzer's reach.
		if !bytes.Equal(content, body) {
			t.Fatal("content that nobody signed")
		}
		if public, ok := cert.PublicKey.(*ecdsa.PublicKey); ok && !public.Equal(key.Public()) {
			t.Fatal("key that signed nothing")
		}
		if _, err := cms.VerifyDetached(der, append(bytes.Clone(content), '!')); err == nil {
			t.Fatal("the signature does not depend on the content")
		}
	})
}
