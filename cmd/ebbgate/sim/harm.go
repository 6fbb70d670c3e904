package sim

import (
	"slices"
	"time"

	"github.com/ebbgate/ebbgate/agent/plan"
	"github.com/ebbgate/ebbgate/wire"
)

// ill returns what is wrong with a bundle on the node, or with all of them.
func (n *node) ill(v wire.Version) fault {
	if f := n.trouble[v]; f != "" {
		return f
	}
	return n.curse
}

// spoil makes a node find whatever it runs or is to run to be bad for a while.
func spoil(f fault) func(*world, luck) {
	return func(w *world, l luck) {
		n := w.straggler(l)
		w.log("%s finds everything: %s", n.id, f)
		n.curse = f
		d := l.between(5*time.Second, 90*time.Second)
		switch f {
		case faultValidate:
			d *= 4 // it shows at a switch alone
		case faultStage:
			if l.one(2) { // a bad disk loses what it has, too
				n.damage(l)
			}
		case faultLater:
			n.sickTo = w.now.Add(d)
		}
		w.after(d, func() {
			if n.curse == f {
				n.curse = ""
			}
		})
	}
}

// trouble draws what is wrong with a bundle on a node.
func (w *world) trouble(n *node, v wire.Version, share int) {
	for _, f := range []fault{faultStage, faultValidate, faultActivate, faultLie, faultSick, faultLater} {
		if w.draws(f, share) {
			w.log("%s will find %s: %s", n.id, v, f)
			n.trouble[v] = f
			return
		}
	}
}

// straggler draws a node, one that serves what its region does not order any more rather
// than another.
func (w *world) straggler(l luck) *node {
	r := w.quarry(l, rare...)
	for _, n := range w.nodes[r] {
		if d := w.bus.wants[r]; d != nil && !slices.ContainsFunc(targets(d.order), func(t wire.Target) bool { return t.Epoch == n.live.epoch }) && l.one(2) {
			return n
		}
	}
	return w.nodes[r][l.IntN(len(w.nodes[r]))]
}

// damage spoils a release on the node's disk. The agent finds out when it starts, or
// before it switches to it.
func (n *node) damage(l luck) {
	d := n.current.digest
	if next := n.order().Next; next != nil && l.one(2) {
		d = next.Digest
	}
	if !n.releases[d] {
		return
	}
	n.w.log("%s: %s is damaged on disk", n.id, d.Short())
	n.rotten[d] = true
	if l.one(2) {
		n.stop(l.between(time.Second, 10*time.Second))
	}
}

// reinstall gives the node an empty disk.
func (n *node) reinstall(d time.Duration) {
	n.reboot(d)
	n.w.log("%s is installed anew", n.id)
	n.state, n.desired, n.clean = plan.State{}, nil, true
	clear(n.releases)
	clear(n.rotten)
	n.current, n.live = content{}, content{}
}

// whole reads a release back from the disk.
func (n *node) whole(d wire.Digest) bool {
	if n.rotten[d] && n.releases[d] {
		n.w.hit(faultDamage, n.region)
		delete(n.releases, d)
	}
	return n.releases[d]
}

// jump puts the node's clock wrong.
func (n *node) jump(l luck) {
	n.w.hit(faultSkew, n.region)
	n.skew, n.jumped = l.between(-time.Minute, time.Minute), n.w.now
	n.w.log("%s: the clock is off by %s", n.id, n.skew)
}
