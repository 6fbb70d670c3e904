package cdn

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Kind says how a Selector chooses cached objects.
type Kind string

const (
	Key    Kind = "key"    // objects tagged with a surrogate key (Fastly, Varnish) or cache tag (Cloudflare)
	URL    Kind = "url"    // the object of one absolute http or https URL
	Prefix Kind = "prefix" // objects whose host and path begin with Value, for example www.example.com/rules/
	Host   Kind = "host"   // objects of one host name
	All    Kind = "all"    // everything in the scope; Value is empty
)

// Fence is not a way to purge: an outbox item of this kind raises the generation fence of
// Value, "waf.eu-west", to the item's epoch. It is no kind of a rule or a request.
const Fence Kind = "fence"

// Kinds lists every kind to purge by, narrowest first.
var Kinds = []Kind{Key, URL, Prefix, Host, All}

// maxKey is the limit of Fastly (bytes of a surrogate key) and of Cloudflare
// (characters of a tag). maxURL is below what any of the providers refuses.
const (
	maxKey = 1024
	maxURL = 8000
)

// A Selector names a set of cached objects. Its text form, used in files and
// on command lines, is `key:rules`, `url:https://www.example.com/a`,
// `prefix:www.example.com/rules/`, `host:www.example.com` or `all`.
type Selector struct {
	Kind  Kind
	Value string
}

// ErrSelector is wrapped by every complaint about the form of a selector.
var ErrSelector = errors.New("invalid selector")

var errKind = errors.New("kind must be one of key, url, prefix, host, all")

// ParseSelector reads the text form and validates it.
func ParseSelector(text string) (Selector, error) {
	kind, value, _ := strings.Cut(text, ":")
	s := Selector{Kind: Kind(kind), Value: value}
	if !slices.Contains(Kinds, s.Kind) { // quoted as it was written
		return Selector{}, fmt.Errorf("%w %.80q: %w", ErrSelector, text, errKind)
	}
	if s.Kind == All && text != string(All) {
		return Selector{}, fmt.Errorf("%w %.80q: all takes no value", ErrSelector, text)
	}
	if err := s.Validate(); err != nil {
		return Selector{}, err
	}
	return s, nil
}

func (s Selector) String() string {
	if s.Kind == All {
		return string(All)
	}
	return string(s.Kind) + ":" + s.Value
}

// MarshalText writes the text form; an invalid selector is an error.
func (s Selector) MarshalText() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads the text form, that of a fence too.
func (s *Selector) UnmarshalText(text []byte) error {
	if name, ok := strings.CutPrefix(string(text), string(Fence)+":"); ok {
		*s = Selector{Fence, name}
		return s.Validate()
	}
	parsed, err := ParseSelector(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// Compare orders selectors by kind (fences first, then narrowest first), then value.
func (s Selector) Compare(o Selector) int {
	return cmp.Or(
		cmp.Compare(slices.Index(Kinds, s.Kind), slices.Index(Kinds, o.Kind)),
		strings.Compare(s.Value, o.Value))
}

// Validate holds the rules that are the same at every provider. What one
// provider cannot do is found by [Capabilities.Check].
func (s Selector) Validate() error {
	var err error
	switch s.Kind {
	case Key:
		err = validKey(s.Value)
	case URL:
		err = validURL(s.Value)
	case Prefix:
		err = validPrefix(s.Value)
	case Host:
		err = validHost(s.Value)
	case All:
		if s.Value != "" {
			err = errors.New("all takes no value")
		}
	case Fence:
		_, _, err = ParseGen(s.Value + "-0")
	default:
		err = errKind
	}
	if err != nil {
		return fmt.Errorf("%w %.80q: %w", ErrSelector, s.String(), err)
	}
	return nil
}

// validKey keeps out what a provider would read as something else: a space
// separates keys at all three, and `.` or `..` is resolved as a path segment
// before it reaches the API.
func validKey(key string) error {
	switch {
	case key == "":
		return errors.New("key is empty")
	case len(key) > maxKey:
		return fmt.Errorf("key is %d bytes long, at most %d are allowed", len(key), maxKey)
	case key == "." || key == "..":
		return errors.New("key is a path segment")
	case strings.Contains(key, " "):
		return errors.New("key contains a space, which separates keys")
	case strings.ContainsAny(key, "*?"):
		return errors.New("key contains a wildcard, no provider expands it")
	}
	return printable("key", key)
}

func validURL(text string) error {
	if len(text) > maxURL {
		return fmt.Errorf("url is %d bytes long, at most %d are allowed", len(text), maxURL)
	}
	if err := printable("url", text); err != nil {
		return err
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("url does not parse")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("url scheme must be http or https")
	case u.User != nil:
		return errors.New("url contains user information")
	case strings.Contains(text, "#"):
		return errors.New("url contains a fragment")
	case strings.Contains(text, "*"):
		return errors.New("url contains a wildcard, use prefix")
	case u.Host != strings.ToLower(u.Host):
		return errors.New("url host must be lower case")
	}
	if err := dotSegments(u.Path); err != nil {
		return fmt.Errorf("url %w", err)
	}
	return validHostPort("url host", u.Host)
}

func validPrefix(prefix string) error {
	if len(prefix) > maxURL {
		return fmt.Errorf("prefix is %d bytes long, at most %d are allowed", len(prefix), maxURL)
	}
	if strings.Contains(prefix, "://") {
		return errors.New("prefix takes host and path without a scheme")
	}
	if err := printable("prefix", prefix); err != nil {
		return err
	}
	if strings.ContainsAny(prefix, "*?#") {
		return errors.New("prefix contains a wildcard, query or fragment")
	}
	host, path, ok := strings.Cut(prefix, "/")
	if !ok {
		return errors.New("prefix has no path, use host")
	}
	if err := dotSegments(path); err != nil {
		return fmt.Errorf("prefix %w", err)
	}
	return validHost(host)
}

// HostPath splits the value of a URL or a prefix into host and path, which begins with a
// slash; the path of a URL has its query. Both are as they were written.
func (s Selector) HostPath() (host, path string) {
	text := s.Value
	if s.Kind == URL {
		_, text, _ = strings.Cut(text, "://")
	}
	i := strings.IndexAny(text, "/?")
	if i < 0 {
		return text, "/"
	}
	if host, path = text[:i], text[i:]; path[0] == '?' {
		path = "/" + path
	}
	return host, path
}

func dotSegments(path string) error {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("contains the path segment %q", segment)
		}
	}
	return nil
}

func validHostPort(field, hostport string) error {
	host, port, hasPort := strings.Cut(hostport, ":")
	if hasPort {
		if port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
			return fmt.Errorf("%s has the bad port %q", field, port)
		}
	}
	return validHost(host)
}

func validHost(host string) error {
	if host == "" {
		return errors.New("host is empty")
	}
	if len(host) > 253 {
		return errors.New("host is longer than 253 bytes")
	}
	for label := range strings.SplitSeq(host, ".") {
		bad := func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, bad) {
			return fmt.Errorf("host has the bad label %q (lower-case letters, digits, - and _)", label)
		}
	}
	return nil
}

func printable(field, text string) error {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf("%s has the byte %#02x at offset %d (printable ASCII without space, quote and backslash)", field, c, i)
		}
	}
	return nil
}

// Coalesce returns the distinct selectors in order; the result is just `all`
// when that is among them.
func Coalesce(selectors []Selector) []Selector {
	out := slices.Clone(selectors)
	slices.SortFunc(out, Selector.Compare)
	out = slices.Compact(out)
	if slices.Contains(out, Selector{Kind: All}) {
		return []Selector{{Kind: All}}
	}
	return out
}
