package cellstate

import (
	"fmt"
	"slices"
)

// Tenant is a team's quota by band, and what is admitted against it.
type Tenant struct {
	Name  string
	Rev   int64       // revision that wrote it; not part of what is stored
	Bands []BandQuota // sorted by band, at most one of each; a band without one is unlimited and not counted
}

// BandQuota bounds what one tenant's admitted jobs of one band ask for together.
type BandQuota struct {
	Band     Band
	Limit    Resources // an amount of zero of a resource means none of it, not unlimited
	Admitted Resources // what the jobs that have not ended ask for; never above Limit when a job is admitted (I7)
}

// QuotaRefusal says by how much a job exceeds a quota. The zero value means admitted.
type QuotaRefusal struct {
	Tenant   string
	Band     Band
	Shortage Shortage
}

func (q QuotaRefusal) String() string {
	s := q.Shortage
	return fmt.Sprintf("tenant %s has not enough %s quota: %s wanted %s, free %s",
		q.Tenant, q.Band, s.resource(), s.Dimension.amount(s.Want), s.Dimension.amount(s.Free))
}

// Admit returns the tenant with demand admitted in the band of p, or says what is short. An unlimited band, and best effort
// always, returns t itself. A nil tenant is unlimited.
func (t *Tenant) Admit(p Precedence, demand Resources) (*Tenant, QuotaRefusal) {
	i := t.band(p)
	if i < 0 {
		return t, QuotaRefusal{}
	}
	q := t.Bands[i]
	free := q.Limit.Sub(q.Admitted)
	if s := firstShortage(&demand, &free); s != (Shortage{}) {
		return t, QuotaRefusal{Tenant: t.Name, Band: q.Band, Shortage: s}
	}
	return t.with(i, q.Admitted.Add(demand)), QuotaRefusal{}
}

// Release returns the tenant with demand given back to the band of p. No amount falls below zero: what was given back twice,
// or never counted, must not become room above the limit (I7).
func (t *Tenant) Release(p Precedence, demand Resources) *Tenant {
	i := t.band(p)
	if i < 0 {
		return t
	}
	left := t.Bands[i].Admitted.Sub(demand)
	left = Resources{
		CPUMilli: max(0, left.CPUMilli), MemBytes: max(0, left.MemBytes), DiskBytes: max(0, left.DiskBytes),
		NetBitsPerSecond: max(0, left.NetBitsPerSecond), GPUMilli: max(0, left.GPUMilli),
		Extended: slices.DeleteFunc(slices.Clone(left.Extended), func(e Extended) bool { return e.Amount <= 0 }),
	}
	return t.with(i, left)
}

func (t *Tenant) band(p Precedence) int {
	if t == nil || p.Band() == BandBestEffort {
		return -1
	}
	for i := range t.Bands {
		if t.Bands[i].Band == p.Band() {
			return i
		}
	}
	return -1
}

func (t *Tenant) with(i int, admitted Resources) *Tenant {
	n := *t
	n.Bands = append([]BandQuota(nil), t.Bands...)
	n.Bands[i].Admitted = admitted
	return &n
}
