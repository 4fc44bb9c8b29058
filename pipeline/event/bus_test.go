package event

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

type recorder struct {
	seen []string
	gate chan struct{} // closed when the listener may go on
}

func (r *recorder) Event(e Event) {
	if r.gate != nil {
		<-r.gate
	}
	r.seen = append(r.seen, e.Message)
}

func TestEveryListenerSeesEverythingInOrder(t *testing.T) {
	quick, slow := &recorder{}, &recorder{gate: make(chan struct{})}
	bus := NewBus(quick, slow)
	var want []string
	for i := range 5000 {
		want = append(want, fmt.Sprint(i))
		bus.Publish(Event{Message: want[i]})
	}
	close(slow.gate)
	bus.Close()
	for name, r := range map[string]*recorder{"quick": quick, "slow": slow} {
		if !slices.Equal(r.seen, want) {
			t.Errorf("%s listener saw %d events, or not in order; want %d", name, len(r.seen), len(want))
		}
	}
}

func TestListenersAgreeOnTheOrderOfConcurrentPublishers(t *testing.T) {
	a, b := &recorder{}, &recorder{}
	bus := NewBus(a, b)
	var wg sync.WaitGroup
	for p := range 8 {
		wg.Go(func() {
			for i := range 200 {
				bus.Publish(Event{Message: fmt.Sprint(p, " ", i)})
			}
		})
	}
	wg.Wait()
	bus.Close()
	if len(a.seen) != 1600 || !slices.Equal(a.seen, b.seen) {
		t.Fatalf("listeners differ: %d and %d events", len(a.seen), len(b.seen))
	}
}

func TestPublisherWaitsForAListenerThatIsFarBehind(t *testing.T) {
	slow := &recorder{gate: make(chan struct{})}
	bus := NewBus(slow)
	const n = 3 * queueLimit
	published := make(chan struct{})
	go func() {
		defer close(published)
		for range n {
			bus.Publish(Event{Message: "x"})
		}
	}()
	select {
	case <-published:
		t.Fatal("the backlog is not bounded")
	case slow.gate <- struct{}{}:
	}
	close(slow.gate)
	<-published
	bus.Close()
	if len(slow.seen) != n {
		t.Fatalf("%d of %d events arrived", len(slow.seen), n)
	}
}

func TestPublishSetsTheTimeAndIsHarmlessAfterClose(t *testing.T) {
	var got []Event
	bus := NewBus(listen(func(e Event) { got = append(got, e) }))
	at := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	bus.Publish(Event{Time: at})
	bus.Publish(Event{})
	bus.Close()
	bus.Publish(Event{})
	bus.Close()
	if len(got) != 2 || !got[0].Time.Equal(at) || got[1].Time.IsZero() {
		t.Fatalf("got %v", got)
	}
}

type listen func(Event)

func (f listen) Event(e Event) { f(e) }
