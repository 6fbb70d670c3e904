package cdntest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ebbgate/ebbgate/cdn"
)

func batchXML(reference string, paths ...string) string {
	return fmt.Sprintf("<InvalidationBatch><CallerReference>%s</CallerReference><Paths><Items><Path>%s</Path></Items><Quantity>%d</Quantity></Paths></InvalidationBatch>",
		reference, strings.Join(paths, "</Path><Path>"), len(paths))
}

func many(n int, format string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}

func TestCloudFrontLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCloudFront(CloudFrontConfig{AccessKeyID: "AKID", Distributions: []string{"E1", "E2"}})
		auth := "AWS4-HMAC-SHA256 Credential=AKID/20260102/us-east-1/cloudfront/aws4_request"
		for _, step := range []struct {
			distribution, body, auth string
			want                     int
			code                     string
		}{
			{"E1", batchXML("a", "#rules"), "", 403, "InvalidClientTokenId"},
			{"E9", batchXML("a", "#rules"), auth, 404, "NoSuchDistribution"},
			{"E1", "", auth, 400, "MalformedInput"},
			{"E1", batchXML("", "#rules"), auth, 400, "InvalidArgument"},
			{"E1", batchXML("a", "rules"), auth, 400, "InvalidArgument"},
			{"E1", batchXML("a", "/a[1]"), auth, 400, "InvalidArgument"},
			{"E1", batchXML("a", "/a/*/b"), auth, 400, "InvalidArgument"},
			{"E1", batchXML("a", "#"+strings.Repeat("k", 257)), auth, 400, "InvalidArgument"},
			{"E1", batchXML("a", "#a,b"), auth, 400, "InvalidArgument"},
			{"E1", batchXML("a", "#rules", "/a", "/b/*", "/*"), auth, 201, ""},
			{"E1", batchXML("a", "#rules", "/a", "/b/*", "/*"), auth, 201, ""}, // the same one, not done again
			{"E1", batchXML("a", "#flags"), auth, 409, "InvalidationBatchAlreadyExists"},
			{"E1", batchXML("b", many(14, "/%d/*")...), auth, 400, "TooManyInvalidationsInProgress"},
			{"E1", batchXML("c", many(2998, "/%d")...), auth, 201, ""},
			{"E1", batchXML("d", "#one"), auth, 400, "TooManyInvalidationsInProgress"},
			{"E2", batchXML("d", "#one"), auth, 201, ""}, // a quota of its own
		} {
			w := post(t, c, "/2020-05-31/distribution/"+step.distribution+"/invalidation", step.body, "Authorization", step.auth)
			if w.Code != step.want || step.code != "" && !strings.Contains(w.Body.String(), "<Code>"+step.code+"</Code>") {
				t.Errorf("%.120s: status %d, want %d %s: %s", step.body, w.Code, step.want, step.code, w.Body)
			}
		}
		want := Purge{Provider: "cloudfront", Scope: "E1", Selectors: []cdn.Selector{
			{Kind: cdn.Key, Value: "rules"}, {Kind: cdn.URL, Value: "https://" + Host + "/a"}, {Kind: cdn.Prefix, Value: Host + "/b/"}, {Kind: cdn.All},
		}}
		if diff := cmp.Diff(want, c.Purges()[0], cmpopts.IgnoreFields(Purge{}, "At")); diff != "" || len(c.Purges()) != 3 {
			t.Errorf("%d purges, %s", len(c.Purges()), diff)
		}
		time.Sleep(25 * time.Second) // all is over
		if w := post(t, c, "/2020-05-31/distribution/E1/invalidation", batchXML("e", many(15, "/%d/*")...), "Authorization", auth); w.Code != 201 {
			t.Errorf("after 25 s: %d %s", w.Code, w.Body)
		}
	})
}

func TestFastlyDictionary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFastly(FastlyConfig{Token: "t", Services: []string{"svc"}, Dictionaries: []string{"dict"}, CallsPerHour: 2, Spread: 30 * time.Second})
		call := func(method, path, value string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, path, strings.NewReader(url.Values{"item_value": {value}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Fastly-Key", "t")
			w := httptest.NewRecorder()
			f.ServeHTTP(w, r)
			return w
		}
		for _, step := range []struct {
			method, path, value string
			want                int
			says                string
		}{
			{http.MethodGet, "/service/svc/dictionary/dict/item/k", "", 404, "Cannot find item k"},
			{http.MethodGet, "/service/svc/dictionary/other/item/k", "", 404, "Cannot find dictionary"},
			{http.MethodPut, "/service/other/dictionary/dict/item/k", "1", 404, "Cannot find service"},
			{http.MethodPut, "/service/svc/dictionary/dict/item/k", "1", 200, `"item_value":"1"`},
			{http.MethodPut, "/service/svc/dictionary/dict/item/k", "2", 200, `"item_value":"2"`},
			{http.MethodPut, "/service/svc/dictionary/dict/item/k", "3", 429, "hourly rate limit"},
			{http.MethodGet, "/service/svc/dictionary/dict/item/k", "", 200, `"updated_at":"`}, // reading does not count
			{http.MethodPatch, "/service/svc/dictionary/dict/item/k", "4", 405, ""},
		} {
			if w := call(step.method, step.path, step.value); w.Code != step.want || !strings.Contains(w.Body.String(), step.says) {
				t.Errorf("%s %s %s: %d %s", step.method, step.path, step.value, w.Code, w.Body)
			}
		}
		if got := f.Item("svc", "dict", "k"); got != "" {
			t.Errorf("the edge has %q at once", got)
		}
		time.Sleep(30 * time.Second)
		if got := f.Item("svc", "dict", "k"); got != "2" {
			t.Errorf("the edge has %q after 30 s", got)
		}
	})
}
