package integration

import (
	"strings"
	"testing"
)

// TestNeverFits submits a job that is larger than any machine. It waits, says why in numbers that add up, and is in nobody's way.
func TestNeverFits(t *testing.T) {
	c := newCell(t)
	c.startMember()
	c.startAgent("m1")
	c.startAgent("m2", "--capacity", "cpu=2,memory=512Mi")
	c.startAgent("m3", "--attribute", "disk.kind=ssd")
	c.startScheduler("batchsched")
	c.ctl("cordon", "m3")
	huge := c.gated("batch", "huge", 2)
	huge.cpu = "100"
	huge.submit()
	c.until("the job is parked", huge.parked)
	var x struct {
		Parked             bool
		Waiting            int
		Machines, Eligible int
		Unblock            string
		Rules              []struct {
			Rule     string
			Machines int
		}
		NearMisses []struct{ Machine, Lacks string } `json:"near_misses"`
	}
	c.ctlJSON(&x, "explain", "job/huge")
	sum, full, cordoned := 0, 0, 0
	for _, r := range x.Rules {
		sum += r.Machines
		switch {
		case strings.Contains(r.Rule, "cpu"):
			full += r.Machines
		case strings.Contains(r.Rule, "cordon"):
			cordoned += r.Machines
		}
	}
	if !x.Parked || x.Waiting != 2 || x.Machines != 3 || x.Eligible != 0 || sum != 3 || full != 2 || cordoned != 1 || x.Unblock == "" || len(x.NearMisses) == 0 {
		t.Errorf("explain job/huge says %+v", x)
	}
	if out := c.ctl("explain", "job/huge"); !strings.Contains(out, "cpu") || !strings.Contains(out, "cordoned") {
		t.Errorf("explain job/huge prints\n%s", out)
	}

	small := c.gated("batch", "small", 2)
	small.open()
	small.submit("--wait=finished")
	small.startedOnce()
	_, stderr, code := c.tryCtl("wait", "huge", "--timeout", "300ms")
	if code != 6 || !strings.Contains(stderr, "huge is not running after 300ms") {
		t.Errorf("wait: exit code %d, want 6: %s", code, stderr)
	}
	if s := huge.starts(); len(s) > 0 {
		t.Errorf("it was started: %q", s)
	}
	c.checkInvariants()
}
