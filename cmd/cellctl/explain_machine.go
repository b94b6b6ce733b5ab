package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/omegacell/omegacell/cellstate"
)

// maxTimeline bounds how many later instants are shown for a machine.
const maxTimeline = 20

// explainMachine says what a machine has, now and later, and why it takes no claims.
func explainMachine(m *cellstate.MachineView, now cellstate.Instant) document {
	head := append(machineHead(m, now), item{"takes_claims", len(obstacles(m, now)) == 0})
	var why section
	why.name = "obstacles"
	for _, o := range obstacles(m, now) {
		why.rows = append(why.rows, row{{"obstacle", o}})
	}
	later := section{name: "later"}
	for _, at := range turns(m.Ledger, now) {
		later.rows = append(later.rows, row{{"from", at}, {"free", freeAt(m.Ledger, at)}})
	}
	var claims section
	claims.name = "claim_list"
	for i := range m.Ledger.Claims {
		claims.rows = append(claims.rows, claimRow(view(m, &m.Ledger.Claims[i]), now))
	}
	return document{head: head, sections: []section{why, later, claims}}
}

// obstacles lists why no claim can be placed on the machine now, or only few.
func obstacles(m *cellstate.MachineView, now cellstate.Instant) []string {
	var all []string
	l := m.Ledger
	if m.Session == nil {
		all = append(all, "no session: its agent is not running or cannot reach etcd")
	}
	if l.Cordoned {
		all = append(all, "cordoned by an operator; cellctl uncordon "+l.Machine)
	}
	if l.Drain != nil {
		text := "draining until " + l.Drain.Deadline.String()
		if l.Drain.Reason != "" {
			text += ": " + l.Drain.Reason
		}
		all = append(all, text+"; cellctl drain --cancel "+l.Machine)
	}
	if limit := (cellstate.Limits{}).WithDefaults().ClaimsPerMachine; len(l.Claims) >= limit {
		all = append(all, fmt.Sprintf("it holds %d claims, and the limit is %d", len(l.Claims), limit))
	}
	free := freeAt(l, now)
	if l.Overcommitted(now) != (cellstate.Shortage{}) {
		all = append(all, "it holds more than it has: its capacity shrank")
	}
	for _, d := range []struct {
		name      cellstate.Dimension
		has, free int64
	}{
		{cellstate.CPU, l.Capacity.CPUMilli, free.CPUMilli}, {cellstate.Memory, l.Capacity.MemBytes, free.MemBytes},
		{cellstate.Disk, l.Capacity.DiskBytes, free.DiskBytes}, {cellstate.Network, l.Capacity.NetBitsPerSecond, free.NetBitsPerSecond},
		{cellstate.GPU, l.Capacity.GPUMilli, free.GPUMilli},
	} {
		if d.has > 0 && d.free <= 0 {
			all = append(all, fmt.Sprintf("no %s is free", d.name))
		}
	}
	return all
}

// turns returns the next instants at which what is free changes.
func turns(l *cellstate.Ledger, now cellstate.Instant) []cellstate.Instant {
	var at []cellstate.Instant
	for i := range l.Claims {
		c := &l.Claims[i]
		if c.Ended {
			continue
		}
		end := cmp.Or(c.End, cellstate.Forever)
		if c.Evict != nil {
			end = min(end, c.Evict.Deadline)
		}
		for _, t := range []cellstate.Instant{c.Start, end} {
			if t > now && t != cellstate.Forever {
				at = append(at, t)
			}
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	return at[:min(maxTimeline, len(at))]
}
