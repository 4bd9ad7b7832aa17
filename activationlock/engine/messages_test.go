package engine_test

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dict is a property list dictionary, written here without the package that
// reads it.
type dict map[string]any

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
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b.WriteString("<key>")
			xml.EscapeText(b, []byte(k))
			b.WriteString("</key>")
			write(b, v[k])
		}
		b.WriteString("</dict>")
	case []any:
		b.WriteString("<array>")
		for _, item := range v {
			write(b, item)
		}
		b.WriteString("</array>")
	case string:
		b.WriteString("<string>")
		xml.EscapeText(b, []byte(v))
		b.WriteString("</string>")
	case bool:
		fmt.Fprintf(b, "<%t/>", v)
	case int:
		fmt.Fprintf(b, "<integer>%d</integer>", v)
	default:
		panic(fmt.Sprintf("cannot write a %T", v))
	}
}

// with returns d with more keys.
func (d dict) with(more dict) dict {
	all := maps.Clone(d)
	maps.Copy(all, more)
	return all
}

func authenticate(id, serial, product, version string) []byte {
	return list(dict{
		"MessageType": "Authenticate", "Topic": "com.apple.mgmt.example", "UDID": id,
		"SerialNumber": serial, "ProductName": product, "OSVersion": version,
	})
}

func tokenUpdate(id string) []byte {
	return list(dict{"MessageType": "TokenUpdate", "Topic": "com.apple.mgmt.example", "UDID": id, "PushMagic": "magic-secret"})
}

func checkOut(id string) []byte {
	return list(dict{"MessageType": "CheckOut", "Topic": "com.apple.mgmt.example", "UDID": id})
}

func idle(id string) []byte { return list(dict{"Status": "Idle", "UDID": id}) }

func answer(id, uuid, status string, more dict) []byte {
	return list(dict{"Status": status, "UDID": id, "CommandUUID": uuid}.with(more))
}

func informationAnswer(id, uuid string, facts dict) []byte {
	return answer(id, uuid, "Acknowledged", dict{"QueryResponses": facts})
}

func codeAnswer(id, uuid, code string) []byte {
	return answer(id, uuid, "Acknowledged", dict{"ActivationLockBypassCode": code})
}

func deviceError(domain string, code int) dict {
	return dict{"ErrorChain": []any{dict{"ErrorDomain": domain, "ErrorCode": code, "LocalizedDescription": "x"}}}
}
