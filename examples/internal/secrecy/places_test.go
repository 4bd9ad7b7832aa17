package secrecy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// places are where secrets could have got to.
type places map[string]*bytes.Buffer

// at returns a place, to be written to.
func (p places) at(name string) *bytes.Buffer {
	if p[name] == nil {
		p[name] = new(bytes.Buffer)
	}
	return p[name]
}

// say prints a value in all ways in which programs print and store values.
func (p places) say(place string, v any) {
	out := p.at(place)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "% x", "%d"} {
		fmt.Fprintf(out, verb+"\n", v)
	}
	encoded, err := json.Marshal(v)
	fmt.Fprintf(out, "%s %+v\n", encoded, err)
	for _, handler := range []slog.Handler{
		slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}),
		slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}),
	} {
		slog.New(handler).Debug("said", "v", v, slog.Group("group", "v", v))
	}
	r := &recorder{out}
	assert.Equal(r, v, nil)
	assert.Nil(r, v)
	assert.Contains(r, []any{v}, "another")
}

// differ prints what a test says of two values that are not the same. It
// follows pointers, and looks into what is not exported.
func (p places) differ(place string, v, other any) {
	assert.Equal(&recorder{p.at(place)}, v, other)
}

type recorder struct{ out *bytes.Buffer }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(r.out, format, args...) }

// fail keeps an error that must be one, with all that is inside.
func (p places) fail(tb testing.TB, err error) {
	tb.Helper()
	require.Error(tb, err)
	p.failed(err)
}

func (p places) failed(err error) {
	p.say("errors", err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			p.failed(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			p.failed(inner)
		}
	}
}

// plant says the planted secret as a value like others, as a text and as bytes.
func (p places) plant(place string) {
	p.say(place, struct {
		Text string
		Raw  []byte
	}{planted.text, planted.raw})
}

// search searches all places for secrets, and for what was planted in each.
func (p places) search(tb testing.TB, secrets []secret) {
	tb.Helper()
	require.NotEmpty(tb, secrets)
	s := newSearcher(tb, append(slices.Clone(secrets), planted))
	total := 0
	for _, name := range slices.Sorted(maps.Keys(p)) {
		found := s.find(p[name].Bytes())
		assert.NotEmpty(tb, found[planted.name], "the search sees nothing in %s, of %d bytes", name, p[name].Len())
		for _, secret := range secrets {
			for _, n := range found[secret.name] {
				assert.Fail(tb, "a secret got out", "%s, as %s, in %s", secret.name, n.form, name)
			}
		}
		total += p[name].Len()
	}
	tb.Logf("%d secrets in none of %d bytes of %d places", len(secrets), total, len(p))
}

// everyForm checks that a place shows each form of what was planted in it: as it
// is, quoted as in a statement, or in hexadecimal digits.
func (p places) everyForm(tb testing.TB, place string) {
	tb.Helper()
	in := p[place].Bytes()
	lower := bytes.ToLower(in)
	for name, form := range planted.forms() {
		seen := bytes.Contains(in, []byte(form)) || bytes.Contains(in, []byte(encodings["quoted by SQL"]([]byte(form)))) ||
			bytes.Contains(lower, fmt.Appendf(nil, "%x", form))
		require.True(tb, seen, "%s is not seen in %s", name, place)
	}
}
