package mdmcmd

// ErrorChain is what a device says of a failure: the outermost error first,
// then its causes.
type ErrorChain []ErrorChainItem

// ErrorChainItem is one error of a device. Its texts are for people; they come
// in the device's language, and nothing should be decided by them. Apple warns
// that domains and codes, too, may change between releases.
type ErrorChainItem struct {
	ErrorCode            int64 // may be negative (observed)
	ErrorDomain          string
	LocalizedDescription string
	USEnglishDescription string // may be absent
}

// ErrorClass is what a device's error means, as far as its domain and code are
// known. Apple publishes no list any more; the classes are from the archived
// "Mobile Device Management Protocol Reference" unless marked. No source names
// a code for "there is no bypass code".
type ErrorClass string

const (
	// ErrorNone: there is no error.
	ErrorNone ErrorClass = ""
	// ErrorUnknown: an error that is not in any list.
	ErrorUnknown ErrorClass = "unknown device error"
	// ErrorNotSupervised: the device is not supervised.
	ErrorNotSupervised ErrorClass = "not supervised"
	// ErrorNotAuthorized: the server lacks the right for the command.
	ErrorNotAuthorized ErrorClass = "not authorized"
	// ErrorNotSupported: the device does not know the command, or not here.
	ErrorNotSupported ErrorClass = "not supported"
	// ErrorMalformed: the device could not read the command.
	ErrorMalformed ErrorClass = "malformed command"
	// ErrorInLostMode: the command does not work in Managed Lost Mode.
	ErrorInLostMode ErrorClass = "in lost mode"
	// ErrorNotInLostMode: the command works in Managed Lost Mode only.
	ErrorNotInLostMode ErrorClass = "not in lost mode"
	// ErrorLostModeFailed: Managed Lost Mode could not be turned on or off, or
	// could not locate the device or play its sound.
	ErrorLostModeFailed ErrorClass = "lost mode failed"
	// ErrorNotManaged: there is no management on this device or for this user.
	ErrorNotManaged ErrorClass = "not managed"
	// ErrorNeedsADE: the command needs Automated Device Enrollment (observed).
	ErrorNeedsADE ErrorClass = "needs automated device enrollment"
	// ErrorNotTethered: the command was to run on a tethered device only.
	ErrorNotTethered ErrorClass = "not tethered"
	// ErrorUnknownSetting: the device does not know an item of Settings.
	ErrorUnknownSetting ErrorClass = "unknown setting"
	// ErrorNetwork: HTTP problems on the way.
	ErrorNetwork ErrorClass = "network"
	// ErrorInternal: the device is at fault, and says no more.
	ErrorInternal ErrorClass = "internal"
)

type domainCode struct {
	domain string
	code   int64
}

var errorClasses = map[domainCode]ErrorClass{
	{"MCMDMErrorDomain", 12000}:             ErrorNotAuthorized,
	{"MCMDMErrorDomain", 12007}:             ErrorNotAuthorized,
	{"MCMDMErrorDomain", 12008}:             ErrorMalformed,
	{"MCMDMErrorDomain", 12010}:             ErrorInternal,
	{"MCMDMErrorDomain", 12020}:             ErrorNotAuthorized,
	{"MCMDMErrorDomain", 12021}:             ErrorNotSupported,
	{"MCMDMErrorDomain", 12066}:             ErrorLostModeFailed,
	{"MCMDMErrorDomain", 12067}:             ErrorNotInLostMode,
	{"MCMDMErrorDomain", 12068}:             ErrorLostModeFailed,
	{"MCMDMErrorDomain", 12069}:             ErrorLostModeFailed,
	{"MCMDMErrorDomain", 12076}:             ErrorNotManaged,
	{"MCMDMErrorDomain", 12078}:             ErrorInLostMode,
	{"MCMDMErrorDomain", 12079}:             ErrorNotManaged,
	{"MCMDMErrorDomain", 12080}:             ErrorLostModeFailed,
	{"MCMDMErrorDomain", 12081}:             ErrorNotTethered,
	{"MCChaperoneErrorDomain", 29000}:       ErrorNotSupervised,
	{"MCInstallationErrorDomain", 4025}:     ErrorNotSupervised,
	{"MCSettingsErrorDomain", 28000}:        ErrorUnknownSetting,
	{"MCHTTPTransactionErrorDomain", 23000}: ErrorNetwork,
	{"MCHTTPTransactionErrorDomain", 23001}: ErrorNetwork,
	{"MCHTTPTransactionErrorDomain", 23002}: ErrorNetwork,
	{"MDMClientError", 74}:                  ErrorNeedsADE,     // observed
	{"MDMClientError", 91}:                  ErrorNotSupported, // observed
}

// Class says what the chain means. The innermost error that is known decides,
// since outer ones are more general; "internal" only if nothing else is known.
func (c ErrorChain) Class() ErrorClass {
	if len(c) == 0 {
		return ErrorNone
	}
	class := ErrorUnknown
	for _, item := range c {
		known, ok := errorClasses[domainCode{item.ErrorDomain, item.ErrorCode}]
		if ok && (known != ErrorInternal || class == ErrorUnknown) {
			class = known
		}
	}
	return class
}
