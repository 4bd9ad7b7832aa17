package inventory_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // so that nothing depends on the machine

	"github.com/stretchr/testify/require"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
)

const week = 7 * 24 * time.Hour

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	require.NoError(t, err)
	return z
}

func workdays() []time.Weekday {
	return []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
}

// officeHours are Monday to Friday, 8 to 17, in Amsterdam.
func officeHours(t testing.TB) inventory.Window {
	return inventory.Window{Weekdays: workdays(), From: 8 * time.Hour, To: 17 * time.Hour, Zone: zone(t, "Europe/Amsterdam")}
}

// on makes a holiday callback from dates.
func on(dates ...string) func(time.Time) bool {
	return func(noon time.Time) bool { return slices.Contains(dates, noon.Format(time.DateOnly)) }
}

// parse reads a time in RFC 3339.
func parse(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return at
}

// random is a source whose seed is printed.
func random(t testing.TB) *rand.Rand {
	const seed = 20261122
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// everyFunc is a schedule as cron libraries and River have it.
type everyFunc func(time.Time) time.Time

func (f everyFunc) Next(t time.Time) time.Time { return f(t) }

// A clock is another account of when a window is open: a clock on a wall in the
// window's zone is read at every tick, and what it showed at the latest counts.
// Setting it back makes it show nothing later. Everything that happens in these
// tests happens at a quarter of an hour.
type clock struct {
	start   time.Time
	open    []bool      // by tick
	reached []time.Time // by tick, what it showed at the latest, as if in UTC
}

const tick = 15 * time.Minute

func watch(w inventory.Window, start, end time.Time) clock {
	if w.Zone == nil {
		w.Zone = time.UTC
	}
	length := w.To - w.From
	if length <= 0 {
		length += 24 * time.Hour
	}
	c := clock{start: start}
	var latest time.Time
	for at := start.Add(-26 * time.Hour); at.Before(end); at = at.Add(tick) {
		local := at.In(w.Zone)
		shown := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, time.UTC)
		if shown.After(latest) {
			latest = shown
		}
		if at.Before(start) {
			continue
		}
		open := false
		for ago := range 2 {
			date := time.Date(latest.Year(), latest.Month(), latest.Day()-ago, 0, 0, 0, 0, time.UTC)
			since := latest.Sub(date.Add(w.From))
			open = open || since >= 0 && since < length &&
				(len(w.Weekdays) == 0 || slices.Contains(w.Weekdays, date.Weekday())) &&
				(w.Holiday == nil || !w.Holiday(date.Add(12*time.Hour)))
		}
		c.open = append(c.open, open)
		c.reached = append(c.reached, latest)
	}
	return c
}

// tick is the number of the tick at or before a time.
func (c clock) tick(at time.Time) int { return int(at.Sub(c.start) / tick) }

// anyWindow makes up a window.
func anyWindow(r *rand.Rand, z *time.Location, near time.Time) inventory.Window {
	w := inventory.Window{Zone: z}
	hours := func() time.Duration { return time.Duration(r.IntN(24*4)) * tick }
	switch r.IntN(4) {
	case 0: // the whole day
	case 1: // around the hours at which clocks are set
		w.From = time.Duration(r.IntN(14)) * tick
		w.To = w.From + time.Duration(1+r.IntN(8))*tick
	default:
		w.From, w.To = hours(), hours()
	}
	for weekday := range time.Weekday(7) {
		if r.IntN(3) > 0 {
			w.Weekdays = append(w.Weekdays, weekday)
		}
	}
	if r.IntN(2) == 0 {
		var dates []string
		for range r.IntN(8) {
			dates = append(dates, near.AddDate(0, 0, r.IntN(20)-10).Format(time.DateOnly))
		}
		w.Holiday = on(dates...)
	}
	return w
}

// settings are moments at which clocks were set, by an hour or by less, at
// midnight or at noon, or by a whole day.
var settings = []struct{ zone, at string }{
	{"UTC", "2026-03-29T01:00:00Z"},                  // never
	{"Europe/Amsterdam", "2026-03-29T01:00:00Z"},     // forward
	{"Europe/Amsterdam", "2026-10-25T01:00:00Z"},     // back
	{"America/New_York", "2026-03-08T07:00:00Z"},     // forward
	{"America/New_York", "2026-11-01T06:00:00Z"},     // back
	{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"},  // back by half an hour
	{"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},  // forward by half an hour
	{"America/Havana", "2026-03-08T05:00:00Z"},       // there is no midnight
	{"America/Havana", "2026-11-01T05:00:00Z"},       // back to midnight
	{"Asia/Beirut", "2026-10-24T21:00:00Z"},          // from midnight back to the day before
	{"Africa/Cairo", "2026-04-23T22:00:00Z"},         // there is no midnight
	{"Pacific/Apia", "2011-12-30T10:00:00Z"},         // a day that was left out
	{"Pacific/Kwajalein", "1969-10-01T00:00:00Z"},    // a day that came twice, almost
	{"Asia/Kathmandu", "2026-03-29T01:00:00Z"},       // 05:45
	{"Antarctica/Troll", "2026-03-29T01:00:00Z"},     // two hours
	{"Pacific/Chatham", "2026-09-26T14:00:00Z"},      // 12:45 to 13:45
	{"America/Santiago", "2026-04-05T03:00:00Z"},     // from midnight back to the day before
	{"America/Scoresbysund", "2024-03-31T01:00:00Z"}, // another zone and set, at once
}

func TestWindowFollowsTheClock(t *testing.T) {
	t.Parallel()
	r := random(t)
	for _, set := range settings {
		z, middle := zone(t, set.zone), parse(t, set.at)
		for range 8 {
			w := anyWindow(r, z, middle)
			require.NoError(t, w.Validate())
			start := middle.Add(-40 * time.Hour)
			c := watch(w, start, middle.Add(16*24*time.Hour))
			for i := range 80 * int(time.Hour/tick) {
				start := start.Add(time.Duration(i) * tick)
				opens := slices.Index(c.open[i:], true)
				for _, at := range []time.Time{start, start.Add(time.Duration(r.Int64N(int64(tick)))), start.Add(tick - 1)} {
					got := w.Earliest(at)
					switch want := start.Add(time.Duration(opens) * tick); {
					case opens < 0: // not in sight
						require.True(t, got.IsZero() || c.tick(got) >= len(c.open), "%s %+v: after %s: %s", set.zone, w, at, got)
					case opens == 0:
						require.Equal(t, at, got, "%s %+v: is open", set.zone, w)
					default:
						require.True(t, got.Equal(want), "%s %+v: after %s: %s, not %s", set.zone, w, at, got, want)
						require.Equal(t, z, got.Location())
					}
				}
			}
		}
	}
}

// What the documentation says of Amsterdam.
func TestWindowWhereClocksAreSet(t *testing.T) {
	t.Parallel()
	const hour, half = time.Hour, 30 * time.Minute
	for _, test := range []struct {
		name       string
		date       string
		from, to   time.Duration
		opens      string // after the midnight before
		closes     string
		opensAgain string
	}{
		// 02:00 to 03:00 is skipped.
		{"around the gap", "2026-03-29", hour, 4 * hour, "2026-03-29T01:00:00+01:00", "2026-03-29T04:00:00+02:00", "2026-03-30T01:00:00+02:00"},
		{"from in the gap", "2026-03-29", 2*hour + half, 4 * hour, "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"to in the gap", "2026-03-29", hour, 2*hour + half, "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T01:00:00+02:00"},
		{"the gap", "2026-03-29", 2 * hour, 3 * hour, "2026-03-30T02:00:00+02:00", "2026-03-30T03:00:00+02:00", "2026-03-31T02:00:00+02:00"},
		{"after the gap", "2026-03-29", 3 * hour, 4 * hour, "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00", "2026-03-30T03:00:00+02:00"},
		// 02:00 to 03:00 comes twice.
		{"around the overlap", "2026-10-25", hour, 4 * hour, "2026-10-25T01:00:00+02:00", "2026-10-25T04:00:00+01:00", "2026-10-26T01:00:00+01:00"},
		{"from in the overlap", "2026-10-25", 2*hour + half, 3*hour + half, "2026-10-25T02:30:00+02:00", "2026-10-25T03:30:00+01:00", "2026-10-26T02:30:00+01:00"},
		{"to in the overlap", "2026-10-25", hour, 2*hour + half, "2026-10-25T01:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T01:00:00+01:00"},
		{"in the overlap", "2026-10-25", 2 * hour, 2*hour + half, "2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:00:00+01:00"},
		{"the overlap", "2026-10-25", 2 * hour, 3 * hour, "2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00", "2026-10-26T02:00:00+01:00"},
		{"after the overlap", "2026-10-25", 3 * hour, 4 * hour, "2026-10-25T03:00:00+01:00", "2026-10-25T04:00:00+01:00", "2026-10-26T03:00:00+01:00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			z := zone(t, "Europe/Amsterdam")
			w := inventory.Window{From: test.from, To: test.to, Zone: z}
			midnight, err := time.ParseInLocation(time.DateOnly, test.date, z)
			require.NoError(t, err)
			opens := w.Earliest(midnight)
			require.Equal(t, test.opens, opens.Format(time.RFC3339))
			closes := parse(t, test.closes)
			require.Equal(t, closes.Add(-1), w.Earliest(closes.Add(-1)))
			require.Equal(t, test.opensAgain, w.Earliest(closes).Format(time.RFC3339))

			// And Periodic fills exactly that: with one place per second, nobody is
			// before, after, or in between.
			seen := map[time.Time]bool{}
			for i := range 40 {
				at := inventory.Periodic{Every: 24 * time.Hour, Window: w}.For(fmt.Sprint(i)).Next(midnight)
				if at.Before(closes) {
					require.False(t, at.Before(opens), "%s", at)
					seen[at] = true
				}
			}
			require.Greater(t, len(seen), 30, "places differ")
		})
	}
}

func TestWindowPastMidnight(t *testing.T) {
	t.Parallel()
	night := inventory.Window{
		Weekdays: workdays(), From: 22 * time.Hour, To: 6 * time.Hour,
		Holiday: on("2026-11-25"), // Wednesday
	}
	for _, test := range []struct{ at, want string }{
		{"2026-11-23T05:00:00Z", "2026-11-23T22:00:00Z"}, // Sunday's night is none
		{"2026-11-24T05:59:59Z", "2026-11-24T05:59:59Z"}, // Monday's
		{"2026-11-24T06:00:00Z", "2026-11-24T22:00:00Z"},
		{"2026-11-25T03:00:00Z", "2026-11-25T03:00:00Z"}, // Tuesday's, into the holiday
		{"2026-11-25T06:00:00Z", "2026-11-26T22:00:00Z"}, // the holiday's is none
		{"2026-11-28T03:00:00Z", "2026-11-28T03:00:00Z"}, // Friday's, into the weekend
		{"2026-11-28T06:00:00Z", "2026-11-30T22:00:00Z"},
	} {
		require.Equal(t, test.want, night.Earliest(parse(t, test.at)).Format(time.RFC3339), test.at)
	}

	// The same hour twice is a whole day, and 24:00 is the end of one.
	monday := inventory.Window{Weekdays: []time.Weekday{time.Monday}, From: 8 * time.Hour, To: 8 * time.Hour}
	require.Equal(t, "2026-11-23T08:00:00Z", monday.Earliest(parse(t, "2026-11-23T07:59:59Z")).Format(time.RFC3339))
	require.Equal(t, "2026-11-24T07:59:59Z", monday.Earliest(parse(t, "2026-11-24T07:59:59Z")).Format(time.RFC3339))
	require.Equal(t, "2026-11-30T08:00:00Z", monday.Earliest(parse(t, "2026-11-24T08:00:00Z")).Format(time.RFC3339))
	monday.To = 24 * time.Hour
	require.Equal(t, "2026-11-23T23:59:59Z", monday.Earliest(parse(t, "2026-11-23T23:59:59Z")).Format(time.RFC3339))
	require.Equal(t, "2026-11-30T08:00:00Z", monday.Earliest(parse(t, "2026-11-24T00:00:00Z")).Format(time.RFC3339))
}

func TestHolidayIsGivenNoon(t *testing.T) {
	t.Parallel()
	w := officeHours(t)
	asked := 0
	w.Holiday = func(noon time.Time) bool {
		asked++
		require.Equal(t, time.UTC, noon.Location())
		require.Equal(t, "12:00:00", noon.Format(time.TimeOnly))
		require.Contains(t, workdays(), noon.Weekday(), "on other days the window is closed anyway")
		return false
	}
	w.Earliest(parse(t, "2026-03-28T12:00:00Z"))
	inventory.Periodic{Window: w}.For("XXFAKE0SER1").Next(parse(t, "2026-03-28T12:00:00Z"))
	require.Positive(t, asked)
}

// Whatever the window, zone and period: a device is due once in each period in
// which the window is open, after the same fraction of the open time.
func TestPeriodicProperties(t *testing.T) {
	t.Parallel()
	r := random(t)
	for i := range 150 {
		set := settings[i%len(settings)]
		middle := parse(t, set.at)
		p := inventory.Periodic{
			Every:  []time.Duration{0, week, 24 * time.Hour, 10 * 24 * time.Hour, time.Hour, 25 * time.Hour, 90 * time.Minute}[r.IntN(7)],
			Window: anyWindow(r, zone(t, set.zone), middle),
		}
		require.NoError(t, p.Validate())
		every := p.Every
		if every == 0 {
			every = week
		}
		id := fmt.Sprint("device ", r.Uint64())
		schedule := p.For(id)
		what := fmt.Sprintf("%s %+v %s", set.zone, p, id)

		// The device's fraction, as precise as can be.
		long := inventory.Periodic{Every: 366 * 24 * time.Hour}
		epoch := time.Date(1970, time.January, 5, 0, 0, 0, 0, time.UTC)
		fraction := float64(long.For(id).Next(epoch).Unix()-epoch.Unix()) / (366 * 24 * 60 * 60)

		// By period on the clock: its ticks, those open, and those open before each
		// tick.
		c := watch(p.Window, middle.Add(-22*24*time.Hour), middle.Add(22*24*time.Hour))
		period := func(i int) int { return int(math.Floor(float64(c.reached[i].Sub(epoch)) / float64(every))) }
		ticks, open, before := map[int]int{}, map[int]int{}, make([]int, len(c.open))
		for i := range c.open {
			before[i] = open[period(i)]
			ticks[period(i)]++
			if c.open[i] {
				open[period(i)]++
			}
		}
		first, last := period(0), period(len(c.open)-1) // cut

		from, end := c.start.Add(every+26*time.Hour), middle.Add(10*24*time.Hour)
		due := map[int]bool{}
		previous := schedule.Next(from)
		for at := previous; !at.IsZero() && at.Before(end); at = schedule.Next(at) {
			i := c.tick(at)
			k := period(i)
			require.True(t, c.open[i], "%s: closed at %s", what, at)
			require.Zero(t, at.Nanosecond())
			require.False(t, due[k], "%s: twice in a period, at %s", what, at)
			due[k] = true
			if k > first && k < last {
				passed := time.Duration(before[i])*tick + at.Sub(c.start)%tick
				require.InDelta(t, fraction*tick.Seconds()*float64(open[k]), passed.Seconds(), 1.1, "%s: %s", what, at)
			}

			if at != previous {
				require.True(t, at.After(previous), what)
				// Nothing lies between, whenever the question is put.
				for range 3 {
					between := previous.Add(time.Duration(r.Int64N(int64(at.Sub(previous)))))
					require.True(t, schedule.Next(between).Equal(at), "%s: after %s", what, between)
				}
				require.True(t, schedule.Next(at.Add(-1)).Equal(at), what)

				// How far apart two times can be.
				j := period(c.tick(previous))
				if j > first && k < last {
					most, closed := max(ticks[j], ticks[k]), max(ticks[j]-open[j], ticks[k]-open[k])
					for out := j + 1; out < k; out++ {
						most += ticks[out]
						require.Zero(t, open[out], "%s: a period left out before %s", what, at)
					}
					require.LessOrEqual(t, at.Sub(previous), time.Duration(most+closed)*tick, "%s: from %s to %s", what, previous, at)
				}
			}
			previous = at
		}
		for k := period(c.tick(from)) + 1; k < period(c.tick(end)); k++ {
			require.Equal(t, open[k] > 0, due[k], "%s: period %d", what, k)
		}
	}
}

// The periods and places are for good: servers of different versions agree.
func TestPeriodicIsFixed(t *testing.T) {
	t.Parallel()
	after := parse(t, "2026-11-22T09:00:00Z")
	next := func(p inventory.Periodic, id string) string {
		return p.For(id).Next(after).Format(time.RFC3339)
	}
	// SHA-256 of "abc" begins with ba7816bf8f01cfea: 0.7284 of the period.
	require.Equal(t, "2026-11-28T02:22:13Z", next(inventory.Periodic{}, "abc"))
	require.Equal(t, "2026-11-28T02:22:13Z", next(inventory.Periodic{Every: week}, "abc"), "the default")
	require.Equal(t, "2026-11-22T17:28:53Z", next(inventory.Periodic{Every: 24 * time.Hour}, "abc"))
	require.Equal(t, "2026-11-26T13:46:39+01:00", next(inventory.Periodic{Window: officeHours(t)}, "abc"))
	// e3b0c44298fc1c14: 0.8894.
	require.Equal(t, "2026-11-22T05:25:18Z", inventory.Periodic{}.For("").Next(after.Add(-week)).Format(time.RFC3339))

	require.Equal(t, time.UTC, inventory.Periodic{}.For("abc").Next(after).Location(), "the default")
	local := parse(t, "2026-11-22T22:00:00+13:00")
	require.Equal(t, inventory.Periodic{}.For("abc").Next(after), inventory.Periodic{}.For("abc").Next(local), "the zone of the question does not matter")
}

// In weeks without a holiday a device has its weekday and hour, also when
// clocks are set.
func TestPeriodicKeepsWeekdayAndHour(t *testing.T) {
	t.Parallel()
	w := officeHours(t)
	for i := range 20 {
		seen := map[string]int{}
		for _, at := range inventory.Preview(inventory.Periodic{Window: w}.For(fmt.Sprint(i)), at(0), 60) {
			seen[at.Format("Monday 15:04:05")]++
		}
		require.Len(t, seen, 1, "%v", seen)
	}
}

// A window is of its own time once it is handed in.
func TestPeriodicSharesNothing(t *testing.T) {
	t.Parallel()
	p := inventory.Periodic{Window: inventory.Window{Weekdays: []time.Weekday{time.Monday}}}
	schedule := p.For("XXFAKE0SER1")
	before := inventory.Preview(schedule, at(0), 5)
	p.Window.Weekdays[0] = time.Thursday
	require.Equal(t, before, inventory.Preview(schedule, at(0), 5))
}

// A device that was due five times while nothing ran is due once.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	schedule := inventory.Periodic{}.For("XXFAKE0SER1")
	due, runs := schedule.Next(at(0)), 0
	back := due.Add(4*week + time.Hour) // the servers were down since before due
	for now := back; now.Before(back.Add(3 * week)); now = now.Add(time.Minute) {
		if now.Before(due) {
			continue
		}
		runs++
		if runs == 1 {
			require.Equal(t, back, now, "at once")
		}
		due = schedule.Next(now)
		require.True(t, due.After(now))
	}
	require.Equal(t, 1+3, runs, "to catch up, and at its times since")
	require.Equal(t, back.Add(4*week-time.Hour), due)
}

// With another period a device is soon due, wherever it was.
func TestPeriodicChanges(t *testing.T) {
	t.Parallel()
	r := random(t)
	for range 2000 {
		id, now := fmt.Sprint(r.Uint64()), at(r.IntN(100000))
		every := time.Duration(1+r.IntN(60*24)) * time.Hour
		due := inventory.Periodic{Every: every}.For(id).Next(now)
		require.True(t, due.After(now))
		require.LessOrEqual(t, due.Sub(now), every)
	}
}

func TestNever(t *testing.T) {
	t.Parallel()
	closed := inventory.Window{Holiday: func(time.Time) bool { return true }}
	require.NoError(t, closed.Validate(), "nobody knows beforehand")
	require.Zero(t, closed.Earliest(at(0)))
	for _, every := range []time.Duration{time.Hour, 0, 366 * 24 * time.Hour} {
		asked := 0
		counted := inventory.Window{Holiday: func(time.Time) bool { asked++; return true }}
		schedule := inventory.Periodic{Every: every, Window: counted}.For("XXFAKE0SER1")
		require.Zero(t, schedule.Next(at(0)))
		require.Less(t, asked, 1000, "the search is bounded")
		require.Empty(t, inventory.Preview(schedule, at(0), 3))
	}

	// Eleven months of holidays are not for ever, nor is one day a year.
	only := inventory.Window{Holiday: func(noon time.Time) bool { return noon.YearDay() != 1 }}
	require.Equal(t, "2027-01-01T00:00:00Z", only.Earliest(at(0)).Format(time.RFC3339))
	require.Equal(t, "2028-01-01T00:00:00Z", only.Earliest(parse(t, "2027-01-02T00:00:00Z")).Format(time.RFC3339))
	require.Equal(t, "2029-01-01T00:00:00Z", only.Earliest(parse(t, "2028-01-02T00:00:00Z")).Format(time.RFC3339), "a leap year")
	early := only
	early.To = 6 * time.Hour
	require.Equal(t, "2029-01-01T00:00:00Z", early.Earliest(parse(t, "2028-01-01T06:00:00Z")).Format(time.RFC3339), "366 days from now")
	days := inventory.Preview(inventory.Periodic{Every: 24 * time.Hour, Window: only}.For("XXFAKE0SER1"), at(0), 6)
	require.Len(t, days, 6)
	for i, at := range days {
		require.Equal(t, fmt.Sprintf("%d-01-01", 2027+i), at.Format(time.DateOnly))
	}
	asked := 0
	only.Holiday = func(noon time.Time) bool { asked++; return noon.YearDay() != 1 }
	hourly := inventory.Periodic{Every: time.Hour, Window: only}.For("XXFAKE0SER1")
	require.Equal(t, "2027-01-01T00", hourly.Next(parse(t, "2026-01-02T00:00:00Z")).Format("2006-01-02T15"))
	require.Less(t, asked, 1000, "closed periods are not searched one by one")
}

func TestScheduleBounds(t *testing.T) {
	t.Parallel()
	extremes := []time.Time{
		{}, time.Unix(math.MinInt64, 0), time.Unix(math.MaxInt64, 0), time.Unix(1<<62, 0), time.Unix(-1<<62, 0),
		time.Date(-100, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9998, 6, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 20, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999, time.UTC),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(292277026596, 12, 4, 0, 0, 0, 0, time.UTC),
	}
	for _, name := range []string{"UTC", "Europe/Amsterdam", "Pacific/Kiritimati", "Pacific/Pago_Pago"} {
		w := inventory.Window{From: 8 * time.Hour, To: 17 * time.Hour, Zone: zone(t, name)}
		for _, every := range []time.Duration{time.Hour, 0, 366 * 24 * time.Hour} {
			for _, after := range extremes {
				for i, schedule := range []inventory.Schedule{
					inventory.Periodic{Every: every, Window: w}.For("XXFAKE0SER1"),
					inventory.Countdown("XXFAKE0SER1", every, at(0)),
					inventory.Countdown("XXFAKE0SER1", every, time.Unix(math.MaxInt64/2, 0)),
				} {
					next := schedule.Next(after)
					if next.IsZero() {
						require.True(t, i == 1 && after.After(at(0)) || after.Year() > 9997, "%d: after %s", i, after)
						continue
					}
					require.True(t, next.After(after), "after %s: %s", after, next)
					_, err := next.MarshalJSON()
					require.NoError(t, err)
				}
			}
		}
		for _, at := range extremes {
			got := w.Earliest(at)
			if got.IsZero() {
				require.True(t, at.After(time.Date(9999, 12, 30, 0, 0, 0, 0, time.UTC)), "%s", at)
				continue
			}
			require.False(t, got.Before(at), "%s", at)
			_, err := got.MarshalJSON()
			require.NoError(t, err)
		}
	}
	// The zero time is a time like any other that is long ago, and not never.
	require.False(t, inventory.Window{}.Earliest(time.Time{}).IsZero())
	require.False(t, inventory.Periodic{}.For("").Next(time.Time{}).IsZero())
	require.Zero(t, inventory.Window{}.Earliest(time.Date(9999, 12, 31, 12, 0, 0, 0, time.UTC)))
	require.Zero(t, inventory.Periodic{}.For("").Next(time.Date(9999, 12, 31, 12, 0, 0, 0, time.UTC)))
	require.Zero(t, inventory.Countdown("", time.Hour, time.Time{}).Next(at(0)))
}

func TestValidate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, ok := range []inventory.Periodic{
		{}, {Every: time.Hour}, {Every: 366 * day}, {Window: officeHours(t)},
		{Window: inventory.Window{From: day - time.Second, To: day, Weekdays: []time.Weekday{0, 6, 6}}},
	} {
		require.NoError(t, ok.Validate(), "%+v", ok)
		require.NotZero(t, ok.For("XXFAKE0SER1").Next(at(0)), "%+v", ok)
	}
	for _, bad := range []struct {
		periodic inventory.Periodic
		want     string
	}{
		{inventory.Periodic{Every: -1}, "inventory: Periodic.Every is less than an hour"},
		{inventory.Periodic{Every: time.Hour - 1}, "inventory: Periodic.Every is less than an hour"},
		{inventory.Periodic{Every: 366*day + 1}, "inventory: Periodic.Every is more than 366 days"},
		{inventory.Periodic{Every: math.MaxInt64}, "inventory: Periodic.Every is more than 366 days"},
		{inventory.Periodic{Every: day + 1}, "inventory: Periodic.Every is not in whole seconds"},
		{inventory.Periodic{Window: inventory.Window{Weekdays: []time.Weekday{1, 7}}}, "inventory: Window.Weekdays has a day that is none of the seven"},
		{inventory.Periodic{Window: inventory.Window{Weekdays: []time.Weekday{-1}}}, "inventory: Window.Weekdays has a day that is none of the seven"},
		{inventory.Periodic{Window: inventory.Window{From: -time.Second}}, "inventory: Window.From is no time of the day"},
		{inventory.Periodic{Window: inventory.Window{From: day}}, "inventory: Window.From is no time of the day"},
		{inventory.Periodic{Window: inventory.Window{To: -time.Second}}, "inventory: Window.To is no time of the day"},
		{inventory.Periodic{Window: inventory.Window{To: day + time.Second}}, "inventory: Window.To is no time of the day"},
		{inventory.Periodic{Window: inventory.Window{From: 1}}, "inventory: Window.From or Window.To is not in whole seconds"},
		{inventory.Periodic{Window: inventory.Window{To: time.Second + 1}}, "inventory: Window.From or Window.To is not in whole seconds"},
		{inventory.Periodic{Window: inventory.Window{Zone: time.Local}}, "inventory: Window.Zone is time.Local"},
	} {
		require.EqualError(t, bad.periodic.Validate(), bad.want)
		require.Zero(t, bad.periodic.For("XXFAKE0SER1").Next(at(0)), "%s", bad.want)
		if strings.Contains(bad.want, "Window") {
			require.EqualError(t, bad.periodic.Window.Validate(), bad.want)
			require.Zero(t, bad.periodic.Window.Earliest(at(0)), "%s", bad.want)
		}
	}
}

// evenly requires that devices fall into all buckets as dice would.
func evenly(t *testing.T, counts map[string]int, buckets int) {
	t.Helper()
	require.Len(t, counts, buckets)
	devices, least, most := 0, math.MaxInt, 0
	for _, n := range counts {
		devices, least, most = devices+n, min(least, n), max(most, n)
	}
	expected, chi2 := float64(devices)/float64(buckets), 0.0
	for _, n := range counts {
		chi2 += (float64(n) - expected) * (float64(n) - expected) / expected
	}
	// Chi-square has mean k and variance 2k; with five sigma of either kind one
	// seed in a million is unlucky.
	k := float64(buckets - 1)
	t.Logf("%d devices, %d buckets: %d to %d, chi-square %.1f (expected %.0f)", devices, buckets, least, most, chi2, k)
	require.Less(t, chi2, k+5*math.Sqrt(2*k))
	require.Greater(t, chi2, k-5*math.Sqrt(2*k), "too even to be true")
	require.Greater(t, float64(least), expected-5*math.Sqrt(expected))
	require.Less(t, float64(most), expected+5*math.Sqrt(expected))
}

// A million devices that enroll in one hour are due evenly over the week, or
// over the hours of it that are open.
func TestSpread(t *testing.T) {
	t.Parallel()
	const devices = 1_000_000
	holidays := officeHours(t)
	holidays.Holiday = on("2026-11-26", "2026-11-27")
	for _, test := range []struct {
		name    string
		window  inventory.Window
		devices int
		format  string // of the bucket
		buckets int
	}{
		{"any time", inventory.Window{}, devices, "Mon 15h", 7 * 24},
		{"office hours", officeHours(t), devices, "Mon 15h", 5 * 9},
		{"two holidays", holidays, devices / 10, "Mon 15h", 3 * 9},
		{"a quarter of an hour a week", inventory.Window{Weekdays: []time.Weekday{time.Sunday}, From: 2 * time.Hour, To: 2*time.Hour + 15*time.Minute}, devices / 10, "Mon 15:04", 15},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := random(t)
			hour := parse(t, "2026-11-22T23:00:00Z") // Monday in Amsterdam
			p := inventory.Periodic{Window: test.window}
			counts := map[string]int{}
			for range test.devices {
				id := fmt.Sprintf("%016X", r.Uint64())
				enrolled := hour.Add(time.Duration(r.Int64N(int64(time.Hour))))
				due := p.For(id).Next(enrolled)
				if !due.After(enrolled) || due.Sub(enrolled) > week {
					require.Fail(t, "not in a week", "enrolled %s, due %s", enrolled, due)
				}
				counts[due.Format(test.format)]++
			}
			evenly(t, counts, test.buckets)
		})
	}
}

// IDs in a row, as serial numbers may be, are spread like others.
func TestSpreadOfNeighbours(t *testing.T) {
	t.Parallel()
	counts, apart := map[string]int{}, map[string]int{}
	for i := range 100_000 {
		id := fmt.Sprintf("XXFAKE%06d", i)
		counts[inventory.Periodic{}.For(id).Next(at(0)).Format("Mon 15h")]++
		first := inventory.Countdown(id, 6*time.Hour, at(300)).Next(at(0).Add(-1))
		apart[first.Format("15:04")]++
	}
	evenly(t, counts, 7*24)
	evenly(t, apart, 6*60)
}

func TestCountdown(t *testing.T) {
	t.Parallel()
	r := random(t)
	for i := range 200 {
		every := time.Duration(r.Int64N(int64(40*time.Hour))) - time.Hour
		step := max(every, time.Hour).Truncate(time.Second)
		until := at(r.IntN(1000)).Add(time.Duration(r.Int64N(int64(time.Hour))))
		start := until.Add(-activationlock.CodeWindow)
		schedule := inventory.Countdown(fmt.Sprint(i), every, until)
		times := inventory.Preview(schedule, start, 1000)
		what := fmt.Sprintf("every %s: %s before the end", every, until.Sub(times[len(times)-1]))

		last := until.Truncate(time.Second).Sub(times[len(times)-1])
		require.GreaterOrEqual(t, last, 30*time.Minute, what)
		require.Less(t, last, time.Hour, what)
		require.LessOrEqual(t, times[0].Sub(start), step, what)
		gaps := []time.Duration{}
		for j, at := range times {
			if j > 0 {
				gap := at.Sub(times[j-1])
				require.Positive(t, gap)
				require.LessOrEqual(t, gap, step, what)
				if len(gaps) > 0 {
					require.LessOrEqual(t, gap, gaps[len(gaps)-1]+time.Second, "%s: closer and closer", what)
				}
				gaps = append(gaps, gap)
				between := times[j-1].Add(time.Duration(r.Int64N(int64(gap))))
				require.Equal(t, at, schedule.Next(between), what)
			}
			require.Equal(t, at, schedule.Next(at.Add(-1)), what)
			// Long before the end by the interval, then by half of what is left.
			if left := until.Truncate(time.Second).Sub(at); j > 0 && left < step {
				was := until.Truncate(time.Second).Sub(times[j-1])
				require.InDelta(t, was/2, left, float64(time.Second), what)
			} else if j > 0 {
				require.Equal(t, step, gaps[j-1], what)
			}
		}
		require.Zero(t, schedule.Next(times[len(times)-1]), what)
		require.Zero(t, schedule.Next(until), what)
		require.Zero(t, schedule.Next(until.Add(week)), what)
	}

	z := zone(t, "Europe/Amsterdam")
	require.Equal(t, z, inventory.Countdown("", time.Hour, at(100).In(z)).Next(at(0)).Location())
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	r := random(t)
	const base, limit = time.Hour, 7 * 24 * time.Hour
	whole := []time.Duration{0, base, 2 * base, 4 * base, 8 * base, 16 * base, 32 * base, 64 * base, 128 * base, limit, limit}
	var least, most float64 = 1, 0
	for range 1000 {
		id := fmt.Sprint(r.Uint64())
		require.Zero(t, inventory.Backoff(id, 0, base, limit), "NotNow is no failure, so without any other there is no wait")
		require.Zero(t, inventory.Backoff(id, -1, base, limit))
		previous := time.Duration(0)
		for n := 1; n < len(whole); n++ {
			wait := inventory.Backoff(id, n, base, limit)
			require.GreaterOrEqual(t, wait, whole[n]/2)
			require.LessOrEqual(t, wait, whole[n])
			require.GreaterOrEqual(t, wait, previous, "never shorter")
			require.Equal(t, wait, inventory.Backoff(id, n, base, limit), "the same on all servers")
			previous = wait
			least, most = min(least, float64(wait)/float64(whole[n])), max(most, float64(wait)/float64(whole[n]))
		}
		for _, n := range []int{62, 63, 64, 65, 1000, math.MaxInt} {
			require.Equal(t, previous, inventory.Backoff(id, n, base, limit))
		}
	}
	require.InDelta(t, 0.5, least, 0.01)
	require.InDelta(t, 1, most, 0.01)

	// Without sense, but with a bound.
	for _, test := range []struct{ base, limit, most time.Duration }{
		{0, 0, time.Second},
		{-time.Hour, -time.Hour, time.Second},
		{time.Hour, time.Minute, time.Hour},
		{math.MaxInt64, math.MaxInt64, math.MaxInt64},
		{time.Hour, math.MaxInt64, math.MaxInt64},
	} {
		for _, n := range []int{1, 2, 22, 23, 24, 62, 63, 64, 1000} {
			wait := inventory.Backoff("XXFAKE0SER1", n, test.base, test.limit)
			require.Positive(t, wait)
			require.LessOrEqual(t, wait, test.most)
		}
		require.GreaterOrEqual(t, inventory.Backoff("XXFAKE0SER1", 1000, test.base, test.limit), test.most/4)
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	hourly := everyFunc(func(at time.Time) time.Time { return at.Add(time.Hour) })
	require.Equal(t, []time.Time{at(1), at(2), at(3)}, inventory.Preview(hourly, at(0), 3))
	require.Empty(t, inventory.Preview(hourly, at(0), 0))
	require.Empty(t, inventory.Preview(hourly, at(0), -1))
	twice := everyFunc(func(t time.Time) time.Time {
		if t.Before(at(2)) {
			return t.Add(time.Hour)
		}
		return time.Time{}
	})
	require.Equal(t, []time.Time{at(1), at(2)}, inventory.Preview(twice, at(0), math.MaxInt))
	still := everyFunc(func(time.Time) time.Time { return at(1) })
	require.Equal(t, []time.Time{at(1)}, inventory.Preview(still, at(0), 3))
}

func BenchmarkPeriodicNext(b *testing.B) {
	for _, bench := range []struct {
		name   string
		window inventory.Window
	}{
		{"any time", inventory.Window{}},
		{"office hours", officeHours(b)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			p := inventory.Periodic{Window: bench.window}
			for i := 0; b.Loop(); i++ {
				p.For("XXFAKE0SER1").Next(at(i % 10000))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "next/s")
		})
	}
}
