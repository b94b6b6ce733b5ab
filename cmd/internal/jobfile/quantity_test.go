package jobfile

import "testing"

func TestQuantities(t *testing.T) {
	for _, tt := range []struct {
		unit units
		in   string
		want int64 // -1: an error
	}{
		{milliUnits(), "500m", 500}, {milliUnits(), "1.5", 1500}, {milliUnits(), "2", 2000}, {milliUnits(), "0", 0},
		{milliUnits(), "0.001", 1}, {milliUnits(), "0.0005", -1}, {milliUnits(), "0.5m", -1},
		{milliUnits(), "-1", -1}, {milliUnits(), "1.", -1}, {milliUnits(), ".5", -1}, {milliUnits(), "1e3", -1},
		{milliUnits(), "0x10", -1}, {milliUnits(), "1_000", -1}, {milliUnits(), "1/2", -1}, {milliUnits(), "", -1}, {milliUnits(), "m", -1},
		{milliUnits(), "8796093022208m", 8796093022208}, {milliUnits(), "8796093022209m", -1}, {milliUnits(), "1/s", -1},
		{byteUnits(), "64Mi", 64 << 20}, {byteUnits(), "1Gi", 1 << 30}, {byteUnits(), "512M", 512e6}, {byteUnits(), "1.5Gi", 3 << 29},
		{byteUnits(), "1Ki", 1024}, {byteUnits(), "1K", 1000}, {byteUnits(), "1k", 1000}, {byteUnits(), "17", 17}, {byteUnits(), "1.5", -1},
		{byteUnits(), "8Ti", 8 << 40}, {byteUnits(), "9Ti", -1}, {byteUnits(), "1GB", -1}, {byteUnits(), "1 Gi", -1}, {byteUnits(), "1Gbit", -1},
		{bitUnits(), "100Mbit", 100e6}, {bitUnits(), "1Gbit", 1e9}, {bitUnits(), "10Mbit/s", 10e6}, {bitUnits(), "8bit", 8},
		{bitUnits(), "1kbit", 1000}, {bitUnits(), "2.5Gbit", 25e8}, {bitUnits(), "0", 0}, {bitUnits(), "100", -1}, {bitUnits(), "100M", -1},
		{bitUnits(), "0.5bit", -1}, {bitUnits(), "99999999999999999999999999999999999Gbit", -1},
	} {
		got, err := tt.unit.parse(tt.in)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%s %q = %d (%v), want %d", tt.unit.name, tt.in, got, err, tt.want)
		}
	}
}
