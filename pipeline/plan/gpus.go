package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// gpuFact matches what an executor states of its GPUs; the number is that of one of them.
var gpuFact = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^gpu\.(?:arch|cuda|driver|driver\.branch|([0-9]+)\.(?:id|name|memory_gib))$`)
})

// FewGPUs says that a stage needs more GPUs than there are here, and what says so.
func FewGPUs(s *recipe.Stage, needed, here int, because string) *hcl.Diagnostic {
	summary, needs, shown, where := "Too few GPUs on this machine", fmt.Sprintf("%d NVIDIA GPUs", needed), strconv.Itoa(here), "there are as many"
	if needed == 1 {
		needs, where = "an NVIDIA GPU", "there is one"
	}
	if here == 0 {
		summary, shown = "No GPU on this machine", "none"
	}
	return problem(s.Range, summary,
		"%s needs %s (%s), and nvidia-smi shows %s on this machine that it may use. Run it where %s; `tinfra doctor` says what can run here.",
		s.Address, needs, because, shown, where)
}

// fewGPUs is the same of facts that an executor would state if it had the GPUs, as it says itself that it has not; else nil.
func fewGPUs(s *recipe.Stage, fact string, facts map[string]string) *hcl.Diagnostic {
	found := gpuFact().FindStringSubmatch(fact)
	here, err := strconv.Atoi(facts["gpu.count"])
	if found == nil || err != nil {
		return nil
	}
	index, _ := strconv.Atoi(found[1]) // 0 where it is of none in particular
	if index < here {
		return nil
	}
	return FewGPUs(s, index+1, here, "its kind names the fact "+fact)
}

// unstated says of facts that a stage's kind depends on why they are not there: once where that is for want of GPUs.
func (p *planner) unstated(s *recipe.Stage, names []string) (diags hcl.Diagnostics) {
	for _, name := range names {
		few := fewGPUs(s, name, p.options.Facts)
		if few == nil {
			few = problem(s.Range, "Unknown fact", "Kind %s depends on %s, and this executor does not state %s.", s.Kind.Name, name, name)
		} else if slices.ContainsFunc(diags, func(d *hcl.Diagnostic) bool { return d.Summary == few.Summary }) {
			continue
		}
		diags = append(diags, few)
	}
	return diags
}
