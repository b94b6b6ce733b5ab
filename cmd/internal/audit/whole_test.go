package audit

import (
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/omegacell/omegacell/cellstate/etcdstore/etcdtest"
	"github.com/omegacell/omegacell/cmd/internal/history"
)

// TestHistoryIsWhole: an audit that was not shown all of the history says so, instead of finding nothing wrong.
func TestHistoryIsWhole(t *testing.T) {
	client := etcdtest.Start(t).Client()
	put := func(key string) int64 {
		t.Helper()
		resp, err := client.Put(t.Context(), "/omegacell/main/"+key, "")
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Revision
	}
	k := make(keys)
	var last int64
	for _, key := range []string{"machines/a", "machines/b", "machines/a"} {
		last = put(key)
		k.apply(history.Revision{Rev: last, Entries: []history.Entry{history.Decode("main", &mvccpb.KeyValue{Key: []byte("/omegacell/main/" + key), ModRevision: last}, false)}})
	}
	if err := k.compare(t.Context(), client, "main", last); err != nil {
		t.Errorf("whole history: %v", err)
	}
	for name, change := range map[string]func(keys){
		"a change was missed":   func(k keys) { k["/omegacell/main/machines/a"]-- },
		"a key was missed":      func(k keys) { delete(k, "/omegacell/main/machines/b") },
		"a deletion was missed": func(k keys) { k["/omegacell/main/machines/c"] = 1 },
	} {
		part := make(keys)
		for key, rev := range k {
			part[key] = rev
		}
		change(part)
		if err := part.compare(t.Context(), client, "main", last); err == nil || !strings.Contains(err.Error(), "not whole") {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
}

// TestJudgeRefusesPartOfAHistory: an old etcd may tell that a walk has caught up before it brought anything.
func TestJudgeRefusesPartOfAHistory(t *testing.T) {
	client := etcdtest.Start(t).Client()
	resp, err := client.Put(t.Context(), "/omegacell/main/machines/a", "")
	if err != nil {
		t.Fatal(err)
	}
	early := func(yield func(history.Revision, error) bool) {
		_ = yield(history.Revision{Rev: 1, Base: true}, nil) && yield(history.Revision{Rev: resp.Header.Revision, Head: true}, nil)
	}
	if r, err := judge(t.Context(), early, client, "main"); err == nil || !strings.Contains(err.Error(), "not whole") {
		t.Errorf("report %+v, error %v; want one that says the history is not whole", r, err)
	}
}
