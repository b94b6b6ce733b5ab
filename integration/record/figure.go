package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// curve is one line of the figure: the CPU time, in microseconds, that one unit of work takes.
type curve struct {
	name  string
	bench string // %d stands for the number of machines
	unit  string
	per   float64 // what the figure is divided by, machines where it is 0
	color color.RGBA
}

// curves are what the figure shows.
var curves = []curve{
	{"plan a task of ten, 60 % full", "Place/machines=%d/tasks=10/shape=pack/full=60", "cpu-ns/task", 1, color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}},
	{"the same, spread over racks", "Place/machines=%d/tasks=10/shape=spread/full=60", "cpu-ns/task", 1, color.RGBA{R: 0xff, G: 0x7f, B: 0x0e, A: 0xff}},
	{"the same, 95 % full", "Place/machines=%d/tasks=10/shape=pack/full=95", "cpu-ns/task", 1, color.RGBA{R: 0xd6, G: 0x27, B: 0x28, A: 0xff}},
	{"mirror: apply a ledger", "Apply/machines=%d/tasks=100/index=all", "cpu-ns/ledger", 1, color.RGBA{R: 0x2c, G: 0xa0, B: 0x2c, A: 0xff}},
	{"mirror: rebuild, a machine", "Rebuild/machines=%d/claims=%d/cold", "ns/op", 0, color.RGBA{R: 0x94, G: 0x67, B: 0xbd, A: 0xff}},
}

// sizes are the cells of the figure; claims is how many a rebuild is of.
var sizes = []struct{ machines, claims int }{{1_000, 10_000}, {10_000, 100_000}, {100_000, 2_000_000}}

func (c *curve) points(s summary) plotter.XYs {
	var out plotter.XYs
	for _, n := range sizes {
		name, per := fmt.Sprintf(c.bench, n.machines), c.per
		if per == 0 {
			name, per = fmt.Sprintf(c.bench, n.machines, n.claims), float64(n.machines)
		}
		if f := s.find(name, c.unit); f != nil && f.median > 0 {
			out = append(out, plotter.XY{X: float64(n.machines), Y: f.median / per / 1000})
		}
	}
	return out
}

// writeFigure draws how cost grows with the cell. Without a figure to draw it writes none.
func writeFigure(path string, s summary) error {
	p := plot.New()
	p.Title.Text = "CPU time on one core against machines"
	p.X.Label.Text, p.Y.Label.Text = "machines", "µs"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	drawn := false
	for _, c := range curves {
		points := c.points(s)
		if len(points) == 0 {
			continue
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = c.color, vg.Points(1.5)
		marks.Color, marks.Shape = c.color, draw.CircleGlyph{}
		p.Add(line, marks)
		p.Legend.Add(c.name, line, marks)
		drawn = true
	}
	if !drawn {
		return nil
	}
	p.Y.Min, p.Y.Max = p.Y.Min/2, p.Y.Max*20 // room for the legend
	to, err := p.WriterTo(18*vg.Centimeter, 12*vg.Centimeter, "svg")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := to.WriteTo(&b); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(path, b.Bytes(), 0o644)
}
