package main

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/activationlock/sdk/activationlock/engine"
)

// device is one device of the play. It writes its messages by itself, as real
// devices do.
type device struct {
	title                            string
	udid, serial, model, product, os string
	facts                            dict   // its answers to DeviceInformation
	security                         dict   // its answer to SecurityInfo
	code                             string // its bypass code
	without                          string // why it has none, for the audience
}

func (d *device) enrollment() engine.Enrollment { return engine.Enrollment{ID: d.udid} }

func (d *device) authenticate() []byte {
	return list(dict{
		"MessageType": "Authenticate", "Topic": "com.apple.mgmt.External.example", "UDID": d.udid,
		"SerialNumber": d.serial, "ProductName": d.product, "OSVersion": d.os,
	})
}

func (d *device) tokenUpdate() []byte {
	return list(dict{
		"MessageType": "TokenUpdate", "Topic": "com.apple.mgmt.External.example", "UDID": d.udid,
		"PushMagic": "example",
	})
}

// run runs a command and returns the report, and the same in words.
func (d *device) run(command engine.Queued) (said string, report []byte) {
	answer := dict{"Status": "Acknowledged", "UDID": d.udid, "CommandUUID": command.UUID}
	switch command.RequestType {
	case "DeviceInformation":
		facts := maps.Clone(d.facts)
		facts["UDID"], facts["SerialNumber"] = d.udid, d.serial
		facts["ModelName"], facts["ProductName"], facts["OSVersion"] = d.model, d.product, d.os
		answer["QueryResponses"] = facts
		said = fmt.Sprintf("model %s, version %s, serial number %s", d.model, d.os, d.serial)
		if lock, ok := d.facts["IsActivationLockEnabled"].(bool); ok {
			said += map[bool]string{true: ", locked", false: ", not locked"}[lock]
		}
	case "SecurityInfo":
		answer["SecurityInfo"] = d.security
		said = "yes, you may"
	case "ActivationLockBypassCode":
		answer["ActivationLockBypassCode"] = d.code
		said = "here is my bypass code: [redacted]"
	case "Settings":
		said = "done"
	}
	return said, list(answer)
}

// dict is a property list dictionary.
type dict map[string]any

// list writes a property list.
func list(v any) []byte {
	var b strings.Builder
	b.WriteString(xml.Header + `<plist version="1.0">`)
	write(&b, v)
	b.WriteString("</plist>\n")
	return []byte(b.String())
}

func write(b *strings.Builder, v any) {
	switch v := v.(type) {
	case dict:
		b.WriteString("<dict>")
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.WriteString("<key>" + key + "</key>")
			write(b, v[key])
		}
		b.WriteString("</dict>")
	case []dict:
		b.WriteString("<array>")
		for _, item := range v {
			write(b, item)
		}
		b.WriteString("</array>")
	case string:
		b.WriteString("<string>" + v + "</string>")
	case bool:
		fmt.Fprintf(b, "<%t/>", v)
	default:
		panic(fmt.Sprintf("a %T in a message", v))
	}
}
