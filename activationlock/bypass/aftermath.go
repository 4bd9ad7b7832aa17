package bypass

import "github.com/activationlock/sdk/activationlock"

// Aftermath derives what became of the lock since the action removed it, from the
// evidence about the device, in any order; see [activationlock.AfterUnlock].
func (a *Action) Aftermath(evidence []activationlock.Evidence) activationlock.Aftermath {
	opened := a.Opened()
	if opened == nil {
		return activationlock.NotUnlocked
	}
	return activationlock.AfterUnlock(opened.AnsweredAt, evidence)
}
