package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/cmd/internal/cliconf"
	"github.com/omegacell/omegacell/cmd/internal/submit"
)

const (
	agentsAtOnce = 16  // asked for what they have logs of
	maxFollowed  = 256 // tasks followed together
	maxIndexLine = 1 << 10
)

// logsOf is what logs was asked for.
type logsOf struct {
	job     *cellstate.Job
	task    int64 // negative: all
	attempt int64 // negative: the latest of each task
	stream  string
	tail    int64 // negative: all
	follow  bool
}

// output is where one task's logs are.
type output struct {
	id      cellstate.ClaimID
	address string
}

func (t *tool) logsCmd() *cobra.Command {
	var q logsOf
	cmd := &cobra.Command{
		Use:   "logs NAME[/TASK]",
		Short: "Shows what a job's tasks print, from the agents of their machines",
		Long: "Shows what a job's tasks print, from the agents of their machines. Of tasks whose claim is gone the agents are asked that are alive.\n" +
			"The lines of several tasks begin with the task: \"3| \".",
		Args: cobra.ExactArgs(1), ValidArgsFunction: t.completeNames(jobNames),
		RunE: t.verb(func(ctx context.Context, c *cell, cmd *cobra.Command, args []string) error {
			if q.stream != "stdout" && q.stream != "stderr" {
				return cliconf.Usagef("--stream %q is neither stdout nor stderr", q.stream)
			}
			s, err := c.snapshot(ctx)
			if err != nil {
				return err
			}
			if q.job, q.task, err = findTask(s, args[0]); err != nil {
				return err
			}
			where, err := c.outputs(ctx, s, &q)
			if err != nil {
				return err
			}
			return followed(ctx, q.follow, c.printLogs(ctx, cmd.OutOrStdout(), where, &q))
		}),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&q.follow, "follow", "f", false, "go on until the tasks have ended, or interrupted")
	fs.StringVar(&q.stream, "stream", "stdout", "`STREAM` to show: stdout or stderr")
	fs.Int64Var(&q.tail, "tail", -1, "only the last `N` lines of each task; negative is all")
	fs.Int64Var(&q.attempt, "attempt", -1, "the attempt `N` of each task; negative is the latest")
	return cmd
}

// findTask reads NAME or NAME/TASK. The task is negative where none is named.
func findTask(s cellstate.Snapshot, name string) (*cellstate.Job, int64, error) {
	j, _, err := findJob(s, name)
	if err == nil {
		return j, -1, nil
	}
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return nil, 0, err
	}
	task, notNumber := strconv.ParseUint(name[i+1:], 10, 32)
	if notNumber != nil {
		return nil, 0, err
	}
	if j, _, err = findJob(s, name[:i]); err != nil {
		return nil, 0, err
	}
	if task >= uint64(j.Tasks) {
		return nil, 0, fmt.Errorf("job %s/%s has tasks 0 to %d, not %d: %w", j.Scheduler, j.Name, j.Tasks-1, task, submit.ErrNotFound)
	}
	return j, int64(task), nil
}

func (q *logsOf) wants(id cellstate.ClaimID) bool {
	return id.Scheduler == q.job.Scheduler && id.Job == q.job.Name && id.Run == q.job.Run &&
		(q.task < 0 || int64(id.Task) == q.task) && (q.attempt < 0 || int64(id.Attempt) == q.attempt)
}

// outputs finds where the logs of each task are, by task.
func (c *cell) outputs(ctx context.Context, s cellstate.Snapshot, q *logsOf) ([]output, error) {
	found := make(map[uint32]output)
	add := func(o output) {
		if old, ok := found[o.id.Task]; q.wants(o.id) && (!ok || old.id.Attempt < o.id.Attempt) {
			found[o.id.Task] = o
		}
	}
	for v := range s.Claims(q.job.Scheduler, q.job.Name) {
		switch {
		case !q.wants(v.Claim.ID):
		case v.Machine.Session == nil || v.Machine.Session.Address == "":
			c.tool.warn("task %d is on machine %s, whose agent cannot be asked", v.Claim.ID.Task, v.Claim.Machine)
		default:
			add(output{v.Claim.ID, v.Machine.Session.Address})
		}
	}
	want := uint64(q.job.Tasks)
	if q.task >= 0 {
		want = 1
	}
	if uint64(len(found)) < want {
		for _, o := range c.askAgents(ctx, s) {
			if _, placed := found[o.id.Task]; !placed || q.attempt < 0 {
				add(o)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no agent that is alive has logs of %s/%s: %w", q.job.Scheduler, q.job.Name, submit.ErrNotFound)
	}
	if q.follow && len(found) > maxFollowed {
		return nil, cliconf.Usagef("%d tasks are more than the limit of %d that are followed together: name one", len(found), maxFollowed)
	}
	return slices.SortedFunc(maps.Values(found), func(a, b output) int { return cmp.Compare(a.id.Task, b.id.Task) }), nil
}

// askAgents asks every agent alive what it has logs of. One that does not answer is named and passed over.
func (c *cell) askAgents(ctx context.Context, s cellstate.Snapshot) []output {
	addresses := make(map[string]bool) // several machines may share an endpoint
	for i := range s.Len() {
		if m := s.At(i); m != nil && m.Session != nil && m.Session.Address != "" {
			addresses[m.Session.Address] = true
		}
	}
	var mu sync.Mutex
	var all []output
	var group errgroup.Group
	group.SetLimit(agentsAtOnce)
	for _, a := range slices.Sorted(maps.Keys(addresses)) {
		group.Go(func() error {
			ids, err := c.index(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				c.tool.warn("the agent at %s does not say what it has logs of: %v", a, err)
			}
			for _, id := range ids {
				all = append(all, output{id, a})
			}
			return nil
		})
	}
	_ = group.Wait() // none of them fails
	slices.SortFunc(all, func(a, b output) int { return cmp.Or(a.id.Compare(b.id), strings.Compare(a.address, b.address)) })
	return all
}

func (c *cell) index(ctx context.Context, address string) ([]cellstate.ClaimID, error) {
	ctx, cancel := c.brief(ctx)
	defer cancel()
	body, err := c.fetch(ctx, (&url.URL{Scheme: "http", Host: address, Path: "/logs"}).String())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var ids []cellstate.ClaimID
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxIndexLine)
	for lines.Scan() {
		id, err := cellstate.ParseClaimID(lines.Text())
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, lines.Err()
}

// fetch asks an agent for something, and returns the body of a good answer.
func (c *cell) fetch(ctx context.Context, from string) (io.ReadCloser, error) {
	client := http.Client{Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: c.tool.conf.DialTimeout}).DialContext,
		ResponseHeaderTimeout: c.tool.conf.CommandTimeout,
		DisableKeepAlives:     true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // as much of the reason as there is
	_ = resp.Body.Close()
	err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	if resp.StatusCode == http.StatusNotFound {
		err = fmt.Errorf("%w: %w", err, submit.ErrNotFound)
	}
	return nil, err
}

// printLogs prints the tasks one after the other, or all together where they are followed.
func (c *cell) printLogs(ctx context.Context, w io.Writer, where []output, q *logsOf) error {
	var mu sync.Mutex
	show := func(ctx context.Context, o output) error {
		prefix := ""
		if q.task < 0 && q.job.Tasks > 1 {
			prefix = strconv.FormatUint(uint64(o.id.Task), 10) + "| "
		}
		err := c.copyLog(ctx, o, q, func(in io.Reader) error {
			if prefix == "" {
				_, err := io.Copy(w, in)
				return err
			}
			return eachLine(in, func(line []byte) error {
				mu.Lock()
				defer mu.Unlock()
				_, err := fmt.Fprintf(w, "%s%s\n", prefix, line)
				return err
			})
		})
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it ended before the task did; the next agent has the rest")
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("task %d, from the agent at %s: %w", o.id.Task, o.address, err)
		}
		return err
	}
	if len(where) == 1 {
		return show(ctx, where[0])
	}
	// One agent that is away, or goes away, does not keep the logs of the others from being shown.
	var failed atomic.Int32
	var group errgroup.Group
	if !q.follow {
		group.SetLimit(1)
	}
	for _, o := range where {
		group.Go(func() error {
			err := show(ctx, o)
			if err != nil && ctx.Err() == nil {
				failed.Add(1)
				c.tool.warn("%v", err)
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("of %d tasks, the logs of %d are not shown to their end", len(where), n)
	}
	return nil
}

// copyLog gives one task's output to copy.
func (c *cell) copyLog(ctx context.Context, o output, q *logsOf, copy func(io.Reader) error) error {
	v := url.Values{"stream": {q.stream}}
	v.Set("run", strconv.FormatUint(uint64(o.id.Run), 16))
	v.Set("attempt", strconv.FormatUint(uint64(o.id.Attempt), 10))
	if q.tail >= 0 {
		v.Set("tail", strconv.FormatInt(q.tail, 10))
	}
	if q.follow {
		v.Set("follow", "1")
	}
	path := fmt.Sprintf("/logs/%s/%s/%d", o.id.Scheduler, o.id.Job, o.id.Task)
	body, err := c.fetch(ctx, (&url.URL{Scheme: "http", Host: o.address, Path: path, RawQuery: v.Encode()}).String())
	if err != nil {
		return err
	}
	defer body.Close()
	return copy(body)
}

// maxLine bounds a line that stands beside those of other tasks, in bytes. A longer one is shown as several.
const maxLine = 64 << 10

// eachLine calls print with every line, without its end.
func eachLine(in io.Reader, print func([]byte) error) error {
	r := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if err := print(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
