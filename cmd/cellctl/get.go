package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cellstate/wire"
	"github.com/omegacell/omegacell/cmd/internal/history"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

func (t *tool) getCmd() *cobra.Command {
	var rev int64
	var prefix, raw bool
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Shows what stands at a key, decoded: ledgers/m1, jobs/batch/hello/status, or the whole etcd key",
		Args:  cobra.ExactArgs(1),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			key := c.fullKey(args[0])
			opts := []clientv3.OpOption{clientv3.WithRev(rev)}
			if prefix {
				opts = append(opts, clientv3.WithPrefix(), clientv3.WithLimit(maxKeys+1))
			}
			ctx, cancel := c.brief(ctx)
			defer cancel()
			resp, err := c.client.Get(ctx, key, opts...)
			if err != nil {
				return c.getFailed(err, rev)
			}
			if len(resp.Kvs) == 0 {
				return fmt.Errorf("nothing at %s at revision %d: %w", key, resp.Header.Revision, submit.ErrNotFound)
			}
			if len(resp.Kvs) > maxKeys {
				return fmt.Errorf("more than %d keys begin with %s: ask for a longer prefix", maxKeys, key)
			}
			var corrupt []string
			for _, kv := range resp.Kvs {
				e := history.Decode(c.name, kv, false)
				if e.Err != nil {
					corrupt = append(corrupt, fmt.Sprintf("%s cannot be read: %v", e.Raw, e.Err))
				}
				if err := t.printEntry(cmd.OutOrStdout(), e, raw); err != nil {
					return err
				}
			}
			if len(corrupt) > 0 {
				return errors.New(strings.Join(corrupt, "; "))
			}
			return nil
		}),
	}
	fs := cmd.Flags()
	fs.Int64Var(&rev, "rev", 0, "as of the revision `N`; 0 is the newest")
	fs.BoolVar(&prefix, "prefix", false, "all keys that begin with KEY")
	fs.BoolVar(&raw, "hex", false, "the stored bytes in hexadecimal, also where they cannot be decoded")
	return cmd
}

// maxKeys bounds how many keys one get shows.
const maxKeys = 100000

// fullKey spells a key as etcd does. A name that begins with "/" is spelt so already.
func (c *cell) fullKey(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return wire.Prefix(c.name) + name
}

func (c *cell) getFailed(err error, rev int64) error {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("revision %d is not retained any more: %w", rev, cellstate.ErrCompacted)
	case errors.Is(err, rpctypes.ErrFutureRev):
		return fmt.Errorf("revision %d is yet to come: %w", rev, cellstate.ErrInvalid)
	}
	return fmt.Errorf("etcd: %w: %w", err, cellstate.ErrUnavailable)
}

// printEntry shows one key. What cannot be decoded has no value unless its bytes are asked for.
func (t *tool) printEntry(w io.Writer, e history.Entry, raw bool) error {
	var value any
	pretty := ""
	switch {
	case raw:
		value, pretty = hex.EncodeToString(e.Bytes), hex.EncodeToString(e.Bytes)
	case e.Err == nil:
		b, err := wire.JSON(e.Value)
		if err != nil {
			return err
		}
		value = json.RawMessage(b)
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err != nil {
			return err
		}
		pretty = out.String()
	default:
		pretty = "cannot be read" // why is on standard error
	}
	r := row{{"key", e.Raw}, {"create_revision", e.CreateRev}, {"mod_revision", e.Rev}, {"lease", e.Lease}, {"value", value}}
	if t.conf.WriteOut == "fields" && e.Err == nil && !raw {
		r = flatten(r[:4], "", value.(json.RawMessage))
	}
	if t.conf.WriteOut == "table" {
		return t.print(w, document{rev: e.Rev, head: row{r[0], r[1], r[2], r[3], {"value", strings.Trim(string(toJSON(value)), `"`)}}})
	}
	return t.printLine(w, r, e.Raw+"\n"+pretty)
}

// flatten adds the members of a JSON value, each under the path to it: claims.0.id.job.
func flatten(r row, path string, b json.RawMessage) row {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var walk func(path string) error
	walk = func(path string) error {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		delim, ok := tok.(json.Delim)
		if !ok {
			r = append(r, item{path, tok})
			return nil
		}
		for n := 0; d.More(); n++ {
			name := fmt.Sprint(n)
			if delim == '{' {
				key, err := d.Token()
				if err != nil {
					return err
				}
				name = fmt.Sprint(key)
			}
			if err := walk(strings.TrimPrefix(path+"."+name, ".")); err != nil {
				return err
			}
		}
		_, err = d.Token()
		return err
	}
	if err := walk(path); err != nil {
		panic(fmt.Sprintf("cellctl: wire.JSON gave no JSON: %v", err))
	}
	return r
}
