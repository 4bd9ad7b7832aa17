package bypasscode

// Kind says who made a code, and with that which lock it opens. A device can
// have a stored code of each kind, and they never replace each other.
type Kind string

const (
	// Device is a code that the device made, fetched with the MDM command
	// ActivationLockBypassCode. It opens a user-linked lock: the one that comes
	// on with Find My.
	Device Kind = "device"

	// Server is a code that the server made and whose hash it sent to Apple's
	// Automated Device Enrollment service. It opens an organization-linked lock.
	Server Kind = "server"
)

// Valid reports whether k is [Device] or [Server].
func (k Kind) Valid() bool { return k == Device || k == Server }
