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

// labels is the one table: every text in every language.
var labels = map[string]map[Language]string{
	string(NotApplicable): {
		English: "",
		Dutch:   "",
	},
	string(NotEnabled): {
		English: "Not enabled",
		Dutch:   "Niet ingeschakeld",
	},
	string(EnabledWithBypassCode): {
		English: "Enabled with bypass code",
		Dutch:   "Ingeschakeld met bypass-code",
	},
	string(EnabledWithoutBypassCodeNotSupervised): {
		English: "Enabled without bypass code (device is not supervised)",
		Dutch:   "Ingeschakeld zonder bypass-code (apparaat niet onder supervisie)",
	},
	string(EnabledWithoutBypassCodeUnreachable): {
		English: "Enabled without bypass code (device cannot be reached)",
		Dutch:   "Ingeschakeld zonder bypass-code (apparaat kan niet worden bereikt)",
	},
	string(EnabledWithoutBypassCodeNotProvided): {
		English: "Enabled without bypass code (device provided none that opens the lock)",
		Dutch:   "Ingeschakeld zonder bypass-code (apparaat gaf geen code die het slot opent)",
	},
	string(Unknown): {
		English: "Unknown",
		Dutch:   "Onbekend",
	},
	string(TermSupervised): {
		English: "Supervised",
		Dutch:   "Onder supervisie",
	},
	string(TermActivationStatus): {
		English: "Activation Lock Status",
		Dutch:   "Status van activeringsslot",
	},
	string(TermYes): {
		English: "Yes",
		Dutch:   "Ja",
	},
	string(TermNo): {
		English: "No",
		Dutch:   "Nee",
	},
}

// label falls back to English for a language that is not in the table.
func label(key string, l Language) string {
	if text, ok := labels[key][l]; ok {
		return text
	}
	return labels[key][English]
}

// Label returns the status in words; "" for [NotApplicable]. A language
// without labels gives English.
func (s Status) Label(l Language) string { return label(string(s), l) }

// Label returns the term in words. A language without labels gives English.
func (t Term) Label(l Language) string { return label(string(t), l) }

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
