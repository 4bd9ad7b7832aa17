package cms_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha3"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"

	"github.com/activationlock/sdk/internal/cms"
)

// fuzzReaders are the same in every process that fuzzes, so that each can read the seeds of the others.
func fuzzReaders(f *testing.F) (ids []identity) {
	prime := func(name string) *big.Int {
		p := new(big.Int).SetBytes(sha3.SumSHAKE256([]byte(name), 128))
		p.SetBit(p, 1023, 1).SetBit(p, 1022, 1).SetBit(p, 0, 1)
		for !p.ProbablyPrime(20) {
			p.Add(p, big.NewInt(2))
		}
		return p
	}
	one := big.NewInt(1)
	for _, name := range []string{"a", "b"} {
		p, q := prime("p of "+name), prime("q of "+name)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		key := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
			D:         new(big.Int).ModInverse(big.NewInt(65537), phi),
			Primes:    []*big.Int{p, q},
		}
		key.Precompute()
		if err := key.Validate(); err != nil {
			f.Fatal(err)
		}
		cert := &x509.Certificate{SerialNumber: big.NewInt(int64(len(ids) + 1)), RawIssuer: wrap(0x30, nil), PublicKey: &key.PublicKey}
		ids = append(ids, identity{key, cert})
	}
	return ids
}

func envelopeSeeds(f *testing.F, ids []identity) {
	for n := range ids {
		f.Add(must(cms.Encrypt(body, certificates(ids[:n+1]...))))
	}
	for _, der := range hostile() {
		f.Add(der)
	}
}

func FuzzDecrypt(f *testing.F) {
	ids := fuzzReaders(f)
	envelopeSeeds(f, ids)
	f.Fuzz(func(t *testing.T, der []byte) {
		before := bytes.Clone(der)
		content, err := decrypt(der, ids[0])
		if !bytes.Equal(before, der) {
			t.Fatal("input was changed")
		}
		if err != nil && (content != nil || !slices.Contains(envelopeErrors, err)) {
			t.Fatalf("content %v, error %v", content != nil, err)
		}
		if len(content) > len(der) {
			t.Fatal("more came out than was in")
		}
	})
}

func FuzzEncryptedFor(f *testing.F) {
	ids := fuzzReaders(f)
	envelopeSeeds(f, ids)
	a, b := ids[0].cert, ids[1].cert
	f.Fuzz(func(t *testing.T, der []byte) {
		before := bytes.Clone(der)
		one, two := cms.EncryptedFor(der, []*x509.Certificate{a}), cms.EncryptedFor(der, []*x509.Certificate{a, b})
		if !bytes.Equal(before, der) {
			t.Fatal("input was changed")
		}
		if one && two || cms.EncryptedFor(der, nil) {
			t.Fatal("the recipients are not exactly these")
		}
		if two != cms.EncryptedFor(der, []*x509.Certificate{b, a}) {
			t.Fatal("the order matters")
		}
		if _, err := decrypt(der, ids[0]); (one || two) && err != nil && err != cms.ErrDecrypt {
			t.Fatal(err)
		}
	})
}
