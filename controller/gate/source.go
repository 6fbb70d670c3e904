package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Config of a source.
type Config struct {
	URL     string        // http or https, without a user. Required
	Token   string        // sent as a bearer token; default: none
	Timeout time.Duration // of one reading with all its questions; default 10 s
}

// source is the HTTP side that both kinds of source share.
type source struct {
	url     *url.URL
	token   string
	redact  *strings.Replacer // takes the token out of a text, as it is and as %q writes it
	timeout time.Duration
	client  *http.Client
}

func newSource(c Config) (*source, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("url is not an http or https URL")
	}
	if u.User != nil {
		return nil, errors.New("url holds a user or password; they belong into token_file")
	}
	if u.Fragment != "" {
		return nil, errors.New("url has a fragment")
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("token has a character that is not printable ASCII")
	}
	if c.Timeout < 0 {
		return nil, errors.New("timeout is negative")
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 8
	transport.MaxResponseHeaderBytes = 64 << 10
	s := &source{url: u, token: c.Token, redact: strings.NewReplacer(), timeout: c.Timeout, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if c.Token != "" {
		s.redact = strings.NewReplacer(c.Token, "[redacted]", strings.Trim(strconv.Quote(c.Token), `"`), "[redacted]")
	}
	return s, nil
}

// question is one POST.
type question struct {
	id          string // the same whenever the same is asked
	path        string // below the source's URL; empty: the URL itself
	contentType string
	body        []byte
	limit       int64 // of the answer, in bytes
}

// post returns status and body of the answer, whatever the status. Its errors are one line
// and hold neither URL nor token.
func (s *source) post(ctx context.Context, q question) (status int, body []byte, err error) {
	to := s.url
	if q.path != "" {
		to = to.JoinPath(q.path)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(q.body))
	if err != nil {
		return 0, nil, s.plain(ctx, err)
	}
	req.Header.Set("Content-Type", q.contentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ebbgate")
	// Asking twice does no harm: net/http may do so when a kept connection has gone away.
	req.Header.Set("Idempotency-Key", q.id)
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, s.plain(ctx, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, q.limit+1))
	if err != nil {
		return 0, nil, s.plain(ctx, fmt.Errorf("the answer ended early: %w", err))
	}
	if int64(len(body)) > q.limit {
		return 0, nil, fmt.Errorf("the answer is larger than %d KiB", q.limit>>10)
	}
	if resp.StatusCode/100 == 3 {
		return 0, nil, fmt.Errorf("%s, and redirects are not followed", answers(resp.StatusCode))
	}
	return resp.StatusCode, body, nil
}

func answers(status int) string {
	return strings.TrimSpace(fmt.Sprintf("it answers %d %s", status, http.StatusText(status)))
}

// plain says what went wrong without the URL, which net/http puts before it.
func (s *source) plain(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not within %s", s.timeout)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return errors.New(s.clean(err.Error()))
}

// maxText bounds what a source may say, in bytes.
const maxText = 300

// clean makes text from outside fit for a sentence: one line, printable, bounded, without
// the token.
func (s *source) clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s.redact.Replace(text), "?"))
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return strings.TrimSpace(text)
}
