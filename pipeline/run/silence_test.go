package run

import (
	"strings"
	"testing"
	"time"
)

func TestALongSilenceIsSaidOnceAndAgainWhenItLastsTwiceAsLong(t *testing.T) {
	began := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		cpu  func(minute int) (time.Duration, bool)
		says string
	}{
		"hangs":    {func(int) (time.Duration, bool) { return 17 * time.Minute, true }, "used next to no CPU: it may hang"},
		"computes": {func(m int) (time.Duration, bool) { return time.Duration(m) * 2 * time.Minute, true }, "but it is at work"},
		"compiled, then hangs": {func(m int) (time.Duration, bool) {
			return time.Duration(min(m, 5)) * time.Minute, true
		}, "used next to no CPU"},
		"nobody knows": {func(int) (time.Duration, bool) { return 0, false }, "it may hang"},
	} {
		s := newSilence(began)
		var told []string
		for minute := range 100 {
			if said := s.look(began.Add(time.Duration(minute)*time.Minute), 0, func() (time.Duration, bool) { return c.cpu(minute) }); said != "" {
				told = append(told, said)
			}
		}
		if len(told) != 4 {
			t.Fatalf("%s: told %q", name, told)
		}
		for i, minutes := range []string{"for 10 min", "for 20 min", "for 40 min", "for 80 min"} {
			if !strings.Contains(told[i], minutes) || !strings.Contains(told[i], c.says) {
				t.Errorf("%s: told %q, not %q and %q", name, told[i], minutes, c.says)
			}
		}
	}
	s := newSilence(began)
	for minute := range 100 {
		if said := s.look(began.Add(time.Duration(minute)*time.Minute), minute/9, func() (time.Duration, bool) { return 0, true }); said != "" {
			t.Errorf("one that speaks every nine minutes: %s", said)
		}
	}
}
