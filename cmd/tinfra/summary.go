package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/report"
)

// summaryVariable names the file that GitHub Actions shows as the summary of a job. Each step is given one of its own.
const summaryVariable = "GITHUB_STEP_SUMMARY"

// writeSummary writes all reports for the summary of a job: to the file, else behind what the step has in its summary, else here.
func (h *house) writeSummary(reports []*report.Report, file string) error {
	path, flag := cmp.Or(file, os.Getenv(summaryVariable)), os.O_WRONLY|os.O_CREATE|os.O_APPEND
	if file != "" {
		flag |= os.O_TRUNC
	}
	if path == "" {
		b, err := summaryOf(reports, 0)
		if err == nil {
			_, err = h.app.stdout.Write(b)
		}
		return err
	}
	f, err := os.OpenFile(path, flag, 0o644)
	if err != nil {
		return fmt.Errorf("writing the job's summary: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("writing the job's summary: %w", err)
	}
	b, err := summaryOf(reports, int(info.Size()))
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("writing the job's summary: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing the job's summary: %w", err)
	}
	fmt.Fprintf(h.app.stdout, "%s  %s\n", cmp.Or(file, "job summary"), view.Bytes(int64(len(b))))
	return nil
}

// summaryOf is all reports in what is left of a summary that has so many bytes already.
func summaryOf(reports []*report.Report, taken int) ([]byte, error) {
	var b bytes.Buffer
	for _, r := range reports {
		if taken+b.Len() > 0 {
			b.WriteByte('\n') // a heading begins a paragraph
		}
		if err := r.GitHub(&b, report.SummaryLimit-taken-b.Len()); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
