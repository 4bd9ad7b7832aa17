package escrow

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/activationlock/sdk/bypasscode"
)

// The bytes below are part of every sealed code and never change; a new form
// gets a new label.
const (
	payloadVersion  = 1
	associatedLabel = "activationlock escrow record 1"
	digestLabel     = "activationlock escrow digest 1"
)

// payload is what is sealed: the text, and whose it is, so that a row that was
// moved to another device tells.
func payload(d Device, text bypasscode.Text) []byte {
	content := []byte{payloadVersion}
	for _, s := range []string{text.Reveal(), d.SerialNumber, d.UDID} {
		content = appendField(content, s)
	}
	return content
}

// readPayload reads what was sealed.
func readPayload(content []byte) (d Device, text bypasscode.Text, ok bool) {
	if len(content) == 0 || content[0] != payloadVersion {
		return Device{}, bypasscode.Text{}, false
	}
	content = content[1:]
	var fields [3]string
	for i := range fields {
		if fields[i], content, ok = readField(content); !ok {
			return Device{}, bypasscode.Text{}, false
		}
	}
	return Device{SerialNumber: fields[1], UDID: fields[2]}, bypasscode.NewText(fields[0]), len(content) == 0 && fields[0] != ""
}

// associated is what a sealed code is bound to: everything of its record that
// never changes.
func associated(r Record) []byte {
	var data []byte
	for _, s := range []string{associatedLabel, r.ID, string(r.Kind), r.Subject.SerialNumber, r.Subject.EnrollmentID} {
		data = appendField(data, s)
	}
	return data
}

// digest finds a code again, "" if the text does not parse. Codes have 128
// random bits, so nothing can be learned from it.
func digest(kind bypasscode.Kind, text bypasscode.Text) string {
	code, err := text.Code()
	if err != nil {
		return ""
	}
	raw := code.RevealBytes()
	data := appendField(appendField(nil, digestLabel), string(kind))
	sum := sha256.Sum256(append(data, raw[:]...))
	return hex.EncodeToString(sum[:])
}

// appendField appends a string of less than 64 KiB and its length, so that no
// two lists of strings give the same bytes.
func appendField(to []byte, s string) []byte {
	return append(append(to, byte(len(s)>>8), byte(len(s))), s...)
}

func readField(from []byte) (s string, rest []byte, ok bool) {
	if len(from) < 2 {
		return "", nil, false
	}
	n := int(from[0])<<8 | int(from[1])
	if len(from)-2 < n {
		return "", nil, false
	}
	return string(from[2 : 2+n]), from[2+n:], true
}
