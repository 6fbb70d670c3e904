package fastly

import (
	"testing"
	"testing/fstest"
	"unicode/utf8"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn/config"
)

// Whatever is in a release, what is taken from it keeps the limits.
func FuzzLoad(f *testing.F) {
	f.Add(`{"a": "1", "b": ""}`)
	f.Add(`{"a": "1", "a": "2"}`)
	f.Add(`[{"ip": "192.0.2.0/24", "negated": true, "comment": "x"}, {"ip": "2001:db8::1"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		files := fstest.MapFS{DictionaryFile: {Data: []byte(text)}, ACLFile: {Data: []byte(text)}}
		if c, err := (&Dictionary{}).Load(files); err == nil {
			for key, value := range c.Items {
				if n := utf8.RuneCountInString(key); n == 0 || n > 256 || utf8.RuneCountInString(value) > 8000 || key == config.Mark {
					t.Errorf("%q: %q", key, value)
				}
			}
		}
		l := &ACL{}
		if c, err := l.Load(files); err == nil {
			for key, value := range c.Items {
				if again, err := address(key); err != nil || again != key {
					t.Errorf("%q is not in its one form: %q %v", key, again, err)
				}
				in := &api.BatchModifyACLEntriesInput{}
				if err := l.change(in, config.Change{Key: key, Value: value}); err != nil || len(in.Entries) != 1 {
					t.Errorf("%q: %q makes %d entries: %v", key, value, len(in.Entries), err)
				}
			}
		}
	})
}

// A note is read as it was written, and no other comment is taken for one.
func FuzzNote(f *testing.F) {
	f.Add("ebbgate 1.4.0-0123456789ab: 7 from 6", 7)
	f.Add("ebbgate : 7 from 6", 7)
	f.Add("ebbgate : 07 from 6", 7)
	f.Fuzz(func(t *testing.T, comment string, number int) {
		if n, ours := noteOf(&api.Version{Comment: &comment, Number: &number}); ours && (n.String() != comment || n.number != number) {
			t.Errorf("%q of version %d is read as %q", comment, number, n)
		}
	})
}
