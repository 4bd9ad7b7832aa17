package operator

import (
	"strings"
	"unicode"

	"github.com/activationlock/sdk/bypasscode"
)

// HoldsCode reports whether a text, or words of it that follow each other, are a
// bypass code.
func HoldsCode(text string) bool {
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`.,;:()"'=/`, r) })
	for i := range words {
		for j := i + 1; j <= min(len(words), i+bypasscodeSymbols); j++ {
			if _, err := bypasscode.ParseLenient(strings.Join(words[i:j], " "), false); err == nil {
				return true
			}
		}
	}
	return false
}

const bypasscodeSymbols = 26 // as many words, if each is typed by itself
