package wire

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestReportRefuses(t *testing.T) {
	for _, tt := range []struct {
		field string
		spoil func(r *Report, a *AppReport)
	}{
		{"", func(*Report, *AppReport) {}},
		{"", func(_ *Report, a *AppReport) { a.Running, a.Next = nil, nil }},
		{"fleet", func(r *Report, _ *AppReport) { r.Fleet = "" }},
		{"region", func(r *Report, _ *AppReport) { r.Region = "" }},
		{"agent", func(r *Report, _ *AppReport) { r.Agent = "a.b" }},
		{"incarnation", func(r *Report, _ *AppReport) { r.Incarnation = 0 }},
		{"sequence", func(r *Report, _ *AppReport) { r.Sequence = 0 }},
		{"build", func(r *Report, _ *AppReport) { r.Build = "\x1b[2J" }},
		{"members[1]", func(r *Report, _ *AppReport) { r.Members[1] = "" }},
		{"apps", func(r *Report, _ *AppReport) { r.Apps["A"] = AppReport{} }},
		{"apps.edge-proxy.plane", func(_ *Report, a *AppReport) { a.Plane = strings.Repeat("x", 129) }},
		{"", func(_ *Report, a *AppReport) { a.Traits = nil }},
		{"", func(_ *Report, a *AppReport) { a.Traits = []string{"arms", "drop-free", "one-of-tomorrow"} }},
		{"apps.edge-proxy.traits[0]", func(_ *Report, a *AppReport) { a.Traits = []string{"Arms"} }},
		{"apps.edge-proxy.traits[1]", func(_ *Report, a *AppReport) { a.Traits = []string{"arms", "arms"} }},
		{"apps.edge-proxy.traits[1]", func(_ *Report, a *AppReport) { a.Traits = []string{"drop-free", "arms"} }},
		{"apps.edge-proxy.traits", func(_ *Report, a *AppReport) { a.Traits = strings.Split("a b c d e f g h i j k l m n o p q", " ") }},
		{"", func(_ *Report, a *AppReport) { a.Running.Crashes = MaxCrashes }},
		{"apps.edge-proxy.running.crashes", func(_ *Report, a *AppReport) { a.Running.Crashes = MaxCrashes + 1 }},
		{"apps.edge-proxy.running.crashes", func(_ *Report, a *AppReport) { a.Running.Crashes = -1 }},
		{"apps.edge-proxy.bad", func(_ *Report, a *AppReport) { a.Bad = make([]Digest, 65) }},
		{"apps.edge-proxy.running.state", func(_ *Report, a *AppReport) { a.Running.State = StateStaged }},
		{"apps.edge-proxy.running", func(_ *Report, a *AppReport) { a.Running.Epoch = 0 }},
		{"apps.edge-proxy.next.state", func(_ *Report, a *AppReport) { a.Next.State = StateConfirmed }},
		{"apps.edge-proxy.next", func(_ *Report, a *AppReport) { a.Next.Digest = Digest{} }},
	} {
		r := goodReport()
		a := r.Apps["edge-proxy"]
		tt.spoil(r, &a)
		r.Apps["edge-proxy"] = a
		wantField(t, r.Validate(), tt.field)
	}
}

func TestNewer(t *testing.T) {
	at := func(incarnation, sequence uint64) *Report {
		return &Report{Incarnation: incarnation, Sequence: sequence}
	}
	for _, tt := range []struct {
		new, old *Report
		want     bool
	}{
		{at(1, 1), nil, true}, {at(1, 2), at(1, 1), true}, {at(2, 1), at(1, 9), true},
		{at(1, 1), at(1, 1), false}, {at(1, 1), at(1, 2), false}, {at(1, 9), at(2, 1), false},
	} {
		if got := tt.new.Newer(tt.old); got != tt.want {
			t.Errorf("%v newer than %v: %t", tt.new, tt.old, got)
		}
	}
}

func TestBeaconRefuses(t *testing.T) {
	for field, spoil := range map[string]func(*Beacon){
		"fleet": func(b *Beacon) { b.Fleet = "" },
		"at":    func(b *Beacon) { b.At = time.Time{} },
		"heads": func(b *Beacon) { b.Heads["*"] = 1 },
	} {
		b := goodBeacon()
		spoil(b)
		wantField(t, b.Validate(), field)
	}
}

func TestClip(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("x", 500)} {
		if got := Clip(s); got != s {
			t.Errorf("clipped %d bytes to %q", len(s), got)
		}
	}
	for _, s := range []string{strings.Repeat("x", 501), strings.Repeat("ü", 400), "x" + strings.Repeat("日", 400)} {
		if got := Clip(s); len(got) > 550 || !utf8.ValidString(got) || !strings.HasSuffix(got, "bytes more)") {
			t.Errorf("clipped to %q", got)
		}
	}
}
