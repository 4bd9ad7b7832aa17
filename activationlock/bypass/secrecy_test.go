package bypass_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// printed is all that printers and encoders make of a value.
func printed(values ...any) string {
	var out bytes.Buffer
	text, inJSON := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range values {
		fmt.Fprintf(&out, "%v\n%+v\n%#v\n%s\n%q\n%x\n%d\n", v, v, v, v, v, v, v)
		if body, err := json.Marshal(v); err == nil {
			out.Write(body)
		}
		_ = gob.NewEncoder(&out).Encode(v)
		text.Info("x", "v", v)
		inJSON.Info("x", "v", v)
	}
	return out.String()
}

// No code is in anything that a host stores, prints or sends on.
func TestNoCodeIsPrinted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.hold(bySerial, codeTexts[:2]...)
	hide := func(what string) {
		t.Helper()
		for _, code := range codeTexts[:2] {
			for _, form := range []string{code, strings.ReplaceAll(code, "-", ""), strings.ToLower(code), fmt.Sprintf("%x", code), code[:11]} {
				require.NotContains(t, what, form)
			}
		}
	}
	a := s.start()
	hide(printed(a, &a, s.Bypass, *s.Bypass, wish()))
	call, a, err := s.Next(t.Context(), "A1")
	require.NoError(t, err)
	hide(printed(a, call, *call, call.Request, *call.Request, call.Request.Body))
	require.Nil(t, call.Request.GetBody, "no redirect sends it on")
	// Nor if Apple quotes it.
	resp := &http.Response{StatusCode: 404, Body: http.NoBody}
	resp.Body = readCloser{strings.NewReader("escrow key mismatch: " + codeTexts[1])}
	a, err = s.Answer(t.Context(), call, apple.ReadUnlock(resp, nil))
	require.NoError(t, err)
	require.Contains(t, a.Attempts[0].Detail, "escrow key mismatch")
	hide(printed(a))
	report, err := s.Bulk(t.Context(), bypass.Bulk{ID: "2026", Starts: []bypass.Start{wish()}}, &appleDouble{opens: map[string]bool{codeTexts[0]: true}})
	require.NoError(t, err)
	require.Equal(t, 1, report.Count(bypass.Done))
	hide(printed(report, &report, report.Rows[0]))
	var out strings.Builder
	require.NoError(t, report.WriteCSV(&out, activationlock.English))
	hide(out.String())
	hide(fmt.Sprintf("%+v", s.entries()))
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// Errors go into logs, so they quote nothing of what they are given.
func TestErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	const canary = "CANARY"
	s := newServer(t)
	subject := escrow.Subject{SerialNumber: canary + "-serial"}
	by := escrow.Act{Actor: canary + "-actor", Reason: canary + "-reason"}
	s.hold(subject, canary+"-code")
	start := bypass.Start{ID: canary + "-id", Subject: subject, Act: by, InHand: true}
	var errs []error
	add := func(err error) {
		t.Helper()
		require.Error(t, err)
		errs = append(errs, err)
	}
	_, _, err := s.Start(t.Context(), start)
	require.NoError(t, err)
	_, _, err = s.Start(t.Context(), start)
	add(err)
	other := start
	other.ID = canary + "-id2"
	_, _, err = s.Start(t.Context(), other)
	add(err)
	other.InHand = false
	_, _, err = s.Start(t.Context(), other)
	add(err)
	other.Actor, other.InHand = canary+"\x00", true
	_, _, err = s.Start(t.Context(), other)
	add(err)
	_, err = s.Preview(t.Context(), other)
	add(err)
	_, err = s.Cancel(t.Context(), start.ID, escrow.Act{Actor: canary})
	add(err)
	_, err = s.Cancel(t.Context(), canary, by)
	add(err)
	_, _, err = s.Next(t.Context(), canary)
	add(err)
	_, err = s.Run(t.Context(), canary, nil)
	add(err)
	_, err = s.Bulk(t.Context(), bypass.Bulk{ID: canary + "/"}, nil)
	add(err)
	_, err = s.Answer(t.Context(), &bypass.Call{ActionID: canary}, apple.Answer{})
	add(err)
	_, err = bypass.New(bypass.Config{Store: s.actions, Escrow: s.escrow, Audit: s.audit, Organization: canary + "\x00"})
	add(err)
	s.closed[canary] = errDown // an error of the sealer that says nothing of the code
	_, _, err = s.Next(t.Context(), start.ID)
	require.ErrorIs(t, err, errDown)
	add(err)
	for _, err := range errs {
		require.NotContains(t, err.Error(), canary)
		require.Equal(t, 1, strings.Count(err.Error(), "bypass: ")-strings.Count(err.Error(), ": bypass: "), "%v begins with the package's name", err)
	}
}
