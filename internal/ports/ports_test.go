package ports

import (
	"fmt"
	"net"
	"testing"
)

func TestTake(t *testing.T) {
	const each = 500 // three who ask blindly would meet 20 times and more
	owner := make(map[int]int)
	var releases []func()
	for caller := range 3 {
		taken, release, err := Take(each)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
		if len(taken) != each {
			t.Fatalf("got %d ports, want %d", len(taken), each)
		}
		for _, port := range taken {
			if other, ok := owner[port]; ok {
				t.Fatalf("port %d belongs to callers %d and %d", port, other, caller)
			}
			owner[port] = caller
		}
	}
	for _, release := range releases {
		release()
		release()
	}
	taken, release, err := Take(1)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", taken[0])) // a claim is not in the server's way
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
