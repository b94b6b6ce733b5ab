package cliconf

import (
	"errors"
	"testing"
)

func TestCheckVersion(t *testing.T) {
	for _, tt := range []struct {
		version string
		sound   bool
	}{
		{"3.4.24", false}, {"3.4.25", true}, {"3.4.40", true},
		{"3.5.0", false}, {"3.5.7", false}, {"3.5.8", true},
		{"3.6.0", true}, {"3.7.3", true}, {"3.8.0-alpha.0", true}, {"4.0.0", true},
		{"3.3.27", false}, {"", false}, {"new", false},
	} {
		err := checkVersion(tt.version)
		if (err == nil) != tt.sound || err != nil && !errors.Is(err, errTooOld) {
			t.Errorf("version %q: %v, want sound %v", tt.version, err, tt.sound)
		}
	}
}
