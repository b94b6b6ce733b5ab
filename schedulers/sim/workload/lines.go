package workload

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/omegacell/omegacell/cellstate"
)

// maxLines bounds a file.
const maxLines = 10_000_000

// eachLine calls f with every line of a file and its number, from 1 on. An error of f is told with the place.
func eachLine(file string, f func(text string) error) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%w: %w", err, cellstate.ErrInvalid)
	}
	defer in.Close()
	scan := bufio.NewScanner(in)
	line := 0
	for scan.Scan() {
		line++
		if line > maxLines {
			return fmt.Errorf("%s: more than %d lines: %w", file, maxLines, cellstate.ErrInvalid)
		}
		if err := f(scan.Text()); err != nil {
			if !errors.Is(err, cellstate.ErrInvalid) {
				err = fmt.Errorf("%w: %w", err, cellstate.ErrInvalid)
			}
			return fmt.Errorf("%s:%d: %w", file, line, err)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w: %w", file, line+1, err, cellstate.ErrInvalid)
	}
	return nil
}

// amount reads a number from 0 to most.
func amount(name, text string, most float64) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= most) {
		return 0, fmt.Errorf("%s: %q is not a number from 0 to %g", name, text, most)
	}
	return v, nil
}

// maxSeconds bounds every time in a file: 30 years.
const maxSeconds = 1e9

func seconds(name, text string) (time.Duration, error) {
	v, err := amount(name, text, maxSeconds)
	return time.Duration(math.Round(v * float64(time.Second))), err
}

// count reads a whole number from low to high. "3.0" is one.
func count(name, text string, low, high int) (int, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != math.Trunc(v) || !(v >= float64(low) && v <= float64(high)) {
		return 0, fmt.Errorf("%s: %q is not a whole number from %d to %d", name, text, low, high)
	}
	return int(v), nil
}
