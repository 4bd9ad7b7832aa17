package bypasscode

import "github.com/activationlock/sdk/internal/secret"

// ErrSecret is returned by everything that tries to encode a [Code] or a
// [Text]. Call Reveal where that is meant.
var ErrSecret = secret.Err

// redacted is embedded under a name that stays inside the package.
type redacted = secret.Redacted
