package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Spread is what several rounds gave: the middle one and how far they lie apart.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf needs at least one figure. Of an even number of them the median is
// the mean of the middle two.
func SpreadOf(figures ...float64) Spread {
	s := slices.Sorted(slices.Values(figures))
	n := len(s)
	return Spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// Below reports whether s is less than t by more than share, and in each of its rounds less than t's median.
func (s Spread) Below(t Spread, share float64) bool {
	return s.Median < t.Median*(1-share) && s.Max < t.Median
}

// String is the median, with "(min..max)" behind it when the rounds differ as
// far as the digits show.
func (s Spread) String() string {
	median, low, high := number(s.Median), number(s.Min), number(s.Max)
	if low == high {
		return median
	}
	return median + " (" + low + ".." + high + ")"
}

// number has two to four digits that matter, and no exponent where one can do without.
func number(f float64) string {
	switch a := math.Abs(f); {
	case a >= 1e12:
		return strconv.FormatFloat(f, 'g', 4, 64)
	case a >= 1000:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case a >= 100:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case a >= 0.1 || a == 0:
		return strconv.FormatFloat(f, 'f', 2, 64)
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

func cell(v any) string {
	switch v := v.(type) {
	case float64:
		return number(v)
	case Spread:
		return v.String()
	case time.Duration:
		return duration(v)
	}
	return fmt.Sprint(v)
}

// duration has three digits that matter: 1.23ms, not 1.234567ms.
func duration(d time.Duration) string {
	unit := time.Duration(1)
	for unit*1000 <= d.Abs() {
		unit *= 10
	}
	return d.Round(unit).String()
}

func (t Table) text(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", t.Title)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells []string) { fmt.Fprintln(tw, strings.Join(cells, "\t")+"\t") }
	// What is no number reads better from the left, which tabwriter has for all columns or none.
	width := 0
	first := []string{t.Columns[0]}
	for _, row := range t.Rows {
		first = append(first, cell(row[0]))
	}
	for _, c := range first {
		width = max(width, utf8.RuneCountInString(c))
	}
	for i := range first {
		first[i] += strings.Repeat(" ", width-utf8.RuneCountInString(first[i]))
	}
	line(append([]string{first[0]}, t.Columns[1:]...))
	for i, row := range t.Rows {
		cells := []string{first[i+1]}
		for _, v := range row[1:] {
			cells = append(cells, cell(v))
		}
		line(cells)
	}
	tw.Flush()
}

// Markdown writes the table as GitHub has them.
func (t Table) Markdown(w io.Writer) {
	fmt.Fprintf(w, "**%s**\n\n", t.Title)
	line := func(cells []string) {
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
		}
		fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |")
	}
	line(slices.Clone(t.Columns))
	fmt.Fprintln(w, "|---|"+strings.Repeat("---:|", len(t.Columns)-1))
	for _, row := range t.Rows {
		var cells []string
		for _, v := range row {
			cells = append(cells, cell(v))
		}
		line(cells)
	}
	fmt.Fprintln(w)
}

// csv writes the tables one after another, each under its header, a blank line
// between. A column that holds a spread anywhere becomes three; durations are
// in nanoseconds.
func (r Result) csv(w io.Writer) error {
	for i, t := range r.Tables {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		spread := make([]bool, len(t.Columns))
		for _, row := range t.Rows {
			for c, v := range row {
				if _, ok := v.(Spread); ok {
					spread[c] = true
				}
			}
		}
		head := []string{"table"}
		for c, name := range t.Columns {
			head = append(head, name)
			if spread[c] {
				head = append(head, name+" min", name+" max")
			}
		}
		cw := csv.NewWriter(w)
		cw.Write(head)
		for _, row := range t.Rows {
			line := []string{t.Title}
			for c, v := range row {
				s, ok := v.(Spread)
				switch {
				case ok:
					line = append(line, exact(s.Median), exact(s.Min), exact(s.Max))
				case spread[c]:
					line = append(line, exact(v), exact(v), exact(v))
				default:
					line = append(line, exact(v))
				}
			}
			cw.Write(line)
		}
		cw.Flush()
		if err := cw.Error(); err != nil {
			return err
		}
	}
	return nil
}

func exact(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Duration:
		return strconv.FormatInt(int64(v), 10)
	}
	return fmt.Sprint(v)
}

// Markdown writes the tables and the notes.
func (r Result) Markdown(w io.Writer) {
	for _, t := range r.Tables {
		t.Markdown(w)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "- %s\n", n)
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(w)
	}
}
