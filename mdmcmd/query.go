package mdmcmd

// Query names one fact of [DeviceInformation].
type Query string

// The queries that matter for Activation Lock, or tell people which device it is,
// with the platforms that answer them. The field of [QueryResponses] has the same
// name.
const (
	QueryUDID                          Query = "UDID"                          // all
	QuerySerialNumber                  Query = "SerialNumber"                  // all
	QueryProductName                   Query = "ProductName"                   // all; "iPhone17,3", Apple's productType
	QueryDeviceName                    Query = "DeviceName"                    // all, user enrollments too; without access right 16 it is left out
	QueryModel                         Query = "Model"                         // not visionOS
	QueryModelName                     Query = "ModelName"                     // all
	QueryModelNumber                   Query = "ModelNumber"                   // iOS 16.4, macOS 13.3
	QueryOSVersion                     Query = "OSVersion"                     // all
	QueryBuildVersion                  Query = "BuildVersion"                  // all
	QuerySupplementalBuildVersion      Query = "SupplementalBuildVersion"      // iOS 16.1, macOS 13.0
	QueryIsSupervised                  Query = "IsSupervised"                  // iOS 6.0, macOS 10.15
	QueryIsMultiUser                   Query = "IsMultiUser"                   // iOS 9.3: Shared iPad
	QueryIsDeviceLocatorServiceEnabled Query = "IsDeviceLocatorServiceEnabled" // iOS 7.0: Find My; not macOS
	QueryIsActivationLockEnabled       Query = "IsActivationLockEnabled"       // iOS 7.0, macOS 10.15; deprecated in 16.0, 13.0
	QueryIsActivationLockSupported     Query = "IsActivationLockSupported"     // macOS 10.15
	QueryIsMDMLostModeEnabled          Query = "IsMDMLostModeEnabled"          // iOS 9.3
	QueryAwaitingConfiguration         Query = "AwaitingConfiguration"         // iOS 9.0, macOS 10.11
	QueryMDMOptions                    Query = "MDMOptions"                    // iOS 7.0, macOS 11.0
	QueryIsAppleSilicon                Query = "IsAppleSilicon"                // macOS 12.0
	QueryProvisioningUDID              Query = "ProvisioningUDID"              // macOS 11.3
	QueryPINRequiredForEraseDevice     Query = "PINRequiredForEraseDevice"     // macOS 11.0
	QueryEACSPreflight                 Query = "EACSPreflight"                 // macOS 13.3
	QueryIMEI                          Query = "IMEI"                          // iOS; deprecated in 16.0, removed in 26.0
	QueryMEID                          Query = "MEID"                          // iOS; deprecated in 16.0, removed in 26.0
	QueryServiceSubscriptions          Query = "ServiceSubscriptions"          // iOS 12.0; access right 32
)

var (
	commonQueries = []Query{
		QueryUDID, QuerySerialNumber, QueryDeviceName, QueryProductName, QueryModelName, QueryOSVersion, QueryBuildVersion,
		QueryIsSupervised, QueryIsActivationLockEnabled, QueryAwaitingConfiguration, QueryMDMOptions,
	}
	phoneQueries = []Query{
		QueryIsMultiUser, QueryIsDeviceLocatorServiceEnabled, QueryIsMDMLostModeEnabled,
		QueryIMEI, QueryMEID, QueryServiceSubscriptions,
	}
	macQueries = []Query{
		QueryIsActivationLockSupported, QueryIsAppleSilicon, QueryProvisioningUDID,
		QueryPINRequiredForEraseDevice, QueryEACSPreflight,
	}
)

// DefaultQueries returns what is worth asking a device of that platform about
// its lock. For an unknown platform it asks everything: devices leave out what
// they do not know.
func DefaultQueries(p Platform) []Query {
	queries := append([]Query(nil), commonQueries...)
	switch p {
	case IOS:
		return append(queries, phoneQueries...)
	case MacOS:
		return append(queries, macQueries...)
	case VisionOS:
		return append(queries, QueryIsDeviceLocatorServiceEnabled)
	case TvOS, WatchOS:
		return queries
	}
	return append(append(queries, phoneQueries...), macQueries...)
}
