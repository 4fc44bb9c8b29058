package plan

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// digested is what became of digesting what a path() named.
type digested struct {
	manifest *artifacts.Manifest
	err      error
}

// filesName is one text for equal files, whichever stage has them.
func filesName(f *recipe.Files) string { return f.Dir + "\x00" + strings.Join(f.Paths, "\x00") }

// digestFiles digests what the stages name by path(), side by side: the files of one stage may be few, and large. What
// several stages name is looked at once. What goes wrong is kept for the stage whose mistake it is.
func (p *planner) digestFiles(ctx context.Context) {
	all := map[string]*digested{}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, n := range p.graph.Nodes {
		for _, in := range n.Stage.Inputs {
			if in.Files == nil || all[filesName(in.Files)] != nil {
				continue
			}
			d := &digested{}
			all[filesName(in.Files)] = d
			g.Go(func() error {
				d.manifest, d.err = p.options.Files.Manifest(ctx, in.Files.Dir, in.Files.Paths)
				return nil
			})
		}
	}
	_ = g.Wait()
	p.digested = all
}

// localFiles puts the digests of what path() named into the Action. The bytes are opened again when they are stored; a file
// that was changed in between no longer has its digest, and storing it fails.
func (p *planner) localFiles(ctx context.Context, s *Step) (hcl.Diagnostics, error) {
	var diags hcl.Diagnostics
	for _, port := range sortedKeys(s.Node.Stage.Inputs) {
		in := s.Node.Stage.Inputs[port]
		if in.Files == nil {
			continue
		}
		got := p.digested[filesName(in.Files)]
		if got.err != nil {
			if ctx.Err() != nil {
				return diags, context.Cause(ctx)
			}
			diags = append(diags, problem(in.Range, "Local files cannot be read", "Input %s of %s: %s.",
				port, s.address(), got.err))
			continue
		}
		for _, f := range got.manifest.Files {
			path := filepath.Join(in.Files.Dir, filepath.FromSlash(f.Path))
			s.Support = append(s.Support, Support{
				Name: path,
				Blob: f.Blob,
				Open: func() (io.ReadCloser, error) { return os.Open(path) },
			})
		}
		sup, digest, err := manifestSupport(got.manifest)
		if err != nil {
			return diags, fmt.Errorf("describing input %s of %s: %w", port, s.address(), err)
		}
		s.Support = append(s.Support, sup)
		s.draft.Inputs[port] = digest
	}
	return diags, nil
}
