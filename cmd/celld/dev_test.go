package main

import (
	"testing"

	"github.com/omegacell/omegacell/cmd/internal/jobfile"
)

// Beside emulated machines the examples are for the real ones: on others they would print nothing and never end.
func TestExamplesRunOnRealMachines(t *testing.T) {
	for _, tt := range []struct {
		cfg  devConfig
		want int // constraints
	}{
		{devConfig{Agents: 3}, 0},
		{devConfig{Agents: 3, Emulated: 1}, 1},
		{devConfig{Emulated: 1}, 0}, // there are no others
	} {
		for _, name := range []string{"hello.yaml", "web.yaml"} {
			b, err := example(name, tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			jobs, err := jobfile.Parse(name, b)
			if err != nil {
				t.Fatalf("%s with %+v: %v\n%s", name, tt.cfg, err, b)
			}
			if got := jobs[0].Constraints; len(got) != tt.want || tt.want == 1 && got[0].String() != "driver = exec" {
				t.Errorf("%s with %+v is constrained to %v", name, tt.cfg, got)
			}
		}
	}
}
