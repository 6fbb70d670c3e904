// Package config makes content that lives at a CDN provider follow releases:
// dictionaries, access lists, key-value stores, service versions, Workers,
// rulesets. Package cdn purges what the caches keep; this one moves what the
// provider itself runs. The sub-packages fastly and cloudflare hold the targets,
// configtest has stand-ins for the remote ends and the suite that all of them
// pass. Nothing here knows of fleets or rollouts.
//
// # Why it is like this
//
// A provider's API changes one call at a time, may do a thing and lose the answer,
// keeps no history of most of what it holds, and has other writers. So:
//
//   - Nothing is believed but what is read back. [Keeper.Activate] reads, plans the
//     difference, writes it in batches, and reads again until there is none. Resending
//     after a lost answer, going on after a partial failure, repairing what somebody
//     else has changed, finishing after kill -9 and going back are the same loop.
//   - Content says which release it is. Every target shows a mark, written last, where
//     the provider has room for it (see [Mark]); [Keeper.Confirm] demands the mark and
//     every item.
//   - What was there before is not ours to lose. The first time an item is changed, what
//     it was is written to disk with fsync before the call is sent. [Keeper.Restore] puts
//     it all back; with Keep, an item that no release names any more goes back to it.
//   - A release owns the whole target unless Keep says otherwise: what it does not name
//     is gone, which is the only way that two places with one release hold the same.
//   - The client library may send something else than was asked for. Each sub-package
//     lists the traps of its library and tests them.
package config
