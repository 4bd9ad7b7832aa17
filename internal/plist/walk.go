package plist

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is the kind of a [Token].
type Kind uint8

// The kinds of tokens. Begin tokens are followed by the tokens of what they
// hold and one End.
const (
	BeginDict Kind = iota + 1
	BeginArray
	End
	Key
	String
	Integral
	Real
	True
	False
	Data
	Date
	Comment // outside of leaves only
)

var kindNames = [...]string{
	BeginDict: "dictionary", BeginArray: "array", End: "end", Key: "key", String: "string",
	Integral: "integer", Real: "real", True: "boolean", False: "boolean", Data: "data", Date: "date",
	Comment: "comment",
}

func (k Kind) String() string { return kindNames[k] }

// Token is one element of a list.
type Token struct {
	Kind Kind
	// Depth counts the dictionaries and arrays around the token. A Begin and
	// its End have the same depth.
	Depth int
	// Start and End bound the content in the walked bytes: what stands between
	// the tags of a key or leaf, the whole of a comment, nothing otherwise.
	Start, End int
}

// Text decodes the content of a key or leaf: entities resolved, CDATA opened,
// comments dropped, line ends normalized.
func (t Token) Text(data []byte) string { return text(data[t.Start:t.End]) }

// A SyntaxError says what is wrong with a list and where, without quoting it.
type SyntaxError struct {
	Offset int
	Reason string
}

func (e *SyntaxError) Error() string {
	return "plist: " + e.Reason + " at byte " + strconv.Itoa(e.Offset)
}

// Walk reads one XML property list and calls visit, unless nil, for each
// token in order. An error from visit ends the walk and is returned.
//
// It accepts what Apple's encoders write and XML allows them to: UTF-8, an XML
// declaration, the external DOCTYPE (never fetched), comments, CDATA, the five
// named entities and character references. Everything that lets two readers
// of the same bytes see different lists is an error: internal subsets, custom
// entities, other encodings, processing instructions, namespaces, attributes
// (except on plist), unknown elements, text between elements, elements inside
// leaves, a key without a value, a key twice in a dictionary, a byte order mark,
// trailing data.
//
// It does not recurse, and its memory is bounded by the names of the keys.
func Walk(data []byte, visit func(Token) error) error {
	w := walker{data: data, visit: visit}
	return w.list()
}

type walker struct {
	data  []byte
	at    int
	visit func(Token) error
	open  [MaxDepth]container
	depth int
}

// container is a dictionary or array that is being read.
type container struct {
	dict bool
	key  bool // a key waits for its value
	seen keySet
}

func (w *walker) fail(reason string) error { return &SyntaxError{w.at, reason} }

func (w *walker) rest() []byte { return w.data[w.at:] }

func (w *walker) has(prefix string) bool { return bytes.HasPrefix(w.rest(), []byte(prefix)) }

func (w *walker) emit(kind Kind, start, end int) error {
	if w.visit == nil {
		return nil
	}
	return w.visit(Token{kind, w.depth, start, end})
}

func (w *walker) list() error {
	if w.has("bplist") {
		return ErrBinary
	}
	if w.has("\xef\xbb\xbf") {
		return w.fail("a byte order mark") // which some parsers read and others do not
	}
	if err := w.declaration(); err != nil {
		return err
	}
	if err := w.blank(); err != nil {
		return err
	}
	if err := w.doctype(); err != nil {
		return err
	}
	if err := w.blank(); err != nil {
		return err
	}
	if err := w.openPlist(); err != nil {
		return err
	}
	for done := false; !done; {
		if err := w.blank(); err != nil {
			return err
		}
		if err := w.element(); err != nil {
			return err
		}
		done = w.depth == 0
	}
	if err := w.blank(); err != nil {
		return err
	}
	if name, closing, _, err := w.tag(); err != nil {
		return err
	} else if name != "plist" || !closing {
		return w.fail("a second value")
	}
	if err := w.blank(); err != nil {
		return err
	}
	if w.at != len(w.data) {
		return w.fail("data after the end")
	}
	return nil
}

// declaration reads <?xml …?>, which can only be the first thing.
func (w *walker) declaration() error {
	if !w.has("<?xml") {
		return nil
	}
	end := bytes.Index(w.rest(), []byte("?>"))
	if end < 0 {
		return w.fail("an unfinished declaration")
	}
	attributes := w.rest()[len("<?xml"):end]
	ok := true
	seen := 0
	parseAttributes(attributes, func(name, value string) {
		seen++
		switch name {
		case "version":
			ok = ok && value == "1.0"
		case "encoding":
			ok = ok && strings.EqualFold(value, "utf-8")
		case "standalone":
		default:
			ok = false
		}
	}, &ok)
	if !ok || seen == 0 {
		return w.fail("a declaration of something else than XML 1.0 in UTF-8")
	}
	w.at += end + len("?>")
	return nil
}

// doctype passes over <!DOCTYPE plist …> with external identifiers.
func (w *walker) doctype() error {
	const start = "<!DOCTYPE plist"
	if !w.has(start) {
		return nil
	}
	end := bytes.IndexByte(w.rest(), '>')
	if end < 0 {
		return w.fail("an unfinished document type")
	}
	identifiers := w.rest()[len(start):end]
	if len(identifiers) > 0 && !isSpace(identifiers[0]) || bytes.ContainsAny(identifiers, "<[&%'") ||
		bytes.Count(identifiers, []byte{'"'})%2 != 0 {
		return w.fail("a document type with more than external identifiers")
	}
	w.at += end + 1
	return nil
}

func (w *walker) openPlist() error {
	const start = "<plist"
	if !w.has(start) {
		return w.fail("no plist element")
	}
	end := bytes.IndexByte(w.rest(), '>')
	if end < 0 {
		return w.fail("an unfinished tag")
	}
	ok := true
	parseAttributes(w.rest()[len(start):end], func(string, string) {}, &ok)
	if !ok {
		return w.fail("a malformed plist tag")
	}
	w.at += end + 1
	return nil
}

// parseAttributes reads name="value" pairs, each after white space. Values are
// plain: without markup, references or control characters.
func parseAttributes(b []byte, each func(name, value string), ok *bool) {
	for len(bytes.TrimSpace(b)) > 0 {
		trimmed := bytes.TrimLeft(b, " \t\r\n")
		name, value, found := bytes.Cut(trimmed, []byte{'='})
		if !found || len(trimmed) == len(b) || len(value) == 0 || len(name) == 0 {
			*ok = false
			return
		}
		for _, c := range name {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				*ok = false
				return
			}
		}
		quote := value[0]
		end := bytes.IndexByte(value[1:], quote)
		if quote != '"' && quote != '\'' || end < 0 {
			*ok = false
			return
		}
		content := value[1 : 1+end]
		for _, c := range content {
			if c < ' ' || c > '~' || c == '<' || c == '&' {
				*ok = false
				return
			}
		}
		each(string(name), string(content))
		b = value[1+end+1:]
	}
}

// blank passes over white space and comments.
func (w *walker) blank() error {
	for {
		for w.at < len(w.data) && isSpace(w.data[w.at]) {
			w.at++
		}
		if !w.has("<!--") {
			return nil
		}
		start := w.at
		if err := w.comment(); err != nil {
			return err
		}
		if err := w.emit(Comment, start, w.at); err != nil {
			return err
		}
	}
}

// comment passes over the comment that begins here.
func (w *walker) comment() error {
	body := w.rest()[len("<!--"):]
	end := bytes.Index(body, []byte("--"))
	if end < 0 || !bytes.HasPrefix(body[end:], []byte("-->")) {
		return w.fail("an unfinished comment")
	}
	if !validChars(body[:end]) {
		return w.fail("a character that XML forbids")
	}
	w.at += len("<!--") + end + len("-->")
	return nil
}

// tag reads <name>, </name> or <name/>.
func (w *walker) tag() (name string, closing, empty bool, err error) {
	rest := w.rest()
	if len(rest) == 0 {
		return "", false, false, w.fail("an early end")
	}
	if rest[0] != '<' {
		return "", false, false, w.fail("text between elements")
	}
	end := bytes.IndexByte(rest, '>')
	if end < 0 {
		return "", false, false, w.fail("an unfinished tag")
	}
	body := rest[1:end]
	if closing = bytes.HasPrefix(body, []byte{'/'}); closing {
		body = body[1:]
	} else if empty = bytes.HasSuffix(body, []byte{'/'}); empty {
		body = body[:len(body)-1]
	}
	body = bytes.TrimRight(body, " \t\r\n")
	for _, c := range body {
		if c < 'a' || c > 'z' {
			return "", false, false, w.fail("an element that property lists do not have")
		}
	}
	w.at += end + 1
	if name, known := elements[string(body)]; known { // without a copy of it
		return name, closing, empty, nil
	}
	return string(body), closing, empty, nil
}

var elements = map[string]string{
	"plist": "plist", "dict": "dict", "array": "array", "key": "key",
	"string": "string", "integer": "integer", "real": "real", "true": "true", "false": "false", "data": "data", "date": "date",
}

var leaves = map[string]Kind{
	"string": String, "integer": Integral, "real": Real, "true": True, "false": False, "data": Data, "date": Date,
}

// element reads one tag inside plist, and all of a key or leaf.
func (w *walker) element() error {
	tagAt := w.at
	name, closing, empty, err := w.tag()
	if err != nil {
		return err
	}
	failTag := func(reason string) error { return &SyntaxError{tagAt, reason} }
	if closing {
		return w.close(name, failTag)
	}
	var in *container
	if w.depth > 0 {
		in = &w.open[w.depth-1]
	}
	if name == "key" {
		if in == nil || !in.dict || in.key {
			return failTag("a key where a value belongs")
		}
		in.key = true
		start, end, err := w.leaf(name, empty)
		if err != nil {
			return err
		}
		if !in.seen.add(w.data[start:end]) {
			return failTag("a key twice in a dictionary")
		}
		return w.emit(Key, start, end)
	}
	if in != nil && in.dict {
		if !in.key {
			return failTag("a value without a key")
		}
		in.key = false
	}
	if name == "dict" || name == "array" {
		kind := BeginArray
		if name == "dict" {
			kind = BeginDict
		}
		if err := w.emit(kind, w.at, w.at); err != nil {
			return err
		}
		if empty {
			return w.emit(End, w.at, w.at)
		}
		if w.depth == MaxDepth {
			return ErrTooDeep
		}
		w.open[w.depth] = container{dict: name == "dict"}
		w.depth++
		return nil
	}
	kind, known := leaves[name]
	if !known {
		return failTag("an element that property lists do not have")
	}
	start, end, err := w.leaf(name, empty)
	if err != nil {
		return err
	}
	if (kind == True || kind == False) && strings.TrimSpace(text(w.data[start:end])) != "" {
		return failTag("text in a boolean")
	}
	if kind == Real && strings.TrimSpace(text(w.data[start:end])) == "" {
		return failTag("a real without a number") // which some parsers take for 0
	}
	return w.emit(kind, start, end)
}

func (w *walker) close(name string, fail func(string) error) error {
	if w.depth == 0 {
		return fail("no value")
	}
	in := &w.open[w.depth-1]
	if name == "dict" != in.dict || name != "dict" && name != "array" {
		return fail("a closing tag without its opening one")
	}
	if in.key {
		return fail("a key without a value")
	}
	*in = container{}
	w.depth--
	return w.emit(End, w.at, w.at)
}

// leaf reads the content and the closing tag of an element without children.
func (w *walker) leaf(name string, empty bool) (start, end int, err error) {
	start = w.at
	if empty {
		return start, start, nil
	}
	for {
		next := bytes.IndexByte(w.rest(), '<')
		if next < 0 {
			return 0, 0, w.fail("an early end")
		}
		if reason := badText(w.rest()[:next]); reason != "" {
			return 0, 0, w.fail(reason)
		}
		w.at += next
		switch {
		case w.has("<!--"):
			if err := w.comment(); err != nil {
				return 0, 0, err
			}
		case w.has(cdataStart):
			length := bytes.Index(w.rest(), []byte(cdataEnd))
			if length < 0 {
				return 0, 0, w.fail("an unfinished CDATA section")
			}
			if !validChars(w.rest()[len(cdataStart):length]) {
				return 0, 0, w.fail("a character that XML forbids")
			}
			w.at += length + len(cdataEnd)
		default:
			end = w.at
			closed, closing, _, err := w.tag()
			if err != nil {
				return 0, 0, err
			}
			if closed != name || !closing {
				return 0, 0, w.fail("an element inside a value")
			}
			return start, end, nil
		}
	}
}

const (
	cdataStart = "<![CDATA["
	cdataEnd   = "]]>"
)

// badText says what is wrong with character data, if anything.
func badText(b []byte) string {
	if !validChars(b) {
		return "a character that XML forbids"
	}
	if bytes.Contains(b, []byte(cdataEnd)) {
		return "the end of a CDATA section without its start"
	}
	for {
		at := bytes.IndexByte(b, '&')
		if at < 0 {
			return ""
		}
		b = b[at:]
		_, length := entity(b)
		if length == 0 {
			return "an entity that XML does not define"
		}
		b = b[length:]
	}
}

// entity resolves the reference that b begins with; length 0 means that there
// is none.
func entity(b []byte) (r rune, length int) {
	end := bytes.IndexByte(b[:min(len(b), 12)], ';')
	if end < 0 {
		return 0, 0
	}
	switch name := string(b[1:end]); {
	case name == "lt":
		r = '<'
	case name == "gt":
		r = '>'
	case name == "amp":
		r = '&'
	case name == "apos":
		r = '\''
	case name == "quot":
		r = '"'
	case strings.HasPrefix(name, "#"):
		digits, base := name[1:], 10
		if strings.HasPrefix(digits, "x") {
			digits, base = digits[1:], 16
		}
		n, err := strconv.ParseUint(digits, base, 32)
		if err != nil || n > utf8.MaxRune || !validRune(rune(n)) {
			return 0, 0
		}
		r = rune(n)
	default:
		return 0, 0
	}
	return r, end + 1
}

// text decodes content that leaf has accepted.
func text(b []byte) string {
	if bytes.IndexByte(b, '&') < 0 && bytes.IndexByte(b, '<') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		switch {
		case bytes.HasPrefix(b, []byte("<!--")):
			b = b[len("<!--"):] // first: in "<!--->" the end does not overlap the start
			b = b[bytes.Index(b, []byte("-->"))+len("-->"):]
		case bytes.HasPrefix(b, []byte(cdataStart)):
			end := bytes.Index(b, []byte(cdataEnd))
			writeNormalized(&out, b[len(cdataStart):end])
			b = b[end+len(cdataEnd):]
		case b[0] == '&':
			r, length := entity(b)
			out.WriteRune(r)
			b = b[length:]
		default:
			end := bytes.IndexAny(b, "<&")
			if end < 0 {
				end = len(b)
			}
			writeNormalized(&out, b[:end])
			b = b[end:]
		}
	}
	return out.String()
}

// writeNormalized writes b with the line ends that XML prescribes.
func writeNormalized(out *strings.Builder, b []byte) {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	out.Write(bytes.ReplaceAll(b, []byte("\r"), []byte("\n")))
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// validChars reports whether b is UTF-8 of characters that XML allows.
func validChars(b []byte) bool {
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 || !validRune(r) {
			return false
		}
		i += size
	}
	return true
}

// ValidText reports whether every character of s can stand in an XML list.
func ValidText(s string) bool { return validChars([]byte(s)) }

// validRune is the Char production of XML 1.0.
func validRune(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' ||
		r >= ' ' && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}

// keySet holds the keys of one dictionary. Most have few.
type keySet struct {
	few  []string
	many map[string]struct{}
}

// add reports whether the key was not there yet.
func (s *keySet) add(content []byte) bool {
	key := text(content)
	if s.many == nil {
		for _, k := range s.few {
			if k == key {
				return false
			}
		}
		if s.few = append(s.few, key); len(s.few) < 16 {
			return true
		}
		s.many = make(map[string]struct{}, 2*len(s.few))
		for _, k := range s.few {
			s.many[k] = struct{}{}
		}
		return true
	}
	if _, there := s.many[key]; there {
		return false
	}
	s.many[key] = struct{}{}
	return true
}
