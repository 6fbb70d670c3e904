package cloudfront

import (
	"os/exec"
	"strings"
	"testing"
)

// The packages that look for credentials in the environment, in files and at a
// metadata service are not linked.
func TestNoCredentialsAreLookedFor(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, part := range []string{"/aws-sdk-go-v2/config", "/aws-sdk-go-v2/credentials", "/ec2/imds", "/service/sts", "/service/sso"} {
			if strings.Contains(dep, part) {
				t.Errorf("%s is linked", dep)
			}
		}
	}
}
