package schedmain_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cmd/schedmain"
	"github.com/omegacell/omegacell/schedulers/batch"
)

// TestUsage: bad usage gets one clear line and exit code 2, before anything is dialled.
func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string // on stderr
	}{
		{[]string{"--workers", "0"}, "--workers"},
		{[]string{"--in-flight", "0"}, "--in-flight"},
		{[]string{"--max-age", "4999ms"}, "--max-age"},
		{[]string{"--lease-ttl", "999ms"}, "--lease-ttl"},
		{[]string{"--retention", "0"}, "--retention"},
		{[]string{"--conflict-rule", "none"}, `"none" is not fit or seq`},
		{[]string{"--name", "a b"}, "--name"},
		{[]string{"--name", "operator"}, "--name"},
		{[]string{"--no-such-flag"}, "no-such-flag"},
		{[]string{"argument"}, "argument"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var out, err bytes.Buffer
			if code := schedmain.Run("batch", batch.Planner{}, tt.args, &out, &err); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			line := strings.TrimRight(err.String(), "\n")
			if !strings.Contains(line, tt.want) || strings.Contains(line, "\n") || out.Len() > 0 {
				t.Errorf("stderr %q, stdout %q; want one line with %q", line, out.String(), tt.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var out, err bytes.Buffer
	if code := schedmain.Run("batch", batch.Planner{}, []string{"version"}, &out, &err); code != 0 || !strings.Contains(out.String(), "batchsched") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out.String(), err.String())
	}
}
