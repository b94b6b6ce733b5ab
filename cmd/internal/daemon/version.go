package daemon

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// version is set when the binary is linked: -ldflags "-X …/cmd/internal/daemon.version=v1.2.3". Nothing else writes it.
var version string

// Version is the version of this binary: what the linker was told, else the module's, else "devel".
func Version() string {
	v, _ := build()
	return v
}

// build returns the version and the revision of the source, with "+" behind it where that was changed.
func build() (name, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(version, "devel"), "unknown"
	}
	changed := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	module := info.Main.Version
	if module == "(devel)" {
		module = ""
	}
	return cmp.Or(version, module, "devel"), cmp.Or(revision, "unknown") + changed
}

// VersionCommand is the command "version" of the binary called name.
func VersionCommand(name string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, revision := build()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s (revision %s, %s, %s/%s)\n", name, v, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// buildInfo is the metric omegacell_build_info, whose value is 1.
func buildInfo(name string) prometheus.Collector {
	v, revision := build()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "omegacell_build_info",
		Help:        "The binary's version; the value is 1.",
		ConstLabels: prometheus.Labels{"binary": name, "version": v, "revision": revision, "go": runtime.Version()},
	})
	g.Set(1)
	return g
}
