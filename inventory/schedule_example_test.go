package inventory_test

import (
	"fmt"
	"log"
	"time"

	"github.com/activationlock/sdk/activationlock"
	"github.com/activationlock/sdk/inventory"
)

// The next five times of one device, in office hours. Friday 25 December is a
// holiday, so in that week all devices are spread over the four other days.
func ExamplePeriodic() {
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		log.Fatal(err)
	}
	weekly := inventory.Periodic{
		Every: 7 * 24 * time.Hour,
		Window: inventory.Window{
			Weekdays: []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday},
			From:     8 * time.Hour,
			To:       17 * time.Hour,
			Zone:     amsterdam,
			Holiday: func(noon time.Time) bool {
				return noon.Month() == time.December && (noon.Day() == 25 || noon.Day() == 26)
			},
		},
	}
	if err := weekly.Validate(); err != nil {
		log.Fatal(err)
	}
	now := time.Date(2026, time.December, 8, 9, 0, 0, 0, amsterdam)
	for _, at := range inventory.Preview(weekly.For("XXFAKE0SER1"), now, 5) {
		fmt.Println(at.Format("Mon 2 Jan 2006 15:04:05 MST"))
	}
	// Output:
	// Wed 9 Dec 2026 13:32:57 CET
	// Wed 16 Dec 2026 13:32:57 CET
	// Wed 23 Dec 2026 08:50:22 CET
	// Wed 30 Dec 2026 13:32:57 CET
	// Wed 6 Jan 2027 13:32:57 CET
}

// An early hour, moved into the window.
func ExampleWindow_Earliest() {
	office := inventory.Window{From: 8 * time.Hour, To: 17 * time.Hour}
	fmt.Println(office.Earliest(time.Date(2026, time.November, 22, 5, 30, 0, 0, time.UTC)))
	fmt.Println(office.Earliest(time.Date(2026, time.November, 22, 9, 30, 0, 0, time.UTC)))
	// Output:
	// 2026-11-22 08:00:00 +0000 UTC
	// 2026-11-22 09:30:00 +0000 UTC
}

// A device without a code in escrow, in the last day of the time in which it
// gives one.
func ExampleCountdown() {
	enrolled := time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	until := enrolled.Add(activationlock.CodeWindow)
	schedule := inventory.Countdown("XXFAKE0SER1", 6*time.Hour, until)
	for _, at := range inventory.Preview(schedule, until.Add(-24*time.Hour), 10) {
		fmt.Println(at.Format(time.DateTime), until.Sub(at), "before the end")
	}
	// Output:
	// 2026-12-06 11:51:37 21h8m23s before the end
	// 2026-12-06 17:51:37 15h8m23s before the end
	// 2026-12-06 23:51:37 9h8m23s before the end
	// 2026-12-07 04:25:49 4h34m11s before the end
	// 2026-12-07 06:42:55 2h17m5s before the end
	// 2026-12-07 07:51:28 1h8m32s before the end
	// 2026-12-07 08:25:44 34m16s before the end
}

// A device that does not answer.
func ExampleBackoff() {
	for failures := range 11 {
		wait := inventory.Backoff("XXFAKE0SER1", failures, time.Hour, 7*24*time.Hour)
		fmt.Println(failures, wait.Round(time.Minute))
	}
	// Output:
	// 0 0s
	// 1 44m0s
	// 2 1h29m0s
	// 3 2h57m0s
	// 4 5h54m0s
	// 5 11h49m0s
	// 6 23h38m0s
	// 7 47h15m0s
	// 8 94h30m0s
	// 9 124h2m0s
	// 10 124h2m0s
}

// daily is a schedule of the host's own, as cron libraries make them.
type daily struct{}

func (daily) Next(after time.Time) time.Time {
	return time.Date(after.Year(), after.Month(), after.Day()+1, 3, 0, 0, 0, time.UTC)
}

func ExampleSchedule() {
	var schedule inventory.Schedule = daily{}
	fmt.Println(inventory.Preview(schedule, time.Date(2026, time.December, 31, 9, 0, 0, 0, time.UTC), 2))
	// Output:
	// [2027-01-01 03:00:00 +0000 UTC 2027-01-02 03:00:00 +0000 UTC]
}
