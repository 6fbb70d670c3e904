package cdntest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/cdn"
)

// CloudFrontConfig of a stand-in for cloudfront.amazonaws.com.
type CloudFrontConfig struct {
	AccessKeyID   string        // what the signature must name; required. The signature itself is not checked
	Distributions []string      // known distribution ids; empty means any
	Hosts         []string      // host names of every distribution, for OnPurge; default Host
	InProgress    time.Duration // how long an invalidation counts against the limits; default 25 s
	Paths         int           // paths and tags in progress in a distribution; default 3000
	Wildcards     int           // paths that end in * in progress in a distribution; default 15
	OnPurge       func(Purge)   // called for each purge carried out; may be nil
}

// CloudFront answers CreateInvalidation of the API of 2020-05-31.
type CloudFront struct {
	standIn
	config CloudFrontConfig

	batches map[string]invalidation // distribution and CallerReference → what it made; guarded by standIn.mu
}

type invalidation struct {
	id    string
	paths []string
	at    time.Time
}

func NewCloudFront(c CloudFrontConfig) *CloudFront {
	if c.Hosts == nil {
		c.Hosts = []string{Host}
	}
	if c.InProgress == 0 {
		c.InProgress = 25 * time.Second
	}
	if c.Paths == 0 {
		c.Paths = 3000
	}
	if c.Wildcards == 0 {
		c.Wildcards = 15
	}
	return &CloudFront{standIn: standIn{onPurge: c.OnPurge}, config: c, batches: map[string]invalidation{}}
}

// invalidationBatch is what a request carries, and what an answer repeats.
type invalidationBatch struct {
	CallerReference string   `xml:"CallerReference"`
	Items           []string `xml:"Paths>Items>Path"`
	Quantity        int      `xml:"Paths>Quantity"`
}

func (c *CloudFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := c.next()
	if !c.begin(w, r, fault) {
		return
	}
	if fault.Status != 0 {
		cloudFrontError(w, fault.Status, fault.Reason, fault.Message)
		return
	}
	if !strings.Contains(r.Header.Get("Authorization"), "Credential="+c.config.AccessKeyID+"/") {
		cloudFrontError(w, http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
		return
	}
	_, path, _ := strings.Cut(r.URL.Path, "/2020-05-31/distribution/")
	distribution, rest, _ := strings.Cut(path, "/")
	if r.Method != http.MethodPost || rest != "invalidation" {
		cloudFrontError(w, http.StatusNotFound, "NoSuchResource", "The stand-in knows CreateInvalidation only.")
		return
	}
	if len(c.config.Distributions) > 0 && !slices.Contains(c.config.Distributions, distribution) {
		cloudFrontError(w, http.StatusNotFound, "NoSuchDistribution", "The specified distribution does not exist.")
		return
	}
	var batch invalidationBatch
	if err := xml.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&batch); err != nil {
		cloudFrontError(w, http.StatusBadRequest, "MalformedInput", err.Error())
		return
	}
	if problem := checkBatch(batch); problem != "" {
		cloudFrontError(w, http.StatusBadRequest, "InvalidArgument", problem)
		return
	}
	made, fresh, code := c.invalidate(distribution, batch)
	switch code {
	case "InvalidationBatchAlreadyExists":
		cloudFrontError(w, http.StatusConflict, code, "The CallerReference was used with other paths.")
		return
	case "TooManyInvalidationsInProgress":
		cloudFrontError(w, http.StatusBadRequest, code, "Processing your request will cause you to exceed the maximum number of in-progress invalidations.")
		return
	}
	if fresh {
		c.done(Purge{Provider: "cloudfront", Scope: distribution, Selectors: c.selectors(batch.Items)}, fault)
	}
	answerXML(w, http.StatusCreated, struct {
		XMLName    xml.Name          `xml:"http://cloudfront.amazonaws.com/doc/2020-05-31/ Invalidation"`
		ID         string            `xml:"Id"`
		Status     string            `xml:"Status"`
		CreateTime time.Time         `xml:"CreateTime"`
		Batch      invalidationBatch `xml:"InvalidationBatch"`
	}{ID: made.id, Status: "InProgress", CreateTime: made.at.UTC(), Batch: batch})
}

// invalidate makes an invalidation, or finds the one its reference made before:
// then nothing is done again.
func (c *CloudFront) invalidate(distribution string, batch invalidationBatch) (made invalidation, fresh bool, code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := distribution + " " + batch.CallerReference
	if made, ok := c.batches[at]; ok {
		if !slices.Equal(made.paths, batch.Items) {
			return made, false, "InvalidationBatchAlreadyExists"
		}
		return made, false, ""
	}
	count := map[bool]int{} // is a wildcard → how many in progress
	add := func(paths []string) {
		for _, p := range paths {
			count[p[0] == '/' && strings.HasSuffix(p, "*")]++
		}
	}
	add(batch.Items)
	for key, b := range c.batches {
		if strings.HasPrefix(key, distribution+" ") && time.Since(b.at) < c.config.InProgress {
			add(b.paths)
		}
	}
	if count[false] > c.config.Paths || count[true] > c.config.Wildcards {
		return invalidation{}, false, "TooManyInvalidationsInProgress"
	}
	made = invalidation{id: fmt.Sprintf("I%013X", len(c.batches)+1), paths: batch.Items, at: time.Now()}
	c.batches[at] = made
	return made, true, ""
}

// checkBatch returns what the documentation of tags and paths forbids.
func checkBatch(b invalidationBatch) string {
	if b.CallerReference == "" || len(b.Items) == 0 || b.Quantity != len(b.Items) {
		return fmt.Sprintf("reference %q, %d items, quantity %d", b.CallerReference, len(b.Items), b.Quantity)
	}
	for _, p := range b.Items {
		tag, isTag := strings.CutPrefix(p, "#")
		switch {
		case isTag && (tag == "" || len(tag) > 256 || strings.ContainsAny(tag, ", ")):
			return "invalid tag"
		case !isTag && (len(p) > 4000 || !strings.HasPrefix(p, "/") || strings.Contains(strings.TrimSuffix(p, "*"), "*") || strings.ContainsAny(p, " <>{}|\\^~[]`")):
			return "Your request contains one or more invalid invalidation paths."
		}
	}
	return ""
}

// selectors takes a distribution's view back to that of its host names.
func (c *CloudFront) selectors(paths []string) []cdn.Selector {
	var out []cdn.Selector
	for _, p := range paths {
		if tag, ok := strings.CutPrefix(p, "#"); ok {
			out = append(out, cdn.Selector{Kind: cdn.Key, Value: tag})
			continue
		}
		if p == "/*" {
			out = append(out, cdn.Selector{Kind: cdn.All})
			continue
		}
		for _, host := range c.config.Hosts {
			if prefix, ok := strings.CutSuffix(p, "*"); ok {
				out = append(out, cdn.Selector{Kind: cdn.Prefix, Value: host + prefix})
			} else {
				out = append(out, cdn.Selector{Kind: cdn.URL, Value: "https://" + host + p})
			}
		}
	}
	return out
}

func cloudFrontError(w http.ResponseWriter, status int, code, message string) {
	type inner struct {
		Type    string `xml:"Type"`
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	}
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	answerXML(w, status, struct {
		XMLName   xml.Name `xml:"http://cloudfront.amazonaws.com/doc/2020-05-31/ ErrorResponse"`
		Error     inner    `xml:"Error"`
		RequestID string   `xml:"RequestId"`
	}{Error: inner{kind, code, message}, RequestID: "00000000-0000-0000-0000-000000000000"})
}

func answerXML(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(body)
}
