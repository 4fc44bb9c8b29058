package plan

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// paramRange is where a param is set; for one that is not, the header of the stage's block.
func (s *Step) paramRange(name string) hcl.Range {
	if p, ok := s.Node.Stage.Params[name]; ok && p.Range != (hcl.Range{}) {
		return p.Range
	}
	return s.Node.Stage.Range
}

func (s *Step) sourceRange() hcl.Range {
	if src := sourceParam(s.Node.Stage.Kind); src != nil {
		return s.paramRange(src.Name)
	}
	return s.Node.Stage.Range
}

// attributeRange finds an attribute of the stage's block that is not a param, by the place of the block's header.
func (s *Step) attributeRange(name string) hcl.Range {
	header := s.Node.Stage.Range
	if s.planner == nil {
		return header
	}
	for _, f := range s.planner.graph.Recipe.Texts() {
		body, ok := f.Body.(*hclsyntax.Body)
		if !ok {
			continue
		}
		for _, b := range body.Blocks {
			at := b.DefRange()
			if at.Filename != header.Filename || at.Start != header.Start {
				continue
			}
			if a, ok := b.Body.Attributes[name]; ok {
				return a.Range()
			}
		}
	}
	return header
}

func hclIdentifier(s string) bool { return hclsyntax.ValidIdentifier(s) }
