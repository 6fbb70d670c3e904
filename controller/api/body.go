package api

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/ebbgate/ebbgate/wire"
)

// readBody reads the whole body within the route's bound.
func readBody(r *request) ([]byte, error) {
	data, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large",
			Message: "the body has more than " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes"}
	case err != nil:
		return nil, badRequest("", "cannot read the body: "+err.Error())
	}
	return data, nil
}

// decodeBody fills v from a JSON body as strictly as a document is.
func decodeBody(r *request, v any) error {
	data, err := readBody(r)
	if err != nil {
		return err
	}
	if err := wire.DecodeJSON("request", maxBody, data, v); err != nil {
		return refusedBody(err)
	}
	return nil
}

// refusedBody says that a body cannot be read, rather than that a document is refused.
func refusedBody(err error) error {
	e := failureOf(err)
	if e.Status == http.StatusUnprocessableEntity {
		e.Status, e.Code = http.StatusBadRequest, "invalid"
	}
	return e
}

// pathToken reads a name from the path.
func pathToken[T ~string](r *request, name string) (T, error) {
	return checkName[T](name, r.PathValue(name))
}

// queryToken reads a name from the query; "" when it is absent.
func queryToken[T ~string](r *request, name string) (T, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return "", nil
	}
	return checkName[T](name, v)
}

func checkName[T ~string](field, v string) (T, error) {
	if err := wire.CheckToken(v); err != nil {
		return "", badRequest(field, field+" "+err.Error())
	}
	return T(v), nil
}

func pathDigest(r *request) (wire.Digest, error) {
	d, err := wire.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return d, badRequest("digest", err.Error())
	}
	return d, nil
}

// afterID reads the id to go on after: the header that a browser resumes with, or the
// query.
func afterID(r *request) (uint64, error) {
	v := r.Header.Get("Last-Event-ID")
	if v == "" {
		v = r.URL.Query().Get("after")
	}
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, badRequest("after", "after "+strconv.Quote(wire.Clip(v))+" is not a number")
	}
	return n, nil
}
