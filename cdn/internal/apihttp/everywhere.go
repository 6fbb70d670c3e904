package apihttp

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ebbgate/ebbgate/cdn"
)

// Everywhere calls all instances of a scope at once and succeeds when all
// accepted. Otherwise the failure that holds longest speaks for all of them:
// one that only a person can mend, then one that asks to wait.
func Everywhere(scope string, instances []string, call func(base string) *cdn.Error) error {
	failures := make([]*cdn.Error, len(instances))
	var wg sync.WaitGroup
	for i, base := range instances {
		wg.Go(func() { failures[i] = call(base) })
	}
	wg.Wait()
	failures = slices.DeleteFunc(failures, func(e *cdn.Error) bool { return e == nil })
	if len(failures) == 0 {
		return nil
	}
	worst := failures[0]
	for _, e := range failures[1:] {
		if rank(e) > rank(worst) || rank(e) == rank(worst) && e.RetryAfter > worst.RetryAfter {
			worst = e
		}
	}
	worst.Message = fmt.Sprintf("%d of %d instances of %s: %s", len(failures), len(instances), scope, worst.Message)
	return worst
}

func rank(e *cdn.Error) int {
	switch e.Class {
	case cdn.Refused, cdn.Auth, cdn.NotFound:
		return 3
	case cdn.RateLimited:
		return 2
	case cdn.Unknown:
		return 1
	case cdn.Retryable:
		return 0
	}
	panic("apihttp: unknown class " + string(e.Class))
}

// Groups checks and copies scope → base URLs of its instances.
func Groups(groups map[string][]string) (map[string][]string, error) {
	if len(groups) == 0 {
		return nil, errors.New("groups is empty")
	}
	out := map[string][]string{}
	for scope, instances := range groups {
		if len(instances) == 0 {
			return nil, fmt.Errorf("groups[%q] has no instance", scope)
		}
		for _, base := range instances {
			if err := Endpoint(base); err != nil {
				return nil, fmt.Errorf("groups[%q]: an instance %w", scope, err)
			}
		}
		out[scope] = slices.Clone(instances)
	}
	return out, nil
}
