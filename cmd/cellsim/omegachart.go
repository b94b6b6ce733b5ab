package main

import (
	"image/color"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is one picture: panels in rows of two under a title, and one legend for all of them below.
type chart struct {
	title  string
	note   string // a line under the title: what was held fixed
	panels []panel
}

// The pictures' measures. A panel is as wide as half a page, so that text keeps its size when two stand side by side.
const (
	panelWidth  = 11 * vg.Centimeter
	panelHeight = 7.4 * vg.Centimeter
	headHeight  = 1.6 * vg.Centimeter
	rowHeight   = 0.6 * vg.Centimeter // of the legend
	chartDPI    = 110
)

// palette is Okabe and Ito's, which the colour-blind can tell apart too.
func palette() []color.Color {
	return []color.Color{
		color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255},
		color.RGBA{204, 121, 167, 255}, color.RGBA{230, 159, 0, 255}, color.RGBA{86, 180, 233, 255},
	}
}

func marks() []draw.GlyphDrawer {
	return []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.RingGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}
}

// writePNG draws the chart as a PNG picture.
func (c chart) writePNG(w io.Writer) error {
	width, height := c.size()
	canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(chartDPI))
	if err := c.draw(draw.New(canvas)); err != nil {
		return err
	}
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
	return err
}

// writeSVG draws the chart as an SVG document.
func (c chart) writeSVG(w io.Writer) error {
	canvas := vgsvg.New(c.size())
	if err := c.draw(draw.New(canvas)); err != nil {
		return err
	}
	_, err := canvas.WriteTo(w)
	return err
}

func (c chart) columns() int { return min(2, len(c.panels)) }

func (c chart) rows() int { return (len(c.panels) + 1) / 2 }

func (c chart) size() (width, height vg.Length) {
	columns, rows := vg.Length(c.columns()), vg.Length(c.rows())
	return columns * panelWidth, headHeight + rows*panelHeight + c.legendHeight()
}

func (c chart) draw(dc draw.Canvas) error {
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	top, left := dc.Max.Y, dc.Min.X+0.35*vg.Centimeter
	dc.FillText(sansText(13, true), vg.Point{X: left, Y: top - 0.8*vg.Centimeter}, c.title)
	dc.FillText(sansText(9, false), vg.Point{X: left, Y: top - 1.35*vg.Centimeter}, c.note)
	names := c.names()
	grid := make([][]*plot.Plot, c.rows())
	for i := range grid {
		grid[i] = make([]*plot.Plot, c.columns())
	}
	for i, p := range c.panels {
		drawn, err := p.plot(names)
		if err != nil {
			return err
		}
		grid[i/2][i%2] = drawn
	}
	legend := c.legendHeight()
	body := draw.Crop(dc, 0.2*vg.Centimeter, -0.3*vg.Centimeter, legend, -headHeight)
	tiles := draw.Tiles{Rows: c.rows(), Cols: c.columns(), PadX: 0.6 * vg.Centimeter, PadY: 0.8 * vg.Centimeter, PadTop: 0.4 * vg.Centimeter}
	canvases := plot.Align(grid, tiles, body)
	for i, row := range grid {
		for j, p := range row {
			if p != nil {
				p.Draw(canvases[i][j])
				data := p.DataCanvas(canvases[i][j])
				dc.FillText(sansText(11, true), vg.Point{X: data.Min.X, Y: data.Max.Y + 0.25*vg.Centimeter}, c.panels[2*i+j].title)
			}
		}
	}
	c.drawLegend(draw.Crop(dc, 0.5*vg.Centimeter, -0.3*vg.Centimeter, 0, legend-(dc.Max.Y-dc.Min.Y)), names)
	return nil
}

// names lists the names of all lines, in the order in which they first stand.
func (c chart) names() []chartLine {
	var all []chartLine
	seen := make(map[string]bool)
	for _, p := range c.panels {
		for _, l := range p.lines {
			if !seen[l.name] {
				seen[l.name] = true
				all = append(all, chartLine{name: l.name, like: l.like})
			}
		}
	}
	return all
}

// style gives each measured line its place in the palette, and an approximation that of the line beside it.
func style(names []chartLine, l chartLine) (color.Color, draw.GlyphDrawer) {
	wanted := l.name
	if l.like != "" {
		wanted = l.like
	}
	at := 0
	for _, n := range names {
		if n.name == wanted {
			break
		}
		if n.like == "" {
			at++
		}
	}
	colors, glyphs := palette(), marks()
	return colors[at%len(colors)], glyphs[at%len(glyphs)]
}

// dotted is how a level is drawn.
func dotted() draw.LineStyle {
	return draw.LineStyle{Color: color.Gray{90}, Dashes: []vg.Length{vg.Points(1.2), vg.Points(2)}, Width: vg.Points(1.3)}
}

// legendEntry is where a line's name stands: in a row from the top, so far from the left.
type legendEntry struct {
	line chartLine
	row  int
	left vg.Length
}

const (
	legendKey = 1.1 * vg.Centimeter // the sample of the line
	legendGap = 0.7 * vg.Centimeter
)

// legend lays the names out in rows as wide as the picture.
func (c chart) legend() []legendEntry {
	width := vg.Length(c.columns())*panelWidth - vg.Centimeter
	var all []legendEntry
	row, left := 0, vg.Length(0)
	names := c.names()
	for _, p := range c.panels {
		if p.level > 0 {
			names = append(names, chartLine{name: p.levelName, level: true})
			break
		}
	}
	for _, l := range names {
		takes := legendKey + sansText(10, false).Width(l.name) + legendGap
		if left > 0 && left+takes > width {
			row, left = row+1, 0
		}
		all = append(all, legendEntry{line: l, row: row, left: left})
		left += takes
	}
	return all
}

func (c chart) legendHeight() vg.Length {
	entries := c.legend()
	if len(entries) == 0 {
		return 0
	}
	return vg.Length(entries[len(entries)-1].row+1)*rowHeight + 0.2*vg.Centimeter
}

func (c chart) drawLegend(dc draw.Canvas, names []chartLine) {
	for _, e := range c.legend() {
		ink, glyph := style(names, e.line)
		x, y := dc.Min.X+e.left, dc.Max.Y-(vg.Length(e.row)+0.5)*rowHeight
		sample := draw.LineStyle{Color: ink, Width: vg.Points(1.6)}
		if e.line.like != "" {
			sample.Width, sample.Dashes = vg.Points(1.2), []vg.Length{vg.Points(5), vg.Points(3)}
		}
		if e.line.level {
			sample = dotted()
		}
		dc.StrokeLine2(sample, x, y, x+legendKey*0.8, y)
		if e.line.like == "" && !e.line.level {
			dc.DrawGlyphNoClip(draw.GlyphStyle{Color: ink, Radius: vg.Points(2.6), Shape: glyph}, vg.Point{X: x + legendKey*0.4, Y: y})
		}
		label := sansText(10, false)
		label.YAlign = draw.YCenter
		dc.FillText(label, vg.Point{X: x + legendKey, Y: y}, e.line.name)
	}
}

// bold is the weight by that name in golang.org/x/image/font, which gonum's fonts are told by.
const bold = 3

func sans(points float64, heavy bool) font.Font {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(points)}
	if heavy {
		f.Weight = bold
	}
	return f
}

func sansText(points float64, heavy bool) text.Style {
	return text.Style{Color: color.Black, Font: sans(points, heavy), Handler: plot.DefaultTextHandler}
}
