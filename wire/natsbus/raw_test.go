package natsbus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ebbgate/ebbgate/controller/hub/hubtest"
	"github.com/ebbgate/ebbgate/wire"
)

// raw connects without the manners of natsbus. What the server refuses comes in errs.
func raw(t *testing.T, name string, creds []byte, url string) (nc *nats.Conn, errs chan error) {
	t.Helper()
	errs = make(chan error, 64)
	nc, err := nats.Connect(url, nats.UserCredentialBytes(creds), nats.CustomInboxPrefix(wire.InboxPrefix(name)),
		nats.NoReconnect(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, errs
}

// awaitReplicas waits until every stream has three current replicas.
func awaitReplicas(t *testing.T, cluster *hubtest.Cluster) {
	t.Helper()
	creds, err := cluster.Keys.MintControllerCreds("watch")
	if err != nil {
		t.Fatal(err)
	}
	nc, _ := raw(t, "watch", creds, cluster.URLs[0])
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{wire.StreamControl, wire.StreamBlob, wire.StreamStatus} {
		until(t, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			s, err := js.Stream(ctx, name)
			if err != nil {
				return err
			}
			info := s.CachedInfo()
			if info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
				return fmt.Errorf("%s has replicas %+v", name, info.Cluster)
			}
			for _, r := range info.Cluster.Replicas {
				if !r.Current || r.Offline {
					return fmt.Errorf("replica %s of %s is not current", r.Name, name)
				}
			}
			return nil
		})
	}
}
