package dataplane

import "errors"

func newNginx(cfg Config) (Driver, error) { return nil, errors.ErrUnsupported }
