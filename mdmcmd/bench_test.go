package mdmcmd_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/groob/plist"
	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/mdmcmd"
)

// plain has the keys that Parse reads, for the library alone.
type plain struct {
	UDID, EnrollmentID, UserID, UserShortName, UserLongName, EnrollmentUserID string
	NotOnConsole                                                              *bool

	MessageType                                     string
	Topic                                           string
	SerialNumber, ProductName, Model, ModelName     string
	DeviceName, OSVersion, BuildVersion, IMEI, MEID string
	AwaitingConfiguration                           *bool

	Status                   string
	CommandUUID, RequestType string
	ErrorChain               []plainError
	ActivationLockBypassCode *string
	QueryResponses           *mdmcmd.QueryResponses
	SecurityInfo             *mdmcmd.SecurityInfoResponse
	Settings                 []struct {
		Item, Status string
		ErrorChain   []plainError
	}
	MessageResult, Timestamp                                      string
	Latitude, Longitude                                           *float64
	HorizontalAccuracy, VerticalAccuracy, Altitude, Speed, Course *float64
}

type plainError struct {
	ErrorCode                                               int64
	ErrorDomain, LocalizedDescription, USEnglishDescription string
}

// longReport is an answer of about 5 kB: what a host that asks for everything gets.
func longReport(tb testing.TB) []byte {
	raw := string(sent(tb, "device-information-iphone"))
	var more strings.Builder
	for i := range 40 {
		fmt.Fprintf(&more, "\t\t<key>OtherQuery%d</key>\n\t\t<string>a value of that query</string>\n", i)
	}
	before, after, found := strings.Cut(raw, "\t\t<key>ProductName</key>")
	require.True(tb, found)
	return []byte(before + more.String() + "\t\t<key>ProductName</key>" + after)
}

// The ratio is measured in one run, call by call, so that a busy machine slows
// both sides.
func BenchmarkParse(b *testing.B) {
	raw := longReport(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := mdmcmd.Parse(raw); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		b.StopTimer()
		start = time.Now()
		if err := plist.Unmarshal(raw, new(plain)); err != nil {
			b.Fatal(err)
		}
		theirs += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(ours)/float64(theirs), "x-unmarshal")
}

func BenchmarkRedact(b *testing.B) {
	raw := []byte(strings.Replace(string(longReport(b)), "<dict>", "<dict><key>ActivationLockBypassCode</key><string>"+code+"</string>", 1))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mdmcmd.Redact(raw); err != nil {
			b.Fatal(err)
		}
	}
}
