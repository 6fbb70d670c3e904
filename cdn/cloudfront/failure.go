package cloudfront

import (
	"errors"
	"net/url"

	"github.com/aws/smithy-go"

	"github.com/ebbgate/ebbgate/cdn"
	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

// codes that say something else than the status they come with.
var codes = map[string]cdn.Class{
	"TooManyInvalidationsInProgress": cdn.RateLimited,
	"Throttling":                     cdn.RateLimited,
	"ThrottlingException":            cdn.RateLimited,
	"TooManyRequestsException":       cdn.RateLimited,
	"RequestLimitExceeded":           cdn.RateLimited,
	"ExpiredToken":                   cdn.Auth,
	"ExpiredTokenException":          cdn.Auth,
	"IncompleteSignature":            cdn.Auth,
	"InvalidClientTokenId":           cdn.Auth,
	"MissingAuthenticationToken":     cdn.Auth,
	"OptInRequired":                  cdn.Auth,
	"RequestExpired":                 cdn.Auth, // the clock of this machine
	"SignatureDoesNotMatch":          cdn.Auth,
	"UnrecognizedClientException":    cdn.Auth,
	// Two different sets of paths with one reference: this is not a conflict
	// that passes.
	"InvalidationBatchAlreadyExists": cdn.Refused,
}

// failure takes the words of the provider out of the SDK's layers.
func failure(call apihttp.Call, err error) *cdn.Error {
	if said, ok := errors.AsType[smithy.APIError](err); ok && call.Answer.Status/100 != 2 && said.ErrorCode() != "UnknownError" {
		return call.Failure(err, apihttp.Said{Message: said.ErrorCode() + ": " + said.ErrorMessage(), Class: codes[said.ErrorCode()]})
	}
	if call.Answer.Status != 0 {
		return call.Failure(nil, apihttp.Said{Message: unreadable(call.Answer.Status)})
	}
	if plain, ok := errors.AsType[*url.Error](err); ok {
		err = plain
	}
	return call.Failure(err, apihttp.Said{})
}

func unreadable(status int) string {
	if status/100 == 2 {
		return "the answer is not the XML it should be, or has no invalidation id"
	}
	return "the answer is not the XML of an error"
}
