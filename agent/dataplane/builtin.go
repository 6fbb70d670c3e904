package dataplane

import "errors"

func newBuiltin(cfg Config) (Driver, error) { return nil, errors.ErrUnsupported }
