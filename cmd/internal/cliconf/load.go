package cliconf

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Sources says where settings come from besides flags, the environment's OMEGACELL_… and the file.
type Sources struct {
	// Etcdctl reads ETCDCTL_ENDPOINTS, _CACERT, _CERT, _KEY and _USER too, where OMEGACELL_… is not set.
	Etcdctl bool
}

// AddConfigFlag adds --config.
func AddConfigFlag(fs *pflag.FlagSet) {
	fs.String(configFlag, "", "`FILE` with settings, in YAML, TOML or JSON; its keys are the names of flags")
}

const configFlag = "config"

// Load gives each flag of cmd that was not given its value from the environment, else the file, and decodes all flags into the
// struct that into points to, by its mapstructure tags. Each of its fields must be a flag; flags without a field have their
// value only in their own variable. into may be nil. Errors are usage errors that name the variable, or the file and the key.
func (s Sources) Load(cmd *cobra.Command, into any) error {
	v := viper.New()
	fs := cmd.Flags()
	for _, f := range flagsOf(fs) {
		if err := v.BindPFlag(f.Name, f); err != nil {
			return err
		}
		if err := v.BindEnv(append([]string{f.Name}, s.variables(f.Name)...)...); err != nil {
			return err
		}
	}
	file, err := s.readFile(v, fs)
	if err != nil {
		return err
	}
	for _, f := range flagsOf(fs) {
		if err := s.assign(v, f, file); err != nil {
			return err
		}
	}
	if into == nil {
		return nil
	}
	exact := viper.New() // of the flags that into has fields for
	for _, name := range fieldNames(into) {
		if fs.Lookup(name) == nil {
			panic(fmt.Sprintf("cliconf: %T has the field %q, which is no flag", into, name))
		}
		exact.Set(name, v.Get(name))
	}
	return exact.UnmarshalExact(into)
}

// fieldNames lists the settings that a struct has fields for.
func fieldNames(into any) []string {
	m := make(map[string]any)
	if err := mapstructure.Decode(into, &m); err != nil {
		panic(fmt.Sprintf("cliconf: %T is no pointer to a struct of settings: %v", into, err))
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// flagsOf lists the flags that are settings.
func flagsOf(fs *pflag.FlagSet) []*pflag.Flag {
	var all []*pflag.Flag
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != configFlag && f.Name != "help" {
			all = append(all, f)
		}
	})
	return all
}

// variables lists the environment variables of a flag, the one that counts first.
func (s Sources) variables(flag string) []string {
	name := strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	list := []string{"OMEGACELL_" + name}
	if s.Etcdctl && slices.Contains([]string{"ENDPOINTS", "CACERT", "CERT", "KEY", "USER"}, name) {
		list = append(list, "ETCDCTL_"+name)
	}
	return list
}

// readFile reads the file that --config or OMEGACELL_CONFIG names into v and returns its name, "" where there is none.
func (s Sources) readFile(v *viper.Viper, fs *pflag.FlagSet) (string, error) {
	f := fs.Lookup(configFlag)
	if f == nil {
		return "", nil
	}
	file := f.Value.String()
	if !f.Changed {
		file = os.Getenv(s.variables(configFlag)[0])
	}
	if file == "" {
		return "", nil
	}
	switch ext := filepath.Ext(file); ext {
	case ".yaml", ".yml", ".toml", ".json":
	default:
		return "", Usagef("config file %s: its name ends in %q, not .yaml, .yml, .toml or .json", file, ext)
	}
	in := viper.New() // the file alone: v knows every flag
	in.SetConfigFile(file)
	if err := in.ReadInConfig(); err != nil {
		return "", Usagef("config file %s: %w", file, err)
	}
	known := make(map[string]bool)
	for _, f := range flagsOf(fs) {
		known[f.Name] = true
	}
	keys := make([]string, 0)
	for key := range in.AllSettings() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !known[key] {
			return "", Usagef("config file %s: unknown key %q", file, key)
		}
	}
	if err := v.MergeConfigMap(in.AllSettings()); err != nil {
		return "", Usagef("config file %s: %w", file, err)
	}
	return file, nil
}

// assign gives a flag that was not given on the command line the value that v has for it, through the flag's own parser:
// a bad value is refused wherever it stands, and so is "5" for a time.
func (s Sources) assign(v *viper.Viper, f *pflag.Flag, file string) error {
	if f.Changed {
		return nil
	}
	where := ""
	for _, name := range s.variables(f.Name) {
		if os.Getenv(name) != "" {
			where = "environment variable " + name
			break
		}
	}
	if where == "" && v.InConfig(f.Name) {
		where = fmt.Sprintf("config file %s: key %q", file, f.Name)
	}
	if where == "" {
		return nil
	}
	text, err := flagText(v.Get(f.Name))
	if err == nil {
		err = f.Value.Set(text)
	}
	if err != nil {
		return Usagef("%s: bad value %q: %w", where, text, err)
	}
	return nil
}

// flagText writes a value as it would stand on the command line.
func flagText(value any) (string, error) {
	switch value := value.(type) {
	case nil:
		return "", fmt.Errorf("there is none")
	case []any:
		var b strings.Builder
		w := csv.NewWriter(&b)
		row := make([]string, len(value))
		for i, item := range value {
			row[i] = fmt.Sprint(item)
		}
		if err := w.Write(row); err != nil {
			return "", err
		}
		w.Flush()
		return strings.TrimSuffix(b.String(), "\n"), w.Error()
	case map[string]any:
		return "", fmt.Errorf("it has fields")
	case float64: // every number of a JSON file
		return strconv.FormatFloat(value, 'f', -1, 64), nil
	default:
		return fmt.Sprint(value), nil
	}
}
