package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/controller"
	"github.com/ebbgate/ebbgate/wire"
)

func newAuditCommand(c *cli) *cobra.Command {
	var after uint64
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show the audit log, and check that it was not altered",
		Long: `Show who did what, when, and on what inputs.

Every entry holds the hash of the one before it. The chain is checked before anything
is shown; a log that was altered is an error.

The log is kept by the controller that is asked, of the time in which it led: after a
takeover, what was before is in the other controller's, which shows it when it leads again.
What a leader had taken in the last seconds before it was replaced may be in its log and
never have taken effect: what its successor went on without is there as "replaced".`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			var entries []controller.AuditEntry
			for last := after; ; {
				page, err := cl.Audit(cmd.Context(), last)
				if err != nil {
					return cannot(err, "read the audit log")
				}
				if len(page) == 0 {
					break
				}
				if page[len(page)-1].ID <= last {
					return fmt.Errorf("cannot read the audit log: entry %d came after %d", page[len(page)-1].ID, last)
				}
				entries, last = append(entries, page...), page[len(page)-1].ID
			}
			if err := verifyAudit(entries, after); err != nil {
				return fmt.Errorf("cannot trust the audit log: %w", err)
			}
			if c.output == "table" || c.output == "wide" {
				c.progress("kept by this controller; other controllers keep their own")
			}
			return printList(c, entries, auditList)
		},
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "only entries after the one with this id")
	return cmd
}

// verifyAudit checks the chain. The link of the first entry can only be checked at the
// beginning of the log.
func verifyAudit(entries []controller.AuditEntry, after uint64) error {
	var prev wire.Digest
	if after > 0 && len(entries) > 0 {
		prev = entries[0].Prev
	}
	return controller.VerifyAudit(prev, entries)
}

var auditList = list[controller.AuditEntry]{
	name: func(e controller.AuditEntry) string { return fmt.Sprint(e.ID) },
	columns: []column[controller.AuditEntry]{
		{head: "ID", cell: func(e controller.AuditEntry) string { return fmt.Sprint(e.ID) }},
		{head: "AT", cell: func(e controller.AuditEntry) string { return when(e.At) }},
		{head: "BY", cell: func(e controller.AuditEntry) string { return e.By }},
		{head: "KIND", cell: func(e controller.AuditEntry) string { return e.Kind }},
		{head: "APP", cell: func(e controller.AuditEntry) string { return orDash(string(e.App)) }},
		{head: "REGION", cell: func(e controller.AuditEntry) string { return orDash(string(e.Region)) }},
		{head: "TEXT", cell: func(e controller.AuditEntry) string { return e.Text }},
		{head: "HASH", wide: true, cell: func(e controller.AuditEntry) string { return e.Hash.Short() }},
		{head: "INPUTS", wide: true, cell: func(e controller.AuditEntry) string { return orDash(string(e.Inputs)) }},
	},
}
