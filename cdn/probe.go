package cdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ebbgate/ebbgate/cdn/internal/oneline"
)

// Want is what a Verifier looks for: content of Epoch or later, or of one of Same,
// in Region or, where responses carry no generation, content fetched after PurgedAt.
type Want struct {
	Region   string
	Epoch    uint64
	Same     []uint64  // earlier epochs of the same content, which the purge leaves cached
	PurgedAt time.Time // zero: age proves nothing

	// Purged is what was purged. What the tags of an older answer show to be none of it was
	// rightly left alone, and is no proof of anything.
	Purged []Selector
}

// Evidence is what one vantage point saw.
type Evidence struct {
	Vantage string    `json:"vantage"`          // name of the vantage point
	URL     string    `json:"url"`              // what was asked for
	Seen    string    `json:"seen"`             // generation, age or error; one line of at most 300 bytes
	Wanted  string    `json:"wanted"`           // generation
	Fresh   bool      `json:"fresh"`            // Seen satisfies Wanted
	Unseen  bool      `json:"unseen,omitempty"` // no content came: what is served there is not known
	At      time.Time `json:"at"`               // when the request was made

	Through   string `json:"through,omitempty"`    // as in Vantage; empty: proves every target
	NotPurged bool   `json:"not_purged,omitempty"` // older, and not to be purged: proves nothing
	Hint      string `json:"hint,omitempty"`       // what to do about it
}

func (e Evidence) String() string {
	verdict := "is stale"
	switch {
	case e.Fresh:
		verdict = "is fresh"
	case e.Unseen:
		verdict = "could not be looked at"
	}
	if e.NotPurged {
		verdict = "proves nothing"
	}
	text := fmt.Sprintf("%s at %s %s: %s, wanted %s", e.URL, e.Vantage, verdict, e.Seen, e.Wanted)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// A Verifier finds out whether caches serve fresh content. It returns evidence
// from every place it looks at, and an error only when it could not look at
// all, such as when ctx ended. What cannot be proved is not fresh.
type Verifier interface {
	Verify(ctx context.Context, want Want) ([]Evidence, error)
}

// Vantage is a place to look from: a URL, and how to reach one particular
// cache with it. An anycast address shows only the nearest cache; to see
// others, give their addresses.
type Vantage struct {
	Name    string // for people; required
	URL     string // required
	Address string // host:port to connect to; default from URL
	Host    string // Host header; default from URL. TLS still asks for the name in URL
	Through string // the only target it looks through: provider or provider/scope; default: all
}

// ProbeConfig of NewProbe.
type ProbeConfig struct {
	Vantages  []Vantage         // required
	Header    string            // carries <name>-<epoch>; default X-Ebbgate-Gen
	Timeout   time.Duration     // of one request; default 10 s
	Parallel  int               // requests at a time; default 8
	Transport http.RoundTripper // replaces the transport, for tests and special TLS; Address is then ignored
}

// Probe is a Verifier that asks caches over HTTP, with a fresh connection each
// time and without following redirects.
type Probe struct {
	vantages []Vantage
	header   string
	timeout  time.Duration
	parallel int
	custom   http.RoundTripper
}

// NewProbe checks the configuration.
func NewProbe(c ProbeConfig) (*Probe, error) {
	if c.Header == "" {
		c.Header = "X-Ebbgate-Gen"
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Parallel == 0 {
		c.Parallel = 8
	}
	if len(c.Vantages) == 0 {
		return nil, errors.New("probe config: vantages is empty")
	}
	if c.Timeout < 0 || c.Parallel < 0 {
		return nil, errors.New("probe config: timeout or parallel is negative")
	}
	for i, v := range c.Vantages {
		u, err := url.Parse(v.URL)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("probe config: vantages[%d].url must be an http or https URL without user", i)
		}
		if v.Name == "" {
			return nil, fmt.Errorf("probe config: vantages[%d].name is empty", i)
		}
		if _, _, err := net.SplitHostPort(v.Address); v.Address != "" && err != nil {
			return nil, fmt.Errorf("probe config: vantages[%d].address %q must be host:port", i, v.Address)
		}
	}
	return &Probe{slices.Clone(c.Vantages), c.Header, c.Timeout, c.Parallel, c.Transport}, nil
}

// Verify asks every vantage point once.
func (p *Probe) Verify(ctx context.Context, want Want) ([]Evidence, error) {
	evidence := make([]Evidence, len(p.vantages))
	slots := make(chan struct{}, p.parallel)
	var wg sync.WaitGroup
	for i, v := range p.vantages {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			evidence[i] = p.look(ctx, v, want)
		})
	}
	wg.Wait()
	return evidence, ctx.Err()
}

// maxProbeBody is read and thrown away; more is cut off.
const maxProbeBody = 64 << 10

func (p *Probe) look(ctx context.Context, v Vantage, want Want) (e Evidence) {
	e = Evidence{Vantage: v.Name, URL: v.URL, Wanted: fmt.Sprintf("%s-%d", want.Region, want.Epoch), At: time.Now(), Through: v.Through}
	defer func() { e.Seen = oneline.Clip(e.Seen) }()
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.URL, nil)
	if err != nil {
		e.Seen, e.Unseen = err.Error(), true
		return e
	}
	if v.Host != "" {
		req.Host = v.Host
	}
	resp, err := p.transport(v).RoundTrip(req)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok { // without our own port, which is another each time
			err = &net.OpError{Op: op.Op, Net: op.Net, Addr: op.Addr, Err: op.Err}
		}
		e.Seen, e.Unseen = "no answer: "+err.Error(), true
		return e
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxProbeBody)
	if resp.StatusCode >= 500 {
		e.Seen, e.Unseen = "status "+strconv.Itoa(resp.StatusCode), true
		return e
	}
	e.Seen, e.Fresh = judge(resp.StatusCode, resp.Header, p.header, want, e.At)
	if !e.Fresh && dated(resp.Header, p.header, want) {
		e.weigh(resp.Header, v, want)
	}
	return e
}

func (p *Probe) transport(v Vantage) http.RoundTripper {
	if p.custom != nil {
		return p.custom
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = true
	if v.Address != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, v.Address)
		}
	}
	return t
}

// judge reads, in this order: the generation; the age, which must be shorter
// than the time since the purge (one second more is allowed for the fraction
// that Age leaves out); Cache-Status (RFC 9211) that says every cache forwarded
// the request. Without any of these nothing is proved. The generation counts in any answer;
// the others only in one that worked, because a cache makes errors of its own. A generation
// or an age of which there are two is none: which one is of the content is not known.
func judge(status int, h http.Header, genHeader string, want Want, asked time.Time) (seen string, fresh bool) {
	gen, ok := only(h, genHeader)
	if !ok {
		return gen, false
	}
	if gen != "" {
		region, epoch, err := ParseGen(gen)
		switch {
		case err != nil:
			return err.Error(), false
		case region != want.Region:
			return gen + " of another region", false
		case slices.Contains(want.Same, epoch):
			return gen + ", the same release", true
		}
		return gen, epoch >= want.Epoch
	}
	if status/100 != 2 {
		return fmt.Sprintf("status %d without %s", status, genHeader), false
	}
	text, ok := only(h, "Age")
	if !ok {
		return text, false
	}
	if text != "" {
		age, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return fmt.Sprintf("bad Age %.20q", text), false
		}
		limit := asked.Sub(want.PurgedAt)
		return "age " + text, !want.PurgedAt.IsZero() && time.Duration(age+1)*time.Second <= limit
	}
	if path := strings.Join(h.Values("Cache-Status"), ","); path != "" {
		return fmt.Sprintf("Cache-Status %.200q", path), forwarded(path)
	}
	return "neither " + genHeader + ", Age nor Cache-Status", false
}

// only returns the value of a header that has one, or none. Of one whose values differ it
// returns what is wrong.
func only(h http.Header, name string) (value string, ok bool) {
	values := h.Values(name)
	if len(values) == 0 {
		return "", true
	}
	for _, other := range values[1:] {
		if other != values[0] {
			return fmt.Sprintf("%s is both %.80q and %.80q", name, values[0], other), false
		}
	}
	return values[0], true
}

// forwarded reports whether every cache of a Cache-Status says that it asked the next one,
// and none that it answered. It is a list of items with parameters (RFC 9651); what is not
// proves nothing.
func forwarded(path string) bool {
	members, ok := split(path, ',')
	for _, member := range members {
		params, well := split(member, ';')
		fwd := false
		for _, param := range params[1:] {
			name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
			switch {
			case name == "hit" && value != "?0":
				return false
			case name == "fwd":
				fwd = value != ""
			}
		}
		ok = ok && well && fwd
	}
	return ok
}

// split cuts a structured field where a separator stands outside of strings. It fails when a
// string has no end.
func split(text string, separator byte) (parts []string, ok bool) {
	quoted, from := false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++ // what is escaped ends nothing
		case !quoted && c == separator:
			parts, from = append(parts, text[from:i]), i+1
		}
	}
	return append(parts, text[from:]), !quoted
}

// ParseGen splits <name>-<epoch>, as in eu-west-17 or waf.eu-west-17.
func ParseGen(text string) (region string, epoch uint64, err error) {
	cut := strings.LastIndexByte(text, '-')
	if cut > 0 {
		epoch, err = strconv.ParseUint(text[cut+1:], 10, 64)
	}
	if cut <= 0 || err != nil || strings.ContainsFunc(text[:cut], func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	}) {
		return "", 0, fmt.Errorf("bad generation %.80q, want <name>-<epoch>", text)
	}
	return text[:cut], epoch, nil
}
