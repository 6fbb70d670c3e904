package natsbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ebbgate/ebbgate/wire"
)

const (
	statusAge  = 24 * time.Hour // an agent silent for longer is forgotten
	headerRoom = 1 << 10        // what the headers of a message may add to its payload
)

// streams describes the streams of a fleet.
func streams(replicas int) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{{
		Name:              wire.StreamControl,
		Description:       "decisions of the controller",
		Subjects:          []string{wire.SubjectLease, wire.SubjectWants, wire.SubjectJournal},
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        wire.MaxRecord + headerRoom,
		RePublish:         &jetstream.RePublish{Source: wire.SubjectWants, Destination: "eg.note.{{wildcard(1)}}"},
		AllowMsgTTL:       true,
		Replicas:          replicas,
		AllowDirect:       true,
	}, {
		Name:                 wire.StreamBlob,
		Description:          "immutable content, named by its digest",
		Subjects:             []string{wire.SubjectBlobs},
		MaxMsgsPerSubject:    1,
		MaxMsgSize:           wire.MaxBlob + headerRoom,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		Replicas:             replicas,
		AllowDirect:          true,
	}, {
		Name:              wire.StreamStatus,
		Description:       "the last report of every agent",
		Subjects:          []string{wire.SubjectStatus},
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        wire.MaxReport + headerRoom,
		MaxAge:            statusAge,
		Replicas:          replicas,
		AllowDirect:       true,
	}}
}

func (b *controllerBus) Setup(ctx context.Context, replicas int) error {
	if replicas != 1 && replicas != 3 {
		return fmt.Errorf("cannot make streams: replicas are %d, want 1 or 3", replicas)
	}
	js, err := jetstream.New(b.nc)
	if err != nil {
		return fmt.Errorf("cannot make streams: %w", err)
	}
	for _, cfg := range streams(replicas) {
		err := retry(ctx, setupTime, passingSetup, func(ctx context.Context) error {
			if b.Linked().Err() != nil {
				return wire.ErrDisconnected
			}
			ctx, cancel := context.WithTimeout(ctx, attemptTime)
			defer cancel()
			return makeStream(ctx, js, cfg)
		})
		if err != nil {
			return fmt.Errorf("cannot make stream %s: %w", cfg.Name, err)
		}
	}
	return nil
}

// makeStream makes a stream or updates the one there is. A stream that is made counts its
// messages from the time in milliseconds: when one has been lost, no fence of that one is
// ever given out again, which would let a leader of old write.
func makeStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) error {
	there, err := js.Stream(ctx, cfg.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		cfg.FirstSeq = uint64(time.Now().UnixMilli())
		_, err = js.CreateStream(ctx, cfg)
	case err == nil:
		cfg.FirstSeq = there.CachedInfo().Config.FirstSeq // the server would purge what is below a higher one
		_, err = js.UpdateStream(ctx, cfg)
	}
	return err
}

// passingSetup is [passing] for the calls of the JetStream client; a cluster that has
// just started lacks a leader, or peers to place a stream on.
func passingSetup(err error) bool {
	var refused *jetstream.APIError
	return passing(err) ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || // made by another controller just now
		errors.As(err, &refused) && (refused.Code == 503 || refused.ErrorCode == codeNoPeers)
}
