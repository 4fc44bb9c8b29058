package recipe

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/Ruihan11/tiny-infra/pipeline/reading"
)

// maxSource is the largest file that is parsed, in bytes. A recipe of 10,000 stages has about 2 MiB.
const maxSource = 4 << 20

// maxSyntaxErrors bounds what is said about a file that is no HCL at all.
const maxSyntaxErrors = 40

// parseFile reads and parses one native HCL file. The file goes to files even when it is refused, unless its lines are
// too long to be shown.
func parseFile(path string, files map[string]*hcl.File, reads *reading.Log) (*hclsyntax.Body, []byte, hcl.Diagnostics) {
	src, err := readLimited(path, reads)
	if err != nil {
		return nil, nil, hcl.Diagnostics{{
			Severity: hcl.DiagError,
			Summary:  "Cannot read the file",
			Detail:   fmt.Sprintf("%s cannot be read: %s.", path, err),
		}}
	}
	body, diags := parseSource(src, path, files)
	return body, src, diags
}

func readLimited(path string, reads *reading.Log) ([]byte, error) {
	began := time.Now()
	f, err := os.Open(path)
	if err != nil {
		reads.Spoil()
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, fmt.Errorf("it is a folder")
	}
	src, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err == nil {
		reads.TextRead(path, began, src)
	}
	return src, err
}

func parseSource(src []byte, name string, files map[string]*hcl.File) (*hclsyntax.Body, hcl.Diagnostics) {
	const showable = 64 << 10
	if len(src) <= showable {
		files[name] = &hcl.File{Bytes: src, Body: hcl.EmptyBody()}
	}
	if diag := refuse(src, name); diag != nil {
		return nil, hcl.Diagnostics{diag}
	}
	file, diags := parseText(src, name, partSize)
	files[name] = file
	if diags.HasErrors() {
		if len(diags) > maxSyntaxErrors {
			rest := len(diags) - maxSyntaxErrors
			diags = append(diags[:maxSyntaxErrors:maxSyntaxErrors], &hcl.Diagnostic{
				Severity: hcl.DiagError,
				Summary:  "Too many mistakes",
				Detail:   fmt.Sprintf("There are %d more mistakes in %s. Is it an HCL file?", rest, name),
			})
		}
		return nil, diags
	}
	return file.Body.(*hclsyntax.Body), diags
}

// refuse keeps from the parser what it handles badly: it is recursive, so its stack grows with the nesting.
func refuse(src []byte, name string) *hcl.Diagnostic {
	at := func(offset int) *hcl.Range {
		pos := positionOf(src, offset)
		return &hcl.Range{Filename: name, Start: pos, End: hcl.Pos{Line: pos.Line, Column: pos.Column + 1, Byte: offset + 1}}
	}
	if len(src) > maxSource {
		return &hcl.Diagnostic{
			Severity: hcl.DiagError,
			Summary:  "The file is too large",
			Detail:   fmt.Sprintf("%s has more than %d MiB.", name, maxSource>>20),
		}
	}
	if bytes.HasPrefix(src, []byte("\xef\xbb\xbf")) {
		return &hcl.Diagnostic{
			Severity: hcl.DiagError,
			Summary:  "Byte order mark",
			Detail:   "The file begins with a byte order mark. Save it as UTF-8 without one.",
			Subject:  at(0),
		}
	}
	if !utf8.Valid(src) {
		return &hcl.Diagnostic{
			Severity: hcl.DiagError,
			Summary:  "Not UTF-8",
			Detail:   "This byte is no part of a UTF-8 character. Save the file as UTF-8.",
			Subject:  at(firstInvalid(src)),
		}
	}
	deep, huge := limits(src)
	if deep >= 0 {
		return &hcl.Diagnostic{
			Severity: hcl.DiagError,
			Summary:  "Nested too deeply",
			Detail:   fmt.Sprintf("Brackets may be nested %d deep, and one expression may have %d operators.", maxNesting, maxOperators),
			Subject:  at(deep),
		}
	}
	if huge >= 0 {
		return &hcl.Diagnostic{
			Severity: hcl.DiagError,
			Summary:  "Number too large",
			Detail:   fmt.Sprintf("A number has %d digits at most, and its exponent %d.", maxDigits, maxExponentDigits),
			Subject:  at(huge),
		}
	}
	return nil
}

func firstInvalid(src []byte) int {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(src)
}

// positionOf counts columns in characters, as near to HCL's grapheme clusters as broken text allows.
func positionOf(src []byte, offset int) hcl.Pos {
	before := src[:offset]
	line := bytes.Count(before, []byte("\n")) + 1
	start := bytes.LastIndexByte(before, '\n') + 1
	return hcl.Pos{Line: line, Column: utf8.RuneCount(before[start:]) + 1, Byte: offset}
}
