package cliconf

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

type settings struct {
	Connection `mapstructure:",squash"`
	Quota      int64  `mapstructure:"quota-bytes"`
	Ratio      string `mapstructure:"ratio"`
	Fast       bool   `mapstructure:"fast"`
}

// command is a binary with settings; it prints nothing and keeps what it loaded.
func command(s Sources, into *settings) *cobra.Command {
	root := &cobra.Command{Use: "prog", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return s.Load(cmd, into) }}
	AddConfigFlag(root.Flags())
	AddConnectionFlags(root.Flags())
	root.Flags().Int64("quota-bytes", 7, "")
	root.Flags().String("ratio", "", "")
	root.Flags().Bool("fast", false, "")
	root.Flags().Int("free", 1, "a flag without a field")
	return root
}

func run(t *testing.T, root *cobra.Command, args ...string) (int, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), root, args, &stdout, &stderr)
	if n := strings.Count(stderr.String(), "\n"); code != ExitOK && n != 1 || code == ExitOK && n != 0 {
		t.Errorf("code %d with %d lines on stderr: %q", code, n, stderr.String())
	}
	return code, strings.TrimSuffix(stderr.String(), "\n")
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A flag counts before a variable, that before the file, and the file before the default.
func TestPrecedence(t *testing.T) {
	file := write(t, "c.yaml", "quota-bytes: 1\nendpoints: [file:1, file:2]\n")
	for _, tt := range []struct {
		name      string
		env       map[string]string
		args      []string
		quota     int64
		endpoints string
	}{
		{"default", nil, nil, 7, "127.0.0.1:2379"},
		{"file over default", nil, []string{"--config", file}, 1, "file:1 file:2"},
		{"file by variable", map[string]string{"OMEGACELL_CONFIG": file}, nil, 1, "file:1 file:2"},
		{"variable over file", map[string]string{"OMEGACELL_QUOTA_BYTES": "2", "OMEGACELL_ENDPOINTS": "env:1,env:2"}, []string{"--config", file}, 2, "env:1 env:2"},
		{"flag over all", map[string]string{"OMEGACELL_QUOTA_BYTES": "2", "OMEGACELL_ENDPOINTS": "env:1"}, []string{"--config", file, "--quota-bytes=3", "--endpoints=flag:1"}, 3, "flag:1"},
		{"an empty variable is none", map[string]string{"OMEGACELL_QUOTA_BYTES": ""}, []string{"--config", file}, 1, "file:1 file:2"},
		{"etcdctl's variables are not read", map[string]string{"ETCDCTL_ENDPOINTS": "ctl:1"}, nil, 7, "127.0.0.1:2379"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			var got settings
			if code, stderr := run(t, command(Sources{}, &got), tt.args...); code != ExitOK {
				t.Fatal(stderr)
			}
			if got.Quota != tt.quota || strings.Join(got.Endpoints, " ") != tt.endpoints {
				t.Errorf("quota %d endpoints %v, want %d %s", got.Quota, got.Endpoints, tt.quota, tt.endpoints)
			}
		})
	}
}

func TestEtcdctlVariables(t *testing.T) {
	for k, v := range map[string]string{"ENDPOINTS": "ctl:1", "CACERT": "ca", "CERT": "cert", "KEY": "key", "USER": "root:x", "QUOTA_BYTES": "99"} {
		t.Setenv("ETCDCTL_"+k, v)
	}
	t.Setenv("OMEGACELL_CERT", "ours")
	var got settings
	if code, stderr := run(t, command(Sources{Etcdctl: true}, &got)); code != ExitOK {
		t.Fatal(stderr)
	}
	want := Connection{
		Endpoints: []string{"ctl:1"}, CACert: "ca", Cert: "ours", Key: "key", User: "root:x",
		DialTimeout: 5 * time.Second, CommandTimeout: 5 * time.Second, Cell: "main",
	}
	if diff := cmp.Diff(want, got.Connection); diff != "" || got.Quota != 7 {
		t.Errorf("quota %d; -want +got:\n%s", got.Quota, diff)
	}
}

func TestFileFormats(t *testing.T) {
	for name, text := range map[string]string{
		"c.yaml": "quota-bytes: 8589934592\ndial-timeout: 3s\nfast: true\nendpoints: a:1,b:1\nratio: 1.5\n",
		"c.yml":  "quota-bytes: 8589934592\ndial-timeout: 3s\nfast: true\nendpoints: [a:1, b:1]\nratio: 1.5\n",
		"c.toml": "quota-bytes = 8589934592\ndial-timeout = \"3s\"\nfast = true\nendpoints = [\"a:1\", \"b:1\"]\nratio = 1.5\n",
		"c.json": `{"quota-bytes": 8589934592, "dial-timeout": "3s", "fast": true, "endpoints": ["a:1", "b:1"], "ratio": 1.5}`,
	} {
		var got settings
		if code, stderr := run(t, command(Sources{}, &got), "--config", write(t, name, text)); code != ExitOK {
			t.Errorf("%s: %s", name, stderr)
			continue
		}
		if got.Quota != 8589934592 || got.DialTimeout != 3*time.Second || !got.Fast || fmt.Sprint(got.Endpoints) != "[a:1 b:1]" || got.Ratio != "1.5" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// Flags that have no field get their value in their own variable.
func TestFlagWithoutField(t *testing.T) {
	t.Setenv("OMEGACELL_FREE", "5")
	var got settings
	root := command(Sources{}, &got)
	if code, stderr := run(t, root); code != ExitOK {
		t.Fatal(stderr)
	}
	if v, err := root.Flags().GetInt("free"); err != nil || v != 5 {
		t.Errorf("free = %d, %v; want 5", v, err)
	}
}

func TestFieldWithoutFlag(t *testing.T) {
	root := &cobra.Command{Use: "prog", RunE: func(cmd *cobra.Command, _ []string) error {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		return Sources{}.Load(cmd, &struct {
			Nope string `mapstructure:"nope"`
		}{})
	}}
	run(t, root)
}

// Every bad setting is one line that says where it stands, and exits with 2.
func TestBadSettings(t *testing.T) {
	file := func(name, text string) []string { return []string{"--config", write(t, name, text)} }
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		says string // DIR stands for the file's folder
	}{
		{"unknown flag", nil, []string{"--nope"}, "prog: unknown flag: --nope (see prog --help)"},
		{"bad flag", nil, []string{"--quota-bytes=many"}, `prog: invalid argument "many" for "--quota-bytes" flag: strconv.ParseInt: parsing "many": invalid syntax (see prog --help)`},
		{"argument", nil, []string{"x"}, `prog: unknown command "x" for "prog" (see prog --help)`},
		{"misspelt key", nil, file("c.yaml", "quota-bytes: 1\nendponts: [a]\n"), `prog: config file DIR/c.yaml: unknown key "endponts" (see prog --help)`},
		{"misspelt table", nil, file("c.toml", "[quota]\nbytes = 1\n"), `prog: config file DIR/c.toml: unknown key "quota" (see prog --help)`},
		{"bad value in a file", nil, file("c.yaml", "quota-bytes: many\n"), `prog: config file DIR/c.yaml: key "quota-bytes": bad value "many": strconv.ParseInt: parsing "many": invalid syntax (see prog --help)`},
		{"a fraction", nil, file("c.json", `{"quota-bytes": 1.5}`), `prog: config file DIR/c.json: key "quota-bytes": bad value "1.5": strconv.ParseInt: parsing "1.5": invalid syntax (see prog --help)`},
		{"a time without unit", nil, file("c.yaml", "dial-timeout: 5\n"), `prog: config file DIR/c.yaml: key "dial-timeout": bad value "5": time: missing unit in duration "5" (see prog --help)`},
		{"fields", nil, file("c.yaml", "ratio: {a: 1}\n"), `prog: config file DIR/c.yaml: key "ratio": bad value "": it has fields (see prog --help)`},
		{"bad variable", map[string]string{"OMEGACELL_FAST": "maybe"}, nil, `prog: environment variable OMEGACELL_FAST: bad value "maybe": strconv.ParseBool: parsing "maybe": invalid syntax (see prog --help)`},
		{"no file", nil, []string{"--config", "/nonexistent/c.yaml"}, "prog: config file /nonexistent/c.yaml: open /nonexistent/c.yaml: no such file or directory (see prog --help)"},
		{"another format", nil, []string{"--config", "c.ini"}, `prog: config file c.ini: its name ends in ".ini", not .yaml, .yml, .toml or .json (see prog --help)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			want := tt.says
			if len(tt.args) == 2 {
				want = strings.ReplaceAll(want, "DIR", filepath.Dir(tt.args[1]))
			}
			var got settings
			code, stderr := run(t, command(Sources{}, &got), tt.args...)
			if code != ExitUsage || stderr != want {
				t.Errorf("code %d\n got %s\nwant %s", code, stderr, want)
			}
		})
	}
	t.Run("not YAML", func(t *testing.T) {
		var got settings
		code, stderr := run(t, command(Sources{}, &got), file("c.yaml", "a: 1\na: 2\n\tb: 3\n")...)
		if code != ExitUsage || !strings.Contains(stderr, "/c.yaml: ") {
			t.Errorf("code %d, %s", code, stderr)
		}
	})
}

func TestExitCodes(t *testing.T) {
	fail := func(err error) *cobra.Command {
		return &cobra.Command{Use: "prog", RunE: func(*cobra.Command, []string) error { return err }}
	}
	for _, tt := range []struct {
		err  error
		code int
		says string
	}{
		{nil, ExitOK, ""},
		{fmt.Errorf("disk\n is\tfull"), ExitFailure, "prog: disk is full"},
		{WithCode(7, context.Canceled), 7, "prog: context canceled"},
		{fmt.Errorf("wrapped: %w", Usagef("bad %d", 3)), ExitUsage, "prog: wrapped: bad 3 (see prog --help)"},
	} {
		if code, says := run(t, fail(tt.err)); code != tt.code || says != tt.says {
			t.Errorf("%v: code %d %q, want %d %q", tt.err, code, says, tt.code, tt.says)
		}
	}
	if code, _ := run(t, fail(nil), "--help"); code != ExitOK {
		t.Errorf("--help: code %d", code)
	}
}
