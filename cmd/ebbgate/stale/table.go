package stale

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// row is a line of the table.
type row struct {
	count
	name    string
	control string // what is switched off; empty: nothing
	courses []course
}

// writeTable writes what came of every run.
func writeTable(w io.Writer, rows []row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SCENARIO\tSWITCHED OFF\tREQUESTS\tNO 200\tOLD BEFORE\tCROSSING\tLEFT BEHIND\tSTALE AFTER\tHITS\tFRESH AFTER\tBARRIER AFTER")
	for _, r := range rows {
		off := r.control
		if off == "" {
			off = "–"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", r.name, off, r.requests, r.unanswered+r.failed,
			r.old, r.crossed, r.behind, r.stale, r.staleHits, r.fresh, spread(r.courses))
	}
	return tw.Flush()
}

// spread tells how long after its activation each region had its last barrier.
func spread(courses []course) string {
	var least, most time.Duration
	for _, co := range courses {
		took, reached := co.took()
		if !reached {
			continue
		}
		if least == 0 || took < least {
			least = took
		}
		most = max(most, took)
	}
	return fmt.Sprintf("%.1f–%.1f s", least.Seconds(), most.Seconds())
}
