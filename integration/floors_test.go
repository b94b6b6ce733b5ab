package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/omegacell/omegacell/"

// floors is the picture: every package of the repository stands on one floor. It may import packages of lower floors, and
// its own parents; nothing else of the repository. ARCHITECTURE.md shows the same lines, and the test compares them.
var floors = [][]string{
	{"cellstate", "cellstate/cellpb"},
	{"cellstate/wire", "cellstate/memstore", "cellstate/storetest", "schedulers/place", "schedulers/queue", "migrate", "agent/exec/shim"},
	{
		"schedulers", "schedulers/batch", "schedulers/service", "schedulers/schedtest", "schedulers/sim", "schedulers/sim/workload", "cellstate/etcdstore",
		"cellstate/mirror", "agent", "agent/exec", "agent/emulated", "agent/drivertest",
	},
	{"cellstate/etcdstore/etcdtest", "cmd/...", "integration/..."},
}

// reserved says which of the repository's packages alone may import a library.
var reserved = map[string][]string{
	"github.com/hashicorp/go-memdb": {"cellstate/mirror"},
	"go.etcd.io/etcd":               {"cellstate/etcdstore", "cellstate/etcdstore/etcdtest", "cmd/...", "integration/..."},
	"github.com/spf13/viper":        {"cmd/internal/cliconf"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestFloors(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, complaint := range complaints(p) {
			t.Error(complaint)
		}
	}
	if seen < 20 {
		t.Errorf("saw only %d packages: this no longer tests anything", seen)
	}
}

// complaints says what is wrong with one package's imports.
func complaints(p pkg) []string {
	name := strings.TrimPrefix(p.ImportPath, module)
	floor := floorOf(name)
	if floor < 0 {
		return []string{name + " stands on no floor: add it to the picture"}
	}
	var bad []string
	for _, imp := range p.Imports {
		if other, ours := strings.CutPrefix(imp, module); ours {
			if !mayImport(name, floor, other) {
				bad = append(bad, name+" may not import "+other+": that is up or across")
			}
			continue
		}
		if name == "cellstate" && strings.Contains(strings.Split(imp, "/")[0], ".") {
			bad = append(bad, name+" may import only the standard library, not "+imp)
		}
		for lib, who := range reserved {
			if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !slices.ContainsFunc(who, func(w string) bool { return within(name, w) }) {
				bad = append(bad, name+" may not import "+imp+": only "+strings.Join(who, ", ")+" may")
			}
		}
	}
	return bad
}

func mayImport(name string, floor int, other string) bool {
	if floor == len(floors)-1 {
		// Binaries wire everything; among themselves they share cmd/internal and cmd/schedmain only.
		top := strings.Split(other, "/")
		return floorOf(other) < floor || top[0] != "cmd" || strings.HasPrefix(other, "cmd/internal/") || other == "cmd/schedmain"
	}
	to := floorOf(other)
	return to >= 0 && (to < floor || to == floor && strings.HasPrefix(name, other+"/"))
}

func floorOf(name string) int {
	return slices.IndexFunc(floors, func(f []string) bool {
		return slices.ContainsFunc(f, func(w string) bool { return within(name, w) })
	})
}

// within reports whether a package is the one that w names, or below it where w ends in "/...".
func within(name, w string) bool {
	if dir, ok := strings.CutSuffix(w, "/..."); ok {
		return name == dir || strings.HasPrefix(name, dir+"/")
	}
	return name == w
}

// TestFloorsComplain breaks each rule once.
func TestFloorsComplain(t *testing.T) {
	for _, tt := range []struct{ name, from, to string }{
		{"up", "schedulers/place", module + "schedulers"},
		{"across", "schedulers", module + "agent"},
		{"no floor", "common", "fmt"},
		{"library in cellstate", "cellstate", "go.uber.org/zap"},
		{"memdb elsewhere", "schedulers", "github.com/hashicorp/go-memdb"},
		{"etcd elsewhere", "cellstate/mirror", "go.etcd.io/etcd/client/v3"},
		{"viper elsewhere", "cmd/celld", "github.com/spf13/viper"},
		{"binary imports binary", "cmd/cellsim", module + "cmd/cellctl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := complaints(pkg{ImportPath: module + tt.from, Imports: []string{tt.to}}); len(got) != 1 {
				t.Errorf("%s importing %s: %v, want one complaint", tt.from, tt.to, got)
			}
		})
	}
	for _, tt := range []struct{ name, from, to string }{
		{"down", "schedulers", module + "schedulers/place"},
		{"own parent", "agent/exec", module + "agent"},
		{"shared by binaries", "cmd/cellctl", module + "cmd/internal/cliconf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := complaints(pkg{ImportPath: module + tt.from, Imports: []string{tt.to}}); len(got) != 0 {
				t.Errorf("%s importing %s: %v, want none", tt.from, tt.to, got)
			}
		})
	}
}

// TestArchitectureShowsTheFloors compares the picture with the document's.
func TestArchitectureShowsTheFloors(t *testing.T) {
	doc, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for n, floor := range floors {
		line := regexp.MustCompile(`(?m)^F` + string(rune('0'+n)) + `\s+(.*(?:\n {4}.*)*)`).FindSubmatch(doc)
		if line == nil {
			t.Errorf("ARCHITECTURE.md shows no floor F%d", n)
			continue
		}
		got := strings.FieldsFunc(string(line[1]), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
		want := slices.Clone(floor)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("F%d in ARCHITECTURE.md: %v\nin the code: %v", n, got, want)
		}
	}
}
