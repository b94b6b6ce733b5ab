package main

import (
	"strings"
	"testing"

	"github.com/omegacell/omegacell/cellstate"
)

func TestAmounts(t *testing.T) {
	has := cellstate.Resources{CPUMilli: 8000, MemBytes: 1 << 30}
	for _, tt := range []struct {
		list string
		want cellstate.Resources
		err  string
	}{
		{"", has, ""},
		{"cpu=4", cellstate.Resources{CPUMilli: 4000, MemBytes: 1 << 30}, ""},
		{"cpu=1.5,memory=64Mi", cellstate.Resources{CPUMilli: 1500, MemBytes: 64 << 20}, ""},
		{"cpu=0,memory=0", cellstate.Resources{}, ""},
		{"disk=2G,network=1Gbit,gpu=2", cellstate.Resources{CPUMilli: 8000, MemBytes: 1 << 30, DiskBytes: 2e9, NetBitsPerSecond: 1e9, GPUMilli: 2000}, ""},
		{"seats=5,ports=2", cellstate.Resources{CPUMilli: 8000, MemBytes: 1 << 30, Extended: []cellstate.Extended{{Name: "ports", Amount: 2}, {Name: "seats", Amount: 5}}}, ""},
		{"cpu=0.5m", has, `cpu: "0.5m" is finer than the cell counts`},
		{"cpu=-1", has, `cpu: want an amount such as 500m, 1.5 or 2, not "-1"`},
		{"cpu=1..2", has, `cpu: want an amount`},
		{"memory=99999999Ti", has, "more than the limit of"},
		{"network=100", has, `network: want a rate such as 100Mbit or 1Gbit, not "100"`},
		{"seats=1.5", has, `seats: "1.5" is finer than`},
		{"cpu=1,cpu=2", has, "cpu is given twice"},
		{"cpu=1,", has, `"" is not NAME=AMOUNT`},
	} {
		got, err := amounts(tt.list, has)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", tt.list, err, tt.err)
			}
			continue
		}
		if err != nil || !got.Equal(tt.want) {
			t.Errorf("%s: %s %v, want %s", tt.list, got, err, tt.want)
		}
	}
}
