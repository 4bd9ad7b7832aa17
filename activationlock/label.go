package activationlock

// Language is a language that labels exist in, as its BCP 47 tag.
type Language string

// The languages. The terms in Dutch are those of the classic report.
const (
	English Language = "en"
	Dutch   Language = "nl"
)

// Languages returns the languages that every label exists in.
func Languages() []Language { return []Language{English, Dutch} }

// Term is a word of a report that is not a status: a column's title or one of
// its values.
type Term string

// The terms of the classic report.
const (
	TermSupervised       Term = "supervised"       // column title
	TermActivationStatus Term = "activationStatus" // column title
	TermYes              Term = "yes"
	TermNo               Term = "no"
)

// texts are a text in every language.
type texts struct{ English, Dutch string }

// in returns the text in a language, English for one that has none.
func (t texts) in(l Language) string {
	if l == Dutch {
		return t.Dutch
	}
	return t.English
}

func label[K ~string](table map[K]texts, key K, l Language) string { return table[key].in(l) }

// Label returns the status in words; "" for [NotApplicable]. A language
// without labels gives English.
func (s Status) Label(l Language) string { return label(statusLabels, s, l) }

// Label returns the term in words. A language without labels gives English.
func (t Term) Label(l Language) string { return label(termLabels, t, l) }

// SupervisedLabel returns the value of the column Supervised: yes, no, or ""
// if it is unknown.
func SupervisedLabel(supervised *bool, l Language) string {
	switch {
	case supervised == nil:
		return ""
	case *supervised:
		return TermYes.Label(l)
	}
	return TermNo.Label(l)
}

var statusLabels = map[Status]texts{
	NotApplicable: {
		English: "",
		Dutch:   "",
	},
	NotEnabled: {
		English: "Not enabled",
		Dutch:   "Niet ingeschakeld",
	},
	EnabledWithBypassCode: {
		English: "Enabled with bypass code",
		Dutch:   "Ingeschakeld met bypass-code",
	},
	EnabledWithoutBypassCodeNotSupervised: {
		English: "Enabled without bypass code (device is not supervised)",
		Dutch:   "Ingeschakeld zonder bypass-code (apparaat niet onder supervisie)",
	},
	EnabledWithoutBypassCodeUnreachable: {
		English: "Enabled without bypass code (device cannot be reached)",
		Dutch:   "Ingeschakeld zonder bypass-code (apparaat kan niet worden bereikt)",
	},
	EnabledWithoutBypassCodeNotProvided: {
		English: "Enabled without bypass code (device provided none that opens the lock)",
		Dutch:   "Ingeschakeld zonder bypass-code (apparaat gaf geen code die het slot opent)",
	},
	Unknown: {
		English: "Unknown",
		Dutch:   "Onbekend",
	},
}

var termLabels = map[Term]texts{
	TermSupervised: {
		English: "Supervised",
		Dutch:   "Onder supervisie",
	},
	TermActivationStatus: {
		English: "Activation Lock Status",
		Dutch:   "Status van activeringsslot",
	},
	TermYes: {
		English: "Yes",
		Dutch:   "Ja",
	},
	TermNo: {
		English: "No",
		Dutch:   "Nee",
	},
}

// Label returns the state in words. A language without labels gives English.
func (s State) Label(l Language) string { return label(stateLabels, s, l) }

var stateLabels = map[State]texts{
	StateUnknown: {English: "unknown", Dutch: "onbekend"},
	On:           {English: "on", Dutch: "aan"},
	Off:          {English: "off", Dutch: "uit"},
}

// Label returns the kind in words. A language without labels gives English.
func (k LockKind) Label(l Language) string { return label(kindLabels, k, l) }

var kindLabels = map[LockKind]texts{
	KindUnknown:        {English: "of unknown kind", Dutch: "van onbekende soort"},
	UserLinked:         {English: "of a person (Find My)", Dutch: "van een persoon (Zoek mijn)"},
	OrganizationLinked: {English: "of the organization", Dutch: "van de organisatie"},
}

// Label returns the source in words. A language without labels gives English.
func (s Source) Label(l Language) string { return label(sourceLabels, s, l) }

var sourceLabels = map[Source]texts{
	SourceDevice:     {English: "the device", Dutch: "het apparaat"},
	SourceApple:      {English: "Apple's status", Dutch: "de status bij Apple"},
	SourceLockCall:   {English: "our lock call", Dutch: "onze vergrendelopdracht"},
	SourceUnlockCall: {English: "our unlock call", Dutch: "onze ontgrendelopdracht"},
	SourceLostMode:   {English: "Managed Lost Mode", Dutch: "de beheerde verloren-modus"},
}

// Label returns the confidence in words. A language without labels gives
// English.
func (c Confidence) Label(l Language) string { return label(confidenceLabels, c, l) }

var confidenceLabels = map[Confidence]texts{
	Unfounded: {English: "not known", Dutch: "niet bekend"},
	Doubted:   {English: "doubted: another source says otherwise", Dutch: "twijfelachtig: een andere bron zegt iets anders"},
	Reported:  {English: "reported by the device alone", Dutch: "alleen door het apparaat gemeld"},
	Stated:    {English: "stated by Apple", Dutch: "door Apple vermeld"},
	Certain:   {English: "certain: confirmed by Apple", Dutch: "zeker: door Apple bevestigd"},
}

// Label returns the verdict in words. A language without labels gives English.
func (v Verdict) Label(l Language) string { return label(verdictLabels, v, l) }

var verdictLabels = map[Verdict]texts{
	VerdictUnknown: {English: "unknown", Dutch: "onbekend"},
	Yes:            {English: "yes", Dutch: "ja"},
	No:             {English: "no", Dutch: "nee"},
}

var abilityLabels = map[Ability]texts{
	FetchCode:           {English: "ask the device for its bypass code", Dutch: "het apparaat om zijn bypass-code vragen"},
	AllowLock:           {English: "allow or forbid a person's Activation Lock", Dutch: "het activeringsslot van een persoon toestaan of verbieden"},
	UnlockOverNetwork:   {English: "have Apple remove the lock with a code", Dutch: "het slot door Apple laten verwijderen met een code"},
	LockForOrganization: {English: "turn on a lock of the organization", Dutch: "een slot van de organisatie inschakelen"},
	AskDevice:           {English: "ask the device whether its lock is on", Dutch: "het apparaat vragen of het slot aan is"},
	TypeCode:            {English: "type a code on the device", Dutch: "een code op het apparaat typen"},
}

var stepLabels = map[Step]texts{
	StepReadState: {
		English: "Ask the device and Apple whether the lock is on, then plan anew.",
		Dutch:   "Vraag het apparaat en Apple of het slot aan is, en maak daarna een nieuw plan.",
	},
	StepUnlock: {
		English: "Have Apple remove the lock with the code that is held.",
		Dutch:   "Laat Apple het slot verwijderen met de bewaarde code.",
	},
	StepErase: {
		English: "Erase the device at once, with Return to Service: the lock may come back while Find My is on.",
		Dutch:   "Wis het apparaat direct, met Return to Service: zolang Zoek mijn aanstaat, kan het slot terugkomen.",
	},
}
