package view

import "time"

// ETA is how long a running stage takes still: what earlier runs took in all, or longer where the present piece of
// progress, at its mean pace so far, takes longer than that.
func (t *Tally) ETA(now time.Time) (left time.Duration, ok bool) {
	if t.Expects > 0 {
		left = t.Expects - now.Sub(t.Started)
		ok = left > 0
	}
	if paced, known := t.pace(now); known && paced > left {
		return paced, true
	}
	return left, ok
}

// pace is how long the present piece of progress takes still.
func (t *Tally) pace(now time.Time) (left time.Duration, ok bool) {
	done, spent := t.Done-t.base, now.Sub(t.since)
	if t.Done >= t.Total || done <= 0 || t.since.IsZero() || spent < time.Second {
		return 0, false
	}
	return time.Duration(float64(spent) * (t.Total - t.Done) / done), true
}

// Left is how long the build takes still, if as many stages run at once as do now: no less than the longest chain of
// stages that wait for one another. ok is false where a stage that is to come was never run before.
func (b *Board) Left(now time.Time) (left time.Duration, ok bool) {
	memo := map[string]time.Duration{}
	var work, chain time.Duration
	for _, t := range b.Stages {
		if t.Over() {
			continue
		}
		rest, known := t.rest(now)
		if !known {
			return 0, false
		}
		work += rest
		chain = max(chain, b.chain(t, now, memo))
	}
	return max(work/time.Duration(max(b.Counts()["running"], 1)), chain), true
}

// rest is what is left of one stage.
func (t *Tally) rest(now time.Time) (left time.Duration, known bool) {
	if t.State != "running" {
		return t.Expects, t.Expects > 0
	}
	if left, known = t.ETA(now); known {
		return left, true
	}
	return 0, t.Expects > 0 // it took longer than ever: any moment now
}

// chain is the time until a stage is over, when none waits for a core. The graph has no cycles.
func (b *Board) chain(t *Tally, now time.Time, memo map[string]time.Duration) time.Duration {
	if t.Over() {
		return 0
	}
	if d, ok := memo[t.Address]; ok {
		return d
	}
	var before time.Duration
	for _, address := range t.After {
		if p := b.by[address]; p != nil {
			before = max(before, b.chain(p, now, memo))
		}
	}
	rest, _ := t.rest(now)
	memo[t.Address] = before + rest
	return before + rest
}

// Waits says what keeps a stage that has not begun: stages that are not over, else what the scheduler said.
func (b *Board) Waits(t *Tally) string {
	var open []string
	for _, address := range t.After {
		if p := b.by[address]; p != nil && !p.Over() {
			open = append(open, address)
		}
	}
	switch {
	case len(open) == 1:
		return "waits for " + open[0]
	case len(open) > 1:
		return "waits for " + open[0] + " and " + Count(len(open)-1, "other")
	default:
		return t.Waiting
	}
}
