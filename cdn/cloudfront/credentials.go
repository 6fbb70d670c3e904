package cloudfront

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ebbgate/ebbgate/cdn/internal/apihttp"
)

// Credentials of an AWS user or role. They are used as they are: nothing is
// looked up in the environment or at a metadata service, and nothing is renewed.
type Credentials struct {
	AccessKeyID     string // required
	SecretAccessKey string // required
	SessionToken    string // of temporary credentials
}

// ParseCredentials reads the form of ~/.aws/credentials with a single profile,
// whose name does not matter:
//
//	[default]
//	aws_access_key_id = AKIA…
//	aws_secret_access_key = …
//	aws_session_token = …
//
// Errors name a line and never quote it.
func ParseCredentials(text string) (Credentials, error) {
	var c Credentials
	fields := map[string]*string{
		"aws_access_key_id":     &c.AccessKeyID,
		"aws_secret_access_key": &c.SecretAccessKey,
		"aws_session_token":     &c.SessionToken,
	}
	profiles := 0
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			if profiles++; profiles > 1 {
				return Credentials{}, fmt.Errorf("line %d: a second profile, only one is allowed", n)
			}
			continue
		}
		name, value, found := strings.Cut(line, "=")
		field := fields[strings.TrimSpace(name)]
		if !found || field == nil {
			return Credentials{}, fmt.Errorf("line %d: must be aws_access_key_id, aws_secret_access_key or aws_session_token, = and a value", n)
		}
		*field = strings.TrimSpace(value)
	}
	return c, c.validate()
}

func (c Credentials) validate() error {
	if err := apihttp.ValidToken(c.AccessKeyID); err != nil {
		return fmt.Errorf("credentials.access_key_id: %w", err)
	}
	if err := apihttp.ValidToken(c.SecretAccessKey); err != nil {
		return fmt.Errorf("credentials.secret_access_key: %w", err)
	}
	if c.SessionToken != "" && apihttp.ValidToken(c.SessionToken) != nil {
		return errors.New("credentials.session_token has a character that is not printable ASCII")
	}
	return nil
}

// Retrieve is how the SDK asks for credentials.
func (c Credentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Source: "configuration",
	}, nil
}
