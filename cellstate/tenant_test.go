package cellstate

import "testing"

// TestAdmit holds I7: what is admitted never exceeds the quota, band by band.
func TestAdmit(t *testing.T) {
	team := &Tenant{Name: "team", Bands: []BandQuota{
		{Band: BandBestEffort, Limit: Resources{}},
		{Band: BandBatch, Limit: Resources{CPUMilli: 1000, MemBytes: 100}, Admitted: cpu(400)},
		{Band: BandProduction, Limit: cpu(500)},
	}}
	for _, tt := range []struct {
		name   string
		tenant *Tenant
		p      Precedence
		demand Resources
		short  Shortage
		admits Resources // of the band afterwards
	}{
		{"all that is left", team, 199, cpu(600), Shortage{}, cpu(1000)},
		{"one more", team, 199, cpu(601), Shortage{Reason: ReasonFull, Dimension: CPU, Want: 601, Free: 600}, Resources{}},
		{"second dimension equal", team, 100, Resources{MemBytes: 100}, Shortage{}, Resources{CPUMilli: 400, MemBytes: 100}},
		{"second dimension over", team, 100, Resources{MemBytes: 101}, Shortage{Reason: ReasonFull, Dimension: Memory, Want: 101, Free: 100}, Resources{}},
		{"zero is none of it", team, 100, Resources{DiskBytes: 1}, Shortage{Reason: ReasonFull, Dimension: Disk, Want: 1}, Resources{}},
		{"extended, not in the quota", team, 100, Resources{Extended: []Extended{{"fpga", 1}}},
			Shortage{Reason: ReasonFull, Dimension: ExtendedResource, Name: "fpga", Want: 1}, Resources{}},
		{"other band, equal", team, 200, cpu(500), Shortage{}, cpu(500)},
		{"other band, over", team, 200, cpu(501), Shortage{Reason: ReasonFull, Dimension: CPU, Want: 501, Free: 500}, Resources{}},
		{"band without quota", team, 300, cpu(1 << 40), Shortage{}, Resources{}},
		{"best effort never counts", team, 99, cpu(1 << 40), Shortage{}, Resources{}},
		{"no tenant", nil, 100, cpu(1 << 40), Shortage{}, Resources{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, refusal := tt.tenant.Admit(tt.p, tt.demand)
			if refusal.Shortage != tt.short {
				t.Fatalf("refused for %+v, want %+v", refusal.Shortage, tt.short)
			}
			counted := tt.p.Band() == BandBatch || tt.p.Band() == BandProduction
			if tt.short != (Shortage{}) || !counted || tt.tenant == nil {
				if got != tt.tenant {
					t.Error("nothing was admitted, but the tenant is another")
				}
				if tt.short != (Shortage{}) && (refusal.Tenant != "team" || refusal.Band != tt.p.Band()) {
					t.Errorf("refusal %+v does not name the quota", refusal)
				}
				return
			}
			if !team.Bands[1].Admitted.Equal(cpu(400)) || !team.Bands[2].Admitted.Equal(Resources{}) {
				t.Error("Admit changed the tenant it was asked about")
			}
			if a := got.Bands[got.band(tt.p)].Admitted; !a.Equal(tt.admits) {
				t.Errorf("admitted %s, want %s", a, tt.admits)
			}
			back := got.Release(tt.p, tt.demand)
			if a, was := back.Bands[back.band(tt.p)].Admitted, team.Bands[team.band(tt.p)].Admitted; !a.Equal(was) {
				t.Errorf("released to %s, want %s", a, was)
			}
		})
	}
	more, _ := team.Admit(100, cpu(600))
	if more.Release(100, cpu(600)); !more.Bands[1].Admitted.Equal(cpu(1000)) {
		t.Error("Release changed the tenant it was asked about")
	}
	if (*Tenant)(nil).Release(100, cpu(1)) != nil || team.Release(99, cpu(1)) != team {
		t.Error("Release where nothing is counted returns another tenant")
	}
}

// TestAdmitBesideOverfull: a limit may be set below what is admitted; that refuses only who wants more of it.
func TestAdmitBesideOverfull(t *testing.T) {
	for _, over := range everyDimension {
		for _, other := range everyDimension {
			if over.d == other.d {
				continue
			}
			team := &Tenant{Name: "team", Bands: []BandQuota{{Band: BandBatch, Limit: over.of(1).Add(other.of(5)), Admitted: over.of(2)}}}
			if _, refusal := team.Admit(100, other.of(5)); refusal != (QuotaRefusal{}) {
				t.Errorf("%s over-full, all of %s: %s", over.d, other.d, refusal)
			}
			if _, refusal := team.Admit(100, other.of(5).Add(over.of(1))); refusal.Shortage.Dimension != over.d || refusal.Shortage.Free != -1 {
				t.Errorf("%s over-full, one more of it: %+v", over.d, refusal)
			}
		}
	}
}

func TestReleaseStopsAtZero(t *testing.T) {
	for _, dim := range everyDimension {
		for _, tt := range []struct{ admitted, back, left int64 }{{5, 4, 1}, {5, 5, 0}, {5, 6, 0}, {0, 1, 0}} {
			team := &Tenant{Name: "team", Bands: []BandQuota{{Band: BandBatch, Admitted: dim.of(tt.admitted)}}}
			var want Resources
			if tt.left > 0 {
				want = dim.of(tt.left)
			}
			if got := team.Release(100, dim.of(tt.back)).Bands[0].Admitted; !got.Equal(want) {
				t.Errorf("%s: %d of %d released: %s is left, want %s", dim.d, tt.back, tt.admitted, got, want)
			}
			if !team.Bands[0].Admitted.Equal(dim.of(tt.admitted)) {
				t.Errorf("%s: Release changed the tenant it was asked about", dim.d)
			}
		}
	}
	team := &Tenant{Name: "team", Bands: []BandQuota{{Band: BandBatch, Admitted: Resources{CPUMilli: 1, MemBytes: 9}}}}
	if got := team.Release(100, Resources{CPUMilli: 2, MemBytes: 2}).Bands[0].Admitted; !got.Equal(Resources{MemBytes: 7}) {
		t.Errorf("one amount at zero keeps another from being given back: %s", got)
	}
}

func TestQuotaRefusalString(t *testing.T) {
	for _, tt := range []struct {
		short Shortage
		want  string
	}{
		{Shortage{Reason: ReasonFull, Dimension: CPU, Want: 600, Free: 500}, "cpu wanted 600m, free 500m"},
		{Shortage{Reason: ReasonFull, Dimension: Memory, Want: 2 << 30, Free: -1}, "memory wanted 2Gi, free -1"},
		{Shortage{Reason: ReasonFull, Dimension: Network, Want: 1e10, Free: 1500}, "network wanted 10Gbit, free 1500bit"},
		{Shortage{Reason: ReasonFull, Dimension: ExtendedResource, Name: "fpga", Want: 2, Free: 1}, "fpga wanted 2, free 1"},
	} {
		q := QuotaRefusal{Tenant: "team", Band: BandBatch, Shortage: tt.short}
		if got, want := q.String(), "tenant team has not enough batch quota: "+tt.want; got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}
