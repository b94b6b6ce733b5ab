package submit

import (
	"github.com/omegacell/omegacell/cellstate"
	"github.com/omegacell/omegacell/schedulers/place"
)

// Check returns an error that names the first thing that no job may have. It wraps cellstate.ErrInvalid.
func Check(j *cellstate.Job) error {
	if err := j.Check(); err != nil {
		return err
	}
	return place.CheckConstraints(j)
}
