package event

import (
	"sync"
	"time"
)

// queueLimit bounds the memory that a slow listener can cost. A publisher waits only when a listener is this far behind.
const queueLimit = 1 << 15

// Bus hands every event to every listener: each in the order of Publish, on a goroutine of its own.
type Bus struct {
	mu     sync.Mutex // guards closed; held while an event enters all queues, so all listeners see one order
	closed bool
	queues []*queue
	done   sync.WaitGroup
}

// NewBus starts one goroutine a listener; Close ends them.
func NewBus(listeners ...Listener) *Bus {
	b := &Bus{}
	for _, l := range listeners {
		q := newQueue()
		b.queues = append(b.queues, q)
		b.done.Go(func() { q.drain(l) })
	}
	return b
}

// Publish gives the event its time, unless it has one, and returns before the listeners have seen it. After Close it
// does nothing.
func (b *Bus) Publish(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	for _, q := range b.queues {
		q.add(e)
	}
}

// Close returns when every listener has seen every event.
func (b *Bus) Close() {
	b.mu.Lock()
	b.closed = true
	for _, q := range b.queues {
		q.end()
	}
	b.mu.Unlock()
	b.done.Wait()
}

// queue is the backlog of one listener.
type queue struct {
	mu      sync.Mutex
	changed *sync.Cond // events, ended or a shorter backlog
	events  []Event
	ended   bool
}

func newQueue() *queue {
	q := &queue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

func (q *queue) add(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.events) >= queueLimit && !q.ended {
		q.changed.Wait()
	}
	q.events = append(q.events, e)
	q.changed.Broadcast()
}

func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.changed.Broadcast()
}

// take waits for events and returns all there are; none means the end.
func (q *queue) take() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.events) == 0 && !q.ended {
		q.changed.Wait()
	}
	batch := q.events
	q.events = nil
	q.changed.Broadcast()
	return batch
}

func (q *queue) drain(l Listener) {
	for batch := q.take(); len(batch) > 0; batch = q.take() {
		for _, e := range batch {
			l.Event(e)
		}
	}
}
