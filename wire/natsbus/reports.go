package natsbus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ebbgate/ebbgate/wire"
	"github.com/ebbgate/ebbgate/wire/internal/admit"
)

// Reports reads with one ordered consumer that is made anew after every reconnection:
// the server that comes back may be another one, with other sequences.
func (b *controllerBus) Reports(ctx context.Context, f func(r wire.Region, a wire.AgentID, envelope []byte, stored time.Time)) error {
	js, err := jetstream.New(b.nc)
	if err != nil {
		return fmt.Errorf("cannot read reports: %w", err)
	}
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		got, err := b.readReports(ctx, js, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if got {
			pause = firstPause
		}
		b.log.Debug("reading reports again", "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// readReports reads until the connection is lost or the consumer fails; got says
// whether there was anything.
func (b *controllerBus) readReports(ctx context.Context, js jetstream.JetStream, f func(wire.Region, wire.AgentID, []byte, time.Time)) (got bool, err error) {
	link := b.Linked()
	if link.Err() != nil {
		return false, wire.ErrDisconnected
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(link, cancel)()
	made, cancelMade := context.WithTimeout(ctx, attemptTime)
	defer cancelMade()
	consumer, err := js.OrderedConsumer(made, wire.StreamStatus, jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return false, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return false, err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return got, err
		}
		got = true
		b.report(m, f)
	}
}

// report passes one stored report on, if it can be one at all.
func (b *controllerBus) report(m jetstream.Msg, f func(wire.Region, wire.AgentID, []byte, time.Time)) {
	r, a, err := wire.ParseStatusSubject(m.Subject())
	if err == nil {
		err = admit.Size(m.Data(), wire.MaxReport)
	}
	meta, metaErr := m.Metadata()
	if err == nil {
		err = metaErr
	}
	if err != nil {
		b.log.Warn("report ignored", "subject", clip(m.Subject()), "err", err)
		return
	}
	f(r, a, m.Data(), meta.Timestamp)
}
