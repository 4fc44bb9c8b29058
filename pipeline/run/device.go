package run

import "github.com/Ruihan11/tiny-infra/stages"

// device is a GPU and who uses it.
type device struct {
	gpu
	users    int
	alone    bool    // one has it alone
	takenGiB float64 // by those who share it, each of which says how much that is
}

// shareOf is how much a stage takes of each of its devices; 0: they are its alone.
func shareOf(n stages.Needs) float64 {
	if n.Exclusive {
		return 0
	}
	return n.GPUMemoryGiB
}

// room tells whether a stage may have the device now.
func (d *device) room(n stages.Needs) bool { return d.suits(n) && d.vacant(n) }

// vacant tells it of a stage whose worker is there already, whether the device is large enough or not.
func (d *device) vacant(n stages.Needs) bool {
	share := shareOf(n)
	return d.users == 0 || !d.alone && share > 0 && d.takenGiB+share <= d.memoryGiB+inexact
}

func (d *device) enter(g *grant) {
	d.users++
	d.alone = g.gpuGiB == 0
	d.takenGiB += g.gpuGiB
}

func (d *device) leave(g *grant) {
	d.users--
	d.takenGiB -= g.gpuGiB
	if d.users == 0 {
		d.alone, d.takenGiB = false, 0 // fractions do not always add up to what they were taken from
	}
}
