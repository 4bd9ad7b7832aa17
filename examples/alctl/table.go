package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// tablePage is the number of rows that a table holds back to measure them.
const tablePage = 256

// table prints rows in columns, page by page. Columns get wider where a later
// page needs it, and never narrower.
type table struct {
	w      io.Writer
	rows   [][]string
	widths []int
}

func newTable(w io.Writer, header ...string) *table {
	return &table{w, [][]string{header}, make([]int, len(header))}
}

// add adds a row, and prints what makes a page.
func (t *table) add(cells ...string) error {
	t.rows = append(t.rows, cells)
	if len(t.rows) < tablePage {
		return nil
	}
	return t.flush()
}

// flush prints what was held back.
func (t *table) flush() error {
	var page strings.Builder
	for _, row := range t.rows {
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		last := len(row) - 1
		for i, cell := range row[:last] {
			page.WriteString(cell + strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+2))
		}
		page.WriteString(row[last] + "\n")
	}
	t.rows = t.rows[:0]
	if _, err := io.WriteString(t.w, page.String()); err != nil {
		return fmt.Errorf("write the output: %w", reason(err))
	}
	return nil
}

// printLine prints a value as a line of JSON.
func printLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write the output: %w", reason(err))
	}
	return nil
}

func printLines[T any](w io.Writer, values []T) error {
	for _, v := range values {
		if err := printLine(w, v); err != nil {
			return err
		}
	}
	return nil
}
