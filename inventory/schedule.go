package inventory

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"time"
)

// Schedule says when something is due. The schedules of River and of cron
// libraries have the same shape, so a host can bring its own.
//
// Something due that could not run in time, be it once or many times over, runs
// once when it can: Next of that moment skips what was missed.
type Schedule interface {
	// Next returns the first time after a moment, never that moment itself. The
	// zero time means never; it is no time to store as due.
	Next(after time.Time) time.Time
}

// Earliest returns t if a schedule lets devices be asked then, otherwise the first
// time after it: where to move a question that has to be asked again. A schedule says
// so by a method of the same name, as those of [Periodic] do, which have a [Window];
// the others let devices be asked at any time. The zero time means never.
func Earliest(s Schedule, t time.Time) time.Time {
	if w, ok := s.(interface{ Earliest(time.Time) time.Time }); ok {
		return w.Earliest(t)
	}
	return t
}

// Preview returns the next n times of a schedule, fewer if it ends.
func Preview(s Schedule, after time.Time, n int) []time.Time {
	var times []time.Time
	for len(times) < n {
		next := s.Next(after)
		if !next.After(after) { // the end, or a host's schedule that stands still
			break
		}
		times = append(times, next)
		after = next
	}
	return times
}

// Periodic is due once in every period, for each device at a time of its own.
//
// The periods are the same for all devices: one follows the other on the clock
// of the window's zone since Monday 5 January 1970, 0:00. The SHA-256 of a
// device's ID is a fraction, and the device is due when that fraction of the
// time for which the window is open in the period is over. So devices are spread
// evenly over the open time, however short it is and however many enroll at
// once, and servers agree without asking each other.
//
// With a period of whole weeks a device keeps its weekday and hour. A holiday,
// or clocks that are set in open time, spread all devices anew, in that period
// only. A period that is closed throughout is left out. A device's next time is
// away by at most the period and the closed time of this or the next period,
// whichever has more; periods left out, or longer by clocks set back, add to that.
//
// With another period or window a device keeps its fraction but gets other
// times, the first of them no further away than that. A due time that the host
// stored stays until Next is called again.
type Periodic struct {
	// Every is the length of the periods, in whole seconds: from an hour to 366
	// days. Default seven days.
	Every time.Duration
	// Window is when devices may be asked. Default any time.
	Window Window
}

// Window is when devices may be asked: on some days, from one hour to another.
// The zero Window is always open.
//
// A window opens when the clock in its zone first reaches From, and closes when
// the clock first reaches To. Where clocks are set forward, an hour that they
// skip is reached at once: in Amsterdam, on 29 March 2026, 02:30 comes at 03:00,
// and a window from 02:00 to 03:00 does not open. Where they are set back, the
// hour that comes again opens and closes nothing: on 25 October 2026, a window
// from 02:00 to 02:30 is open for half an hour, once, and one from 02:30 to 03:30
// for two hours.
type Window struct {
	// Weekdays are the days on which the window opens. Default every day.
	Weekdays []time.Weekday
	// From and To are times of the day in whole seconds, as the clock shows them:
	// 8*time.Hour+30*time.Minute is 08:30. If To is not after From, the window
	// closes on the next day, with the weekday and date of the day on which it
	// opened. Zero for both is the whole day.
	From, To time.Duration
	// Zone is the zone of the clock and of the returned times. Default UTC.
	// [time.Local] is refused, because servers may differ in it.
	Zone *time.Location
	// Holiday tells, if not nil, on which dates the window does not open. It is
	// given the date at noon in UTC, whatever the zone, and must always answer the
	// same for a date. It may be called from many goroutines.
	Holiday func(noon time.Time) bool
}

const (
	day  = 24 * 60 * 60 // seconds
	year = 366 * day
	// monday is the first Monday on the clock that began on 1 January 1970. Weeks
	// that begin on Mondays do not cut the usual windows in two.
	monday = 4 * day
	// lastTry keeps the last question for a code so far from the end of its time
	// that a device which is awake can still answer.
	lastTry = 30 * 60
)

// Times outside of these cannot be stored in most databases or written in JSON,
// whatever the zone; and the zero time means never.
var (
	firstTime = time.Time{}.Add(time.Second)
	lastTime  = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)
)

// Validate tells what is wrong with the period or its window.
func (p Periodic) Validate() error {
	switch every := p.Every; {
	case every == 0: // the default
	case every < time.Hour:
		return errors.New("inventory: Periodic.Every is less than an hour")
	case every > year*time.Second:
		return errors.New("inventory: Periodic.Every is more than 366 days")
	case every%time.Second != 0:
		return errors.New("inventory: Periodic.Every is not in whole seconds")
	}
	return p.Window.Validate()
}

// Validate tells what is wrong with the window. It cannot know whether every
// date is a holiday.
func (w Window) Validate() error {
	for _, weekday := range w.Weekdays {
		if weekday < time.Sunday || weekday > time.Saturday {
			return errors.New("inventory: Window.Weekdays has a day that is none of the seven")
		}
	}
	switch {
	case w.From < 0 || w.From >= day*time.Second:
		return errors.New("inventory: Window.From is no time of the day")
	case w.To < 0 || w.To > day*time.Second:
		return errors.New("inventory: Window.To is no time of the day")
	case w.From%time.Second != 0 || w.To%time.Second != 0:
		return errors.New("inventory: Window.From or Window.To is not in whole seconds")
	case w.Zone == time.Local:
		return errors.New("inventory: Window.Zone is time.Local")
	}
	return nil
}

// For returns the schedule of one device. Its times are in whole seconds, and its
// window is that of [Earliest]. It is never due if Validate gives an error, if the window does not open for a
// year, or past the year 9999.
func (p Periodic) For(deviceID string) Schedule {
	if p.Validate() != nil {
		return scheduleFunc(func(time.Time) time.Time { return time.Time{} })
	}
	w, every, place := p.Window, seconds(cmp.Or(p.Every, 7*day*time.Second)), placeOf(deviceID)
	w.Weekdays = slices.Clone(w.Weekdays)
	next := scheduleFunc(func(after time.Time) time.Time {
		now := unix(after)
		for k := floor(w.wall(now)-monday, every); ; {
			end := monday + (k+1)*every
			if at, ok := w.slot(end-every, end, place); ok && at > now {
				return w.time(at)
			}
			opening, ok := w.opening(w.reached(end))
			if !ok {
				return time.Time{}
			}
			// A later period, also where clocks are set back: what opens after an
			// end opens when the clock shows that end or more for the first time.
			k = floor(w.wall(opening)-monday, every)
		}
	})
	if len(w.Weekdays) == 0 && w.From == w.To && w.Holiday == nil {
		return next // it may be asked at any time
	}
	return windowed{next, w}
}

// windowed is a schedule with a window.
type windowed struct {
	Schedule
	window Window
}

func (w windowed) Earliest(t time.Time) time.Time { return w.window.Earliest(t) }

// Earliest returns t if the window is open then, otherwise when it opens next:
// where to move what is due at t. It returns the zero time, which means never,
// if Validate gives an error, if the window does not open for a year, or past
// the year 9999.
func (w Window) Earliest(t time.Time) time.Time {
	if w.Validate() != nil || t.After(lastTime) {
		return time.Time{}
	}
	opening, ok := w.opening(unix(t))
	if !ok {
		return time.Time{}
	}
	if at := w.time(opening); at.After(t) {
		return at
	}
	return t
}

// Countdown is the schedule of asking a device for what it gives only until a
// moment, such as its bypass code until [activationlock.CodeWindow] is over:
// after each interval, and when the end comes near, each time at half of what
// was left. The last time is between an hour and half an hour before the end;
// after it, the schedule is never due. It heeds no [Window], since what is not
// asked in time is gone.
//
// Times depend on the device's ID as in [Periodic], so that devices which
// enroll together are not asked together. An interval of less than an hour
// counts as an hour.
func Countdown(deviceID string, every time.Duration, until time.Time) Schedule {
	end, step := unix(until), seconds(max(every, time.Hour))
	offset := part(placeOf(deviceID), step)
	return scheduleFunc(func(after time.Time) time.Time {
		left := end - unix(after)
		before := offset + step // the end
		if left > before {
			before = offset + (left-offset-1)/step*step
		}
		for before >= left && before >= lastTry {
			before /= 2
		}
		if before < lastTry {
			return time.Time{}
		}
		return time.Unix(end-before, 0).In(until.Location())
	})
}

// Backoff is how long to wait after a number of failures in a row: base after
// the first, twice as long after each further one, never longer than limit,
// and up to half less, by the device's ID, so that devices which failed
// together are not asked together again. After no failure there is no wait. A
// base of less than a second counts as a second, and a limit below base as base.
//
// A failure is a question of which nothing is heard before its deadline. A NotNow is
// none, as the device is there: count it apart, and ask again sooner. Not at once each
// time, though: servers keep what got NotNow, and send it again themselves.
func Backoff(deviceID string, failures int, base, limit time.Duration) time.Duration {
	if failures <= 0 {
		return 0
	}
	base = max(base, time.Second)
	wait := max(base, limit)
	if base <= wait>>(failures-1) {
		wait = base << (failures - 1)
	}
	return wait - time.Duration(part(placeOf(deviceID), int64(wait/2)))
}

// scheduleFunc is a Schedule that is only its method.
type scheduleFunc func(after time.Time) time.Time

func (f scheduleFunc) Next(after time.Time) time.Time { return f(after) }

// span is a stretch of time in Unix seconds, without its end.
type span struct{ from, to int64 }

// Below, a time on the wall is what the clock in the window's zone shows, in
// seconds since it showed 1 January 1970, 0:00.

// wall is the time on the wall at a Unix time.
func (w Window) wall(unix int64) int64 {
	_, offset := w.time(unix).Zone()
	return unix + int64(offset)
}

// reached is the first Unix time at which the clock shows a time on the wall,
// or a later one.
func (w Window) reached(wall int64) int64 {
	// No zone is a day ahead, so that the clock does not show wall yet.
	for t := w.time(wall - day); ; {
		_, offset := t.Zone()
		start, end := t.ZoneBounds()
		at := wall - int64(offset)
		if !start.IsZero() {
			at = max(at, start.Unix())
		}
		if end.IsZero() || at < end.Unix() {
			return at
		}
		t = end
	}
}

// on is when the window is open that opens on a day, counted from 1 January
// 1970. It is empty if there is none.
func (w Window) on(number int64) span {
	midnight := number * day
	date := time.Unix(midnight, 0).UTC()
	if len(w.Weekdays) > 0 && !slices.Contains(w.Weekdays, date.Weekday()) {
		return span{}
	}
	if w.Holiday != nil && w.Holiday(date.Add(12*time.Hour)) {
		return span{}
	}
	from, to := midnight+seconds(w.From), midnight+seconds(w.To)
	if to <= from {
		to += day
	}
	return span{w.reached(from), w.reached(to)}
}

// opening is the first Unix time, from now on, at which the window is open.
func (w Window) opening(now int64) (at int64, ok bool) {
	today := floor(w.wall(now), day)
	for number := today - 1; number <= today+year/day; number++ {
		if s := w.on(number); s.from < s.to && now < s.to {
			at = max(now, s.from)
			return at, at <= lastTime.Unix()
		}
	}
	return 0, false
}

// slot is the Unix time at a place in the open time of a period between two
// times on the wall, if there is any.
func (w Window) slot(from, to int64, place uint64) (at int64, ok bool) {
	period := span{w.reached(from), w.reached(to)}
	spans, open := make([]span, 0, 8), int64(0)
	for number := floor(from, day) - 1; number*day < to; number++ { // a window can span midnight
		s := w.on(number)
		s.from, s.to = max(s.from, period.from), min(s.to, period.to)
		if s.from < s.to {
			spans = append(spans, s)
			open += s.to - s.from
		}
	}
	skip := part(place, open)
	for _, s := range spans {
		if at = s.from + skip; at < s.to {
			return at, at <= lastTime.Unix()
		}
		skip -= s.to - s.from
	}
	return 0, false
}

func (w Window) zone() *time.Location { return cmp.Or(w.Zone, time.UTC) }

func (w Window) time(unix int64) time.Time { return time.Unix(unix, 0).In(w.zone()) }

// placeOf is a device's place in every period, as a fraction of 2^64.
func placeOf(deviceID string) uint64 {
	sum := sha256.Sum256([]byte(deviceID))
	return binary.BigEndian.Uint64(sum[:])
}

// part is the fraction of a whole: from 0 to less than the whole.
func part(fraction uint64, whole int64) int64 {
	product, _ := bits.Mul64(fraction, uint64(whole))
	return int64(product)
}

// unix is a time in Unix seconds, with times out of bounds moved to the bounds.
func unix(t time.Time) int64 {
	switch {
	case t.Before(firstTime):
		t = firstTime
	case t.After(lastTime):
		t = lastTime
	}
	return t.Unix()
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// floor is a/b, rounded down.
func floor(a, b int64) int64 {
	if a%b < 0 {
		return a/b - 1
	}
	return a / b
}
