package env

import (
	"fmt"
	"slices"
	"strings"
)

// unmet is what no --only asked for and the machine does not have as it is locked: what needs it fails there, or meets another
// version of it. That may be meant, so it is told and no error.
type unmet struct{ missing, other []string }

// add notes a package of the lock that was not asked for. Nothing is known of a machine that was not asked what it has.
func (u *unmet) add(h *Hosted, r requirement) {
	if !h.Own || h.has(r.Name, r.Version) {
		return
	}
	if version, there := h.version(r.Name); there {
		u.other = append(u.other, fmt.Sprintf("%s (%s, not %s)", r.Name, version, r.Version))
	} else {
		u.missing = append(u.missing, r.Name)
	}
}

func (u *unmet) tell(progress func(string)) {
	for _, one := range []struct {
		words string
		names []string
	}{{"left out though the machine has none: ", u.missing}, {"left out though the machine has another version: ", u.other}} {
		if len(one.names) > 0 {
			slices.Sort(one.names)
			progress(one.words + strings.Join(one.names, ", "))
		}
	}
}
