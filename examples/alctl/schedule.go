package main

import (
	"errors"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // for machines without zones

	"github.com/activationlock/sdk/inventory"
)

const maxPreview = 1000

// schedule is the schedule of a device.
type schedule struct {
	id      string
	every   inventory.Periodic
	after   time.Time
	preview int
}

// scheduleFlags are the flags of a schedule.
var scheduleFlags = map[string]bool{
	"schedule": true, "preview": true, "every": true, "after": true, "zone": true, "from": true, "to": true, "weekdays": true,
}

// schedule adds the flags of a schedule.
func (f *flags) schedule() *schedule {
	s := &schedule{after: time.Now()}
	f.text(&s.id, "schedule", "print the times of the device with that enrollment `ID`")
	f.IntVar(&s.preview, "preview", 5, "print so `MANY` times, 1 to 1000")
	f.DurationVar(&s.every.Every, "every", 7*24*time.Hour, "`PERIOD` in which the device is due once, from 1h to 8784h")
	f.Func("after", "print the times after that `MOMENT`, such as 2026-11-22T12:00:00Z; default now", func(v string) (err error) {
		if s.after, err = time.Parse(time.RFC3339, v); err != nil {
			return errors.New("want a time such as 2026-11-22T12:00:00Z")
		}
		return nil
	})
	f.Func("zone", "`ZONE` of the clock for -from, -to and -weekdays, such as Europe/Amsterdam; default UTC", func(v string) error {
		zone, err := time.LoadLocation(v)
		if err != nil || v == "" || zone == time.Local {
			return errors.New("want a zone such as Europe/Amsterdam")
		}
		s.every.Window.Zone = zone
		return nil
	})
	f.timeOfDay(&s.every.Window.From, "from", "`HH:MM` from when it may be due; default 00:00")
	f.timeOfDay(&s.every.Window.To, "to", "`HH:MM` until when it may be due, of the next day if that is not after -from; default 24:00")
	f.Func("weekdays", "`DAYS` on which it may be due, such as mon-fri or tue,sat; default every day", func(v string) (err error) {
		s.every.Window.Weekdays, err = parseWeekdays(v)
		return err
	})
	return s
}

// timeOfDay is a flag with a time of the day.
func (f *flags) timeOfDay(to *time.Duration, name, usage string) {
	f.Func(name, usage, func(s string) error {
		if s == "24:00" {
			*to = 24 * time.Hour
			return nil
		}
		t, err := time.Parse("15:04", s)
		if err != nil {
			return errors.New("want a time such as 08:30")
		}
		*to = time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
		return nil
	})
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday

// parseWeekdays parses days and ranges of days, with commas between them.
func parseWeekdays(s string) (days []time.Weekday, err error) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, to := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if from < 0 || to < 0 {
			return nil, errors.New("want days such as mon-fri or tue,sat")
		}
		for day := from; ; day = (day + 1) % 7 {
			days = append(days, time.Weekday(day))
			if day == to {
				break
			}
		}
	}
	return days, nil
}

// print prints when the schedule is due.
func (s *schedule) print(c *console, asJSON bool) error {
	if s.preview < 1 || s.preview > maxPreview {
		return usageError("-preview is 1 to 1000")
	}
	if s.every.Every < time.Hour || s.every.Validate() != nil {
		return usageError("-every is from 1h to 8784h, in whole seconds, and -from before 24:00")
	}
	if err := noCodes(s.id); err != nil {
		return err
	}
	times := inventory.Preview(s.every.For(s.id), s.after, s.preview)
	if len(times) == 0 {
		return errors.New("the schedule is never due")
	}
	for _, t := range times {
		if !asJSON {
			c.out.WriteString(t.Format("Mon ") + t.Format(time.RFC3339) + "\n")
		} else if err := printLine(&c.out, map[string]time.Time{"at": t}); err != nil {
			return err
		}
	}
	return nil
}
