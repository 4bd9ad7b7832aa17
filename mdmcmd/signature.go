package mdmcmd

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/activationlock/sdk/internal/cms"
)

// VerifySignature checks the header Mdm-Signature, the Base64 of a detached
// CMS signature over the exact bytes of the HTTP body, and returns the
// certificate of its one signer. Devices send it when their profile has
// SignMessage; a message without a body signs no bytes.
//
// The certificate's chain and its validity in time are not verified: verify it
// against your own authority, and bind it to the enrollment, or any device can
// speak for any other. A device with a wrong clock still verifies. SHA-1 with
// RSA is accepted, since devices use it (observed); SHA-256 and up with RSA
// and ECDSA too.
//
// The header may have at most the Base64 of 64 KiB.
func VerifySignature(header string, body []byte) (*x509.Certificate, error) {
	if len(header) > base64.StdEncoding.EncodedLen(cms.MaxSize) {
		return nil, fmt.Errorf("mdmcmd: signature: %w", cms.ErrTooLarge)
	}
	signature, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		return nil, errors.New("mdmcmd: signature: the header is not Base64")
	}
	certificate, err := cms.VerifyDetached(signature, body)
	if err != nil {
		return nil, fmt.Errorf("mdmcmd: signature: %w", err)
	}
	return certificate, nil
}
