package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Window is a time in which nothing new begins: no region is activated, no step widened.
// What has begun is finished, purged and, if it fails, taken back. All times are UTC.
//
// With Days it comes every week: From and Until are then times of day, "16:00", and a
// window whose Until is not after its From lasts into the next day. Without, they are
// moments like 2026-12-23T18:00:00Z. Windows that come every week leave some of it free.
type Window struct {
	Days   []string `json:"days,omitempty"` // mon, tue, wed, thu, fri, sat, sun
	From   string   `json:"from"`
	Until  string   `json:"until"`
	Reason string   `json:"reason,omitempty"`
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // by time.Weekday

const clock = "15:04"

// check returns the field that is wrong, and why.
func (w Window) check() (field, reason string) {
	layout, like := time.RFC3339, "2026-12-23T18:00:00Z, or days beside a time of day"
	if len(w.Days) > 0 {
		layout, like = clock, "16:00, since days are given"
	}
	from, err := time.Parse(layout, w.From)
	if err != nil {
		return "from", fmt.Sprintf("is %q, want a time like %s", w.From, like)
	}
	until, err := time.Parse(layout, w.Until)
	if err != nil {
		return "until", fmt.Sprintf("is %q, want a time like %s", w.Until, like)
	}
	if len(w.Days) == 0 && !until.After(from) {
		return "until", "is not after from"
	}
	for i, d := range w.Days {
		if !slices.Contains(weekdays, d) {
			return fmt.Sprintf("days[%d]", i), fmt.Sprintf("is %q, want one of %s", d, strings.Join(weekdays, ", "))
		}
	}
	if len(w.Reason) > 200 {
		return "reason", "is longer than 200 bytes"
	}
	return "", ""
}

// covers returns when the window that now lies in ends, and whether there is one.
func (w Window) covers(now time.Time) (until time.Time, in bool) {
	if len(w.Days) == 0 {
		from, _ := time.Parse(time.RFC3339, w.From)
		until, _ = time.Parse(time.RFC3339, w.Until)
		return until, !now.Before(from) && now.Before(until)
	}
	from, _ := time.Parse(clock, w.From)
	end, _ := time.Parse(clock, w.Until)
	length := end.Sub(from)
	if length <= 0 {
		length += 24 * time.Hour
	}
	midnight := now.UTC().Truncate(24 * time.Hour)
	for _, day := range []time.Time{midnight.AddDate(0, 0, -1), midnight} {
		start := day.Add(time.Duration(from.Hour())*time.Hour + time.Duration(from.Minute())*time.Minute)
		until = start.Add(length)
		if slices.Contains(w.Days, weekdays[day.Weekday()]) && !now.Before(start) && now.Before(until) {
			return until, true
		}
	}
	return time.Time{}, false
}

// endless reports whether the windows that come every week leave no moment of it free. The others
// end.
func (p Plan) endless() bool {
	p.Freeze = slices.DeleteFunc(slices.Clone(p.Freeze), func(w Window) bool { return len(w.Days) == 0 })
	week := time.Unix(0, 0) // one is like another
	for now := week; now.Before(week.AddDate(0, 0, 7)); {
		until, _ := p.Frozen(now)
		if until.IsZero() {
			return false
		}
		now = until
	}
	return true
}

// Frozen returns until when nothing new begins, and why; zero: it may.
func (p Plan) Frozen(now time.Time) (until time.Time, reason string) {
	for _, w := range p.Freeze {
		if end, in := w.covers(now); in && end.After(until) {
			until, reason = end, w.Reason
		}
	}
	return until, reason
}
