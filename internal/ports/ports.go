// Package ports gives loopback ports to servers that are started later, or stopped and
// started again: for a whole fleet, nobody else may be given them meanwhile.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
)

// Below what kernels give to clients (Linux: from 32768), which ask nobody.
const (
	lowest = 20000
	count  = 12000
)

// Take returns n ports of 127.0.0.1 that nothing listens on and that no other caller is
// given, in any process of this machine, until release or the end of this process.
func Take(n int) (taken []int, release func(), err error) {
	var claims, probes []net.Listener
	release = sync.OnceFunc(func() { closeAll(claims) })
	defer func() { closeAll(probes) }()
	for range n + 1000 {
		if len(taken) == n {
			return taken, release, nil
		}
		port := lowest + rand.IntN(count)
		// The claim is a name of Linux' own, which is no file and goes with the process.
		// Elsewhere it cannot be made, and a port is as free as it looks.
		claim, err := net.Listen("unix", fmt.Sprintf("@ebbgate/port/%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err == nil {
			claims = append(claims, claim)
		}
		if probe, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			probes = append(probes, probe)
			taken = append(taken, port)
		}
	}
	release()
	return nil, nil, errors.New("no ports are free")
}

func closeAll(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}
