package fastly

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// ACLFile holds what a release wants of an access list: a list of
// {"ip": "203.0.113.0/24", "negated": false, "comment": ""}.
const ACLFile = "acl.json"

// An access list holds nothing but addresses, so the mark is one: of the block that is
// kept for documentation (RFC 5737), which no request comes from, and negated, so that
// it matches no more than it would without.
const markAddress = "192.0.2.53/32"

// ACL is an access list of a VCL service.
type ACL struct {
	client
	exact
	service, acl string
	items        int
	ids          map[string][]string // key → ids of its entries, as of the last Read
}

// NewACL checks the ids; it does not talk to Fastly. maxItems is for accounts with
// another limit than 1,000 entries; 0 is that.
func NewACL(a Account, service, acl string, maxItems int) (*ACL, error) {
	if err := checkID("service", service); err != nil {
		return nil, err
	}
	if err := checkID("acl", acl); err != nil {
		return nil, err
	}
	c, err := newClient(a, service, fmt.Sprintf("access list %s of service %s", acl, service))
	if maxItems == 0 {
		maxItems = 1000
	}
	return &ACL{client: c, service: service, acl: acl, items: maxItems}, err
}

// Limits: developer.fastly.com, "ACL entry". One item may be two operations.
func (l *ACL) Limits() config.Limits {
	return config.Limits{Batch: api.BatchModifyMaximumOperations, Items: l.items, Settle: 30 * time.Second, Keeps: true}
}

// entry is the value of an item; its key is the address.
type entry struct {
	Negated bool   `json:"negated"`
	Comment string `json:"comment"`
}

func (e entry) value() string {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // a bool and a string
	}
	return string(b)
}

func (l *ACL) Load(files fs.FS) (config.Content, error) {
	var list []struct {
		IP string `json:"ip"`
		entry
	}
	c := config.Content{Items: map[string]string{}}
	if err := readJSON(files, ACLFile, &list); err != nil {
		return c, err
	}
	for i, e := range list {
		key, err := address(e.IP)
		if err != nil {
			return c, fmt.Errorf("%s: [%d]: ip: %q is neither an address nor a network like 203.0.113.0/24", ACLFile, i, e.IP)
		}
		if key == markAddress {
			return c, fmt.Errorf("%s: [%d]: ip: %s is kept for the release", ACLFile, i, e.IP)
		}
		if _, twice := c.Items[key]; twice {
			return c, fmt.Errorf("%s: [%d]: ip: %s is there twice", ACLFile, i, e.IP)
		}
		c.Items[key] = e.value()
	}
	return c, nil
}

// address gives one form to all that mean the same network: without its host bits,
// and with the length of the prefix.
func address(text string) (string, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return "", err
	}
	return p.Masked().String(), nil
}

func (l *ACL) Read(ctx context.Context, _ []string) (config.State, error) {
	entries, err := pages(func(page, perPage int) (entries []*api.ACLEntry, err error) {
		err = l.call(ctx, "read", func(ctx context.Context) (err error) {
			entries, err = l.GetACLEntries(ctx, &api.GetACLEntriesInput{
				ServiceID: l.service, ACLID: l.acl, Page: &page, PerPage: &perPage,
			}).GetNext()
			return err
		})
		return entries, err
	})
	if err != nil {
		return config.State{}, err
	}
	s := config.State{Items: map[string]string{}}
	l.ids = map[string][]string{}
	for _, e := range entries {
		text := api.ToValue(e.IP)
		if e.Subnet != nil {
			text += "/" + strconv.Itoa(*e.Subnet)
		}
		key, err := address(text)
		if err != nil {
			return config.State{}, l.refused("read", fmt.Sprintf("entry %s has the address %q, which is none", api.ToValue(e.EntryID), text))
		}
		l.ids[key] = append(l.ids[key], api.ToValue(e.EntryID))
		if key == markAddress {
			s.Release = strings.TrimPrefix(api.ToValue(e.Comment), config.Mark+" ")
			continue
		}
		s.Items[key] = entry{Negated: api.ToValue(e.Negated), Comment: api.ToValue(e.Comment)}.value()
	}
	return s, nil
}

// Write makes an entry that changes anew: of an address with several entries, all go.
func (l *ACL) Write(ctx context.Context, b config.Batch) error {
	in := &api.BatchModifyACLEntriesInput{ServiceID: l.service, ACLID: l.acl}
	changes := slices.Clone(b.Changes)
	if b.Last {
		mark := entry{Negated: true, Comment: config.Mark + " " + b.Want.Release}
		changes = append(changes, config.Change{Key: markAddress, Value: mark.value(), Delete: b.Want.Release == ""})
	}
	for _, c := range changes {
		if err := l.change(in, c); err != nil {
			return err
		}
	}
	for len(in.Entries) > 0 {
		part := *in
		part.Entries = in.Entries[:min(len(in.Entries), api.BatchModifyMaximumOperations)]
		in.Entries = in.Entries[len(part.Entries):]
		if err := l.call(ctx, "change", func(ctx context.Context) error { return l.BatchModifyACLEntries(ctx, &part) }); err != nil {
			return err
		}
	}
	return nil
}

// change adds to in what c takes. The first entry of an address is updated in place,
// so that it never stops to match.
func (l *ACL) change(in *api.BatchModifyACLEntriesInput, c config.Change) error {
	ids := l.ids[c.Key]
	if !c.Delete {
		var e entry
		p, err := netip.ParsePrefix(c.Key)
		if err == nil {
			err = json.Unmarshal([]byte(c.Value), &e)
		}
		if err != nil {
			return fmt.Errorf("cannot change %s: entry %q: %w", l.name, c.Key, err)
		}
		ip, subnet, negated := p.Addr().String(), p.Bits(), api.Compatibool(e.Negated)
		set := &api.BatchACLEntry{IP: &ip, Subnet: &subnet, Negated: &negated, Comment: &e.Comment, Operation: api.ToPointer(api.CreateBatchOperation)}
		if len(ids) > 0 {
			set.EntryID, set.Operation, ids = &ids[0], api.ToPointer(api.UpdateBatchOperation), ids[1:]
		}
		in.Entries = append(in.Entries, set)
	}
	for _, id := range ids {
		in.Entries = append(in.Entries, &api.BatchACLEntry{EntryID: &id, Operation: api.ToPointer(api.DeleteBatchOperation)})
	}
	return nil
}
