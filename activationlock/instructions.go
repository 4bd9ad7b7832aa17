package activationlock

import (
	"strings"

	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/mdmcmd"
)

// Instructions tell a person how to type a bypass code on a device.
type Instructions struct {
	// Documented: it is published where the code is typed. If not, Steps are what
	// may help instead.
	Documented bool
	Steps      []string // in order; none if no code can be typed
	Notes      []string // what stands against it, and what often goes wrong
}

// ManualEntry returns the instructions for a device whose lock is of a kind. A
// language without texts gives English.
//
// Sources: Microsoft, "Disable Activation Lock"; Apple, Platform Deployment and
// Platform Security. What only one vendor or user says is marked so.
func ManualEntry(d Device, k LockKind, l Language) Instructions {
	can := d.Can(TypeCode)
	var notes []string
	for _, r := range can.Reasons {
		notes = append(notes, r.Label(l))
	}
	platform := mdmcmd.PlatformOf(d.ProductName)
	if can.Verdict == No || platform == "" {
		return Instructions{Notes: notes}
	}

	var steps, hints []entryText
	switch platform {
	case mdmcmd.IOS:
		steps = []entryText{entryScreen, entryEmptyName, entryPassword}
		if atLeast(d.OSVersion, "15.0") != Off {
			hints = append(hints, entryAnyName)
		}
		hints = append(hints, entrySwapped, entryComputer)
	case mdmcmd.MacOS:
		steps = []entryText{entryRecovery, entryMenu, entryCode}
		hints = append(hints, entryPrompt)
	default:
		steps = []entryText{entryNetwork}
		if k != UserLinked {
			steps = append(steps, entryPortal)
		}
	}
	if is(d.SharedIPad, true) {
		k = OrganizationLinked // it has no other
	}
	switch k {
	case UserLinked:
		hints = append(hints, entryDeviceCode, entryOwner)
	case OrganizationLinked:
		hints = append(hints, entryServerCode, entryCreator)
	default:
		hints = append(hints, entryEitherCode, entryCreator)
	}
	documented := platform == mdmcmd.IOS || platform == mdmcmd.MacOS
	if documented {
		hints = append(hints, entryFormat, entryLetters, entryCase)
	}

	in := Instructions{Documented: documented, Notes: notes}
	for _, t := range steps {
		in.Steps = append(in.Steps, label(entryTexts, t, l))
	}
	for _, t := range hints {
		in.Notes = append(in.Notes, label(entryTexts, t, l))
	}
	return in
}

// RevealGroups returns a code in its groups, for showing it to a person who types
// it. It reveals the code, so it is for those who may see it only. A text that is
// no canonical code is one group, as it is; an empty one is none.
func RevealGroups(t bypasscode.Text) []string {
	if t.IsZero() {
		return nil
	}
	if _, err := t.Code(); err != nil {
		return []string{t.Reveal()}
	}
	return strings.Split(t.Reveal(), "-")
}

// entryText is one text of [Instructions].
type entryText string

const (
	entryScreen     entryText = "screen"
	entryEmptyName  entryText = "emptyName"
	entryPassword   entryText = "password"
	entryAnyName    entryText = "anyName"
	entrySwapped    entryText = "swapped"
	entryComputer   entryText = "computer"
	entryRecovery   entryText = "recovery"
	entryMenu       entryText = "menu"
	entryCode       entryText = "code"
	entryPrompt     entryText = "prompt"
	entryNetwork    entryText = "network"
	entryPortal     entryText = "portal"
	entryDeviceCode entryText = "deviceCode"
	entryServerCode entryText = "serverCode"
	entryEitherCode entryText = "eitherCode"
	entryOwner      entryText = "owner"
	entryCreator    entryText = "creator"
	entryFormat     entryText = "format"
	entryLetters    entryText = "letters"
	entryCase       entryText = "case"
)

var entryTexts = map[entryText]texts{
	entryScreen: {
		English: "On the erased device, follow the setup past the choice of a Wi-Fi network: the Activation Lock screen comes after it.",
		Dutch:   "Volg op het gewiste apparaat de configuratie tot voorbij de keuze van een wifi-netwerk: daarna komt het scherm van het activeringsslot.",
	},
	entryEmptyName: {
		English: "Leave the user name (the Apple Account) empty.",
		Dutch:   "Laat de gebruikersnaam (het Apple Account) leeg.",
	},
	entryPassword: {
		English: "Type the code as the password.",
		Dutch:   "Typ de code als wachtwoord.",
	},
	entryAnyName: {
		English: "If the screen does not go on with an empty user name, type any name. This comes from a user's report of 2022 and is not confirmed.",
		Dutch:   "Gaat het scherm met een lege gebruikersnaam niet verder, typ dan een willekeurige naam. Dit komt uit een melding van een gebruiker uit 2022 en is niet bevestigd.",
	},
	entrySwapped: {
		English: "Texts of 2016 have it the other way round, with the code as the user name. They are wrong and were corrected: the code is the password.",
		Dutch:   "Teksten uit 2016 zeggen het andersom, met de code als gebruikersnaam. Die zijn onjuist en gecorrigeerd: de code is het wachtwoord.",
	},
	entryComputer: {
		English: "The device can also be activated through a computer, with Finder, iTunes or Apple Configurator. This was seen once, in a tool of 2018.",
		Dutch:   "Het apparaat kan ook via een computer worden geactiveerd, met Finder, iTunes of Apple Configurator. Dit is één keer gezien, in een hulpmiddel uit 2018.",
	},
	entryRecovery: {
		English: "Start the Mac in macOS Recovery.",
		Dutch:   "Start de Mac in macOS-herstel.",
	},
	entryMenu: {
		English: "In the menu Recovery Assistant, choose Activate with MDM key.",
		Dutch:   "Kies in het menu Recovery Assistant de opdracht Activate with MDM key (de namen zijn die van een Engelstalig systeem).",
	},
	entryCode: {
		English: "Type the code.",
		Dutch:   "Typ de code.",
	},
	entryPrompt: {
		English: "A Mac with Apple silicon asks for it in recoveryOS, an Intel Mac with a T2 chip in the firmware of that chip.",
		Dutch:   "Een Mac met een Apple-chip vraagt erom in recoveryOS, een Intel-Mac met een T2-chip in de firmware van die chip.",
	},
	entryNetwork: {
		English: "Try to have Apple remove the lock over the network, with the same code.",
		Dutch:   "Probeer het slot via het netwerk door Apple te laten verwijderen, met dezelfde code.",
	},
	entryPortal: {
		English: "If it is a lock of the organization, an administrator can turn it off in Apple Business or Apple School Manager.",
		Dutch:   "Is het een slot van de organisatie, dan kan een beheerder het uitschakelen in Apple Business of Apple School Manager.",
	},
	entryDeviceCode: {
		English: "The lock is a person's: the code that the device made opens it, the server's does not.",
		Dutch:   "Het slot is van een persoon: de code die het apparaat heeft gemaakt opent het, die van de server niet.",
	},
	entryServerCode: {
		English: "The lock is the organization's: the code that the server made opens it, the device's does not.",
		Dutch:   "Het slot is van de organisatie: de code die de server heeft gemaakt opent het, die van het apparaat niet.",
	},
	entryEitherCode: {
		English: "The code that the device made opens a person's lock, the code that the server made opens the organization's. Which one it is, is not known: if one code is refused, try the other.",
		Dutch:   "De code die het apparaat heeft gemaakt opent het slot van een persoon, de code die de server heeft gemaakt dat van de organisatie. Welk slot het is, is niet bekend: wordt de ene code geweigerd, probeer dan de andere.",
	},
	entryOwner: {
		English: "The owner can open the lock with the Apple Account and its password.",
		Dutch:   "De eigenaar kan het slot openen met het Apple Account en het bijbehorende wachtwoord.",
	},
	entryCreator: {
		English: "A lock of the organization that was turned on without the hash of a code asks for the Apple Account of whoever created the server token; no code opens it.",
		Dutch:   "Een slot van de organisatie dat zonder de hash van een code is ingeschakeld, vraagt om het Apple Account van degene die het servertoken heeft gemaakt; geen enkele code opent het.",
	},
	entryFormat: {
		English: "A code has 26 characters in groups of 5-5-4-4-4-4. Type it with its dashes.",
		Dutch:   "Een code heeft 26 tekens in groepen van 5-5-4-4-4-4. Typ die met de streepjes.",
	},
	entryLetters: {
		English: "The letters B, I, O and S never occur in a code: they are the digits 8, 1, 0 and 5.",
		Dutch:   "De letters B, I, O en S komen in een code niet voor: het zijn de cijfers 8, 1, 0 en 5.",
	},
	entryCase: {
		English: "Upper and lower case make no difference and the dashes may be left out, as far as one vendor says; that is not confirmed.",
		Dutch:   "Hoofdletters en kleine letters maken geen verschil en de streepjes mogen worden weggelaten, volgens één leverancier; dat is niet bevestigd.",
	},
}
