package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/jobfile"
)

// amounts reads a list such as "cpu=4,memory=8Gi,licences/solver=5" into r: what it names replaces what r has. Units are those
// of job files.
func amounts(list string, r cellstate.Resources) (cellstate.Resources, error) {
	if list == "" {
		return r, nil
	}
	extended := make(map[string]int64)
	for _, e := range r.Extended {
		extended[e.Name] = e.Amount
	}
	seen := make(map[string]bool)
	for _, item := range strings.Split(list, ",") {
		name, text, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return r, fmt.Errorf("%q is not NAME=AMOUNT", item)
		}
		if seen[name] {
			return r, fmt.Errorf("%s is given twice", name)
		}
		seen[name] = true
		n, err := jobfile.Amount(name, text)
		if err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
		switch name {
		case "cpu":
			r.CPUMilli = n
		case "memory":
			r.MemBytes = n
		case "disk":
			r.DiskBytes = n
		case "network":
			r.NetBitsPerSecond = n
		case "gpu":
			r.GPUMilli = n
		default:
			extended[name] = n
		}
	}
	r.Extended = nil
	for _, name := range slices.Sorted(maps.Keys(extended)) {
		if extended[name] > 0 {
			r.Extended = append(r.Extended, cellstate.Extended{Name: name, Amount: extended[name]})
		}
	}
	return r, r.Check()
}
