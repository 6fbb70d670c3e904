package bustest

// What a fleet sends at most in its worst second, which is one after all of it has started
// in one instant or has been given an order, and what a controller has to take at least.
// Tests of either side hold their half.
const (
	Fleet       = 10_000 // agents
	Newcomers   = 1_250  // agents that connect and report for the first time in a second
	ReportsRate = 2_500  // reports in a second, those of the newcomers among them
)
