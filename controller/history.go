package controller

import (
	"context"
	"encoding/json"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/controller/rollout"
	"github.com/ebbgate/ebbgate/wire"
)

// keptHistory is how many rollouts of an app are remembered besides the last one.
const keptHistory = 100

// forgotten returns the keys of an app's past rollouts but for the newest few. Names of
// rollouts begin with the time, so that keys are in order of age.
func (c *Controller) forgotten(app wire.App, keep int) (keys []string, err error) {
	err = c.pastRollouts(app, func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	})
	return keys[:max(0, len(keys)-keep)], err
}

// pastRollouts calls f with the journaled rollouts of an app, oldest first.
func (c *Controller) pastRollouts(app wire.App, f func(key string, v []byte) error) error {
	return c.records(historyKey(app, ""), f)
}

// records calls f with the journal's records whose keys begin with prefix, in their order.
func (c *Controller) records(prefix string, f func(key string, v []byte) error) error {
	return c.db.View(func(tx *bolt.Tx) error {
		cur := tx.Bucket(bucketJournal).Cursor()
		for k, v := cur.Seek([]byte(prefix)); strings.HasPrefix(string(k), prefix); k, v = cur.Next() {
			if err := f(string(k), v); err != nil {
				return err
			}
		}
		return nil
	})
}

// decodeRecord decodes what a record of the journal holds.
func decodeRecord[T any](v []byte) (data T, err error) {
	var rec record
	if err := json.Unmarshal(v, &rec); err != nil {
		return data, err
	}
	return data, json.Unmarshal(rec.Data, &data)
}

// prune deletes the past rollouts that a term which ended too early has left behind, or
// that the bus has brought back.
func (c *Controller) prune() error {
	w := &write{}
	for _, app := range wire.Keys(c.states) {
		keys, err := c.forgotten(app, keptHistory)
		if err != nil {
			return err
		}
		w.delete = append(w.delete, keys...)
	}
	return c.commit(w)
}

// forget drops, in the background, the purges of epochs that regions have left for good. A
// failure costs only space until the next commit.
func (c *Controller) forget(app wire.App, effects []rollout.Effect) {
	for _, effect := range effects {
		if d, ok := effect.(rollout.Decide); ok && d.Decision.Kind == rollout.KindCommit {
			c.followers.Go(func() {
				if err := c.forgetPurges(app, d.Decision.Region, d.Decision.Epoch); err != nil {
					c.log.Warn("old purges could not be forgotten", "app", app, "region", d.Decision.Region, "error", err)
				}
			})
		}
	}
}

// forgetPurges drops what is older than an epoch, but for what an optional target still owes: it
// may have refused that since the purge that is over now was sent. What such a target was asked
// before and has not answered is given up, for it was asked the same again.
func (c *Controller) forgetPurges(app wire.App, region wire.Region, below wire.Epoch) error {
	optional := make(map[[2]string]bool) // provider, scope
	for _, t := range c.cfg.Regions[region].CDN {
		optional[[2]string{t.Provider, t.Scope}] = t.Optional
		for _, epoch := range c.owed(rollout.Purge{App: app, Region: region, Epoch: below + 1, Round: 1}, t) {
			below = min(below, epoch)
		}
	}
	var again []cdn.ID
	for _, e := range c.outbox.List(cdn.Filter{App: string(app), Region: string(region)}) {
		if e.Open() && e.Item.Epoch < uint64(below) && optional[[2]string{e.Item.Provider, e.Item.Scope}] {
			again = append(again, e.ID)
		}
	}
	if err := c.outbox.Cancel(context.Background(), "asked again in a later epoch", again...); err != nil {
		return err
	}
	_, err := c.outbox.Prune(string(app), string(region), uint64(below))
	return err
}
