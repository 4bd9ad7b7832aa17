// Package hostile has messages that are made to do harm: to a parser without limits,
// to a server that believes what it reads, or to whoever reads its log. They are for
// tests, and the same each time. The large ones are made when they are needed.
package hostile

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Code is the bypass code in the messages; no device has it.
const Code = "EZ9UX-71EZ5-AQ8J-EXRX-49LZ-19T2"

// Head and Tail are around the value of a property list.
const (
	Head = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">`
	Tail = `</plist>`
)

// List is a property list of a dictionary.
func List(body string) []byte { return []byte(Head + `<dict>` + body + `</dict>` + Tail) }

// Values has one value of each type; those that hold text hold the code.
var Values = map[string]string{
	"string": `<string>` + Code + `</string>`, "boolean": `<true/>`, "integer": `<integer>` + Code + `</integer>`, "real": `<real>` + Code + `</real>`,
	"data": `<data>` + Code + `</data>`, "date": `<date>` + Code + `</date>`,
	"array": `<array/>`, "dictionary": `<dict><key>` + Code + `</key><string>` + Code + `</string></dict>`,
}

// Keys are all keys of messages that are read, by type; "[]" is a member of an array.
var Keys = map[string]string{
	"string": `UDID EnrollmentID UserID UserShortName UserLongName EnrollmentUserID MessageType Topic SerialNumber ProductName Model
		ModelName DeviceName OSVersion BuildVersion IMEI MEID Status CommandUUID RequestType ActivationLockBypassCode MessageResult Timestamp
		ErrorChain.[].ErrorDomain ErrorChain.[].LocalizedDescription ErrorChain.[].USEnglishDescription
		QueryResponses.UDID QueryResponses.SerialNumber QueryResponses.ProductName QueryResponses.Model QueryResponses.ModelName
		QueryResponses.DeviceName QueryResponses.ModelNumber QueryResponses.OSVersion QueryResponses.BuildVersion QueryResponses.SupplementalBuildVersion
		QueryResponses.ProvisioningUDID QueryResponses.EACSPreflight QueryResponses.IMEI QueryResponses.MEID
		QueryResponses.ServiceSubscriptions.[].Slot QueryResponses.ServiceSubscriptions.[].IMEI QueryResponses.ServiceSubscriptions.[].MEID`,
	"boolean": `NotOnConsole AwaitingConfiguration QueryResponses.IsSupervised QueryResponses.IsMultiUser
		QueryResponses.IsDeviceLocatorServiceEnabled QueryResponses.IsActivationLockEnabled QueryResponses.IsActivationLockSupported
		QueryResponses.IsMDMLostModeEnabled QueryResponses.AwaitingConfiguration QueryResponses.IsAppleSilicon
		QueryResponses.PINRequiredForEraseDevice QueryResponses.MDMOptions.ActivationLockAllowedWhileSupervised
		QueryResponses.MDMOptions.BootstrapTokenAllowed QueryResponses.MDMOptions.PromptUserToAllowBootstrapTokenForAuthentication
		QueryResponses.MDMOptions.IdleRebootAllowed SecurityInfo.ManagementStatus.EnrolledViaDEP
		SecurityInfo.ManagementStatus.UserApprovedEnrollment SecurityInfo.ManagementStatus.IsUserEnrollment
		SecurityInfo.ManagementStatus.IsActivationLockManageable`,
	"integer":    `ErrorChain.[].ErrorCode`,
	"real":       `Latitude Longitude HorizontalAccuracy VerticalAccuracy Altitude Speed Course`,
	"array":      `ErrorChain QueryResponses.ServiceSubscriptions`,
	"dictionary": `ErrorChain.[] QueryResponses QueryResponses.MDMOptions QueryResponses.ServiceSubscriptions.[] SecurityInfo SecurityInfo.ManagementStatus`,
}

// At is a list with a value at a path such as "QueryResponses.UDID", and what else
// is in its dictionary.
func At(path []string, value, beside string) []byte {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == "[]" {
			value = `<array><dict/>` + value + `</array>`
			continue
		}
		value = `<key>` + path[i] + `</key>` + value
		if i == 0 {
			value = beside + value
		}
		value = `<dict>` + value + `</dict>`
	}
	return []byte(Head + value + Tail)
}

// Malformed are messages that nobody may take, by what is wrong with them. They have
// the status and the code of a report, and what else is to be in it.
func Malformed(beside string) map[string][]byte {
	const answer = `<key>ActivationLockBypassCode</key><string>` + Code + `</string>`
	status := beside + `<key>Status</key><string>Acknowledged</string>`
	utf16 := []byte("\xff\xfe")
	for _, c := range Head + `<dict>` + status + answer + `</dict>` + Tail {
		utf16 = append(utf16, byte(c), 0)
	}
	return map[string][]byte{
		"nothing":                nil,
		"white space":            []byte(" \r\n"),
		"code alone":             []byte(Code),
		"form data":              []byte("ActivationLockBypassCode=" + Code),
		"JSON":                   []byte(`{"Status":"Acknowledged","ActivationLockBypassCode":"` + Code + `"}`),
		"binary":                 []byte("bplist00" + Code),
		"too deep":               Deep(32, beside),
		"UTF-16":                 utf16,
		"declared UTF-16":        []byte(`<?xml version="1.0" encoding="UTF-16"?><plist><dict>` + status + answer + `</dict></plist>`),
		"declared Latin-1":       []byte(`<?xml version="1.0" encoding="ISO-8859-1"?><plist><dict>` + status + answer + `</dict></plist>`),
		"invalid UTF-8":          List(status + answer + "<key>x</key><string>\xc3\x28</string>"),
		"NUL":                    List(status + answer + "<key>x</key><string>\x00</string>"),
		"duplicate code":         List(status + answer + answer),
		"duplicate status":       List(status + answer + status),
		"duplicate by entity":    List(status + answer + `<key>&#83;tatus</key><string>` + Code + `</string>`),
		"duplicate deep down":    List(status + answer + `<key>x</key><dict><key>a</key><true/><key>a</key><false/></dict>`),
		"custom entity":          []byte(`<!DOCTYPE plist [<!ENTITY a "` + Code + `">]><plist><dict>` + status + answer + `</dict></plist>`),
		"external entity":        []byte(`<!DOCTYPE plist [<!ENTITY a SYSTEM "file:///etc/passwd">]><plist><dict>` + status + answer + `</dict></plist>`),
		"two lists":              append(List(status+answer), List(status+answer)...),
		"text after":             append(List(status+answer), Code...),
		"text between":           List(status + answer + Code),
		"attribute":              List(status + `<key>x</key><string id="` + Code + `">x</string>` + answer),
		"name space":             List(status + `<key>x</key><x:string>` + Code + `</x:string>`),
		"unknown element":        List(status + `<key>x</key><null/>` + answer),
		"element in the code":    List(status + `<key>ActivationLockBypassCode</key><string>` + Code + `<b/></string>`),
		"value without a key":    List(status + answer + `<string>` + Code + `</string>`),
		"key without a value":    List(status + answer + `<key>` + Code + `</key>`),
		"two keys":               List(status + `<key>` + Code + `</key>` + answer),
		"processing instruction": List(status + answer + `<?` + Code + `?>`),
	}
}

// Deep is a report whose values are nested so deep in arrays.
func Deep(arrays int, beside string) []byte {
	return List(beside + `<key>Status</key><string>Acknowledged</string><key>ActivationLockBypassCode</key><string>` + Code + `</string>` +
		`<key>x</key>` + strings.Repeat(`<array>`, arrays) + strings.Repeat(`</array>`, arrays))
}

// Attacks end a process that hands them to a parser without limits, or keep it
// busy for hours. Some are well-formed; those must be read, or refused, in no
// more memory than a small multiple of their size.
var Attacks = map[string]func() []byte{
	"array that contains itself":   FromHex("62706c6973743030a10008000000000000010100000000000000010000000000000000000000000000000a"),
	"dictionary that is its value": FromHex("62706c6973743030d101005161080b000000000000010100000000000000020000000000000000000000000000000d"),
	"root is one too far":          FromHex("62706c697374303009080000000000000101000000000000000100000000000000010000000000000009"),
	"reference of nine bytes":      FromHex("62706c6973743030a10008000000000000010900000000000000010000000000000000000000000000000a"),
	"data of 2^63 bytes":           FromHex("62706c69737430304f138000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"text of 2^63 characters":      FromHex("62706c69737430306f138000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"array of 2^60 members":        FromHex("62706c6973743030af131000000000000000080000000000000101000000000000000100000000000000000000000000000012"),
	"open arrays":                  func() []byte { return []byte(Head + strings.Repeat("<array>", 1_640_000)) },
	"open arrays with comments":    func() []byte { return []byte(Head + strings.Repeat("<array><!-- </array> -->", 400_000)) },
	"open dictionaries":            func() []byte { return []byte(Head + strings.Repeat("<dict><key/>", 1_000_000)) },
	"billion laughs": func() []byte {
		return []byte(`<!DOCTYPE plist [<!ENTITY a "ha">` + strings.Repeat(`<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">`, 9) + `]><plist><string>&b;</string></plist>`)
	},
	"endless comment": func() []byte { return []byte(Head + "<!-- " + strings.Repeat("<!- ", 4_000_000)) },

	WellFormed + "many errors": func() []byte {
		return List(`<key>Status</key><string>Error</string><key>ErrorChain</key><array>` + strings.Repeat("<dict/>", 149_000) + `</array>`)
	},
	WellFormed + "many settings": func() []byte {
		return List(`<key>Status</key><string>Acknowledged</string><key>Settings</key><array>` + strings.Repeat("<dict/>", 149_000) + `</array>`)
	},
	WellFormed + "many SIMs": func() []byte {
		return List(`<key>Status</key><string>Acknowledged</string><key>QueryResponses</key><dict><key>ServiceSubscriptions</key><array>` +
			strings.Repeat("<dict/>", 149_000) + `</array></dict>`)
	},
	WellFormed + "many codes": func() []byte {
		return arrayOf(150_000, func(i int) string {
			return fmt.Sprintf("<dict><key>ActivationLockBypassCode</key><string>EZ9UX-71EZ5-%08d</string></dict>", i)
		})
	},
	WellFormed + "one code many times": func() []byte {
		return arrayOf(150_000, func(int) string {
			return "<dict><key>ActivationLockBypassCode</key><string>" + Code + "</string></dict>"
		})
	},
	WellFormed + "long code": func() []byte {
		return arrayOf(200_000, func(i int) string {
			if i == 0 {
				return "<dict><key>ActivationLockBypassCode</key><string>" + strings.Repeat("9", 6<<20) + "</string></dict>"
			}
			return "<string>99999999999999999999</string>"
		})
	},
	WellFormed + "many comments and entities": func() []byte {
		return arrayOf(100_000, func(i int) string {
			if i == 0 {
				return "<dict><key>ActivationLockBypassCode</key><string>" + Code + "</string></dict>"
			}
			return "<!-- x --><string>&amp;<!-- y -->&#x41;<![CDATA[z]]></string><true><!-- --></true><data>aGk=</data>"
		})
	},
}

// WellFormed begins the names of attacks that are well-formed.
const WellFormed = "well-formed, "

func arrayOf(n int, member func(int) string) []byte {
	var b strings.Builder
	b.WriteString(Head + "<array>")
	for i := range n {
		b.WriteString(member(i))
	}
	b.WriteString("</array>" + Tail)
	return []byte(b.String())
}

// FromHex returns a function that returns the bytes.
func FromHex(s string) func() []byte {
	return func() []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			panic(err)
		}
		return b
	}
}
