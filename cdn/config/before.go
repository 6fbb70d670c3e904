package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/ebbgate/ebbgate/cdn"
)

// before is the inverse of everything ever done to a target. It is on disk before the
// first call that it undoes.
type before struct {
	Target  string             `json:"target"`  // Target.Name; the record means no other
	Release string             `json:"release"` // the mark that was there; "": none
	Items   map[string]*string `json:"items"`   // key → what it was before its first change; null: it was not there
	// Moving says that a change was begun, and not seen to have spread.
	Moving bool `json:"moving,omitempty"`
}

const beforeFile = "before.json"

// readBefore returns the record in dir, nil when nothing was ever changed.
func readBefore(dir, target string) (*before, error) {
	path := filepath.Join(dir, beforeFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what was there before: %w", err)
	}
	b := new(before)
	if err := json.Unmarshal(data, b); err != nil {
		return nil, fmt.Errorf("cannot read what was there before: %s: %w", path, err)
	}
	if b.Target != target {
		return nil, fmt.Errorf("%s is the record of %s, not of %s; put it away to begin anew", path, b.Target, target)
	}
	return b, nil
}

// spare refuses changes that destroy what cannot be recorded.
func (k *Keeper) spare(have State, changes []Change) error {
	for _, c := range changes {
		if !have.Lossy[c.Key] {
			continue
		}
		if k.before != nil {
			if _, known := k.before.Items[c.Key]; known {
				continue
			}
		}
		return &Error{Op: "stage", Target: k.target.Name(), Err: &cdn.Error{Class: cdn.Refused,
			Message: fmt.Sprintf("key %.100q holds no text, and could not be put back", c.Key)}}
	}
	return nil
}

// record notes what the way to want is about to destroy, unless it is known already: all
// that is not exactly as wanted, because a Write of a whole document replaces that too.
func (k *Keeper) record(have, want State) error {
	b := &before{Target: k.target.Name(), Release: have.Release, Items: map[string]*string{}, Moving: true}
	news := true
	if old := k.before; old != nil {
		b.Release, news = old.Release, !old.Moving
		maps.Copy(b.Items, old.Items)
	}
	note := func(key string, was *string) {
		if _, known := b.Items[key]; !known {
			b.Items[key], news = was, true
		}
	}
	for key, value := range have.Items {
		if wanted, there := want.Items[key]; !there || wanted != value {
			note(key, &value)
		}
	}
	for key := range want.Items {
		if _, there := have.Items[key]; !there {
			note(key, nil)
		}
	}
	if !news {
		return nil
	}
	return k.remember(b)
}

// remember replaces the record durably; nil removes it.
func (k *Keeper) remember(b *before) error {
	if err := k.save(b); err != nil {
		return fmt.Errorf("cannot record what was there before: %w", err)
	}
	k.before = b
	return nil
}

func (k *Keeper) save(b *before) (err error) {
	path := filepath.Join(k.dir, beforeFile)
	if b == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(k.dir)
	}
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	tmp, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(k.dir)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
