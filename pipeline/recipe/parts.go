package recipe

import (
	"bytes"
	"runtime"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hcled"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/sync/errgroup"
)

// partSize is about how much of a large file is parsed at once, in bytes. Parsed whole, most of the time would go into moving
// the ever longer list of its tokens.
const partSize = 16 << 10

// parseText is hclsyntax.ParseConfig. It cuts a large file where blocks seem to end, and parses the parts side by side. That
// gives what parsing the whole gives: the lexer is back at the top of a file only where nothing is open, and else the part does
// not parse. Wherever one does not, the whole is parsed, for its mistakes.
func parseText(src []byte, name string, size int) (*hcl.File, hcl.Diagnostics) {
	parts := cut(src, size)
	if len(parts) > 1 {
		if file := parseParts(src, parts, name); file != nil {
			return file, nil
		}
	}
	return hclsyntax.ParseConfig(src, name, hcl.InitialPos)
}

// cut gives parts that each end with a line that is a closing brace.
func cut(src []byte, size int) [][]byte {
	const end = "\n}\n"
	var parts [][]byte
	for len(src) > size {
		i := bytes.Index(src[size:], []byte(end))
		if i < 0 {
			break
		}
		n := size + i + len(end)
		parts = append(parts, src[:n:n])
		src = src[n:]
	}
	return append(parts, src)
}

// parseParts gives nil where a part does not parse or the parts do not make one body.
func parseParts(src []byte, parts [][]byte, name string) *hcl.File {
	files := make(sections, len(parts))
	odd := make([]bool, len(parts))
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	at := hcl.InitialPos
	for i, part := range parts {
		from := at
		work.Go(func() error {
			var diags hcl.Diagnostics
			files[i], diags = hclsyntax.ParseConfig(part, name, from)
			odd[i] = len(diags) > 0
			return nil
		})
		at.Line += bytes.Count(part, []byte("\n"))
		at.Byte += len(part)
	}
	_ = work.Wait() // no part fails but by being odd
	body := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}
	for i, file := range files {
		part := file.Body.(*hclsyntax.Body)
		if odd[i] || i < len(files)-1 && len(part.Attributes) > 0 {
			return nil // an attribute may stand there twice
		}
		body.Blocks = append(body.Blocks, part.Blocks...)
		if i == 0 {
			body.SrcRange = part.SrcRange
		}
		if i == len(files)-1 {
			body.Attributes, body.EndRange, body.SrcRange.End = part.Attributes, part.EndRange, part.SrcRange.End
		}
	}
	return &hcl.File{Body: body, Bytes: src, Nav: files}
}

// sections are the parts of a file. They say in which block an offset is, as the whole would.
type sections []*hcl.File

// ContextString is what hcled asks for.
func (s sections) ContextString(offset int) string {
	for _, part := range s {
		if text := hcled.ContextString(part, offset); text != "" {
			return text
		}
	}
	return ""
}
