package integration

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

// network is a bridge on the host with network namespaces around it, each with one link to it.
type network struct {
	t      testing.TB
	number int // tells networks of test processes apart, in names and addresses
	hosts  int
}

// newNetwork makes the bridge, with an address of the range for tests of network devices (RFC 2544).
func newNetwork(t testing.TB) *network {
	t.Helper()
	n := &network{t: t, number: os.Getpid() % 64000}
	n.mustIP("link", "add", n.bridge(), "type", "bridge")
	t.Cleanup(func() { n.mustIP("link", "delete", n.bridge()) })
	n.mustIP("address", "add", n.addr(1)+"/24", "dev", n.bridge())
	n.mustIP("link", "set", n.bridge(), "up")
	return n
}

func (n *network) bridge() string        { return fmt.Sprintf("oc%db", n.number) }
func (n *network) link(host int) string  { return fmt.Sprintf("oc%dv%d", n.number, host) }
func (n *network) netns(host int) string { return fmt.Sprintf("oc%dn%d", n.number, host) }
func (n *network) addr(last int) string {
	return fmt.Sprintf("198.%d.%d.%d", 18+n.number/250%2, n.number%250, last)
}

// addHost makes a namespace and returns its number and address.
func (n *network) addHost() (int, string) {
	n.t.Helper()
	n.hosts++
	host, addr := n.hosts, n.addr(10+n.hosts)
	n.mustIP("netns", "add", n.netns(host))
	n.t.Cleanup(func() { n.mustIP("netns", "delete", n.netns(host)) })
	n.mustIP("link", "add", n.link(host), "type", "veth", "peer", "name", "eth0", "netns", n.netns(host))
	n.t.Cleanup(func() { n.mustIP("link", "delete", n.link(host)) }) // it would go with the namespace, but later
	n.mustIP("link", "set", n.link(host), "master", n.bridge(), "up")
	for _, in := range [][]string{
		{"link", "set", "lo", "up"}, {"address", "add", addr + "/24", "dev", "eth0"}, {"link", "set", "eth0", "up"},
	} {
		n.mustIP(append([]string{"-netns", n.netns(host)}, in...)...)
	}
	return host, addr
}

func (n *network) mustIP(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// in has a command run in the network of a host, and of everything else in that of the test: "ip netns exec" would cover /sys.
func (n *network) in(host int, c command) command {
	c.args = append([]string{"--net=/run/netns/" + n.netns(host), c.path}, c.args...)
	c.path = "nsenter"
	return c
}

// TestNetworkNamespaces has two agents on networks of their own, and cuts one off. Its task is replaced on the other machine once
// the job's time for that is over; when the link is back, the agent ends the task that was replaced.
func TestNetworkNamespaces(t *testing.T) {
	c := newCell(t)
	n := newNetwork(t)
	port := c.endpoint[strings.LastIndex(c.endpoint, ":"):]
	c.endpoint = "http://" + n.addr(1) + port
	c.startMember()
	hosts := make(map[string]int)
	for _, machine := range []string{"m1", "m2"} {
		host, addr := n.addHost()
		hosts[machine] = host
		start(t, n.in(host, c.agent(machine, "--metrics-listen", addr+":0", "--session-ttl", "3s"))).ready()
	}
	c.startScheduler("servicesched")
	web := c.gated("service", "web", 2)
	web.more = "spread: [{attribute: name, maxSkew: 1}]\ndisconnect: {replaceAfter: 1s}\n"
	before := web.submit().running()
	if m := machinesOf(before); !slices.Equal(m, []string{"m1", "m2"}) {
		t.Fatalf("the service runs on %v, want both machines", m)
	}
	away, other := before[0], before[1]

	n.mustIP("link", "set", n.link(hosts[away.Claim.Machine]), "down")
	replaced := c.until("the task that is cut off runs on the other machine", func(s cellstate.Snapshot) bool {
		tasks := runningTasks(s, "service", "web")
		return len(tasks) == 2 && machinesOf(tasks)[0] == other.Claim.Machine && len(machinesOf(tasks)) == 1
	})
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", away.Status.PID)); err != nil {
		t.Errorf("the task was ended while nobody could reach its agent: %v", err)
	}
	now := runningTasks(replaced, "service", "web")

	n.mustIP("link", "set", n.link(hosts[away.Claim.Machine]), "up")
	c.until("the agent has a session again", func(s cellstate.Snapshot) bool {
		m, ok := s.Machine(away.Claim.Machine)
		return ok && m.Session != nil
	})
	awaitGone(c, []cellstate.ClaimView{away})
	sameTasks(c, now, web.running())
	if starts := web.starts(); len(starts) != 3 {
		t.Errorf("the starts were %q, want two and one replacement", starts)
	}
	c.ctl("logs", "web", "--tail", "1") // the agents are reached in their networks
	c.ctl("stop", "web", "--wait")
	c.checkInvariants()
}
