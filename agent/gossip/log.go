package gossip

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

// logWriter passes memberlist's lines on, a few a second at most: it writes one for
// every packet it cannot decrypt, and anybody can send those.
type logWriter struct {
	to *slog.Logger

	mu      sync.Mutex // guards what follows
	limit   *rate.Limiter
	dropped int
}

func (w *logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelInfo
	for _, l := range []struct {
		mark  string
		level slog.Level
	}{{"[DEBUG] ", slog.LevelDebug}, {"[INFO] ", slog.LevelInfo}, {"[WARN] ", slog.LevelWarn}, {"[ERR] ", slog.LevelWarn}} {
		if rest, found := strings.CutPrefix(text, l.mark); found {
			text, level = rest, l.level
		}
	}
	if !w.to.Enabled(context.Background(), level) {
		return len(line), nil
	}
	w.mu.Lock()
	if w.limit == nil {
		w.limit = rate.NewLimiter(1, 20)
	}
	allowed, dropped := w.limit.Allow(), w.dropped
	if w.dropped++; allowed {
		w.dropped = 0
	}
	w.mu.Unlock()
	if allowed {
		w.to.Log(context.Background(), level, text, "dropped_before", dropped)
	}
	return len(line), nil
}
