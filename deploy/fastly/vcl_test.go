// Package fastly_test holds the VCL to what the provider's code says of it.
package fastly_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The documentation of the fence shows the VCL that is shipped.
func TestVCL(t *testing.T) {
	vcl, err := os.ReadFile("ebbgate.vcl")
	if err != nil {
		t.Fatal(err)
	}
	_, sub, _ := strings.Cut(string(vcl), "\nsub ")
	source, err := os.ReadFile("../../cdn/fastly/fence.go")
	if err != nil {
		t.Fatal(err)
	}
	told := regexp.MustCompile(`(?m)^//( |\t|$)`).ReplaceAllString(string(source), "")
	if sub == "" || !strings.Contains(told, "\nsub "+sub) {
		t.Errorf("cdn/fastly/fence.go does not show sub %s", sub)
	}
}
