// Package apple writes the requests to Apple's web services that concern
// Activation Lock, and reads the answers. It does no networking: the host
// sends the requests with its own client.
//
//	req, err := apple.UnlockRequest(apple.Unlock{…}) // remove a lock, with a code
//	answer := apple.ReadUnlock(client.Do(req))
//
//	req, err := apple.LockRequest(apple.Lock{…}) // lock, with the hash of a code
//	answer := apple.ReadLock(client.Do(req))
//
//	req, err := apple.StatusRequest(apple.SchoolAPI, serialNumber)
//	answer := apple.ReadStatus(client.Do(req))
//
// The client of the unlock service must present the host's APNs push
// certificate for MDM as its TLS client certificate; that of the lock service
// must add a session token ([SessionHeader]); that of the status service must
// add an access token. Every answer has an [Outcome], which says what to do
// next. There is no call that removes a lock without its code.
package apple
