package cloudfront

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	api "github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/google/go-cmp/cmp"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/cdntest"
)

const (
	canary       = "canary-token-7f3a"
	session      = "canary-session-91"
	distribution = "EDFDVBD632BHDS5"
)

var credentials = Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: canary, SessionToken: session}

func start(t *testing.T, c cdntest.CloudFrontConfig) (*cdntest.CloudFront, *Purger) {
	t.Helper()
	c.AccessKeyID, c.Distributions = "AKIDEXAMPLE", []string{distribution}
	remote := cdntest.NewCloudFront(c)
	server := httptest.NewServer(remote)
	t.Cleanup(server.Close)
	p, err := New(Config{Credentials: credentials, Endpoint: server.URL, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return remote, p
}

func request(selectors ...string) cdn.Request {
	r := cdn.Request{Scope: distribution}
	for _, text := range selectors {
		s, err := cdn.ParseSelector(text)
		if err != nil {
			panic(err)
		}
		r.Selectors = append(r.Selectors, s)
	}
	return r
}

func TestConformance(t *testing.T) {
	cdntest.Run(t, func(t *testing.T) cdntest.Subject {
		edge := cdntest.NewCache()
		remote, p := start(t, cdntest.CloudFrontConfig{OnPurge: edge.Apply})
		return cdntest.Subject{
			Purger: p, Scope: distribution, Token: canary, Calls: remote.Calls,
			Put: func(_ *testing.T, url string, tags ...string) { edge.Put(url, tags...) },
			Has: func(_ *testing.T, url string) bool { return edge.Has(url) },
		}
	})
}

func TestPaths(t *testing.T) {
	for want, selectors := range map[string][]string{
		"#Rules:eu":             {"key:Rules:eu"},
		"/":                     {"url:https://www.example.com"},
		"/?a=1":                 {"url:https://www.example.com?a=1"},
		"/a%20b?x=1&y=2":        {"url:https://www.example.com:8443/a%20b?x=1&y=2"},
		"/a%5B1%5D%7Eb@c?d=%7C": {"url:https://www.example.com/a[1]~b@c?d=|"},
		"/a /b":                 {"url:https://www.example.com/b", "url:https://www.example.com/a", "url:http://m.example.com/a"},
		"/rules/*":              {"prefix:www.example.com/rules/"},
		"/*":                    {"all"},
	} {
		if got := strings.Join(paths(request(selectors...).Selectors), " "); got != want {
			t.Errorf("%v: %s, want %s", selectors, got, want)
		}
	}
}

// A resend is the invalidation that its lost answer was about. The next round of
// the same selectors is another one: CloudFront would otherwise answer with the
// old one and do nothing.
func TestResendIsTheSameInvalidation(t *testing.T) {
	remote, p := start(t, cdntest.CloudFrontConfig{})
	first := request("key:rules", "key:flags")
	first.ID = "round-1"
	remote.Inject(cdntest.Fault{LoseReply: true})
	if _, err := p.Purge(t.Context(), first); cdn.ClassOf(err) != cdn.Unknown {
		t.Fatalf("error %v, want unknown", err)
	}
	turned := first
	turned.Selectors = []cdn.Selector{first.Selectors[1], first.Selectors[0]}
	receipt, err := p.Purge(t.Context(), turned)
	if err != nil || len(remote.Purges()) != 1 || len(receipt.IDs) != 2 {
		t.Errorf("%d purges after a resend, %v, %v", len(remote.Purges()), receipt.IDs, err)
	}
	second := first
	second.ID = "round-2"
	other, err := p.Purge(t.Context(), second)
	if err != nil || len(remote.Purges()) != 2 || other.IDs[first.Selectors[0]] == receipt.IDs[first.Selectors[0]] {
		t.Errorf("%d purges after another round, %v, %v", len(remote.Purges()), other.IDs, err)
	}
	for range 2 { // nobody said what this is about, so it is done each time
		if _, err := p.Purge(t.Context(), request("key:rules")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(remote.Purges()); n != 4 {
		t.Errorf("%d purges, want 4", n)
	}
	split := first // the halves of a refused batch have the id of none of the others
	split.Selectors = first.Selectors[:1]
	if _, err := p.Purge(t.Context(), split); err != nil || len(remote.Purges()) != 5 {
		t.Errorf("%d purges after a part, %v", len(remote.Purges()), err)
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault cdntest.Fault
		class cdn.Class
		says  string
	}{
		"in progress":   {cdntest.Fault{Status: 400, Reason: "TooManyInvalidationsInProgress", Message: "exceed"}, cdn.RateLimited, "TooManyInvalidationsInProgress: exceed"},
		"throttled":     {cdntest.Fault{Status: 400, Reason: "Throttling", Message: "Rate exceeded"}, cdn.RateLimited, "Throttling: Rate exceeded"},
		"asked to wait": {cdntest.Fault{Status: 503, Reason: "SlowDown", RetryAfter: "7"}, cdn.Retryable, "retry after 7s"},
		"internal":      {cdntest.Fault{Status: 500, Reason: "InternalError"}, cdn.Retryable, "InternalError"},
		"wrong key":     {cdntest.Fault{Status: 403, Reason: "SignatureDoesNotMatch", Message: "not " + canary + " nor " + session}, cdn.Auth, "the token is not accepted: SignatureDoesNotMatch: not [redacted] nor [redacted]"},
		"expired":       {cdntest.Fault{Status: 400, Reason: "ExpiredToken"}, cdn.Auth, "ExpiredToken"},
		"forbidden":     {cdntest.Fault{Status: 403, Reason: "AccessDenied"}, cdn.Auth, "AccessDenied"},
		"no such":       {cdntest.Fault{Status: 404, Reason: "NoSuchDistribution"}, cdn.NotFound, "scope " + distribution + " does not exist, or not for this token: NoSuchDistribution"},
		"bad path":      {cdntest.Fault{Status: 400, Reason: "InvalidArgument", Message: "line\nbreak"}, cdn.Refused, "InvalidArgument: line break"},
		"too large":     {cdntest.Fault{Status: 413, Reason: "BatchTooLarge"}, cdn.Refused, "BatchTooLarge"},
		"reference":     {cdntest.Fault{Status: 409, Reason: "InvalidationBatchAlreadyExists"}, cdn.Refused, "AlreadyExists"},
		"redirect":      {cdntest.Fault{Status: 302}, cdn.Refused, "302"},
		"not XML":       {cdntest.Fault{Body: "<html"}, cdn.Unknown, "not the XML"},
		"no id":         {cdntest.Fault{Body: "<Invalidation></Invalidation>"}, cdn.Unknown, "no invalidation id"},
		"an error, 200": {cdntest.Fault{Body: "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"}, cdn.Unknown, "no invalidation id"},
		"lost request":  {cdntest.Fault{LoseRequest: true}, cdn.Unknown, "EOF"},
		"lost reply":    {cdntest.Fault{LoseReply: true}, cdn.Unknown, "EOF"},
		"too slow":      {cdntest.Fault{Delay: time.Minute}, cdn.Unknown, "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			remote, p := start(t, cdntest.CloudFrontConfig{})
			remote.Inject(test.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if test.fault.Delay > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
			}
			receipt, err := p.Purge(ctx, request("key:rules"))
			if e := cdntest.Failed(t, p, err, test.class, canary, session); e != nil && !strings.Contains(err.Error(), test.says) || len(receipt.IDs) != 0 {
				t.Errorf("error %v, want %q; receipt %v", err, test.says, receipt.IDs)
			}
			if remote.Calls() != 1 {
				t.Errorf("%d calls, want one attempt", remote.Calls())
			}
		})
	}
}

func TestQuotaOfTheRemoteEnd(t *testing.T) {
	remote, p := start(t, cdntest.CloudFrontConfig{Paths: 2, Wildcards: 1})
	for _, step := range []struct {
		selectors []string
		class     cdn.Class
	}{
		{[]string{"prefix:www.example.com/a/"}, ""},
		{[]string{"all"}, cdn.RateLimited},
		{[]string{"key:a", "key:b"}, ""}, // apart from wildcards
		{[]string{"url:https://www.example.com/"}, cdn.RateLimited},
	} {
		_, err := p.Purge(t.Context(), request(step.selectors...))
		if (err == nil) != (step.class == "") || err != nil && cdn.ClassOf(err) != step.class {
			t.Errorf("%v: %v, want %q", step.selectors, err, step.class)
		}
	}
	if n := len(remote.Purges()); n != 2 {
		t.Errorf("%d purges", n)
	}
}

// The own quota keeps a distribution within 15 wildcards in 25 s, and one
// distribution does not use up that of another.
func TestOwnQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{Credentials: credentials})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for range 15 {
			if err := p.limiter("one").Wait(t.Context(), p.name, cdn.Prefix, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.limiter("two").Wait(t.Context(), p.name, cdn.All, 1); err != nil || time.Since(begin) != 0 {
			t.Errorf("another distribution waited %s, %v", time.Since(begin), err)
		}
		if err := p.limiter("one").Wait(t.Context(), p.name, cdn.Prefix, 15); err != nil || time.Since(begin).Round(time.Second) != 25*time.Second {
			t.Errorf("the next 15 wildcards after %s, %v", time.Since(begin), err)
		}
	})
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no credentials": {},
		"no secret":      {Credentials: Credentials{AccessKeyID: "AKID"}},
		"no key id":      {Credentials: Credentials{SecretAccessKey: canary}},
		"secret break":   {Credentials: Credentials{AccessKeyID: "AKID", SecretAccessKey: canary + "\n"}},
		"session break":  {Credentials: Credentials{AccessKeyID: "AKID", SecretAccessKey: canary, SessionToken: session + "\n"}},
		"endpoint":       {Credentials: credentials, Endpoint: "cloudfront.amazonaws.com"},
		"timeout":        {Credentials: credentials, Timeout: -1},
	} {
		if _, err := New(c); err == nil || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), session) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestParseCredentials(t *testing.T) {
	text := "# rotated in May\n[deploy]\naws_access_key_id = AKIDEXAMPLE\r\naws_secret_access_key=" + canary + "\n\naws_session_token = " + session
	got, err := ParseCredentials(text)
	if diff := cmp.Diff(credentials, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for text, want := range map[string]string{
		"":                           "credentials.access_key_id: token is empty",
		"aws_access_key_id = AKID\n": "credentials.secret_access_key: token is empty",
		canary:                       "line 1: must be",
		"[a]\n[b]\n":                 "line 2: a second profile",
		"[a]\nregion = eu-west-1\n":  "line 2: must be",
		"aws_access_key_id = AKID\naws_secret_access_key = " + canary + " x": "credentials.secret_access_key: token has",
	} {
		_, err := ParseCredentials(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseCredentials(f *testing.F) {
	f.Add("[a]\naws_access_key_id = AKID\naws_secret_access_key = s\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCredentials(text)
		if err == nil && (c.AccessKeyID == "" || c.SecretAccessKey == "") {
			t.Errorf("%q gives %+v", text, c)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(201, "<Invalidation><Id>I1</Id></Invalidation>")
	f.Add(400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>")
	f.Add(200, "")
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			t.Skip()
		}
		p, err := New(Config{Credentials: credentials, Endpoint: "http://127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		options := p.client.Options()
		options.HTTPClient = canned{status, body}
		p.client = api.New(options)
		receipt, err := p.Purge(t.Context(), request("key:rules"))
		if (err == nil) != (len(receipt.IDs) == 1) {
			t.Errorf("receipt %v with error %v", receipt.IDs, err)
		}
		if err == nil && (status/100 != 2 || !strings.Contains(body, "Id>")) {
			t.Errorf("accepted without an id: %d %q", status, body)
		}
	})
}

type canned struct {
	status int
	body   string
}

func (c canned) Do(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.WriteHeader(c.status)
	_, _ = w.WriteString(c.body)
	return w.Result(), nil
}
