package main

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// panel is one pair of axes.
type panel struct {
	title      string
	x, y       string // labels, with units
	logX, logY bool
	ticksX     []float64 // where the x axis is labelled; none: as the scale does
	lines      []chartLine
	level      float64 // a horizontal line, such as an objective; 0 for none
	levelName  string
	least      float64 // of a logarithmic y axis: what is below is drawn here
	most       float64 // of a linear y axis: what is above is cut off; 0: nothing is
}

// chartLine is one line of a panel. Lines of one name share their colour over all panels of a chart.
type chartLine struct {
	name   string
	like   string // of an approximation: the name of the measured line beside which it stands, dashed and without marks
	level  bool   // in a legend: a panel's level
	points []chartPoint
}

// chartPoint is a median, with the median absolute deviation as its bar.
type chartPoint struct{ x, y, mad float64 }

// plot makes the panel's plot, without its title: gonum would put that as far above the axes as its longest label needs.
func (p panel) plot(names []chartLine) (*plot.Plot, error) {
	out := plot.New()
	out.X.Label.Text, out.Y.Label.Text = p.x, p.y
	for _, a := range []*plot.Axis{&out.X, &out.Y} {
		a.Label.TextStyle.Font = sans(10, false)
		a.Tick.Label.Font = sans(9, false)
		a.Padding = 0.08 * vg.Centimeter
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{225}, color.Gray{225}
	out.Add(grid)
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range p.lines {
		for _, at := range l.points {
			low, high = min(low, p.floor(at.y-at.mad)), max(high, p.floor(at.y+at.mad))
		}
		if err := p.addLine(out, l, names); err != nil {
			return nil, err
		}
	}
	if p.level > 0 {
		level := plotter.NewFunction(func(float64) float64 { return p.level })
		level.LineStyle = dotted()
		out.Add(level)
		high = max(high, p.level)
		low = min(low, p.level)
	}
	p.scale(out, low, high)
	return out, nil
}

// scale sets the axes' ranges and marks.
func (p panel) scale(out *plot.Plot, low, high float64) {
	if p.logX {
		out.X.Scale = plot.LogScale{}
		out.X.Tick.Marker = plot.TickerFunc(logTicks)
	}
	if len(p.ticksX) > 0 {
		var ticks plot.ConstantTicks
		for _, v := range p.ticksX {
			ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
		}
		out.X.Tick.Marker = ticks
	}
	if !p.logY {
		out.Y.Min, out.Y.Max = min(0, low), max(high*1.05, 0.01)
		if p.most > 0 {
			out.Y.Max = min(out.Y.Max, p.most)
		}
		return
	}
	out.Y.Scale = plot.LogScale{}
	out.Y.Tick.Marker = plot.TickerFunc(func(low, high float64) []plot.Tick {
		ticks := logTicks(low, high)
		if low >= p.least*0.999 && low <= p.least*1.001 {
			ticks[0].Label = "≤ " + ticks[0].Label
		}
		return ticks
	})
	out.Y.Min = math.Pow(10, math.Floor(math.Log10(low)))
	out.Y.Max = math.Pow(10, math.Ceil(math.Log10(high*1.01)))
}

// floor lifts what a logarithmic axis cannot show.
func (p panel) floor(y float64) float64 {
	if p.logY {
		return max(y, p.least)
	}
	return y
}

// addLine adds one line, its marks and its bars.
func (p panel) addLine(out *plot.Plot, l chartLine, names []chartLine) error {
	if len(l.points) == 0 {
		return nil
	}
	points := make(plotter.XYs, len(l.points))
	bars := struct {
		plotter.XYs
		plotter.YErrors
	}{points, make(plotter.YErrors, len(l.points))}
	for i, at := range l.points {
		y := p.floor(at.y)
		points[i] = plotter.XY{X: at.x, Y: y}
		bars.YErrors[i].Low, bars.YErrors[i].High = y-p.floor(at.y-at.mad), p.floor(at.y+at.mad)-y
	}
	line, marks, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	ink, glyph := style(names, l)
	line.Color, line.Width = ink, vg.Points(1.6)
	if l.like != "" {
		line.Dashes, line.Width = []vg.Length{vg.Points(5), vg.Points(3)}, vg.Points(1.2)
		out.Add(line)
		return nil
	}
	marks.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: vg.Points(2.6), Shape: glyph}
	deviation, err := plotter.NewYErrorBars(bars)
	if err != nil {
		return err
	}
	deviation.Color, deviation.CapWidth = ink, vg.Points(4)
	out.Add(line, marks, deviation)
	return nil
}

// logTicks labels the powers of ten and marks what is between them.
func logTicks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, e)
			if v < low*0.999 || v > high*1.001 {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 {
				t.Label = number(v)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// number writes a tick's value without an exponent where that is short.
func number(v float64) string {
	if v != 0 && (math.Abs(v) < 0.00099 || math.Abs(v) >= 1e6) {
		return strconv.FormatFloat(v, 'e', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}
