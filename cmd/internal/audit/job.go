package audit

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

// counted is what one job counts for against a quota.
type counted struct {
	quota
	demand cellstate.Resources
}

// count brings the sum over live jobs up to date after a job or its status changed.
func (c *Checker) count(name jobName) {
	was, had := c.counted[name]
	now, has := c.demand(name)
	if had == has && was.quota == now.quota && was.demand.Equal(now.demand) {
		return
	}
	if had {
		c.quotas[was.quota] = c.quotas[was.quota].Sub(was.demand)
		c.touchTenant(was.tenant)
		delete(c.counted, name)
	}
	if has {
		c.quotas[now.quota] = c.quotas[now.quota].Add(now.demand)
		c.touchTenant(now.tenant)
		c.counted[name] = now
	}
}

// demand returns what a job counts for; nothing where it is not there or has ended.
func (c *Checker) demand(name jobName) (counted, bool) {
	job, _ := c.values[cellstate.JobKey(name.scheduler, name.job)].(*cellstate.Job)
	if job == nil || c.ended(job) {
		return counted{}, false
	}
	tenant := job.Tenant
	if tenant == "" {
		tenant = cellstate.DefaultTenant
	}
	return counted{quota{tenant, job.Precedence.Band()}, job.Demand()}, true
}

func (c *Checker) touchTenant(name string) {
	if _, ok := c.touched.tenants[name]; !ok {
		t, _ := c.values[cellstate.TenantKey(name)].(*cellstate.Tenant)
		c.touched.tenants[name] = t
	}
}

// checkQuotas checks what is admitted against the limit, and against what the live jobs ask for (I7).
func (c *Checker) checkQuotas() {
	for _, name := range slices.Sorted(maps.Keys(c.touched.tenants)) {
		t, _ := c.values[cellstate.TenantKey(name)].(*cellstate.Tenant)
		if t == nil {
			continue
		}
		key := "tenants/" + name
		for _, q := range t.Bands {
			if sum := c.quotas[quota{name, q.Band}]; q.Band != cellstate.BandBestEffort && !sum.Equal(q.Admitted) {
				c.violation("I7", key, "band %s has %s admitted, and its live jobs ask for %s", q.Band, q.Admitted, sum)
			}
			if q.Admitted.Fits(&q.Limit) {
				continue
			}
			if admitted := before(c.touched.tenants[name], q.Band); !c.base && admitted != nil && !q.Admitted.Fits(admitted) {
				c.violation("I7", key, "band %s has %s admitted, over its limit of %s", q.Band, q.Admitted, q.Limit)
			} else {
				c.note("I7", key, "the limit of band %s, %s, is below the %s that were admitted already", q.Band, q.Limit, q.Admitted)
			}
		}
	}
}

// before returns what a band had admitted, or nil where it had no quota.
func before(t *cellstate.Tenant, b cellstate.Band) *cellstate.Resources {
	if t == nil {
		return nil
	}
	for i := range t.Bands {
		if t.Bands[i].Band == b {
			return &t.Bands[i].Admitted
		}
	}
	return nil
}

// Unaccounted returns the tasks that the last revision shows without a state (I10): of a live job of which others are placed
// or done, neither done, nor with a claim, a history or an explanation. A job of which nothing is placed yet is waiting as a
// whole. On a cell at work there may be such tasks for a moment: between two commits of a scheduler.
func (c *Checker) Unaccounted() []Finding {
	claimed := make(map[run]map[uint32]bool)
	for id, l := range c.claims {
		if len(l.machines) > 0 {
			r := run{jobName{id.Scheduler, id.Job}, id.Run}
			if claimed[r] == nil {
				claimed[r] = make(map[uint32]bool)
			}
			claimed[r][id.Task] = true
		}
	}
	var out []Finding
	for _, v := range c.values {
		job, ok := v.(*cellstate.Job)
		if !ok || job.Stopped {
			continue
		}
		s, _ := c.values[cellstate.StatusKey(job.Scheduler, job.Name)].(*cellstate.JobStatus)
		if s != nil && (s.Run != job.Run || s.Version != job.Version) {
			continue // its scheduler has not looked at this version yet
		}
		if s == nil {
			s = &cellstate.JobStatus{Scheduler: job.Scheduler, Job: job.Name, Run: job.Run}
		}
		has := claimed[run{jobName{job.Scheduler, job.Name}, job.Run}]
		if s.Phase.Final() || s.Explanation != nil || len(has) == 0 && len(s.Done) == 0 && len(s.Tasks) == 0 {
			continue
		}
		for n := range job.Tasks {
			if !has[n] && !done(s, n) && !failed(s, n) {
				out = append(out, Finding{
					Rev: c.report.To, Invariant: "I10", Key: statusKey(s), Text: "the job is under way, and its task " + strconv.FormatUint(uint64(n), 10) + " has no state",
				})
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// orphans finds the live claims of the last revision whose job is gone. Where no job of the name was ever seen, the claims
// were made without one, which is for their scheduler to know.
func (c *Checker) orphans() {
	strangers := make(map[jobName]uint32)
	for _, k := range slices.SortedFunc(maps.Keys(c.values), cellstate.Key.Compare) {
		l, ok := c.values[k].(*cellstate.Ledger)
		if !ok {
			continue
		}
		for i := range l.Claims {
			n := &l.Claims[i]
			name := jobName{n.ID.Scheduler, n.ID.Job}
			gone, seen := c.jobsGone[name]
			switch {
			case n.Ended:
			case gone:
				c.violation("orphan", ledgerKey(l.Machine), "claim %s is live, and its job is gone", n.ID)
			case !seen:
				strangers[name]++
			}
		}
	}
	if len(strangers) > 0 {
		names := slices.SortedFunc(maps.Keys(strangers), func(a, b jobName) int { return strings.Compare(a.String(), b.String()) })
		var n uint32
		for _, c := range strangers {
			n += c
		}
		c.note("orphan", "jobs/", "%d live claims have no job that was ever submitted, the first of %s", n, names[0])
	}
}

// ended reports whether the present run of the job has ended.
func (c *Checker) ended(job *cellstate.Job) bool {
	s, _ := c.values[cellstate.StatusKey(job.Scheduler, job.Name)].(*cellstate.JobStatus)
	return s != nil && s.Run == job.Run && s.Version == job.Version && s.Phase.Final()
}
