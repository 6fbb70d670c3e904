// Package fastlyapi is what the purger and the targets at Fastly share. It is apart from
// apihttp so that nobody else pays for Fastly's library.
package fastlyapi

import (
	"errors"
	"strings"

	api "github.com/fastly/go-fastly/v12/fastly"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

// Failure prefers the words of the provider in err, of the library. An answer of 200 that
// could not be understood is Unknown.
func Failure(call apihttp.Call, err error) *cdn.Error {
	said := apihttp.Said{}
	if complaint, ok := errors.AsType[*api.HTTPError](err); ok {
		var lines []string
		for _, o := range complaint.Errors {
			lines = append(lines, strings.Trim(o.Title+": "+o.Detail, ": "))
		}
		said.Message = strings.Join(lines, "; ")
	} else if call.Answer.Status != 0 {
		said.Message = err.Error()
	}
	return call.Failure(err, said)
}
