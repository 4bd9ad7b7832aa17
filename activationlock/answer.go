package activationlock

// Verdict is yes, no or unknown. The zero Verdict is unknown, which is never
// yes.
type Verdict string

// The verdicts.
const (
	VerdictUnknown Verdict = ""
	Yes            Verdict = "yes"
	No             Verdict = "no"
)

// Answer is the answer to a question that an administrator asks.
type Answer struct {
	Verdict Verdict
	// Reasons say why, the weightiest first: what speaks against it, what is not
	// known, or what a yes has to be taken with. A plain yes may have none.
	Reasons []Reason
}

// Yes reports whether the answer is yes.
func (a Answer) Yes() bool { return a.Verdict == Yes }

func no(r ...Reason) Answer      { return Answer{No, r} }
func unknown(r ...Reason) Answer { return Answer{VerdictUnknown, r} }
func yes(r ...Reason) Answer     { return Answer{Yes, r} }

// Reason is why an answer is what it is. Its label is the sentence to show.
type Reason string

// Why something is not possible with a device, or not known to be.
const (
	ReasonPlatformUnknown     Reason = "platformUnknown"
	ReasonVersionUnknown      Reason = "versionUnknown"
	ReasonVersionTooOld       Reason = "versionTooOld"
	ReasonNoLock              Reason = "noLock"        // tvOS, and Macs without T2 chip and Apple silicon
	ReasonChipUnknown         Reason = "chipUnknown"   // a Mac that did not say whether it has a lock
	ReasonFollowsPhone        Reason = "followsPhone"  // watchOS
	ReasonNotSupervised       Reason = "notSupervised" // the device makes no code for the server
	ReasonSupervisionUnknown  Reason = "supervisionUnknown"
	ReasonSharedIPad          Reason = "sharedIPad" // no user-linked lock, and no code of the device
	ReasonSharedIPadUnknown   Reason = "sharedIPadUnknown"
	ReasonUserEnrollment      Reason = "userEnrollment"
	ReasonManageableUnknown   Reason = "manageableUnknown"
	ReasonNotManageable       Reason = "notManageable" // a Mac whose enrollment does not let the server manage its lock
	ReasonNotInOrganization   Reason = "notInOrganization"
	ReasonOrganizationUnknown Reason = "organizationUnknown"
	ReasonNoReturnToService   Reason = "noReturnToService"
	ReasonNoQuery             Reason = "noQuery" // the platform does not tell its lock's state
	ReasonNotDocumented       Reason = "notDocumented"
)

// What a yes has to be taken with.
const (
	ReasonServerCodeOnly  Reason = "serverCodeOnly"
	ReasonQueryDeprecated Reason = "queryDeprecated"
	ReasonWindow          Reason = "window" // 15 days for iPhones and iPads
	ReasonUnlockFirst     Reason = "unlockFirst"
	ReasonCodeHeld        Reason = "codeHeld" // of a lock that is not known to be on
	ReasonFindMyOn        Reason = "findMyOn"
	ReasonKindUnknown     Reason = "kindUnknown"
)

// What is known of a lock, or not.
const (
	ReasonLockOff            Reason = "lockOff"
	ReasonLockOn             Reason = "lockOn"
	ReasonLockOnNoCode       Reason = "lockOnNoCode"
	ReasonOrganizationNoCode Reason = "organizationNoCode" // of a lock of the organization
	ReasonLockUnknown        Reason = "lockUnknown"
	ReasonMayBeLocked        Reason = "mayBeLocked" // a lock call of ours had no answer
	ReasonCodeDoubtful       Reason = "codeDoubtful"
	ReasonOnlyDeviceSays     Reason = "onlyDeviceSays"
	ReasonEvidenceOld        Reason = "evidenceOld"
	ReasonConflict           Reason = "conflict"
	ReasonNotApplicable      Reason = "notApplicable"
)

// Label returns the sentence to show. A language without labels gives English.
func (r Reason) Label(l Language) string { return label(reasonLabels, r, l) }

var reasonLabels = map[Reason]texts{
	ReasonPlatformUnknown: {
		English: "It is not known what kind of device this is.",
		Dutch:   "Het is niet bekend wat voor apparaat dit is.",
	},
	ReasonVersionUnknown: {
		English: "The version of the device's system is not known.",
		Dutch:   "De versie van het systeem van het apparaat is niet bekend.",
	},
	ReasonVersionTooOld: {
		English: "The device's system is too old for this.",
		Dutch:   "Het systeem van het apparaat is hiervoor te oud.",
	},
	ReasonNoLock: {
		English: "This device has no Activation Lock.",
		Dutch:   "Dit apparaat heeft geen activeringsslot.",
	},
	ReasonChipUnknown: {
		English: "It is not known whether this Mac has a T2 chip or Apple silicon; older Macs have no Activation Lock.",
		Dutch:   "Het is niet bekend of deze Mac een T2-chip of Apple-chip heeft; oudere Macs hebben geen activeringsslot.",
	},
	ReasonFollowsPhone: {
		English: "The lock of an Apple Watch follows the iPhone that it is paired with.",
		Dutch:   "Het slot van een Apple Watch volgt dat van de iPhone waarmee het horloge is gekoppeld.",
	},
	ReasonNotSupervised: {
		English: "The device is not supervised, so it makes no code for the organization.",
		Dutch:   "Het apparaat staat niet onder supervisie en maakt daarom geen code voor de organisatie.",
	},
	ReasonSupervisionUnknown: {
		English: "It is not known whether the device is supervised.",
		Dutch:   "Het is niet bekend of het apparaat onder supervisie staat.",
	},
	ReasonSharedIPad: {
		English: "A Shared iPad has no lock of a person and makes no code.",
		Dutch:   "Een gedeelde iPad heeft geen slot van een persoon en maakt geen code.",
	},
	ReasonSharedIPadUnknown: {
		English: "It is not known whether this is a Shared iPad.",
		Dutch:   "Het is niet bekend of dit een gedeelde iPad is.",
	},
	ReasonUserEnrollment: {
		English: "The device belongs to its user, who enrolled only a part of it.",
		Dutch:   "Het apparaat is van de gebruiker zelf, die er alleen een deel van heeft ingeschreven.",
	},
	ReasonNotManageable: {
		English: "The way in which this Mac was enrolled does not let the server manage its lock.",
		Dutch:   "Door de manier waarop deze Mac is ingeschreven, kan de server het slot niet beheren.",
	},
	ReasonManageableUnknown: {
		English: "It is not known whether the way in which this Mac was enrolled lets the server manage its lock.",
		Dutch:   "Het is niet bekend of de server het slot kan beheren, gezien de manier waarop deze Mac is ingeschreven.",
	},
	ReasonNotInOrganization: {
		English: "The device is not in the organization's Apple Business or Apple School Manager.",
		Dutch:   "Het apparaat staat niet in Apple Business of Apple School Manager van de organisatie.",
	},
	ReasonOrganizationUnknown: {
		English: "It is not known whether the device is in the organization's Apple Business or Apple School Manager.",
		Dutch:   "Het is niet bekend of het apparaat in Apple Business of Apple School Manager van de organisatie staat.",
	},
	ReasonNoReturnToService: {
		English: "Apple offers no Return to Service for this kind of device.",
		Dutch:   "Apple biedt Return to Service niet voor dit soort apparaat.",
	},
	ReasonNoQuery: {
		English: "This kind of device does not tell whether its lock is on.",
		Dutch:   "Dit soort apparaat meldt niet of het slot aan is.",
	},
	ReasonNotDocumented: {
		English: "Apple does not document whether this works; it has to be tried.",
		Dutch:   "Apple documenteert niet of dit werkt; het moet worden geprobeerd.",
	},
	ReasonServerCodeOnly: {
		English: "Only a lock of the organization can be opened, with the code that the server made.",
		Dutch:   "Alleen een slot van de organisatie kan worden geopend, met de code die de server heeft gemaakt.",
	},
	ReasonQueryDeprecated: {
		English: "Apple has deprecated this query: the answer may be missing, and it can be wrong.",
		Dutch:   "Apple heeft deze vraag als verouderd aangemerkt: het antwoord kan ontbreken en kan onjuist zijn.",
	},
	ReasonWindow: {
		English: "An iPhone or iPad gives its code only in the first 15 days of its supervision; for other devices Apple names no time.",
		Dutch:   "Een iPhone of iPad geeft zijn code alleen in de eerste 15 dagen van de supervisie; voor andere apparaten noemt Apple geen termijn.",
	},
	ReasonUnlockFirst: {
		English: "Remove the lock with the code that is held before you erase the device.",
		Dutch:   "Verwijder het slot met de bewaarde code voordat u het apparaat wist.",
	},
	ReasonCodeHeld: {
		English: "A code is held that should open the lock if it is on after all.",
		Dutch:   "Er is een code bewaard die het slot zou moeten openen als het toch aan is.",
	},
	ReasonFindMyOn: {
		English: "Find My is on, so the device may lock itself again.",
		Dutch:   "Zoek mijn staat aan, dus het apparaat kan zich opnieuw vergrendelen.",
	},
	ReasonKindUnknown: {
		English: "It is not known which kind of lock is on, and so not which code opens it.",
		Dutch:   "Het is niet bekend welk soort slot aan is, en dus ook niet welke code het opent.",
	},
	ReasonLockOff: {
		English: "The lock is off.",
		Dutch:   "Het slot is uit.",
	},
	ReasonLockOn: {
		English: "The lock is on.",
		Dutch:   "Het slot is aan.",
	},
	ReasonLockOnNoCode: {
		English: "The lock is on and no code is held that opens it: after an erase nobody but the owner could activate the device.",
		Dutch:   "Het slot is aan en er is geen code bewaard die het opent: na het wissen kan alleen de eigenaar het apparaat activeren.",
	},
	ReasonOrganizationNoCode: {
		English: "The organization's lock is on and no code is held that opens it: turn it off in Apple Business or Apple School Manager before you erase the device.",
		Dutch:   "Het slot van de organisatie is aan en er is geen code bewaard die het opent: schakel het uit in Apple Business of Apple School Manager voordat u het apparaat wist.",
	},
	ReasonLockUnknown: {
		English: "It is not known whether the lock is on. Ask Apple's status, or have the lock removed.",
		Dutch:   "Het is niet bekend of het slot aan is. Vraag de status bij Apple op, of laat het slot verwijderen.",
	},
	ReasonMayBeLocked: {
		English: "A lock call of this server had no answer, so the lock of the organization may be on.",
		Dutch:   "Een vergrendelopdracht van deze server bleef zonder antwoord, dus het slot van de organisatie kan aan zijn.",
	},
	ReasonCodeDoubtful: {
		English: "The code that is held may be out of date, or another device's.",
		Dutch:   "De bewaarde code kan verouderd zijn, of van een ander apparaat.",
	},
	ReasonOnlyDeviceSays: {
		English: "Only the device says that the lock is off, and Apple says that it can be wrong. Ask Apple's status, or have the lock removed.",
		Dutch:   "Alleen het apparaat zegt dat het slot uit is, en volgens Apple kan dat onjuist zijn. Vraag de status bij Apple op, of laat het slot verwijderen.",
	},
	ReasonEvidenceOld: {
		English: "What is known of the lock is too old. Ask Apple's status again, or have the lock removed.",
		Dutch:   "Wat van het slot bekend is, is te oud. Vraag de status bij Apple opnieuw op, of laat het slot verwijderen.",
	},
	ReasonConflict: {
		English: "The sources disagree about the lock.",
		Dutch:   "De bronnen zijn het niet eens over het slot.",
	},
	ReasonNotApplicable: {
		English: "This device has no Activation Lock to mind.",
		Dutch:   "Bij dit apparaat hoeft u niet op een activeringsslot te letten.",
	},
}
