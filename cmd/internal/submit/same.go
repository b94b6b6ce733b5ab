package submit

import (
	"reflect"

	"github.com/omegacell/omegacell/cellstate"
)

// SameSpec reports whether two jobs ask for the same: everything but what admission and the store set.
func SameSpec(a, b *cellstate.Job) bool {
	x, y := *a, *b
	for _, j := range []*cellstate.Job{&x, &y} {
		j.Rev, j.Run, j.Version, j.SubmittedAt, j.Stopped = 0, 0, 0, 0, false
	}
	return same(reflect.ValueOf(x), reflect.ValueOf(y))
}

// sameTasks reports whether each task of both jobs runs the same under the same conditions: then a running one needs no
// replacement. The number of tasks and the policies about them may differ.
func sameTasks(a, b *cellstate.Job) bool {
	x, y := *a, *b
	for _, j := range []*cellstate.Job{&x, &y} {
		j.Tasks, j.GangMin, j.Retries, j.Tenant = 0, 0, 0, ""
		j.Update, j.Disconnect = cellstate.UpdatePolicy{}, cellstate.DisconnectPolicy{}
	}
	return SameSpec(&x, &y)
}

// same is reflect.DeepEqual, except that an empty slice or map equals a nil one: the stored form does not tell them apart.
func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for _, k := range a.MapKeys() {
			if v := b.MapIndex(k); !v.IsValid() || !same(a.MapIndex(k), v) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	}
	return a.Equal(b)
}
