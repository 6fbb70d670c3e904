package dataplane

import (
	"context"
	"errors"

	"github.com/ebbgate/ebbgate/wire"
)

// Probe sends one request to base (http://host:port) on a fresh connection.
func Probe(ctx context.Context, base string, p wire.Probe) error { return errors.ErrUnsupported }
