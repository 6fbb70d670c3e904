package feed

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		release := make(chan struct{})
		f := New(2, func(b []byte) {
			if got = append(got, string(b)); string(b) == "block" {
				<-release
			}
		})
		f.Missed()
		f.Missed() // one nil says as much as two
		synctest.Wait()
		f.Push([]byte("block"))
		synctest.Wait()
		for _, s := range []string{"a", "b", "lost", "lost too"} {
			f.Push([]byte(s))
		}
		close(release)
		synctest.Wait()
		f.Push([]byte("c"))
		synctest.Wait()
		f.Stop()
		f.Stop()
		f.Push([]byte("unheard"))
		if diff := cmp.Diff([]string{"", "block", "a", "b", "", "c"}, got); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
	})
}

// Stop waits for the reader and leaves what is queued.
func TestStopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, calls := make(chan struct{}), 0
		f := New(4, func([]byte) { calls++; <-release })
		f.Push([]byte("a"))
		f.Push([]byte("b"))
		synctest.Wait()
		stopped := make(chan struct{})
		go func() { f.Stop(); close(stopped) }()
		synctest.Wait()
		select {
		case <-stopped:
			t.Error("stop did not wait for the reader")
		default:
		}
		close(release)
		<-stopped
		if calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
	})
}
