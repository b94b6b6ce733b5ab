package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/omegacell/omegacell/cellstate"
)

// shelf keeps on disk what an agent has to know about its tasks after a restart: a file for each order, and which session
// was its own. A nil shelf keeps nothing.
type shelf struct {
	dir  string
	lock *os.File
}

// mine tells an agent's own session from another's.
type mine struct {
	Epoch     uint64
	StartedAt cellstate.Instant
}

// openShelf makes the directory where it is not there, and locks it against another agent.
func openShelf(dir string) (*shelf, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "orders"), 0o700); err != nil {
		return nil, fmt.Errorf("agent state: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("agent state: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("agent state %s is in use by another agent: %w", dir, cellstate.ErrInvalid), f.Close())
	}
	return &shelf{dir: dir, lock: f}, nil
}

func (s *shelf) close() error {
	if s == nil {
		return nil
	}
	return s.lock.Close()
}

func (s *shelf) path(id cellstate.ClaimID) string {
	sum := sha256.Sum256([]byte(id.String()))
	return filepath.Join(s.dir, "orders", hex.EncodeToString(sum[:16])+".json")
}

// put keeps an order: what it returned without an error for survives a crash of the host.
func (s *shelf) put(o *Order) error {
	if s == nil {
		return nil
	}
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return renameio.WriteFile(s.path(o.ID), b, 0o600)
}

// drop forgets an order.
func (s *shelf) drop(id cellstate.ClaimID) error {
	if s == nil {
		return nil
	}
	if err := os.Remove(s.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// load returns all orders, and the names of files that hold none.
func (s *shelf) load() (orders []*Order, bad []string, err error) {
	if s == nil {
		return nil, nil, nil
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "orders", "*.json"))
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, nil, fmt.Errorf("agent state: %w", err)
		}
		o := new(Order)
		if json.Unmarshal(b, o) != nil || s.path(o.ID) != f {
			bad = append(bad, f)
			continue
		}
		orders = append(orders, o)
	}
	return orders, bad, nil
}

// session returns which session was the agent's own before it was started again.
func (s *shelf) session() mine {
	var m mine
	if s == nil {
		return m
	}
	b, err := os.ReadFile(filepath.Join(s.dir, "session.json"))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return mine{}
	}
	return m
}

func (s *shelf) setSession(m mine) error {
	if s == nil {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(s.dir, "session.json"), b, 0o600)
}
