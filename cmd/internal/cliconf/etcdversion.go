package cliconf

import (
	"errors"
	"fmt"

	"github.com/hashicorp/go-version"
)

// errTooOld is wrapped where etcd cannot be trusted with a cell.
var errTooOld = errors.New("too old")

// checkVersion returns an error for a version of etcd that a cell must not be kept in, or that cannot be read. Before 3.4.25
// and 3.5.8 a watch may tell of progress before the changes up to it, and a mirror would skip them (etcd issue 15220, mended
// by pull requests 15237, 15695 and 15697).
func checkVersion(etcd string) error {
	v, err := version.NewVersion(etcd)
	if err != nil {
		return fmt.Errorf("its version %q cannot be read: %w", etcd, errTooOld)
	}
	v = v.Core()
	for _, least := range []string{">= 3.4.25, < 3.5", ">= 3.5.8"} {
		c, err := version.NewConstraint(least)
		if err != nil {
			panic(err) // ours
		}
		if c.Check(v) {
			return nil
		}
	}
	return fmt.Errorf("version %s skips changes in watches; 3.4.25 and 3.5.8 are the first that do not: %w", etcd, errTooOld)
}
