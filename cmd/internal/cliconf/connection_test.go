package cliconf

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

func good() Connection {
	return Connection{Endpoints: []string{"127.0.0.1:2379"}, DialTimeout: time.Second, CommandTimeout: time.Second, Cell: "main"}
}

func TestConnectionCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Connection)
		says   string
	}{
		{"good", func(*Connection) {}, ""},
		{"no endpoints", func(c *Connection) { c.Endpoints = nil }, "--endpoints is empty"},
		{"an empty endpoint", func(c *Connection) { c.Endpoints = []string{"a:1", ""} }, "--endpoints has an empty address in it"},
		{"user and password", func(c *Connection) { c.User = "a:b:c" }, ""},
		{"user alone", func(c *Connection) { c.User = "a" }, "--user is not NAME:PASSWORD"},
		{"certificate alone", func(c *Connection) { c.Cert = "f" }, "--cert and --key are only of use together"},
		{"no time", func(c *Connection) { c.DialTimeout = 0 }, "--dial-timeout and --command-timeout must be above zero"},
		{"cell with a slash", func(c *Connection) { c.Cell = "a/b" }, "--cell: name"},
	} {
		c := good()
		tt.change(&c)
		err := c.Check()
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
}

// Where nothing listens, and where something listens that never answers, Dial says so in one line.
func TestDialNobody(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tt := range []struct{ name, at, says string }{
		{"closed", closed.Addr().String(), "connection refused"},
		{"silent", silent.Addr().String(), ""},
	} {
		c := good()
		c.Endpoints, c.DialTimeout = []string{tt.at}, 300*time.Millisecond
		client, err := c.Dial(t.Context(), nil)
		if err == nil {
			client.Close()
			t.Errorf("%s: no error", tt.name)
			continue
		}
		if s := err.Error(); !strings.HasPrefix(s, "no etcd answered at "+tt.at+" within 300ms: ") || !strings.Contains(s, tt.says) || !errors.Is(err, cellstate.ErrUnavailable) {
			t.Errorf("%s: %s", tt.name, s)
		}
	}
}

func TestDialCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := good()
	c.Endpoints = []string{"127.0.0.1:1"}
	if _, err := c.Dial(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

func TestDialBadCertificate(t *testing.T) {
	c := good()
	c.CACert = "/nonexistent/ca.pem"
	if _, err := c.Dial(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "--cacert, --cert, --key: ") {
		t.Errorf("error %v", err)
	}
}
