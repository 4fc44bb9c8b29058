// Package view draws events, results and diagnostics for people and for programs: a live table on a terminal, plain
// lines elsewhere, JSON lines. It knows widths, colours and wording. It must not know caches, plans or how a stage is
// run: what it shows comes as events and rows.
package view
