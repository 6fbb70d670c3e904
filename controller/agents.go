package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// EnrollRequest asks to admit an agent. Its key never leaves the node: only the public
// half is sent.
type EnrollRequest struct {
	Region wire.Region    `json:"region"`
	Agent  wire.AgentID   `json:"agent"`
	Key    wire.PublicKey `json:"key"`
}

// Enrolment is what an agent needs to take part.
type Enrolment struct {
	Region    wire.Region     `json:"region"`
	Agent     wire.AgentID    `json:"agent"`
	Creds     string          `json:"creds"`      // NATS credentials file, scoped to this agent's subjects
	Root      json.RawMessage `json:"root"`       // signed root document
	Servers   []string        `json:"servers"`    // NATS
	GossipKey string          `json:"gossip_key"` // 32 bytes in base64; empty: no gossip
	Seeds     []string        `json:"seeds"`      // gossip
}

// enrolled is the journaled record of an agent.
type enrolled struct {
	Region   wire.Region    `json:"region"`
	Agent    wire.AgentID   `json:"agent"`
	Key      wire.PublicKey `json:"key"`
	Enrolled time.Time      `json:"enrolled"`
	By       string         `json:"by"`
	Drained  bool           `json:"drained,omitempty"`
	// Removed agents keep their record, so that no older copy of it, on the bus or with a
	// standby, can bring them back.
	Removed bool `json:"removed,omitempty"`
}

// registry holds the enrolled agents and their last reports. The loop changes it, the
// reader of reports looks keys up.
type registry struct {
	mu     sync.RWMutex // guards agents and what they point to
	agents map[wire.Region]map[wire.AgentID]*node
}

// node is an enrolled agent and what is known of it.
type node struct {
	enrolled
	report *wire.Report // newest; nil: none since this controller began to lead
	stored time.Time    // when the bus stored it
	warned time.Time    // when a report was last ignored as older, and the log said so
}

// serves reports whether the agent serves an app: until it has reported, it may.
func (n node) serves(app wire.App) bool {
	if n.report == nil {
		return true
	}
	_, named := n.report.Apps[app]
	return named
}

func newRegistry() *registry {
	return &registry{agents: make(map[wire.Region]map[wire.AgentID]*node)}
}

func (r *registry) get(region wire.Region, id wire.AgentID) (n node, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if p := r.agents[region][id]; p != nil {
		return *p, true
	}
	return node{}, false
}

func (r *registry) put(e enrolled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Removed {
		delete(r.agents[e.Region], e.Agent)
		return
	}
	if r.agents[e.Region] == nil {
		r.agents[e.Region] = make(map[wire.AgentID]*node)
	}
	if n := r.agents[e.Region][e.Agent]; n != nil {
		n.enrolled = e
		return
	}
	r.agents[e.Region][e.Agent] = &node{enrolled: e}
}

// heard replaces an agent's report if this one is newer, or the same and stored later: an
// agent whose bus did not answer has it stored once more, and was there when it did.
func (r *registry) heard(region wire.Region, id wire.AgentID, report *wire.Report, stored time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.agents[region][id]
	if n == nil || !report.Newer(n.report) && (n.report.Newer(report) || !stored.After(n.stored)) {
		return false
	}
	n.report, n.stored = report, stored
	return true
}

// tell reports whether to log that an older report of an agent was ignored: once a minute.
func (r *registry) tell(region wire.Region, id wire.AgentID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.agents[region][id]
	if n == nil || now.Sub(n.warned) < time.Minute {
		return false
	}
	n.warned = now
	return true
}

// list returns the agents of a region, or of all regions when region is empty, in order.
func (r *registry) list(region wire.Region) []node {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var nodes []node
	for _, reg := range wire.Keys(r.agents) {
		if region != "" && reg != region {
			continue
		}
		for _, id := range wire.Keys(r.agents[reg]) {
			nodes = append(nodes, *r.agents[reg][id])
		}
	}
	return nodes
}

// Enroll admits an agent to a region and hands out its credentials. Enrolling an agent
// again with the same key repeats its credentials; another key is refused, since that
// would let one node take over another's name.
func (c *Controller) Enroll(ctx context.Context, req EnrollRequest, by string) (Enrolment, error) {
	if _, ok := c.cfg.Regions[req.Region]; !ok {
		return Enrolment{}, fmt.Errorf("%w: region %q is not configured", ErrNotFound, req.Region)
	}
	if err := wire.CheckToken(string(req.Agent)); err != nil {
		return Enrolment{}, fmt.Errorf("%w: agent %v", ErrInvalid, err)
	}
	if req.Key == (wire.PublicKey{}) {
		return Enrolment{}, fmt.Errorf("%w: key is missing", ErrInvalid)
	}
	if c.cfg.Enroll == nil {
		return Enrolment{}, fmt.Errorf("%w: this controller does not hold the keys to make credentials", ErrConflict)
	}
	_, err := decide(ctx, c, func() (struct{}, error) { return struct{}{}, c.enroll(req, by) })
	if err != nil {
		return Enrolment{}, err
	}
	e, err := c.cfg.Enroll(req.Region, req.Agent)
	if err != nil {
		return Enrolment{}, fmt.Errorf("cannot make credentials for %s: %w", req.Agent, err)
	}
	e.Region, e.Agent, e.Root = req.Region, req.Agent, c.cfg.Trust.Envelope()
	return e, nil
}

func (c *Controller) enroll(req EnrollRequest, by string) error {
	for _, r := range wire.Keys(c.cfg.Regions) {
		n, there := c.registry.get(r, req.Agent)
		switch {
		case there && r != req.Region:
			return fmt.Errorf("%w: agent %s is enrolled in region %s", ErrConflict, req.Agent, r)
		case there && n.Key != req.Key:
			return fmt.Errorf("%w: agent %s is enrolled with another key", ErrConflict, req.Agent)
		case there:
			return nil
		}
	}
	e := enrolled{Region: req.Region, Agent: req.Agent, Key: req.Key, Enrolled: time.Now().UTC(), By: by}
	return c.saveAgent(e, by, "enroll", fmt.Sprintf("%s enrolled agent %s in %s", by, req.Agent, req.Region))
}

// Drain takes an agent out of service, or back in: a drained agent is neither waited for
// nor counted.
func (c *Controller) Drain(ctx context.Context, region wire.Region, id wire.AgentID, drained bool, by string) error {
	_, err := decide(ctx, c, func() (struct{}, error) {
		n, ok := c.registry.get(region, id)
		if !ok {
			return struct{}{}, fmt.Errorf("%w: no agent %s is enrolled in %s", ErrNotFound, id, region)
		}
		if n.Drained == drained {
			return struct{}{}, nil
		}
		n.Drained = drained
		kind := "undrain"
		if drained {
			kind = "drain"
		}
		return struct{}{}, c.saveAgent(n.enrolled, by, kind, fmt.Sprintf("%s: %s %s in %s", by, kind, id, region))
	})
	return err
}

// Remove strikes an agent off: it is no longer waited for, its reports are ignored, and its
// name can be enrolled again, with another key. The bus still lets in whoever holds its
// credentials, until those are revoked there.
func (c *Controller) Remove(ctx context.Context, region wire.Region, id wire.AgentID, by string) error {
	_, err := decide(ctx, c, func() (struct{}, error) {
		n, ok := c.registry.get(region, id)
		if !ok {
			return struct{}{}, fmt.Errorf("%w: no agent %s is enrolled in %s", ErrNotFound, id, region)
		}
		n.Removed = true
		return struct{}{}, c.saveAgent(n.enrolled, by, "remove", fmt.Sprintf("%s removed agent %s from %s", by, id, region))
	})
	return err
}

// saveAgent journals an agent and tells every engine about the region's members.
func (c *Controller) saveAgent(e enrolled, by, kind, text string) error {
	w := &write{put: map[string]any{agentKey(e.Region, e.Agent): e}}
	c.audit(w, AuditEntry{By: by, Kind: kind, Region: e.Region, Text: text})
	if err := c.commit(w); err != nil {
		return err
	}
	c.cfg.trace("agent enrolled")
	c.registry.put(e)
	c.emit(Event{Region: e.Region, Kind: "agent", Text: text})
	return c.members(e.Region)
}

// Agents returns the enrolled agents of a region, or of all when region is empty.
func (c *Controller) Agents(_ context.Context, region wire.Region) ([]AgentView, error) {
	if err := c.leads(); err != nil {
		return nil, err
	}
	if _, ok := c.cfg.Regions[region]; region != "" && !ok {
		return nil, fmt.Errorf("%w: region %q is not configured", ErrNotFound, region)
	}
	views := []AgentView{}
	for _, n := range c.registry.list(region) {
		views = append(views, AgentView{
			Agent: n.Agent, Region: n.Region, Enrolled: n.Enrolled, Drained: n.Drained,
			Live: c.live(n), Reported: n.stored, Report: n.report,
		})
	}
	return views, nil
}

func (c *Controller) live(n node) bool {
	return !n.stored.IsZero() && time.Since(n.stored) < c.cfg.Lost
}
