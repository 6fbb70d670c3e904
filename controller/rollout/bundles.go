package rollout

import "github.com/ebbgate/ebbgate/wire"

// Bundles returns the digests of all bundles that the record names: what its regions run,
// are to run or may go back to, and what their caches may hold.
func (rec Record) Bundles() map[wire.Digest]bool {
	all := make(map[wire.Digest]bool)
	served := func(list ...Served) {
		for _, s := range list {
			all[s.Digest] = true
		}
	}
	for _, r := range wire.Keys(rec.Regions) {
		rr := rec.Regions[r]
		all[rr.base().Digest] = true
		if rr.Next != nil {
			all[rr.Next.Digest] = true
		}
		if rr.Retreat != nil {
			all[rr.Retreat.Onward.Digest] = true
		}
		served(rr.Previous)
		served(rr.Served...)
		if rr.Purge != nil {
			served(rr.Purge.From...)
			all[rr.Purge.To] = true
		}
	}
	if ro := rec.Rollout; ro != nil {
		all[ro.Target.Digest] = true
		for _, r := range wire.Keys(ro.Before) {
			all[ro.Before[r].Digest] = true
		}
	}
	delete(all, wire.Digest{})
	return all
}
