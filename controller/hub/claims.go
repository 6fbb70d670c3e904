package hub

import (
	"errors"
	"fmt"

	"github.com/nats-io/jwt/v2"

	"github.com/ebbgate/ebbgate/wire"
)

// agentSubs bounds the subscriptions of an agent: its inbox, notes, beacons, and room.
const agentSubs = 32

// account is one account as servers are told of it.
type account struct{ name, key, token string }

// claims are the signed statements that a server is configured with.
type claims struct {
	operator *jwt.OperatorClaims
	accounts []account
}

// claims makes them anew from the keys: nothing but keys and revocations is kept.
func (k *Keys) claims() (*claims, error) {
	c := &claims{operator: jwt.NewOperatorClaims(public(k.operator))}
	c.operator.Name = "ebbgate"
	c.operator.SystemAccount = public(k.system)
	system := jwt.NewAccountClaims(public(k.system))
	system.Name = wire.AccountSystem
	for _, a := range []*jwt.AccountClaims{system, k.controlClaims(), k.edgeClaims()} {
		token, err := encode(a, k)
		if err != nil {
			return nil, err
		}
		c.accounts = append(c.accounts, account{a.Name, a.Subject, token})
	}
	return c, nil
}

// encode validates and signs a claim with the operator's key.
func encode(c jwt.Claims, k *Keys) (string, error) {
	results := jwt.CreateValidationResults()
	c.Validate(results)
	if errs := results.Errors(); len(errs) > 0 {
		return "", fmt.Errorf("cannot sign claims of %s: %w", c.Claims().Name, errors.Join(errs...))
	}
	return c.Encode(k.operator)
}

// border lists what crosses from CTL to EDGE.
var border = []struct {
	name    string
	subject string
	kind    jwt.ExportType
}{
	{"notes", wire.SubjectNotes, jwt.Stream},
	{"beacon", wire.SubjectBeacon, jwt.Stream},
	{"read a want", wire.DirectGetSubject(wire.StreamControl, wire.SubjectWants), jwt.Service},
	{"read a blob", wire.DirectGetSubject(wire.StreamBlob, wire.SubjectBlobs), jwt.Service},
	{"store a report", wire.SubjectStatus, jwt.Service},
}

func (k *Keys) controlClaims() *jwt.AccountClaims {
	a := jwt.NewAccountClaims(public(k.control))
	a.Name = wire.AccountControl
	a.Limits.JetStreamLimits = jwt.JetStreamLimits{
		DiskStorage:   jwt.NoLimit,
		MemoryStorage: jwt.NoLimit, // the consumer of reports keeps its state there
		Streams:       8,
		Consumer:      64,
	}
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = public(k.controlSigner), "controller"
	a.SigningKeys.AddScopedSigner(scope)
	for _, b := range border {
		e := &jwt.Export{Name: b.name, Subject: jwt.Subject(b.subject), Type: b.kind}
		if b.kind == jwt.Service {
			e.ResponseType = jwt.ResponseTypeSingleton
		}
		a.Exports.Add(e)
	}
	k.revoke(a)
	return a
}

func (k *Keys) edgeClaims() *jwt.AccountClaims {
	a := jwt.NewAccountClaims(public(k.edge))
	a.Name = wire.AccountEdge
	for _, b := range border {
		a.Imports.Add(&jwt.Import{
			Name: b.name, Account: public(k.control), Type: b.kind,
			Subject: jwt.Subject(b.subject), LocalSubject: jwt.RenamingSubject(b.subject),
		})
	}
	const region, agent = "{{tag(region)}}", "{{name()}}"
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = public(k.edgeSigner), "agent"
	scope.Template.Subs = agentSubs
	scope.Template.Payload = wire.MaxReport + 4<<10
	scope.Template.Pub.Allow.Add(
		wire.StatusSubject(region, agent),
		wire.DirectGetSubject(wire.StreamControl, wire.WantSubject(region)),
		wire.DirectGetSubject(wire.StreamBlob, wire.SubjectBlobs),
	)
	scope.Template.Sub.Allow.Add(
		wire.InboxPrefix(agent)+".>",
		wire.NoteSubject(region),
		wire.SubjectBeacon,
	)
	a.SigningKeys.AddScopedSigner(scope)
	k.revoke(a)
	return a
}
