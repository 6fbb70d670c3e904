package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the release build.
var version = ""

type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this binary",
		Args:  takes(),
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{built(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if done, err := printValue(c, v); done {
				return err
			}
			if c.output == "name" {
				_, err := fmt.Fprintln(c.out, v.Version)
				return err
			}
			_, err := fmt.Fprintf(c.out, "ebbgate %s %s %s\n", v.Version, v.Go, v.Platform)
			return err
		},
	}
}

// built returns the version that was built, or the one in the module's build information.
func built() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
