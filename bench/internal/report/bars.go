package report

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// manyLetters is how long labels may be together before they are written aslant.
const manyLetters = 60

func (c Chart) bars(p *plot.Plot) error {
	height := func(y float64) float64 { return y }
	room := 1.2 // for the legend
	if c.LogY {
		floor := c.floor()
		height = func(y float64) float64 { return max(0, math.Log10(y)-floor) }
		p.Y.Tick.Marker, room = powers{int(floor)}, 1.35
	}
	width := chartWidth * 7 / 10 / vg.Length(len(c.Labels)*max(1, len(c.Series)))
	for i, s := range c.Series {
		heights := make(plotter.Values, len(s.Y))
		for j, y := range s.Y {
			if y > 0 || !c.LogY {
				heights[j] = height(y)
			}
		}
		bar, err := plotter.NewBarChart(heights, width)
		if err != nil {
			return err
		}
		bar.Color, bar.LineStyle.Width = plotutil.Color(i), 0
		bar.Offset = width * (vg.Length(i) - vg.Length(len(c.Series)-1)/2)
		p.Add(bar)
		p.Legend.Add(s.Name, bar)
	}
	p.NominalX(c.Labels...)
	p.X.Min, p.X.Max = -0.6, float64(len(c.Labels))-0.4 // else half of the outer groups is cut
	letters := 0
	for _, l := range c.Labels {
		letters += len(l)
	}
	if letters > manyLetters {
		p.X.Tick.Label.Rotation = math.Pi / 8
		p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = text.XRight, text.YCenter
	}
	p.Y.Min = 0
	p.Y.Max *= room
	return nil
}

// floor is the power of ten, as its exponent, that lies below every figure above 0.
func (c Chart) floor() float64 {
	least := math.Inf(1)
	for _, s := range c.Series {
		for _, y := range s.Y {
			if y > 0 {
				least = min(least, y)
			}
		}
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return math.Ceil(math.Log10(least)) - 1
}

// powers labels an axis of logarithms above floor with the figures they stand for.
type powers struct{ floor int }

func (p powers) Ticks(_, top float64) (ticks []plot.Tick) {
	for k := 0; float64(k) <= top; k++ {
		ticks = append(ticks, plot.Tick{Value: float64(k), Label: strconv.FormatFloat(math.Pow10(p.floor+k), 'f', -1, 64)})
		for m := 2.0; m < 10; m++ {
			if v := float64(k) + math.Log10(m); v <= top {
				ticks = append(ticks, plot.Tick{Value: v})
			}
		}
	}
	return ticks
}
