// Package apple writes the requests to Apple's web services that concern
// Activation Lock, and reads the answers. It does no networking: the host
// sends the requests with its own client.
//
//	req, err := apple.UnlockRequest(apple.Unlock{…})
//	answer := apple.ReadUnlock(client.Do(req))
//
// The client of the unlock service must present the host's APNs push
// certificate for MDM as its TLS client certificate.
package apple
