// Package spreadsheet keeps spreadsheets from running what a cell says.
package spreadsheet

import (
	"strings"
	"unicode/utf8"
)

// Harmless returns a cell that no spreadsheet takes for a formula: one that it
// might begins with an apostrophe.
func Harmless(cell string) string {
	if formula(cell) {
		return "'" + cell
	}
	return cell
}

// HarmlessAnywhere is Harmless also for a spreadsheet that begins a cell after a
// semicolon or a tab, as those of Europe do with files of commas. To it the quote
// before such a cell stands inside another, so line ends in it begin cells too, and
// quotes in it may go. Nothing undoes it.
func HarmlessAnywhere(cell string) string {
	if !strings.ContainsAny(cell, separators) {
		return Harmless(cell) // as most are
	}
	var harmless strings.Builder
	for rest := cell; rest != ""; {
		end := strings.IndexAny(rest, separators) + 1
		switch {
		case end == 0:
			end = len(rest)
		case strings.HasPrefix(rest[end-1:], "\r\n"): // one line end
			end++
		}
		part := rest[:end]
		rest = rest[end:]
		if formula(strings.TrimLeft(part, `"`)) {
			harmless.WriteByte('\'')
		}
		harmless.WriteString(part)
	}
	return harmless.String()
}

const separators = ";\t\r\n"

// Restore undoes Harmless.
func Restore(cell string) string {
	if strings.HasPrefix(cell, "'") && formula(cell) {
		return cell[1:]
	}
	return cell
}

// formula reports whether a spreadsheet may take a cell for a formula, or would
// without the apostrophes before it. Some take the wide forms of East Asia too.
func formula(cell string) bool {
	if cell == "" || cell[0] > '@' && cell[0] < utf8.RuneSelf || '0' <= cell[0] && cell[0] <= '9' {
		return false // as most are
	}
	first, size := utf8.DecodeRuneInString(strings.TrimLeft(cell, "'"))
	return size > 0 && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first)
}
