package jobfile

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/omegacell/omegacell/cellstate"
)

// units says how amounts of one resource are written: a decimal number and one of the suffixes.
type units struct {
	name     string
	example  string
	suffixes []suffix // the first that an amount ends in is its own
}

type suffix struct {
	text string
	rat  *big.Rat // of the resource's integer unit
}

// Amount reads an amount of a resource as job files spell it, in the resource's integer unit: of "cpu", "memory", "disk",
// "network" and "gpu" with their units, of an extended resource as a whole number.
func Amount(resource, text string) (int64, error) {
	switch resource {
	case "cpu", "gpu":
		return milliUnits().parse(text)
	case "memory", "disk":
		return byteUnits().parse(text)
	case "network":
		return bitUnits().parse(text)
	}
	return countUnits().parse(text)
}

// countUnits are whole things, such as licences.
func countUnits() units {
	return units{"count", "5", []suffix{{"", big.NewRat(1, 1)}}}
}

// milliUnits are cores and GPU devices, kept in thousandths: 2, 1.5, 500m.
func milliUnits() units {
	return units{"amount", "500m, 1.5 or 2", []suffix{{"m", big.NewRat(1, 1)}, {"", big.NewRat(1000, 1)}}}
}

// byteUnits are bytes: 64Mi, 1.5Gi, 512M, 1048576.
func byteUnits() units {
	u := units{name: "size", example: "64Mi, 1Gi or 512M"}
	binary, decimal := int64(1), int64(1)
	for _, p := range []string{"K", "M", "G", "T"} {
		binary, decimal = binary*1024, decimal*1000
		u.suffixes = append(u.suffixes, suffix{p + "i", big.NewRat(binary, 1)}, suffix{p, big.NewRat(decimal, 1)})
	}
	u.suffixes = append(u.suffixes, suffix{"k", big.NewRat(1000, 1)}, suffix{"", big.NewRat(1, 1)})
	return u
}

// bitUnits are bits per second: 100Mbit, 1Gbit/s. A bare number is refused, but for 0: half of the writers would mean bytes.
func bitUnits() units {
	u := units{name: "rate", example: "100Mbit or 1Gbit"}
	n := int64(1)
	for _, p := range []string{"K", "M", "G", "T"} {
		n *= 1000
		u.suffixes = append(u.suffixes, suffix{p + "bit", big.NewRat(n, 1)})
	}
	u.suffixes = append(u.suffixes, suffix{"kbit", big.NewRat(1000, 1)}, suffix{"bit", big.NewRat(1, 1)})
	return u
}

// parse returns the amount in the resource's integer unit, exactly: 0.3m is an error, not 0.
func (u units) parse(s string) (int64, error) {
	number := strings.TrimSuffix(s, "/s")
	if number != s && u.name != "rate" {
		return 0, u.want(s)
	}
	if number == "0" {
		return 0, nil
	}
	for _, x := range u.suffixes {
		digits, ok := strings.CutSuffix(number, x.text)
		if !ok || !decimal(digits) {
			continue
		}
		r, ok := new(big.Rat).SetString(digits)
		if !ok {
			break
		}
		r.Mul(r, x.rat)
		if !r.IsInt() {
			return 0, fmt.Errorf("%q is finer than the cell counts", s)
		}
		if !r.Num().IsInt64() || r.Num().Int64() > cellstate.MaxAmount {
			return 0, fmt.Errorf("%q is more than the limit of %d", s, cellstate.MaxAmount)
		}
		return r.Num().Int64(), nil
	}
	return 0, u.want(s)
}

func (u units) want(s string) error {
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	return fmt.Errorf("want %s %s such as %s, not %q", article(u.name), u.name, u.example, s)
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an"
	}
	return "a"
}

// decimal reports whether s is a plain decimal number, short enough to be one.
func decimal(s string) bool {
	whole, fraction, dot := strings.Cut(s, ".")
	return len(s) <= 32 && whole != "" && (!dot || fraction != "") && strings.Trim(whole+fraction, "0123456789") == ""
}

// formatMilli writes what milliUnits read.
func formatMilli(n int64) string {
	if n%1000 == 0 {
		return strconv.FormatInt(n/1000, 10)
	}
	return strconv.FormatInt(n, 10) + "m"
}
