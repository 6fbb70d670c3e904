package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// outputs are the values of --output.
var outputs = []string{"table", "wide", "json", "yaml", "name"}

// column is one column of a table of T.
type column[T any] struct {
	head string
	wide bool // only with -o wide
	cut  bool // at maxCell, but with -o wide: one key of 1,024 bytes would pad every row
	cell func(T) string
}

const maxCell = 60 // columns on the screen

// list describes how a list of T is shown.
type list[T any] struct {
	name    func(T) string // for -o name
	columns []column[T]
}

// printList writes items as the flags ask.
func printList[T any](c *cli, items []T, l list[T]) error {
	if items == nil {
		items = []T{}
	}
	if done, err := printValue(c, items); done {
		return err
	}
	if c.output == "name" {
		for _, it := range items {
			fmt.Fprintln(c.out, l.name(it))
		}
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	row := func(cell func(column[T]) string) {
		var cells []string
		for _, col := range l.columns {
			if col.wide && c.output != "wide" {
				continue
			}
			text := plain(cell(col))
			if col.cut && c.output != "wide" {
				text = tree{width: maxCell}.cut(text)
			}
			cells = append(cells, text)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row(func(col column[T]) string { return col.head })
	for _, it := range items {
		row(func(col column[T]) string { return col.cell(it) })
	}
	return w.Flush()
}

// printOne writes one item: as a table of one row, or as itself.
func printOne[T any](c *cli, item T, l list[T]) error {
	if done, err := printValue(c, item); done {
		return err
	}
	return printList(c, []T{item}, l)
}

// printValue writes v if the output is JSON or YAML.
func printValue(c *cli, v any) (done bool, err error) {
	switch c.output {
	case "json":
		e := json.NewEncoder(c.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return true, e.Encode(v)
	case "yaml":
		data, err := json.Marshal(v)
		if err != nil {
			return true, err
		}
		// JSON is YAML, so the keys keep their names and their order.
		var node yaml.Node
		if err := yaml.Unmarshal(data, &node); err != nil {
			return true, err
		}
		block(&node)
		e := yaml.NewEncoder(c.out)
		e.SetIndent(2)
		if err := e.Encode(&node); err != nil {
			return true, err
		}
		return true, e.Close()
	}
	return false, nil
}

// block takes the JSON look off a document.
func block(n *yaml.Node) {
	n.Style = 0
	for _, sub := range n.Content {
		block(sub)
	}
}

// plain keeps text that came over the network from moving the cursor of a terminal, and from
// turning the direction of a line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// size writes bytes for people.
func size(n int64) string {
	const units = "KMGT"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1024, 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[u])
}

// when writes a time for people, in UTC.
func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// orDash writes "–" for nothing.
func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
