package view

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hcled"
)

// longFile is from how many bytes on a file is shortened to what a mistake shows of it. The writer of mistakes goes through the whole
// file for each: hundreds of them in a recipe of thousands of stages took minutes.
const longFile = 64 << 10

// snippet gives a mistake, and the files that the writer shows of it, so that the same is written in less time: lines before those that
// are shown are empty, and those behind are cut off.
func snippet(d *hcl.Diagnostic, files map[string]*hcl.File) (*hcl.Diagnostic, map[string]*hcl.File) {
	if d.Subject == nil {
		return d, files
	}
	file := files[d.Subject.Filename]
	shown := *d.Subject
	if d.Context != nil {
		shown = hcl.RangeOver(shown, *d.Context)
	}
	if file == nil || len(file.Bytes) < longFile || shown.Start.Byte < 0 || shown.End.Byte < shown.Start.Byte || shown.End.Byte > len(file.Bytes) {
		return d, files
	}
	from := bytes.LastIndexByte(file.Bytes[:shown.Start.Byte], '\n') + 1
	to := len(file.Bytes)
	if end := bytes.IndexByte(file.Bytes[shown.End.Byte:], '\n'); end >= 0 {
		to = shown.End.Byte + end
	}
	above := bytes.Count(file.Bytes[:from], []byte("\n"))
	less := from - above
	short := append(bytes.Repeat([]byte("\n"), above), file.Bytes[from:to]...)
	moved := *d
	moved.Subject = earlier(*d.Subject, less)
	if d.Context != nil {
		moved.Context = earlier(*d.Context, less)
	}
	return &moved, map[string]*hcl.File{d.Subject.Filename: {Bytes: short, Body: file.Body, Nav: later{file, less}}}
}

func earlier(r hcl.Range, bytes int) *hcl.Range {
	r.Start.Byte -= bytes
	r.End.Byte -= bytes
	return &r
}

// later says in which block of the whole file an offset of the shortened one is.
type later struct {
	file *hcl.File
	more int
}

// ContextString is what hcled asks for.
func (l later) ContextString(offset int) string { return hcled.ContextString(l.file, offset+l.more) }
