package mdmcmd

import "strings"

// Platform is the operating system family of a device; "" is unknown.
type Platform string

// The platforms. iPadOS counts as iOS, as in Apple's schemas.
const (
	IOS      Platform = "iOS"
	MacOS    Platform = "macOS"
	TvOS     Platform = "tvOS"
	WatchOS  Platform = "watchOS"
	VisionOS Platform = "visionOS"
)

// PlatformOf tells the platform from a product name such as "iPhone17,3" or
// "Mac14,2" (observed; Apple publishes no list). Unknown names give "".
func PlatformOf(productName string) Platform {
	for _, p := range []struct {
		prefix   string
		platform Platform
	}{
		{"iPhone", IOS}, {"iPad", IOS}, {"iPod", IOS},
		{"Mac", MacOS}, {"iMac", MacOS}, {"VirtualMac", MacOS}, {"Xserve", MacOS},
		{"AppleTV", TvOS}, {"AudioAccessory", TvOS},
		{"Watch", WatchOS},
		{"RealityDevice", VisionOS},
	} {
		if strings.HasPrefix(productName, p.prefix) {
			return p.platform
		}
	}
	return ""
}
