//go:build race

package sim

func init() { *seeds = 100 } // it is ten times slower, and one history has one goroutine
