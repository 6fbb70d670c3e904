// Package plan decides what an agent does next for one app. It is pure: no clock, no
// disk, no network, no goroutine. Time and everything known about the node arrive as
// arguments, and the answer is a list of steps, each with a reason a person can read.
//
// It is apart from the agent's shell for the same reason that the controller's rollout
// engine is apart from its own: the rules that keep a node from going back, from running
// what is below its floor, or from trying a broken bundle for ever are the ones that must
// hold in every order of events, and only a pure function can be put through all of them.
//
// [State] is what a node remembers of an app, durably; its methods are the only way from
// one state to the next. [Steps] reads an order and a state and says what to do. The shell
// carries out the first step that is not a wait or a refusal, writes the state down, and
// asks again. [Report] says how far the app is.
package plan
