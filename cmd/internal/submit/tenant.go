package submit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// Quota is a wish of an operator: what one band of a tenant may have admitted; nil takes the limit away.
type Quota struct {
	Tenant string
	Band   cellstate.Band
	Limit  *cellstate.Resources
}

// SetQuota writes a tenant's quota, with what its live jobs ask for counted anew in every band that has a quota, in one
// transaction that fails if any job or status changed meanwhile. A limit below what is admitted is allowed: nothing more is
// admitted until enough has ended. Errors wrap cellstate.ErrInvalid, ErrRefused (a race lost too often), or what the store
// returned.
func SetQuota(ctx context.Context, store cellstate.Store, q Quota) (*cellstate.Tenant, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	for n := range attempts {
		tenant, swap, err := planQuota(ctx, store, q)
		if err != nil {
			return nil, err
		}
		done, err := store.Swap(ctx, swap)
		if err != nil {
			return nil, err
		}
		if done.OK {
			return cellstate.WithRev(tenant, done.Rev).(*cellstate.Tenant), nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("tenant %s: %w", q.Tenant, ctx.Err())
		case <-time.After(min(time.Millisecond<<n, 100*time.Millisecond)):
		}
	}
	return nil, fmt.Errorf("tenant %s: jobs changed under the count %d times: %w", q.Tenant, attempts, ErrRefused)
}

func (q *Quota) check() error {
	if err := cellstate.CheckName(q.Tenant); err != nil {
		return err
	}
	if !slices.Contains(cellstate.Bands(), q.Band) || q.Band == cellstate.BandBestEffort {
		return fmt.Errorf("tenant %s: band %s has no quota: %w", q.Tenant, q.Band, cellstate.ErrInvalid)
	}
	if q.Limit != nil {
		if err := q.Limit.Check(); err != nil {
			return fmt.Errorf("tenant %s: limit: %w", q.Tenant, err)
		}
	}
	return nil
}

// planQuota reads jobs and statuses, and returns the tenant as it is to be and the swap that writes it.
func planQuota(ctx context.Context, store cellstate.Store, q Quota) (*cellstate.Tenant, cellstate.Swap, error) {
	jobs, err := store.List(ctx, cellstate.Range{Kind: cellstate.KindJob}, 0)
	if err != nil {
		return nil, cellstate.Swap{}, err
	}
	statuses, err := store.List(ctx, cellstate.Range{Kind: cellstate.KindStatus}, jobs.Rev)
	if err != nil {
		return nil, cellstate.Swap{}, err
	}
	old, err := get(ctx, store, cellstate.TenantKey(q.Tenant))
	if err != nil {
		return nil, cellstate.Swap{}, err
	}
	tenant := &cellstate.Tenant{Name: q.Tenant}
	if t, ok := old.Value.(*cellstate.Tenant); ok {
		tenant.Bands = t.Bands
	}
	tenant.Bands = recount(q.apply(tenant.Bands), q.Tenant, jobs.Records, statuses.Records)
	return tenant, cellstate.Swap{
		Guards: []cellstate.Guard{{Key: old.Key, Rev: old.Rev}},
		Unchanged: []cellstate.RangeGuard{
			{Range: cellstate.Range{Kind: cellstate.KindJob}, Rev: jobs.Rev},
			{Range: cellstate.Range{Kind: cellstate.KindStatus}, Rev: jobs.Rev},
		},
		Put: []cellstate.Put{{Value: tenant}},
	}, nil
}

// apply returns the bands with the limit set or taken away, sorted by band.
func (q *Quota) apply(bands []cellstate.BandQuota) []cellstate.BandQuota {
	out := slices.DeleteFunc(slices.Clone(bands), func(b cellstate.BandQuota) bool { return b.Band == q.Band })
	if q.Limit != nil {
		out = append(out, cellstate.BandQuota{Band: q.Band, Limit: *q.Limit})
	}
	slices.SortFunc(out, func(a, b cellstate.BandQuota) int { return int(a.Band) - int(b.Band) })
	return out
}

// recount sets what the tenant's live jobs ask for in each band.
func recount(bands []cellstate.BandQuota, tenant string, jobs, statuses []cellstate.Record) []cellstate.BandQuota {
	status := make(map[cellstate.Key]*cellstate.JobStatus, len(statuses))
	for _, r := range statuses {
		if s, ok := r.Value.(*cellstate.JobStatus); ok {
			status[r.Key] = s
		}
	}
	for i := range bands {
		bands[i].Admitted = cellstate.Resources{}
	}
	for _, r := range jobs {
		j, ok := r.Value.(*cellstate.Job)
		if !ok || tenantOf(j) != tenant || Final(j, status[cellstate.StatusKey(j.Scheduler, j.Name)]) {
			continue
		}
		for i := range bands {
			if bands[i].Band == j.Precedence.Band() {
				bands[i].Admitted = bands[i].Admitted.Add(j.Demand())
			}
		}
	}
	return bands
}
