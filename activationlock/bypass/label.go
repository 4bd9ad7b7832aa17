package bypass

import "github.com/activationlock/sdk/activationlock"

// texts are a text in every language.
type texts map[activationlock.Language]string

// label falls back to English for a language that is not in the table.
func label[K ~string](table map[K]texts, key K, l activationlock.Language) string {
	if text, ok := table[key][l]; ok {
		return text
	}
	return table[key][activationlock.English]
}

// Label returns the state in words. A language without labels gives English.
func (s State) Label(l activationlock.Language) string { return label(stateLabels, s, l) }

var stateLabels = map[State]texts{
	Pending:      {activationlock.English: "Pending", activationlock.Dutch: "In behandeling"},
	Active:       {activationlock.English: "Active", activationlock.Dutch: "Actief"},
	Done:         {activationlock.English: "Done", activationlock.Dutch: "Gereed"},
	Failed:       {activationlock.English: "Failed", activationlock.Dutch: "Mislukt"},
	NotSupported: {activationlock.English: "Not supported", activationlock.Dutch: "Niet ondersteund"},
	Canceled:     {activationlock.English: "Canceled", activationlock.Dutch: "Geannuleerd"},
}

// Label returns the sentence to show. A language without labels gives English.
func (r Reason) Label(l activationlock.Language) string { return label(reasonLabels, r, l) }

var reasonLabels = map[Reason]texts{
	NoCode: {
		activationlock.English: "No bypass code of this device is held.",
		activationlock.Dutch:   "Van dit apparaat is geen bypass-code bewaard.",
	},
	NoSerialNumber: {
		activationlock.English: "The serial number of the device is not known; Apple asks for it.",
		activationlock.Dutch:   "Het serienummer van het apparaat is niet bekend; Apple vraagt erom.",
	},
	NoProductType: {
		activationlock.English: "The model identifier of the device (such as iPhone17,3) is not known; Apple asks for it.",
		activationlock.Dutch:   "De modelaanduiding van het apparaat (zoals iPhone17,3) is niet bekend; Apple vraagt erom.",
	},
	NotOpened: {
		activationlock.English: "None of the codes that are held could be opened. Look for the key that they were sealed to.",
		activationlock.Dutch:   "Geen van de bewaarde codes kon worden geopend. Zoek de sleutel waarmee ze zijn verzegeld.",
	},
	NotAllowed: {
		activationlock.English: "A rule of this server did not let the code be used.",
		activationlock.Dutch:   "Een regel van deze server stond het gebruik van de code niet toe.",
	},
	CodesRefused: {
		activationlock.English: "Apple does not know the device, or none of the codes opens the lock. Look whether the lock is on at all.",
		activationlock.Dutch:   "Apple kent het apparaat niet, of geen van de codes opent het slot. Ga na of het slot wel is ingeschakeld.",
	},
	NotAllOpened: {
		activationlock.English: "Apple refused the codes that could be opened, and other codes could not be opened. Look for the key that they were sealed to.",
		activationlock.Dutch:   "Apple heeft de codes geweigerd die konden worden geopend; andere codes konden niet worden geopend. Zoek de sleutel waarmee die zijn verzegeld.",
	},
	MaybeUnlocked: {
		activationlock.English: "Apple accepted no code, but a call without a clear answer may have removed the lock. Look at the device.",
		activationlock.Dutch:   "Apple heeft geen code geaccepteerd, maar een aanroep zonder duidelijk antwoord kan het slot hebben verwijderd. Controleer het apparaat.",
	},
	OurFault: {
		activationlock.English: "Apple could not read the request of this server. That is a fault of this software or of what is known of the device.",
		activationlock.Dutch:   "Apple kon de aanvraag van deze server niet lezen. Dat is een fout in deze software of in de gegevens van het apparaat.",
	},
	AppleRefused: {
		activationlock.English: "Apple refused the call, most likely because of the push certificate. That call tried no code.",
		activationlock.Dutch:   "Apple heeft de aanroep geweigerd, waarschijnlijk vanwege het pushcertificaat. Bij die aanroep is geen code geprobeerd.",
	},
	NoAnswer: {
		activationlock.English: "Apple gave no clear answer for three days. Look at the device, and start again if it is still locked.",
		activationlock.Dutch:   "Apple heeft drie dagen geen duidelijk antwoord gegeven. Controleer het apparaat en begin opnieuw als het nog vergrendeld is.",
	},
}

// Label returns the sentence to show. A language without labels gives English.
func (w Warning) Label(l activationlock.Language) string { return label(warningLabels, w, l) }

var warningLabels = map[Warning]texts{
	WarningRelock: {
		activationlock.English: "Once the lock is removed, the device locks itself again as soon as Find My is opened. Erase it then at once, or have Find My turned off.",
		activationlock.Dutch:   "Zodra het slot is verwijderd, vergrendelt het apparaat zich opnieuw wanneer Zoek mijn wordt geopend. Wis het dan direct, of laat Zoek mijn uitschakelen.",
	},
}

// What a report says where a device has no action.
var (
	notInHandLabel = texts{
		activationlock.English: "Nobody stated to have the device in hand.",
		activationlock.Dutch:   "Niemand heeft verklaard het apparaat in handen te hebben.",
	}
	startLabel = texts{
		activationlock.English: "A serial number or enrollment ID, who asks, and the reason are required, in at most 255 bytes each.",
		activationlock.Dutch:   "Een serienummer of inschrijvings-ID, de aanvrager en de reden zijn verplicht, elk in hoogstens 255 bytes.",
	}
	notBegunLabel = texts{
		activationlock.English: "The run ended before this device.",
		activationlock.Dutch:   "De reeks eindigde voor dit apparaat.",
	}
)
