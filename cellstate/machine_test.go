package cellstate

import (
	"slices"
	"testing"
)

func TestReportFind(t *testing.T) {
	var none *Report
	if none.Find(ClaimID{}) != nil || new(Report).Find(ClaimID{}) != nil {
		t.Error("a report of nothing has a status")
	}
	r := &Report{Machine: "m1"}
	for _, job := range []string{"a", "c", "e"} {
		for task := range uint32(3) {
			r.Claims = append(r.Claims, ClaimStatus{ID: claimOf("s", job, 2*task, cpu(1)).ID})
		}
	}
	for _, job := range []string{"", "a", "b", "c", "d", "e", "f"} {
		for task := range uint32(6) {
			id := claimOf("s", job, task, cpu(1)).ID
			want := slices.IndexFunc(r.Claims, func(s ClaimStatus) bool { return s.ID == id })
			if got := r.Find(id); (got != nil) != (want >= 0) || got != nil && got != &r.Claims[want] {
				t.Errorf("%v: %+v, want number %d", id, got, want)
			}
		}
	}
}
