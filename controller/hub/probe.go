package hub

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
)

const (
	probes   = 8
	slowSync = 20 * time.Millisecond // a decision costs one fsync, a rollout some hundreds
)

// probeSync times fsync where the streams will be, and warns if that takes longer than slow.
func probeSync(dir string, log *slog.Logger, slow time.Duration) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block, took := make([]byte, 4096), make([]time.Duration, probes)
	for i := range took {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return fmt.Errorf("cannot probe fsync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("cannot probe fsync: %w", err)
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	if median := took[probes/2]; median > slow {
		log.Warn("fsync is slow; every decision waits for one", "dir", dir, "median", median, "want at most", slow)
	}
	return nil
}
