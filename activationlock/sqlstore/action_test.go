package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/activationlock/apple"
	"github.com/activationlock/sdk/activationlock/bypass"
	"github.com/activationlock/sdk/bypasscode"
	"github.com/activationlock/sdk/bypasscode/audit"
	"github.com/activationlock/sdk/bypasscode/escrow"
)

// goldenBody is what is in databases: it has to be read for ever.
const goldenBody = `{"ID":"1","BulkIDs":["b"],"Subject":{"SerialNumber":"XXFAKE0SER1","EnrollmentID":""},` +
	`"By":{"Actor":"a","Reason":"<lost & found>"},` +
	`"Device":{"SerialNumber":"s","UDID":"u","ProductType":"iPhone17,3","IMEI":"i","IMEI2":"j","MEID":"m"},` +
	`"State":"failed","Reason":"maybeUnlocked","Unsupported":["userEnrollment"],` +
	`"Attempts":[{"RecordID":"r","Kind":"device","Tries":2,"SentAt":"2026-11-22T12:00:00.000001Z","AnsweredAt":"0001-01-01T00:00:00Z",` +
	`"Outcome":"not found","StatusCode":404,"Detail":"d","Lost":true,"NotOpened":true}],` +
	`"StartedAt":"2026-11-22T12:00:00Z","NextAt":"0001-01-01T00:00:00Z","EndedAt":"2026-11-22T12:00:01Z","Noted":true}`

func goldenAction() bypass.Action {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return bypass.Action{
		ID: "1", BulkIDs: []string{"b"}, Subject: escrow.Subject{SerialNumber: "XXFAKE0SER1"},
		By:     escrow.Act{Actor: "a", Reason: "<lost & found>"},
		Device: escrow.Device{SerialNumber: "s", UDID: "u", ProductType: "iPhone17,3", IMEI: "i", IMEI2: "j", MEID: "m"},
		State:  bypass.Failed, Reason: bypass.MaybeUnlocked, Unsupported: []activationlock.Reason{"userEnrollment"},
		Attempts: []bypass.Attempt{{
			RecordID: "r", Kind: bypasscode.Device, Tries: 2, SentAt: noon.Add(time.Microsecond), Outcome: apple.NotFound, StatusCode: 404, Detail: "d",
			Lost: true, NotOpened: true,
		}},
		StartedAt: noon, EndedAt: noon.Add(time.Second), Noted: true,
	}
}

func TestActionBody(t *testing.T) {
	t.Parallel()
	a := goldenAction()
	body, err := encodeAction(&a)
	require.NoError(t, err)
	require.Contains(t, body, `"Reason":"<lost & found>"`)
	var golden, written any
	require.NoError(t, json.Unmarshal([]byte(goldenBody), &golden))
	require.NoError(t, json.Unmarshal([]byte(body), &written))
	requireWithin(t, golden, written)
	again, whole, err := decodeAction([]byte(goldenBody))
	require.NoError(t, err)
	require.True(t, whole)
	require.Equal(t, a, again)

	// Of a version before, and of one after.
	older, whole, err := decodeAction([]byte(strings.Replace(goldenBody, `"BulkIDs":["b"],`, "", 1)))
	require.NoError(t, err)
	require.True(t, whole)
	require.Equal(t, a.Attempts, older.Attempts)
	for _, field := range []string{`"BulkIDs"`, `"Kind"`, `"UDID"`, `"Actor"`} {
		newer, whole, err := decodeAction([]byte(strings.Replace(goldenBody, field, `"New":{"a":["secret"]},`+field, 1)))
		require.NoError(t, err)
		require.False(t, whole, field)
		require.Equal(t, a, newer)
	}

	// What was damaged.
	for _, body := range []string{"", "{", goldenBody + "x", goldenBody + goldenBody, goldenBody[1:], goldenBody[:len(goldenBody)-1], "[]", `{"ID":1}`, `{"StartedAt":"secret"}`, "\x00"} {
		got, _, err := decodeAction([]byte(body))
		require.Equal(t, errColumn, err, body)
		require.Zero(t, got)
	}
}

// requireWithin fails on a name or value that is not there any more. Others may
// come.
func requireWithin(t *testing.T, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		for name, w := range want {
			require.Contains(t, got, name)
			requireWithin(t, w, got[name])
		}
	case []any:
		got, _ := got.([]any)
		require.Len(t, got, len(want))
		for i, w := range want {
			requireWithin(t, w, got[i])
		}
	default:
		require.Equal(t, want, got)
	}
}

// Lists that are empty stay what they are.
func TestEmptyLists(t *testing.T) {
	t.Parallel()
	for _, attempts := range [][]bypass.Attempt{nil, {}} {
		a := goldenAction()
		a.Attempts = attempts
		body, err := encodeAction(&a)
		require.NoError(t, err)
		got, _, err := decodeAction([]byte(body))
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
}

// What JSON or a column would change is refused, and not quoted.
func TestActionsThatCannotBeKept(t *testing.T) {
	t.Parallel()
	const secret = "XXFAKE0SER9"
	long := strings.Repeat("x", escrow.MaxIdentifier+1)
	for i, spoil := range []func(*bypass.Action){
		func(a *bypass.Action) { a.ID = "" },
		func(a *bypass.Action) { a.ID = long },
		func(a *bypass.Action) { a.ID = secret + "\x00" },
		func(a *bypass.Action) { a.Subject = escrow.Subject{} },
		func(a *bypass.Action) { a.Subject.EnrollmentID = secret },
		func(a *bypass.Action) { a.Subject.SerialNumber = secret + "\xff" },
		func(a *bypass.Action) { a.State = bypass.State(long) },
		func(a *bypass.Action) { a.State = "\xff" },
		func(a *bypass.Action) { a.By.Reason = secret + "\xff" },
		func(a *bypass.Action) { a.Attempts[0].Detail = secret + "\xc3" },
		func(a *bypass.Action) { a.Attempts[0].RecordID = "\xed\xa0\x80" },
		func(a *bypass.Action) { a.Attempts[0].Detail = strings.Repeat("x", maxBody) },
		func(a *bypass.Action) { a.NextAt = time.Now() },
		func(a *bypass.Action) { a.StartedAt = time.Now().In(time.FixedZone("CET", 3600)) },
		func(a *bypass.Action) { a.Attempts[0].SentAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		a := goldenAction()
		a.BulkIDs = []string{secret}
		_, err := actionValues(&a)
		require.NoError(t, err)
		spoil(&a)
		for _, d := range dialects {
			s, err := New(sql.OpenDB(fake{errors.New("not asked")}), d)
			require.NoError(t, err)
			err = s.Actions().Create(t.Context(), a)
			require.Error(t, err, i)
			require.NotContains(t, err.Error(), "asked", i)
			require.NotContains(t, err.Error(), secret, i)
		}
	}
}

// Every action that a bypass makes has room.
func TestLongestBody(t *testing.T) {
	t.Parallel()
	a := goldenAction()
	for len(a.Attempts) < bypass.MaxPlan {
		a.Attempts = append(a.Attempts, a.Attempts[0])
	}
	fill(reflect.ValueOf(&a).Elem())
	body, err := encodeAction(&a)
	require.NoError(t, err)
	require.Less(t, len(body), maxBody/2)
}

// fill fills all strings with what is longest in JSON, and numbers too.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("\x01", escrow.MaxIdentifier))
	case reflect.Int:
		v.SetInt(math.MinInt)
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() && v.Type() != reflect.TypeFor[time.Time]() {
				fill(v.Field(i))
			}
		}
	}
}

// The columns say what the body says.
func TestActionValues(t *testing.T) {
	t.Parallel()
	a := goldenAction()
	values, err := actionValues(&a)
	require.NoError(t, err)
	body, err := encodeAction(&a)
	require.NoError(t, err)
	require.Equal(t, []any{
		"1", "XXFAKE0SER1", nil, nil, "failed", a.StartedAt.UnixMicro(), nil, a.EndedAt.UnixMicro(), body,
	}, values)
	require.Len(t, values, len(strings.Split(actionColumns, ", ")))
	for _, state := range []bypass.State{bypass.Pending, bypass.Active} {
		a.State, a.NextAt, a.EndedAt, a.StartedAt = state, a.EndedAt, time.Time{}, time.Time{}
		a.Subject = escrow.Subject{EnrollmentID: "e"}
		values, err := actionValues(&a)
		require.NoError(t, err)
		require.Equal(t, []any{"1", nil, "e", int64(1), string(state), time.Time{}.UnixMicro()}, values[:6])
		require.Nil(t, values[7])
	}
}

func TestActionStatements(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		s, err := New(sql.OpenDB(fake{}), d)
		require.NoError(t, err)
		q := s.dialect.queries()
		for query, n := range map[string]int{
			q.action: 1, q.actionMeanwhile: 1, q.actionsOfDevice: 1, q.scanActions: 2, q.scanOpenActions: 2, q.insertAction: 9, q.updateAction: 7,
			s.dialect.lockAction(): 1,
		} {
			require.NotContains(t, query, "'")
			require.Equal(t, n, strings.Count(query, "?")+strings.Count(query, "$"), query)
		}
	}
}

func TestIdentifiersOfNoAction(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		s, err := New(sql.OpenDB(fake{errors.New("not asked")}), d)
		require.NoError(t, err)
		for _, id := range []string{"", "\x00", "\xff", strings.Repeat("x", escrow.MaxIdentifier+1)} {
			_, err := s.Actions().Get(t.Context(), id)
			require.ErrorIs(t, err, bypass.ErrNotFound)
			require.ErrorIs(t, s.Actions().Update(t.Context(), id, nil), bypass.ErrNotFound)
			list, err := s.Actions().OfDevice(t.Context(), id)
			require.NoError(t, err)
			require.Empty(t, list)
		}
		for _, after := range []string{"\x00", "\xff"} {
			if _, err := s.Actions().Scan(t.Context(), after, 1, true); d == PostgreSQL {
				require.ErrorContains(t, err, "UTF-8")
			} else {
				require.ErrorContains(t, err, "not asked", "a damaged ID may be there")
			}
		}
		list, err := s.Actions().Scan(t.Context(), "", 0, false)
		require.NoError(t, err)
		require.Empty(t, list)
	}
}

func TestGap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after   int64
		numbers []int64
		want    bool
	}{
		{math.MinInt64, nil, false}, {0, nil, false}, {7, nil, false}, {math.MaxInt64, nil, false},
		{math.MinInt64, []int64{1, 2}, false}, {-1, []int64{1}, false}, {0, []int64{1, 2, 3}, false}, {7, []int64{8, 9}, false},
		{math.MinInt64, []int64{4, 5, 6}, true}, {0, []int64{2}, true}, {0, []int64{1, 2, 3, 7}, true}, {7, []int64{9}, true},
		{-1, []int64{0, 1}, true}, {math.MaxInt64 - 1, []int64{math.MaxInt64}, false},
	} {
		var entries []audit.Entry
		for _, n := range c.numbers {
			entries = append(entries, audit.Entry{Number: n})
		}
		require.Equal(t, c.want, gap(c.after, entries), fmt.Sprint(c))
	}
}
