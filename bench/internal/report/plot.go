package report

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	_ "gonum.org/v1/plot/vg/vgimg" // the formats that WriterTo knows
	_ "gonum.org/v1/plot/vg/vgsvg"
)

// Chart has lines over X, or groups of bars over Labels: one group a label, in
// it one bar a series. A logarithmic axis leaves out what is not above 0.
type Chart struct {
	Title  string   `json:"title"`
	XLabel string   `json:"x"`
	YLabel string   `json:"y"`
	Labels []string `json:"labels,omitempty"` // not empty: bars
	LogX   bool     `json:"log_x,omitempty"`  // lines only
	LogY   bool     `json:"log_y,omitempty"`  // a bar then begins at the power of ten below the least figure, not at 0
	Series []Series `json:"series"`
}

// Series is one line or the bars of one colour. X is ignored for bars.
type Series struct {
	Name string    `json:"name"`
	X    []float64 `json:"x,omitempty"`
	Y    []float64 `json:"y"`
}

const chartWidth, chartHeight = 18 * vg.Centimeter, 11 * vg.Centimeter

// Draw writes charts to file by its ending: .html has them all on one page,
// several .png or .svg are numbered name-1, name-2. It returns what it wrote.
func Draw(file string, charts []Chart) (files []string, err error) {
	ext := filepath.Ext(file)
	if ext == ".html" {
		var page bytes.Buffer
		page.WriteString("<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>Freshet bench</title>\n")
		for _, c := range charts {
			img, err := c.render("svg")
			if err != nil {
				return nil, err
			}
			at := max(0, bytes.Index(img, []byte("<svg"))) // the XML head does not belong into a page
			fmt.Fprintf(&page, "<figure>\n%s\n<figcaption>%s</figcaption>\n</figure>\n", img[at:], html.EscapeString(c.Title))
		}
		return []string{file}, os.WriteFile(file, page.Bytes(), 0o644)
	}
	for i, c := range charts {
		name := file
		if len(charts) > 1 {
			name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(file, ext), i+1, ext)
		}
		img, err := c.render(strings.TrimPrefix(ext, "."))
		if err != nil {
			return files, err
		}
		if err := os.WriteFile(name, img, 0o644); err != nil {
			return files, err
		}
		files = append(files, name)
	}
	return files, nil
}

func (c Chart) render(format string) ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.XLabel, c.YLabel
	p.Legend.Top, p.Legend.Left = true, false
	p.Add(plotter.NewGrid())
	var err error
	if len(c.Labels) > 0 {
		err = c.bars(p)
	} else {
		err = c.lines(p)
	}
	if err != nil {
		return nil, fmt.Errorf("chart %q: %w", c.Title, err)
	}
	w, err := p.WriterTo(chartWidth, chartHeight, format)
	if err != nil {
		return nil, fmt.Errorf("chart %q: %w", c.Title, err)
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), err
}

func (c Chart) lines(p *plot.Plot) error {
	if c.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	if c.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	drawn := false
	for i, s := range c.Series {
		var xys plotter.XYs
		for j, y := range s.Y {
			if (c.LogX && !(s.X[j] > 0)) || (c.LogY && !(y > 0)) {
				continue
			}
			xys = append(xys, plotter.XY{X: s.X[j], Y: y})
		}
		if len(xys) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(xys)
		if err != nil {
			return err
		}
		line.Color, line.Dashes, line.Width = plotutil.Color(i), plotutil.Dashes(i/7), vg.Points(1.5)
		points.Color, points.Shape = plotutil.Color(i), plotutil.Shape(i)
		p.Add(line, points)
		p.Legend.Add(s.Name, line, points)
		drawn = true
	}
	// A logarithmic axis without anything on it panics in the drawing.
	if !drawn {
		p.X.Scale, p.Y.Scale = plot.LinearScale{}, plot.LinearScale{}
		p.X.Tick.Marker, p.Y.Tick.Marker = plot.DefaultTicks{}, plot.DefaultTicks{}
	} else {
		p.X.Max += (p.X.Max - p.X.Min) / 4 // room for the legend
		if c.LogX {
			p.X.Max *= 2
		}
	}
	return nil
}
